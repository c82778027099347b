// SPDX-License-Identifier: Apache-2.0

package correlator_test

import (
	"bufio"
	"cmp"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/tools/txtar"

	"github.com/renat-project/renat/correlator"
	"github.com/renat-project/renat/correlator/incident"
)

// start is the time @0 of a scenario.
var start = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC).UnixNano()

// hosts are the names that scenarios use for addresses, for both IP versions. A
// name with a prime is of the other version.
var hosts = map[string]map[string]string{
	"IPv4": {"pod": "10.0.1.10", "pod2": "10.0.1.11", "node": "192.168.50.1", "node2": "192.168.50.2", "server": "192.0.2.1",
		"client": "203.0.113.9", "backend": "10.0.2.20",
		"pod'": "[fd00::10]", "node'": "[2001:db8:50::1]", "server'": "[2001:db8::1]"},
	"IPv6": {"pod": "[fd00::10]", "pod2": "[fd00::11]", "node": "[2001:db8:50::1]", "node2": "[2001:db8:50::2]", "server": "[2001:db8::1]",
		"client": "[2001:db8:9::1]", "backend": "[fd00::220]",
		"pod'": "10.0.1.10", "node'": "192.168.50.1", "server'": "192.0.2.1"},
}

// TestScenarios runs testdata/*.txtar. The text before the files says what the
// scenario shows; "events" are the inputs, in the language of parseEvent;
// "incidents" what must come of them. Each runs for IPv4 and IPv6, in order of
// time and in other orders of arrival.
func TestScenarios(t *testing.T) {
	eachScenario(t, func(t *testing.T, s *scenario) {
		for order := range 20 {
			rng := rand.New(rand.NewPCG(1, uint64(order)))
			if order > 0 {
				shuffle(rng, s.events)
			}
			if got := s.run(t); got != s.want {
				t.Fatalf("order %d gave\n%swant\n%s%s", order, got, s.want, s.comment)
			}
		}
	})
}

// shuffle changes the order of events, but of those with a longer pause between
// them than any event is held.
func shuffle(rng *rand.Rand, events []correlator.Event) {
	slices.SortFunc(events, func(a, b correlator.Event) int { return cmp.Compare(a.Time, b.Time) })
	for first, i := 0, 1; i <= len(events); i++ {
		if i < len(events) && events[i].Time-events[i-1].Time < int64(maxHold) {
			continue
		}
		part := events[first:i]
		rng.Shuffle(len(part), func(i, j int) { part[i], part[j] = part[j], part[i] })
		first = i
	}
}

// maxHold covers whole scenarios, so that any order of arrival must do.
const maxHold = 10 * time.Minute

// eachScenario runs a test on every scenario, for each version of IP.
func eachScenario(t *testing.T, test func(*testing.T, *scenario)) {
	files, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatalf("no scenarios: %v", err)
	}
	for _, file := range files {
		archive, err := txtar.ParseFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for version, names := range hosts {
			t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar")+"/"+version, func(t *testing.T) {
				test(t, parseScenario(t, archive, names))
			})
		}
	}
}

type scenario struct {
	comment []byte
	events  []correlator.Event
	want    string
	names   map[string]string
}

func parseScenario(t *testing.T, archive *txtar.Archive, names map[string]string) *scenario {
	t.Helper()
	s := &scenario{comment: archive.Comment, names: names}
	for _, f := range archive.Files {
		switch f.Name {
		case "events":
			maps := newScenarioMaps(names)
			for line := range lines(f.Data) {
				ev, err := parseEvent(line, names, maps)
				if err != nil {
					t.Fatalf("%q: %v", line, err)
				}
				s.events = append(s.events, ev)
			}
		case "incidents":
			for line := range lines(f.Data) {
				s.want += strings.Join(strings.Fields(line), " ") + "\n"
			}
		default:
			t.Fatalf("unknown file %q", f.Name)
		}
	}
	return s
}

// lines yields the lines that are neither empty nor comments.
func lines(data []byte) func(func(string) bool) {
	return func(yield func(string) bool) {
		for sc := bufio.NewScanner(strings.NewReader(string(data))); sc.Scan(); {
			if line := strings.TrimSpace(sc.Text()); line != "" && line[0] != '#' && !yield(line) {
				return
			}
		}
	}
}

// run returns the incidents of the events in their present order.
func (s *scenario) run(t *testing.T) string {
	t.Helper()
	return s.collect(t, correlator.Config{Hold: maxHold}, func(c *correlator.Correlator) {
		for i := range s.events {
			c.Observe(&s.events[i])
		}
		c.Advance(start + int64(24*time.Hour)) // no more is to come
		c.Flush()
	})
}

// collect returns the incidents that a correlator gives when it is fed.
func (s *scenario) collect(t *testing.T, cfg correlator.Config, feed func(*correlator.Correlator)) string {
	t.Helper()
	var b strings.Builder
	cfg.Node, cfg.MaxConnections = "node-a", 100
	feed(newCorrelator(t, cfg, func(i *incident.Incident) {
		b.WriteString(s.describe(i) + "\n")
		for _, e := range i.Evidence {
			if hasPacket := strings.HasPrefix(e.What, "packet from"); e.Step == "" || hasPacket != strings.Contains(string(e.Step), "packet") ||
				e.Flags != "" && !strings.HasSuffix(e.What, "("+e.Flags+")") {
				t.Errorf("evidence %+v", e)
			}
		}
	}))
	return b.String()
}

// describe writes an incident as scenarios do.
func (s *scenario) describe(i *incident.Incident) string {
	cause := string(i.Cause)
	if i.DeletedBy != "" {
		cause += "(" + i.DeletedBy + ")"
	}
	if i.NAT.Forced {
		cause += "(forced)"
	}
	line := fmt.Sprintf("@%v %s %s %s %s %s -> %s", time.Duration(i.Time.UnixNano()-start),
		i.Kind, cause, i.Outcome, i.Protocol, i.Source.AddrPort(), i.Destination.AddrPort())
	if i.NAT.Before != "" {
		line += " was " + i.NAT.Before
	}
	if i.NAT.SecondsLeft != 0 {
		line += fmt.Sprintf(" left %ds", i.NAT.SecondsLeft)
	}
	if i.NAT.After != "" {
		line += " now " + i.NAT.After
	}
	if p := i.Replaced; p != nil {
		line += fmt.Sprintf(" broke %d reset %d size %d->%d %v", p.Broken, p.Reset, p.MaxEntriesBefore, i.Map.MaxEntries, p.Pods)
	}
	if p := i.Ports; p != nil {
		line += fmt.Sprintf(" refused %d since @%v %v", p.Refused, time.Duration(p.Since.UnixNano()-start), p.Pods)
	}
	if i.Source.Pod != "" {
		line += " of " + i.Source.Pod
	}
	if i.Loss != (incident.Loss{}) {
		line += fmt.Sprintf(" lost %d/%d/%d", i.Loss.KernelEvents, i.Loss.HubbleFlows, i.Loss.HubbleUnseen)
	}
	for name, addr := range s.names {
		line = strings.ReplaceAll(line, " "+addr+":", " "+name+":")
	}
	return line
}
