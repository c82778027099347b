// SPDX-License-Identifier: Apache-2.0

package verdict_test

import (
	"strings"
	"testing"
	"time"

	"github.com/renat-project/renat/correlator/incident"
	"github.com/renat-project/renat/correlator/incident/verdict"
)

// lost returns an incident of a kind and cause.
func lost(kind incident.Kind, cause incident.Cause, change func(*incident.Incident)) *incident.Incident {
	i := &incident.Incident{ID: "142cbfff0011", Kind: kind, Cause: cause}
	if change != nil {
		change(i)
	}
	return i
}

func TestOf(t *testing.T) {
	nat := func(before, after string) func(*incident.Incident) {
		return func(i *incident.Incident) { i.NAT.Before, i.NAT.After = before, after }
	}
	for name, c := range map[string]struct {
		facts     verdict.Facts
		incidents []*incident.Incident
		action    string
		say       []string
		not       []string
	}{
		"evicted, the pod first": {
			facts: verdict.Facts{
				Source: "shop/Deployment/cart", Destination: "api.example.com:443", Node: "node-a", MaxEntries: 131072, EvictionsPerSecond: 1000,
			},
			incidents: []*incident.Incident{lost(incident.Renat, incident.LRUEviction, nat("203.0.113.7:40000", "203.0.113.7:51288"))},
			action:    "kubectl renat advise",
			say: []string{"1 connection of shop/Deployment/cart to api.example.com:443 was broken on node node-a: the full NAT map evicted",
				"another source port", "when the server sends first, and here the pod did", "131072 entries evicts 1000 a second", "66 s to 2 min", "bpf.natMax", "bpf.ctTcpMax"},
			not: []string{"262144", "times as many"},
		},
		"evicted so rarely that silence of hours does not matter": {
			facts:     verdict.Facts{MaxEntries: 131072, EvictionsPerSecond: 4},
			incidents: []*incident.Incident{lost(incident.Renat, incident.LRUEviction, nil)},
			action:    "kubectl renat advise",
			say:       []string{"4.6 h to 9.1 h of silence"},
			not:       []string{"5 min"},
		},
		"one, the server first, rate not known": {
			facts:     verdict.Facts{MaxEntries: 512},
			incidents: []*incident.Incident{lost(incident.OrphanedReply, incident.LRUEviction, nil)},
			action:    "kubectl renat advise",
			say:       []string{"1 connection was broken:", "the node reset it", "here the server sent first", "has 512 entries. A larger one ends that"},
			not:       []string{"evicts 0"},
		},
		"timed out": {
			incidents: []*incident.Incident{lost(incident.Renat, incident.LRUEviction, func(i *incident.Incident) { i.Outcome = incident.Timeout })},
			action:    "kubectl renat advise",
			say:       []string{"does not know it. What was sent on it since was neither answered nor reset"},
		},
		"timed out, the server first": {
			incidents: []*incident.Incident{lost(incident.OrphanedReply, incident.LRUEviction, func(i *incident.Incident) { i.Outcome = incident.Timeout })},
			action:    "kubectl renat advise",
			say:       []string{"the server's next packet found no entry. What was sent on it"},
			not:       []string{"the node reset it"},
		},
		"timed out, some": {
			incidents: []*incident.Incident{
				lost(incident.Renat, incident.LRUEviction, func(i *incident.Incident) { i.Outcome = incident.Timeout }),
				lost(incident.Renat, incident.LRUEviction, func(i *incident.Incident) { i.Outcome = incident.Reset }),
			},
			action: "kubectl renat advise",
			say:    []string{"What was sent on 1 of them since"},
		},
		"both, not all evicted": {
			incidents: []*incident.Incident{
				lost(incident.Renat, incident.LRUEviction, nil), lost(incident.Renat, incident.UnknownCause, nil),
				lost(incident.OrphanedReply, incident.LRUEviction, nil),
			},
			action: "kubectl renat advise",
			say:    []string{"3 connections were", "2 got another source port, of 1 the server's", "1.18", "1.17", "does not help against the 1 that"},
		},
		"the collector": {
			facts:     verdict.Facts{MaxEntries: 512},
			incidents: []*incident.Incident{lost(incident.Renat, incident.UserspaceDelete, func(i *incident.Incident) { i.DeletedBy = "cilium-agent" })},
			action:    "kubectl renat describe 142cbfff",
			say:       []string{"cilium-agent deleted its entry", "A larger NAT map does not help"},
			not:       []string{"natMax", "advise", "restore"},
		},
		"another address": {
			incidents: []*incident.Incident{lost(incident.Renat, incident.DatapathDelete, nat("192.0.2.33:48112", "192.0.2.44:48112"))},
			action:    "kubectl renat describe 142cbfff",
			say:       []string{"the next packet went out from another address (192.0.2.33 -> 192.0.2.44, port kept), and", "does not help: the address", "egress gateway policy"},
			not:       []string{"another source port", "natMax", "advise"},
		},
		"another address, of some": {
			incidents: []*incident.Incident{
				lost(incident.Renat, incident.DatapathDelete, nat("192.0.2.33:48112", "192.0.2.44:1024")),
				lost(incident.Renat, incident.DatapathDelete, nat("192.0.2.33:48113", "192.0.2.33:1025")),
			},
			action: "kubectl renat describe 142cbfff",
			say:    []string{"another source port or address", "Cilium's own programs deleted"},
		},
		"the map replaced": {
			facts: verdict.Facts{MaxEntries: 288019},
			incidents: []*incident.Incident{lost(incident.OrphanedReply, incident.MapReplaced, func(i *incident.Incident) {
				i.NAT.RemovedAt = time.Date(2026, 3, 1, 10, 1, 40, 0, time.UTC)
			})},
			action: "kubectl renat describe 142cbfff",
			say:    []string{"the NAT map was replaced by an empty one at 2026-03-01 10:01:40 UTC, and its entry went with it", "A larger NAT map does not help"},
			not:    []string{"natMax", "vanished", "restore", "288019"},
		},
		"tracking, deleted alive": {
			incidents: []*incident.Incident{lost(incident.TrackingLost, incident.UserspaceDelete, func(i *incident.Incident) { i.DeletedBy = "cilium-agent" })},
			action:    "kubectl renat describe 142cbfff",
			say:       []string{"1 connection was broken: cilium-agent deleted its entry from the connection tracking map; policy took the next packet for a stranger's", "No larger map helps: cilium-agent deleted"},
			not:       []string{"NAT map", "natMax", "restore", "advise"},
		},
		"tracking, evicted": {
			incidents: []*incident.Incident{lost(incident.TrackingLost, incident.LRUEviction, func(i *incident.Incident) { i.Map.MaxEntries = 4096 })},
			action:    "kubectl renat describe 142cbfff",
			say:       []string{"the full connection tracking map evicted its entry", "of 4096 entries is too small", "bpf.ctTcpMax"},
			not:       []string{"NAT map", "natMax", "restore"},
		},
		"tracking, of some": {
			incidents: []*incident.Incident{
				lost(incident.TrackingLost, incident.LRUEviction, nil), lost(incident.Renat, incident.LRUEviction, nil),
			},
			action: "kubectl renat advise",
			say:    []string{"the full map evicted their entries; of 1 the next packet got another source port, of 1 policy dropped the packets", "Nor does it against the 1"},
		},
		"no port": {
			facts: verdict.Facts{Source: "shop/Deployment/cart", Destination: "api.example.com:443", Node: "node-a"},
			incidents: []*incident.Incident{lost(incident.NoPort, incident.PortsExhausted, func(i *incident.Incident) {
				i.Ports = &incident.Ports{Refused: 412, Since: time.Date(2026, 3, 1, 10, 1, 40, 0, time.UTC), InUse: 28232, Address: "192.0.2.1",
					Holders: []incident.PodCount{{Name: "10.0.1.10", Count: 20000}}}
			})},
			action: "kubectl renat describe 142cbfff",
			say: []string{"412 connections of shop/Deployment/cart to api.example.com:443 could not be opened on node node-a: no source port was free, 28232 of 192.0.2.1",
				"since 2026-03-01 10:01:40 UTC", "held by 10.0.1.10 (20000)", "A larger NAT map does not help", "egress gateway", "used again"},
			not: []string{"natMax", "broken", "vanished"},
		},
		"no port, of some": {
			incidents: []*incident.Incident{
				lost(incident.NoPort, incident.PortsExhausted, func(i *incident.Incident) { i.Ports = &incident.Ports{Refused: 1} }),
				lost(incident.Renat, incident.LRUEviction, nil),
			},
			action: "kubectl renat advise",
			say:    []string{"1 connection was broken: the full NAT map evicted its entry", "1 connection could not be opened: no source port was free."},
			not:    []string{"that were not evicted"},
		},
		"egress changed": {
			incidents: []*incident.Incident{lost(incident.EgressChanged, incident.DatapathDelete, nat("192.0.2.33:48112", "192.0.2.44:1024"))},
			action:    "kubectl renat describe 142cbfff",
			say:       []string{"the datapath deleted its entry", "the next packet went out from another address (192.0.2.33 -> 192.0.2.44)", "does not help: the address", "egress gateway policy"},
			not:       []string{"natMax", "another source port", "restore"},
		},
		"egress changed after an eviction": {
			facts:     verdict.Facts{MaxEntries: 512},
			incidents: []*incident.Incident{lost(incident.EgressChanged, incident.LRUEviction, nat("192.0.2.33:48112", "192.0.2.44:1024"))},
			action:    "kubectl renat describe 142cbfff",
			say:       []string{"does not help: the address"},
			not:       []string{"natMax", "A larger one", "restore"},
		},
		"the map replaced, many": {
			facts: verdict.Facts{Node: "node-a"},
			incidents: []*incident.Incident{lost(incident.MapReplacement, incident.MapReplaced, func(i *incident.Incident) {
				i.NAT.RemovedAt, i.Map.MaxEntries = time.Date(2026, 3, 1, 10, 1, 40, 0, time.UTC), 1024
				i.Replaced = &incident.Replacement{Broken: 87, MaxEntriesBefore: 512}
			})},
			action: "kubectl renat describe 142cbfff",
			say: []string{"87 connections were broken on node node-a: the NAT map was replaced by an empty one at 2026-03-01 10:01:40 UTC, and their entries went with it.",
				"A larger NAT map does not help", "It had 512 entries and has 1024"},
			not: []string{"natMax", "vanished", "restore"},
		},
		"the map replaced by one of its size": {
			incidents: []*incident.Incident{lost(incident.MapReplacement, incident.MapReplaced, func(i *incident.Incident) {
				i.Map.MaxEntries, i.Replaced = 512, &incident.Replacement{Broken: 2, MaxEntriesBefore: 512}
			})},
			action: "kubectl renat describe 142cbfff",
			say:    []string{"2 connections were broken", "Both had 512 entries", "its pin"},
		},
		"unknown": {
			facts:     verdict.Facts{MaxEntries: 512},
			incidents: []*incident.Incident{lost(incident.Renat, incident.UnknownCause, nil)},
			action:    "kubectl renat describe 142cbfff",
			say:       []string{"how was not seen", "is not known: kubectl renat nodes"},
			not:       []string{"natMax", "512"},
		},
		"the largest": {
			facts:     verdict.Facts{MaxEntries: 1 << 24},
			incidents: []*incident.Incident{lost(incident.Renat, incident.LRUEviction, nil)},
			action:    "kubectl renat describe 142cbfff",
			say:       []string{"the most Cilium allows"},
			not:       []string{"natMax", "A larger one"},
		},
		"an id that is none": {
			incidents: []*incident.Incident{lost(incident.Renat, incident.UnknownCause, func(i *incident.Incident) { i.ID = "$(reboot)" })},
			action:    "kubectl renat incidents",
		},
		"nothing known": {action: "kubectl renat incidents", say: []string{"0 connections were broken: their entries went"}},
	} {
		t.Run(name, func(t *testing.T) {
			f := c.facts
			f.Kinds, f.Causes, f.Outcomes = map[incident.Kind]int{}, map[incident.Cause]int{}, map[incident.Outcome]int{}
			for _, i := range c.incidents {
				f.Kinds[i.Kind]++
				f.Causes[i.Cause]++
				f.Outcomes[i.Outcome]++
				f.Learn(i)
			}
			v := verdict.Of(f)
			all := strings.Join([]string{v.What, v.Restore, v.Size}, "\n")
			if v.Action != c.action {
				t.Errorf("action %q, want %q", v.Action, c.action)
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
