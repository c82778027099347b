// SPDX-License-Identifier: Apache-2.0

package correlator_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/renat-project/renat/correlator"
	"github.com/renat-project/renat/correlator/incident"
)

// TestLack wants the connections that live and lost an entry, and no others.
func TestLack(t *testing.T) {
	const opened = `
		@0ms to-stack new SYN TCP pod:40000 -> server:443
		@1ms to-endpoint reply SYN,ACK TCP server:443 -> pod:40000
		@2ms to-stack established ACK TCP pod:40000 -> server:443
	`
	const evicted = "@10s evict OUT TCP pod:40000 -> server:443 is node:40000\n"
	const (
		ownMapped = `
			@0ms insert IN TCP server:443 -> node:40000 is node:40000
			@0ms insert OUT TCP node:40000 -> server:443 is node:40000
		`
		ownOpened = ownMapped + `
			@0ms to-network new SYN TCP node:40000 -> server:443
			@2ms to-network established ACK TCP node:40000 -> server:443
		`
		ownReset   = ownMapped + "@0ms to-network new RST TCP node:40000 -> server:443\n"
		ownEvicted = "@10s evict OUT TCP node:40000 -> server:443 is node:40000\n"
	)
	names := hosts["IPv4"]
	for name, c := range map[string]struct {
		events string
		want   bool
	}{
		"has all":       {opened, false},
		"lost OUT":      {opened + evicted, true},
		"lost IN":       {opened + "@10s evict IN TCP server:443 -> node:40000 is pod:40000", true},
		"closed before": {opened + "@5s to-stack established FIN,ACK TCP pod:40000 -> server:443\n" + evicted, false},
		"closed after":  {opened + evicted + "@11s to-endpoint reply RST TCP server:443 -> pod:40000", false},
		"has it again":  {opened + evicted + "@11s insert OUT TCP pod:40000 -> server:443 is node:40000", false},
		"broke": {opened + evicted + `
			@11s insert IN TCP server:443 -> node:50000 is pod:40000
			@11.1s insert OUT TCP pod:40000 -> server:443 is node:50000
			@11.2s to-endpoint reply RST TCP server:443 -> pod:40000`, false},
		"never answered": {"@0ms to-stack new SYN TCP pod:40000 -> server:443\n" + evicted, false},
		"unheard of":     {evicted, false},
		"found missing":  {"@10s missing OUT TCP pod:40000 -> server:443", true},
		"its map was replaced": {opened + `
			@10s replaced
			@10.1s missing OUT TCP pod:40000 -> server:443 is node:40000
			@10.1s missing IN TCP server:443 -> node:40000 is pod:40000`, true},
		"guessed wrongly": {opened + `
			@10s missing OUT TCP pod:40000 -> server:443 is node:40000
			@10s missing IN TCP server:443 -> node:40000 is pod:40000
			@11s insert IN TCP server:443 -> node2:40000 is pod:40000
			@11.1s insert OUT TCP pod:40000 -> server:443 is node2:40000`, false},
		"a question":      {"@0s to-stack new - UDP pod:40000 -> server:53\n@20ms to-endpoint reply - UDP server:53 -> pod:40000\n@10s evict OUT UDP pod:40000 -> server:53 is node:40000", false},
		"a long exchange": {"@0s to-stack new - UDP pod:40000 -> server:53\n@5s to-endpoint reply - UDP server:53 -> pod:40000\n@10s evict OUT UDP pod:40000 -> server:53 is node:40000", true},
		"a server that speaks first": {`
			@0s to-stack new - UDP pod:40000 -> server:53
			@5s to-endpoint reply - UDP server:53 -> pod:40000
			@10s evict OUT UDP pod:40000 -> server:53 is node:40000
			@10.1s evict IN UDP server:53 -> node:40000 is pod:40000`, true},
		"the node's own lost OUT": {ownOpened + ownEvicted, true},
		"the node's own lost IN":  {ownOpened + "@10s evict IN TCP server:443 -> node:40000 is node:40000", false},
		"the node's own, whose port was not kept, lost IN": {`
			@0ms insert IN TCP server:443 -> node:50000 is node:40000
			@0ms insert OUT TCP node:40000 -> server:443 is node:50000
			@0ms to-network new SYN TCP node:40000 -> server:443
			@2ms to-network established ACK TCP node:40000 -> server:443
			@10s evict IN TCP server:443 -> node:50000 is node:40000`, true},
		"the node's own, a mere reset":  {ownReset + ownEvicted, false},
		"the node's own, closed before": {ownOpened + "@5s to-network established FIN,ACK TCP node:40000 -> server:443\n" + ownEvicted, false},
		"another host's":                {"@0s to-stack new SYN TCP pod2:40000 -> server:443\n" + evicted, false},
	} {
		cor := newCorrelator(t, correlator.Config{}, func(*incident.Incident) {})
		maps := newScenarioMaps(names)
		for line := range lines([]byte(c.events)) {
			ev, err := parseEvent(line, names, maps)
			if err != nil {
				t.Fatalf("%s: %q: %v", name, line, err)
			}
			cor.Observe(&ev)
		}
		cor.Advance(start + 60e9)
		var got []string
		for from, more := 0, true; more; more = from != 0 { // one at a time
			from = cor.Lack(from, 1, func(l *correlator.Lacking) {
				got = append(got, fmt.Sprintf("%s since %d", l.Tuple, (l.Since-start)/1e9))
				if l.HostNetwork != strings.HasPrefix(name, "the node's own") {
					t.Errorf("%s: the node's own: %t", name, l.HostNetwork)
				}
			})
		}
		want := 0
		if c.want {
			want = 1
		}
		if len(got) != want || want == 1 && (!strings.Contains(got[0], ":40000") || !strings.HasSuffix(got[0], "since 10")) {
			t.Errorf("%s: %q", name, got)
		}
	}
}
