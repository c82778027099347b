// SPDX-License-Identifier: Apache-2.0

package sizing_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/renat-project/renat/internal/sizing"
)

const gib = 1 << 30

func TestParseSettings(t *testing.T) {
	s, err := sizing.ParseSettings(map[string]string{
		"bpf-map-dynamic-size-ratio": "0.0025", "bpf-nat-global-max": "262144", "bpf-distributed-lru": "true",
		"conntrack-gc-interval": "30s", "bpf-ct-global-tcp-max": "", "debug": "false",
	})
	want := sizing.Settings{Ratio: 0.0025, NAT: 262144, Distributed: true, GCInterval: 30 * time.Second}
	if err != nil || s != want {
		t.Errorf("%+v, %v", s, err)
	}
	_, err = sizing.ParseSettings(map[string]string{"bpf-nat-global-max": "many", "conntrack-gc-interval": "0"})
	if err == nil || !strings.Contains(err.Error(), "bpf-nat-global-max") {
		t.Errorf("error %v", err)
	}
}

// TestSizes wants what Cilium's agents log ("option … set by dynamic sizing").
func TestSizes(t *testing.T) {
	for _, c := range []struct {
		name     string
		settings sizing.Settings
		memory   uint64
		cpus     int
		want     sizing.Sizes
	}{
		{"nothing set", sizing.Settings{}, 16 * gib, 8, sizing.Sizes{NAT: 524288, CTTCP: 524288, CTAny: 262144}},
		{"default ratio, small node", sizing.Settings{Ratio: 0.0025}, 8 * gib, 8, sizing.Sizes{NAT: 131072, CTTCP: 131072, CTAny: 65536}},
		{"default ratio, large node", sizing.Settings{Ratio: 0.0025}, 30 * gib, 8, sizing.Sizes{NAT: 282563, CTTCP: 282563, CTAny: 141281}},
		{"huge node", sizing.Settings{Ratio: 0.1}, 1024 * gib, 8, sizing.Sizes{NAT: 16777216, CTTCP: 16777216, CTAny: 16777216}},
		{"explicit", sizing.Settings{Ratio: 0.0025, NAT: 200000}, 30 * gib, 8, sizing.Sizes{NAT: 200000, CTTCP: 282563, CTAny: 141281}},
		{"small CT maps", sizing.Settings{Ratio: 0.0025, CTTCP: 50000, CTAny: 10000}, 30 * gib, 8, sizing.Sizes{NAT: 40000, CTTCP: 50000, CTAny: 10000}},
		{"distributed", sizing.Settings{Ratio: 0.0025, Distributed: true}, 30 * gib, 8, sizing.Sizes{NAT: 282568, CTTCP: 282568, CTAny: 141288}},
	} {
		got := c.settings.On(c.memory, c.cpus, "cilium v1.20.2+g0123abc")
		got.Knob = ""
		if got != c.want {
			t.Errorf("%s: %+v, want %+v", c.name, got, c.want)
		}
	}
}

// node is one that evicts under the default settings.
func node() sizing.Node {
	return sizing.Node{
		Name: "node-a", Map: "cilium_snat_v4_external", MaxEntries: 131072, CPUs: 8, Memory: 8 * gib, Cilium: "1.20.2",
		Measured:  sizing.Measured{Live: 60_000, Inserts: 900, Evicting: true, Gap: 4 * time.Minute},
		Incidents: 3,
	}
}

var defaults = sizing.Settings{Ratio: 0.0025}

func TestVerdicts(t *testing.T) {
	change := func(f func(*sizing.Node)) sizing.Node { n := node(); f(&n); return n }
	for _, c := range []struct {
		name    string
		node    sizing.Node
		verdict sizing.Verdict
		entries int
		says    string
	}{
		// 60,000 + 900/s·60 s + 2·¼·196,608 = 212,304; ·1.2 + 8·128 = 255,789
		{"evicts", node(), sizing.Grow, 258048, "evicts to make room"},
		{"evicts, how many are open is not known", change(func(n *sizing.Node) { n.Live = 0 }), sizing.Grow, 344064, "safe side"},
		{"evicts for no reason that shows", change(func(n *sizing.Node) { n.Live, n.Inserts = 100, 0.1 }), sizing.Grow, 262144, "twice"},
		{"old Cilium", change(func(n *sizing.Node) { n.Cilium = "v1.15.19" }), sizing.Grow, 258048, "does not restore"},
		{"roomy", change(func(n *sizing.Node) { n.Evicting, n.Peak = false, 40_000 }), sizing.Enough, 49152, "40000 of 131072"},
		{"nearly full", change(func(n *sizing.Node) { n.Evicting, n.Peak = false, 120_000 }), sizing.Tight, 147456, "less than 20 %"},
		{"cannot be counted", change(func(n *sizing.Node) { n.Evicting = false }), sizing.Enough, 131072, "not known"},
		{"ports", change(func(n *sizing.Node) { n.Evicting, n.Peak, n.Collisions = false, 60_000, 4 }), sizing.Ports, 73728, "ports run out"},
		{"deletes", change(func(n *sizing.Node) { n.Evicting, n.Peak = false, 40_000 }), sizing.Enough, 49152, "another cause"},
		{"new", sizing.Node{Name: "new", MaxEntries: 1024}, sizing.Unknown, 0, "nothing has been measured"},
	} {
		a := sizing.Advise(c.node, defaults)
		if a.Verdict != c.verdict || a.Entries != c.entries || !strings.Contains(strings.Join(a.Reasons, "\n"), c.says) {
			t.Errorf("%s: %s, %d entries, %q, %q", c.name, a.Verdict, a.Entries, a.Reasons, a.Steps)
		}
	}
}

