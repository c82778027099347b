// SPDX-License-Identifier: Apache-2.0

package grouping

import (
	"encoding/json"

	"github.com/renat-project/renat/correlator/incident"
	"github.com/renat-project/renat/sinks/notification"
)

// What of one incident is repeated in a notification, in bytes and entries.
const (
	maxString   = 512
	maxStrings  = 32
	maxIncident = 24 << 10
)

// trim returns i so that it is harmless and small: every text on one line and
// cut, lists cut, and if that is not enough, no lists. size is of its JSON;
// the error says that it has none (a year beyond 9999).
func trim(i *incident.Incident) (out *incident.Incident, size int, err error) {
	c := *i
	for _, s := range []*string{
		&c.ID, (*string)(&c.Kind), (*string)(&c.Cause), (*string)(&c.Outcome), &c.DeletedBy, &c.Node, &c.Cluster,
		&c.Protocol, &c.NAT.Map, &c.NAT.Before, &c.NAT.After, &c.NAT.Program,
	} {
		*s = text(*s)
	}
	c.Source, c.Destination = trimEndpoint(i.Source), trimEndpoint(i.Destination)
	c.Evidence = []incident.Evidence{}
	for _, e := range i.Evidence[:min(len(i.Evidence), incident.MaxEvidence)] {
		e.From, e.What = incident.Source(text(string(e.From))), text(e.What)
		e.Step, e.Flags = incident.Step(text(string(e.Step))), text(e.Flags)
		c.Evidence = append(c.Evidence, e)
	}
	b, err := json.Marshal(&c)
	if len(b) > maxIncident {
		c.Evidence = []incident.Evidence{}
		c.Source.Labels, c.Source.Names, c.Destination.Labels, c.Destination.Names = nil, nil, nil, nil
		b, err = json.Marshal(&c)
	}
	return &c, len(b), err
}

func trimEndpoint(e incident.Endpoint) incident.Endpoint {
	e.Namespace, e.Pod, e.Workload = text(e.Namespace), text(e.Pod), text(e.Workload)
	e.Labels, e.Names = texts(e.Labels), texts(e.Names)
	return e
}

func text(s string) string { return cut(s, maxString) }

// cut returns the beginning of s on one line, and looks at no more of it than
// that takes.
func cut(s string, n int) string {
	// Line makes of a character at least a third of its bytes (a line
	// separator has three), so that of 4n more than n are left.
	return notification.Cut(notification.Line(s[:min(len(s), 4*n)]), n)
}

func texts(list []string) (out []string) {
	for _, s := range list[:min(len(list), maxStrings)] {
		out = append(out, text(s))
	}
	return out
}
