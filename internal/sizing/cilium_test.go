// SPDX-License-Identifier: Apache-2.0

package sizing_test

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"strconv"
	"testing"

	"github.com/renat-project/renat/internal/sizing"
)

// cilium is what an agent does with the settings of its ConfigMap when it
// starts, by its rules on sizes (pkg/option/config.go of 1.16 to 1.20), put down
// here once more and in another way than the package does.
type cilium struct {
	minor  int // 1.minor
	memory uint64
	cpus   int
}

// maps are the sizes of a node's maps.
type mapSizes struct{ nat, ctTCP, ctAny int }

// start returns the sizes that the agent asks the kernel for, or why it ends.
func (c cilium) start(data map[string]string) (mapSizes, error) {
	entries := func(key string, standard int) (n int, set bool) {
		v, set := data[key]
		if !set {
			return standard, false
		}
		n, _ = strconv.Atoi(v)
		return n, true
	}
	z := mapSizes{}
	var natSet, tcpSet, anySet bool
	z.nat, natSet = entries("bpf-nat-global-max", 524288)
	z.ctTCP, tcpSet = entries("bpf-ct-global-tcp-max", 524288)
	z.ctAny, anySet = entries("bpf-ct-global-any-max", 262144)
	ratio, _ := strconv.ParseFloat(data["bpf-map-dynamic-size-ratio"], 64)
	distributed := data["bpf-distributed-lru"] == "true"
	up := func(n int) int { return min((n+c.cpus-1)/c.cpus*c.cpus, 16777216/c.cpus*c.cpus) }
	switch {
	case ratio > 0 && ratio <= 1:
		dynamic := func(standard, least int) int {
			n := min(max(int(float64(standard)*(float64(c.memory)*ratio)/149422080), least), 16777216)
			if distributed && c.minor >= 18 {
				n = up(n)
			}
			return n
		}
		if !tcpSet {
			z.ctTCP = dynamic(524288, 131072)
		}
		if !anySet {
			z.ctAny = dynamic(262144, 65536)
		}
		if !natSet {
			z.nat = min(dynamic(524288, 131072), 16777216)
			if z.nat > z.ctTCP+z.ctAny {
				z.nat = (z.ctTCP + z.ctAny) * 2 / 3
			}
		}
	case distributed:
		return z, fmt.Errorf("distributed LRU without a ratio")
	case ratio != 0:
		return z, fmt.Errorf("ratio %v", ratio)
	}
	if distributed && c.minor >= 19 {
		z.nat, z.ctTCP, z.ctAny = up(z.nat), up(z.ctTCP), up(z.ctAny)
	}
	for _, n := range []int{z.nat, z.ctTCP, z.ctAny} {
		if n < 1024 || n > 16777216 {
			return z, fmt.Errorf("size %d", n)
		}
	}
	if z.nat > z.ctTCP+z.ctAny {
		if z.nat != 524288 {
			return z, fmt.Errorf("NAT map of %d entries, CT maps of %d", z.nat, z.ctTCP+z.ctAny)
		}
		z.nat = (z.ctTCP + z.ctAny) * 2 / 3
	}
	return z, nil
}

// kernel are the sizes that the kernel makes of them.
func (c cilium) kernel(z mapSizes, distributed bool) mapSizes {
	if !distributed {
		return z
	}
	up := func(n int) int { return (n + c.cpus - 1) / c.cpus * c.cpus }
	return mapSizes{up(z.nat), up(z.ctTCP), up(z.ctAny)}
}

// situation is a cluster: its agents, the settings of its ConfigMap, and its nodes.
type situation struct {
	agents []cilium
	data   map[string]string
	nodes  []sizing.Node
}

// situate makes up a cluster. What is in force on its nodes may be of other
// settings than those there are.
func situate(r *rand.Rand) situation {
	var s situation
	s.data = randomSettings(r)
	inForce := s.data
	if r.IntN(4) == 0 {
		inForce = randomSettings(r)
	}
	mixed := r.IntN(4) == 0
	version, cpus := 16+r.IntN(5), pick(r, 1, 2, 4, 8, 12, 16, 48, 64, 96, 128)
	for n := range 1 + r.IntN(4) {
		if mixed {
			version, cpus = 16+r.IntN(5), pick(r, 2, 4, 6, 8, 12, 16, 20, 36, 48, 56, 64, 96, 128, 240)
		}
		c := cilium{minor: version, cpus: cpus, memory: uint64(1+r.IntN(512)) << 30}
		z, err := c.start(inForce)
		if err != nil { // what is in force is what was before
			z, _ = c.start(map[string]string{"bpf-map-dynamic-size-ratio": "0.0025"})
		}
		distributed := inForce["bpf-distributed-lru"] == "true" && err == nil
		z = c.kernel(z, distributed)
		s.agents = append(s.agents, c)
		node := sizing.Node{
			Name: fmt.Sprint("node-", n), Map: "cilium_snat_v4_external", MaxEntries: z.nat, CTTCP: z.ctTCP, CTAny: z.ctAny,
			Distributed: distributed, CPUs: cpus, Memory: c.memory, Cilium: fmt.Sprintf("cilium v1.%d.%d+g0123abc", version, r.IntN(10)),
			Measured: sizing.Measured{Inserts: r.ExpFloat64() * 500, Evicting: r.IntN(2) == 0, Live: r.Float64() * float64(z.nat)},
		}
		if r.IntN(8) == 0 {
			node.Cilium = "" // Hubble is off
		}
		if r.IntN(8) == 0 {
			node.CTTCP, node.CTAny = 0, 0 // not seen yet
		}
		if r.IntN(4) == 0 {
			node.Live = 0 // nobody asked
		}
		if r.IntN(2) == 0 {
			node.Peak = r.Float64() * float64(z.nat)
		}
		s.nodes = append(s.nodes, node)
	}
	return s
}

