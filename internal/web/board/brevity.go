// SPDX-License-Identifier: Apache-2.0

package board

import (
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/renat-project/renat/correlator/incident"
)

const (
	// maxText bounds each text of a brief incident in bytes: no name in
	// Kubernetes or DNS is longer than 253.
	maxText = 256
	// maxNames bounds the DNS names of an address.
	maxNames = 8
	// maxKnown bounds the texts that are remembered to be shared.
	maxKnown = 1 << 16
)

// Brief returns i as lists show it: without evidence and labels.
func Brief(i *incident.Incident) *incident.Incident {
	b := *i
	b.Evidence = []incident.Evidence{}
	b.Source.Labels, b.Destination.Labels = nil, nil
	return &b
}

// brevity makes incidents small: what many have in common is in memory once.
type brevity struct{ known map[string]string }

func (b *brevity) of(i *incident.Incident) *incident.Incident {
	c := Brief(i)
	c.ID = strings.Clone(c.ID)
	c.Kind, c.Cause, c.Outcome = incident.Kind(b.text(string(c.Kind))), incident.Cause(b.text(string(c.Cause))), incident.Outcome(b.text(string(c.Outcome)))
	for _, s := range []*string{
		&c.DeletedBy, &c.Node, &c.Cluster, &c.Protocol, &c.NAT.Map, &c.NAT.Program,
		&c.Source.Namespace, &c.Source.Pod, &c.Source.Workload,
		&c.Destination.Namespace, &c.Destination.Pod, &c.Destination.Workload,
	} {
		*s = b.text(*s)
	}
	c.NAT.Before, c.NAT.After = strings.Clone(cut(c.NAT.Before)), strings.Clone(cut(c.NAT.After))
	c.Source.Names, c.Destination.Names = b.names(c.Source.Names), b.names(c.Destination.Names)
	return c
}

func (b *brevity) names(names []string) []string {
	names = slices.Clone(names[:min(len(names), maxNames)])
	for n := range names {
		names[n] = b.text(names[n])
	}
	return names
}

// text returns s, cut, from memory that all equal texts share.
func (b *brevity) text(s string) string {
	s = cut(s)
	if shared, ok := b.known[s]; ok {
		return shared
	}
	if b.known == nil || len(b.known) >= maxKnown {
		b.known = map[string]string{}
	}
	s = strings.Clone(s)
	b.known[s] = s
	return s
}

// cut keeps whole characters.
func cut(s string) string {
	if len(s) <= maxText {
		return s
	}
	n := maxText
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n]
}
