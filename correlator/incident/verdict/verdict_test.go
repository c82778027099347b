// SPDX-License-Identifier: Apache-2.0

package verdict_test

import (
	"strings"
	"testing"

	"github.com/renat-project/renat/correlator/incident"
	"github.com/renat-project/renat/correlator/incident/verdict"
)

func TestOf(t *testing.T) {
	type kinds = map[incident.Kind]int
	type causes = map[incident.Cause]int
	for name, c := range map[string]struct {
		facts   verdict.Facts
		entries uint32
		say     []string
		not     []string
	}{
		"evicted, the pod first": {
			facts: verdict.Facts{
				Kinds: kinds{incident.Renat: 7}, Causes: causes{incident.LRUEviction: 7},
				Source: "shop/Deployment/cart", Destination: "api.example.com:443", Node: "node-a", MaxEntries: 131072, EvictionsPerSecond: 1000,
			},
			entries: 1 << 20,
			say: []string{"7 connections of shop/Deployment/cart to api.example.com:443 were broken on node node-a: the full NAT map evicted",
				"another source port", "when the server sends first, and here the pod did", "66 s to 2 min", "5 min", "8 times",
				"bpf-nat-global-max to 1048576", "bpf.natMax", "bpf.ctTcpMax", "recreated empty"},
		},
		"one, the server first, small": {
			facts:   verdict.Facts{Kinds: kinds{incident.OrphanedReply: 1}, Causes: causes{incident.LRUEviction: 1}, MaxEntries: 512},
			entries: 1024,
			say:     []string{"1 connection was broken:", "the node reset it", "here the server sent first", "512 entries; begin with 1024"},
			not:     []string{"bpf.ctTcpMax", "evicts"},
		},
		"both": {
			facts: verdict.Facts{Kinds: kinds{incident.Renat: 2, incident.OrphanedReply: 3}, Causes: causes{incident.LRUEviction: 4, incident.UnknownCause: 1}},
			say:   []string{"5 connections were", "2 got another source port, of 3 the server's", "not known here", "1.18", "1.17"},
		},
		"the collector": {
			facts: verdict.Facts{Kinds: kinds{incident.Renat: 1}, Causes: causes{incident.UserspaceDelete: 1}, DeletedBy: "cilium-agent", MaxEntries: 512},
			say:   []string{"cilium-agent deleted its entry", "A larger NAT map does not help"},
			not:   []string{"bpf-nat-global-max"},
		},
		"the largest": {
			facts: verdict.Facts{Kinds: kinds{incident.Renat: 1}, Causes: causes{incident.LRUEviction: 1}, MaxEntries: 1 << 24},
			say:   []string{"the most Cilium allows"},
			not:   []string{"bpf-nat-global-max"},
		},
		"beyond the limit": {
			facts:   verdict.Facts{Kinds: kinds{incident.Renat: 1}, Causes: causes{incident.LRUEviction: 1}, MaxEntries: 1 << 20, EvictionsPerSecond: 1e9},
			entries: 1 << 24,
		},
		"nothing known": {say: []string{"0 connections were broken: their entries went"}},
	} {
		t.Run(name, func(t *testing.T) {
			v := verdict.Of(c.facts)
			all := strings.Join([]string{v.What, v.Restore, v.Size, v.Option, v.SideEffect}, "\n")
			if v.Entries != c.entries {
				t.Errorf("advises %d entries, want %d", v.Entries, c.entries)
			}
			for _, s := range c.say {
				if !strings.Contains(all, s) {
					t.Errorf("does not say %q:\n%s", s, all)
				}
			}
			for _, s := range c.not {
				if strings.Contains(all, s) {
					t.Errorf("says %q:\n%s", s, all)
				}
			}
		})
	}
}