func TestPlan(t *testing.T) {
	quiet := node()
	quiet.Name, quiet.Evicting, quiet.Peak = "node-b", false, 20_000
	six := node()
	six.Map, six.IPv6, six.Evicting, six.Peak = "cilium_snat_v6_external", true, false, 10
	// 258,048 needed, 196,608 in both CT maps: they grow, which lets more wait
	// to be collected, and so on until it fits.
	p := sizing.NewPlan([]sizing.Node{quiet, node(), six}, &defaults)
	if p.InForce != "bpf-map-dynamic-size-ratio 0.0025" || len(p.Nodes) != 3 || p.Impossible != "" {
		t.Errorf("%+v", p)
	}
	want := []sizing.Value{
		{Path: "bpf.natMax", Value: "352256", Flag: "bpf-nat-global-max"},
		{Path: "bpf.ctTcpMax", Value: "286720", Flag: "bpf-ct-global-tcp-max"},
	}
	if !slices.Equal(p.Values, want) {
		t.Errorf("values %+v", p.Values)
	}
	// Both families of node-a: 352,256·(104+144) + 2·16·2^19; now 131,072·248 + 2·16·2^17.
	if p.Memory != 104_136_704 || p.MemoryNow != 36_700_160 {
		t.Errorf("memory %d, now %d", p.Memory, p.MemoryNow)
	}
	if !strings.Contains(strings.Join(p.Alternatives, "\n"), "conntrackGCInterval: 1m0s would need bpf.natMax: 204800") {
		t.Errorf("alternatives %q", p.Alternatives)
	}
}

// TestPlanShrinksNothing has a large node beside a small one: what is set in
// entries is the same on both.
func TestPlanShrinksNothing(t *testing.T) {
	large := node()
	large.Name, large.Memory, large.MaxEntries, large.Evicting, large.Peak = "large", 64*gib, 602802, false, 20_000
	p := sizing.NewPlan([]sizing.Node{node(), large}, &defaults)
	s := defaults
	for _, v := range p.Values {
		if err := set(&s, v); err != nil {
			t.Fatal(err)
		}
	}
	before, after := defaults.On(large.Memory, large.CPUs, ""), s.On(large.Memory, large.CPUs, "")
	if after.NAT < before.NAT || after.CTTCP < before.CTTCP || after.CTAny < before.CTAny {
		t.Errorf("%+v makes of %+v %+v", p.Values, before, after)
	}
}

func TestPlanThatIsAccepted(t *testing.T) {
	// Cilium refuses a NAT map larger than its CT maps together.
	for _, live := range []float64{1_000, 100_000, 1e6, 5e6} {
		n := node()
		n.Live = live
		p := sizing.NewPlan([]sizing.Node{n}, &defaults)
		s := defaults
		for _, v := range p.Values {
			if err := set(&s, v); err != nil {
				t.Fatal(err)
			}
		}
		z := s.On(n.Memory, n.CPUs, "")
		if s.NAT == 0 || z.NAT > z.CTTCP+z.CTAny {
			t.Errorf("live %.0f: %+v give %+v", live, p.Values, z)
		}
		if again := sizing.Advise(n, s); p.Impossible == "" && again.Entries > z.NAT {
			t.Errorf("live %.0f: with the plan in force %d entries are advised, not %d", live, again.Entries, z.NAT)
		}
	}
}

// set does what Helm and Cilium do with a value.
func set(s *sizing.Settings, v sizing.Value) error {
	parsed, err := sizing.ParseSettings(map[string]string{v.Flag: v.Value})
	s.NAT, s.CTTCP = max(s.NAT, parsed.NAT), max(s.CTTCP, parsed.CTTCP)
	return err
}

func TestPlanWithNothingToDo(t *testing.T) {
	n := node()
	n.Evicting, n.Peak = false, 20_000
	if p := sizing.NewPlan([]sizing.Node{n}, &defaults); len(p.Values) != 0 || len(p.Effects) != 0 || p.InForce == "" {
		t.Errorf("%+v", p)
	}
}

func TestPlanBeyondCilium(t *testing.T) {
	n := node()
	n.Live = 40e6
	p := sizing.NewPlan([]sizing.Node{n}, &defaults)
	if p.Impossible == "" || p.Values[0].Value != "16777216" {
		t.Errorf("%+v", p)
	}
}

