// SPDX-License-Identifier: Apache-2.0

package grouping

import (
	"slices"
	"strconv"

	"github.com/renat-project/renat/correlator/incident"
)

// Label is a property of an incident that receivers match and group by.
type Label string

// labels are all labels and how to read them.
var labels = map[Label]func(*incident.Incident) string{
	"cluster":          func(i *incident.Incident) string { return i.Cluster },
	"node":             func(i *incident.Incident) string { return i.Node },
	"namespace":        func(i *incident.Incident) string { return i.Source.Namespace },
	"pod":              func(i *incident.Incident) string { return i.Source.Pod },
	"workload":         func(i *incident.Incident) string { return i.Source.Owner() },
	"source_ip":        func(i *incident.Incident) string { return i.Source.IP.String() },
	"destination":      func(i *incident.Incident) string { return i.Destination.HostPort() },
	"destination_ip":   func(i *incident.Incident) string { return i.Destination.IP.String() },
	"destination_port": func(i *incident.Incident) string { return strconv.Itoa(int(i.Destination.Port)) },
	"protocol":         func(i *incident.Incident) string { return i.Protocol },
	"kind":             func(i *incident.Incident) string { return string(i.Kind) },
	"cause":            func(i *incident.Incident) string { return string(i.Cause) },
	"outcome":          func(i *incident.Incident) string { return string(i.Outcome) },
}

// Known reports whether there is such a label.
func (l Label) Known() bool { return labels[l] != nil }

// values are those that labels which have few can have.
var values = map[Label][]string{
	"protocol": {"TCP", "UDP", "SCTP"},
	"kind":     incident.Names(incident.Kinds),
	"cause":    incident.Names(incident.Causes),
	"outcome":  incident.Names(incident.Outcomes),
}

// Labels returns the names of all labels, sorted.
func Labels() []string {
	var names []string
	for l := range labels {
		names = append(names, string(l))
	}
	slices.Sort(names)
	return names
}

// maxValue bounds a label's value in bytes.
const maxValue = 256

// Of returns the label's value for i: one line of at most 256 bytes.
func (l Label) Of(i *incident.Incident) string {
	return cut(labels[l](i), maxValue)
}