func randomSettings(r *rand.Rand) map[string]string {
	data := map[string]string{}
	switch r.IntN(10) {
	case 0: // fixed sizes
	case 1:
		data["bpf-map-dynamic-size-ratio"] = pick(r, "-1", "1.5", "25")
	case 2, 3:
		data["bpf-map-dynamic-size-ratio"] = fmt.Sprintf("%.5f", r.Float64()/50)
	default:
		data["bpf-map-dynamic-size-ratio"] = "0.0025"
	}
	entries := func() string {
		return strconv.Itoa(pick(r, 524288, 131072, 262144, 1<<20, 1024, 100, 1<<24, 1<<25, 2000+r.IntN(1<<20)))
	}
	for _, key := range []string{"bpf-nat-global-max", "bpf-ct-global-tcp-max", "bpf-ct-global-any-max"} {
		if r.IntN(3) == 0 {
			data[key] = entries()
		}
	}
	if r.IntN(3) == 0 {
		data["bpf-distributed-lru"] = "true"
	}
	if r.IntN(3) == 0 {
		data["conntrack-gc-interval"] = pick(r, "30s", "1m", "5m")
	}
	return data
}

func pick[T any](r *rand.Rand, of ...T) T { return of[r.IntN(len(of))] }

// TestNoAdviceIsRefused follows the advice on 10,000 clusters that are made up:
// Cilium takes it, each map gets what was advised and is kept at a restart, and
// none shrinks. What is set and enough is never advised again.
func TestNoAdviceIsRefused(t *testing.T) {
	r := rand.New(rand.NewPCG(13, 12))
	const rounds = 10_000
	var advised, restart, impossible, refused int
	for round := range rounds {
		s := situate(r)
		settings, err := sizing.ParseSettings(s.data)
		if err != nil {
			t.Fatal(err)
		}
		given := &settings
		if r.IntN(5) == 0 {
			given = nil // the settings are not known; what Cilium does is the same
		}
		p := sizing.NewPlan(s.nodes, given)
		fail := func(format string, args ...any) {
			t.Helper()
			t.Fatalf("round %d: %s\nsettings %v (known: %v)\nagents %+v\nnodes %+v\nplan %+v", round, fmt.Sprintf(format, args...), s.data, given != nil, s.agents, s.nodes, p)
		}
		with := maps.Clone(s.data)
		for _, v := range p.Values {
			with[v.Flag] = v.Value
		}
		ends := false
		for n, c := range s.agents {
			z, err := c.start(with)
			before, errBefore := c.start(s.data)
			ends = ends || errBefore != nil
			distributed := with["bpf-distributed-lru"] == "true"
			switch {
			case len(p.Values) == 0:
			case given == nil && s.otherwiseSet():
				continue // of settings that are not known nothing can be promised
			case err != nil:
				fail("node %d: refused: %v", n, err)
			case strconv.Itoa(z.nat) != with["bpf-nat-global-max"] && (!distributed || c.minor < 19 || z.nat < s.nodes[n].MaxEntries):
				fail("node %d: the NAT map gets %d entries", n, z.nat)
			case distributed && z != c.kernel(z, true):
				fail("node %d: maps of %+v are made anew at each start", n, z)
			}
			// The largest multiple of the CPUs is less than Cilium's limit.
			const highest = 16777216 - 1<<16
			tcp, others := min(s.nodes[n].CTTCP, before.ctTCP, highest), min(s.nodes[n].CTAny, before.ctAny, highest)
			if len(p.Values) > 0 && (z.nat < s.nodes[n].MaxEntries || z.ctTCP < tcp || z.ctAny < others) {
				fail("node %d: %+v are less than what is in force", n, z)
			}
			if len(p.Values) > 0 && errBefore == nil && z.nat < before.nat {
				fail("node %d: %d is less than what is set", n, z.nat)
			}
			// Whoever needs more has it when the advice is followed.
			if a := p.Nodes[n]; a.Needs() && p.Impossible == "" && p.Refused == "" && given != nil && z.nat < min(a.Entries, highest) {
				fail("node %d needs %d and gets %d", n, a.Entries, z.nat)
			}
		}
		if given != nil && !given.Distributed && ends != (p.Refused != "") { // what is rounded may be less than what is refused
			fail("that Cilium does not start with what is set is %v", ends)
		}
		switch {
		case p.Impossible != "":
			impossible++
		case len(p.Values) > 0:
			advised++
		case p.Refused != "":
			refused++
		case len(p.Restart) > 0:
			restart++
		}
	}
	t.Logf("of %d: %d advised, %d to be restarted, %d refused as they are, %d impossible", rounds, advised, restart, refused, impossible)
	if advised < rounds/4 || restart < rounds/100 || refused < rounds/20 {
		t.Errorf("too few of some kind: %d advised, %d to be restarted, %d refused", advised, restart, refused)
	}
}

// otherwiseSet reports whether what is set would not give what is in force, or
// would not even be taken.
func (s situation) otherwiseSet() bool {
	for n, c := range s.agents {
		z, err := c.start(s.data)
		have := s.nodes[n]
		if err != nil || have.Distributed != (s.data["bpf-distributed-lru"] == "true") || c.kernel(z, have.Distributed) != (mapSizes{have.MaxEntries, have.CTTCP, have.CTAny}) {
			return true
		}
	}
	return false
}