// TestPlanWithSettings has settings that are refused, ignored or not in force.
func TestPlanWithSettings(t *testing.T) {
	change := func(f func(*sizing.Node)) sizing.Node { n := node(); f(&n); return n }
	distributed := change(func(n *sizing.Node) {
		n.Distributed, n.CPUs, n.MaxEntries, n.Memory, n.Cilium = true, 12, 131076, 32*gib, "cilium v1.18.2+g0123abc"
	})
	burst := change(func(n *sizing.Node) { n.Live, n.Inserts, n.CTTCP = 65_000, 300, 131072 }) // would be large enough
	for _, c := range []struct {
		name   string
		node   sizing.Node
		data   map[string]string
		values string // path=value, joined by spaces
		says   string
		not    string
	}{
		{
			name: "distributed LRU before 1.19", node: distributed,
			data:   map[string]string{"bpf-distributed-lru": "true", "bpf-map-dynamic-size-ratio": "0.0025"},
			values: "bpf.natMax=425988", says: "gives node-a a NAT map of 301404 entries, and it has 131076", not: "rounds the size",
		},
		{
			name: "distributed LRU, whose CT maps are made anew, too", node: change(func(n *sizing.Node) { *n = distributed; n.CPUs, n.MaxEntries, n.Cilium = 48, 301440, "1.17.3" }),
			data:   map[string]string{"bpf-distributed-lru": "true", "bpf-map-dynamic-size-ratio": "0.0025"},
			values: "bpf.natMax=434208 bpf.ctTcpMax=301440 bpf.ctAnyMax=150720", says: "rounds no size itself",
		},
		{
			name: "set, not in force", node: burst,
			data: map[string]string{"bpf-nat-global-max": "524288", "bpf-ct-global-tcp-max": "524288", "conntrack-gc-interval": "1m"},
			says: "bpf-nat-global-max 524288 gives node-a a NAT map of 524288 entries, and it has 131072: restart Cilium's agents",
		},
		{
			name: "another setting in force", node: change(func(n *sizing.Node) { n.MaxEntries = 400_000 }),
			data:   map[string]string{"bpf-nat-global-max": "131072"},
			values: "bpf.natMax=622592", says: "a CiliumNodeConfig goes before it there",
		},
		{
			name: "Cilium's own default, cut", node: change(func(n *sizing.Node) { n.Memory = 8 * gib }),
			data:   map[string]string{"bpf-nat-global-max": "524288", "bpf-map-dynamic-size-ratio": "0.0025"},
			values: "bpf.natMax=524288 bpf.ctTcpMax=458752", says: "524288, which Cilium cuts to two thirds of",
		},
		{
			name: "more than the CT maps", node: change(func(n *sizing.Node) { n.Evicting, n.Peak = false, 20_000 }),
			data:   map[string]string{"bpf-nat-global-max": "262144", "bpf-map-dynamic-size-ratio": "0.0025"},
			values: "bpf.natMax=262144 bpf.ctTcpMax=196608", says: "bpf-nat-global-max 262144 is more than bpf-ct-global-tcp-max and bpf-ct-global-any-max together, which are 196608",
		},
		{
			name: "ratio out of range", node: node(), data: map[string]string{"bpf-map-dynamic-size-ratio": "2.5"},
			says: "bpf-map-dynamic-size-ratio is 2.5, and must be from 0 to 1",
		},
		{
			name: "distributed LRU without a ratio", node: node(), data: map[string]string{"bpf-distributed-lru": "true"},
			says: "bpf-distributed-lru needs bpf-map-dynamic-size-ratio",
		},
		{
			name: "settings not known: the maps tell", node: change(func(n *sizing.Node) { n.CTTCP, n.CTAny = 131072, 65536 }),
			values: "bpf.natMax=352256 bpf.ctTcpMax=286720",
		},
		{
			name: "settings not known, nor CT maps seen", node: node(),
			values: "bpf.natMax=753664 bpf.ctTcpMax=753664",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			var settings *sizing.Settings
			if c.data != nil {
				s, err := sizing.ParseSettings(c.data)
				if err != nil {
					t.Fatal(err)
				}
				settings = &s
			}
			p := sizing.NewPlan([]sizing.Node{c.node}, settings)
			var values []string
			for _, v := range p.Values {
				values = append(values, v.Path+"="+v.Value)
			}
			if got := strings.Join(values, " "); got != c.values {
				t.Errorf("values %s, want %s; %+v", got, c.values, p.Nodes)
			}
			said := strings.Join(append(append([]string{p.InForce, p.Refused, p.Impossible}, p.NotInForce...), p.Effects...), "\n")
			if !strings.Contains(said, c.says) || c.not != "" && strings.Contains(said, c.not) {
				t.Errorf("it says %s", said)
			}
			if restart := c.name == "set, not in force"; restart != (len(p.Restart) == 1) {
				t.Errorf("to be restarted: %q", p.Restart)
			}
		})
	}
}
