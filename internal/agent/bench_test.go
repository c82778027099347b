// SPDX-License-Identifier: Apache-2.0

package agent_test

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/cilium/cilium/api/v1/flow"

	"github.com/renat-project/renat/correlator"
	"github.com/renat-project/renat/sinks/jetstream"
)

// BenchmarkLatency measures from an RST's flow being written by the Observer to
// its incident being stored in JetStream, through real gRPC and NATS, one
// connection breaking every 10 ms:
// go test ./internal/agent -run '^$' -bench Latency -benchtime 1000x
func BenchmarkLatency(b *testing.B) {
	n := startNode(b, nil)
	n.awaitReady()
	written := map[netip.AddrPort]time.Time{}
	count := 0
	for b.Loop() {
		n.open(b.Context(), count)
		time.Sleep(10 * time.Millisecond)
		if old := count - 5; old >= 0 {
			written[connectionOf(old).pod] = time.Now()
			n.sever(b.Context(), old)
			n.other(b.Context()) // a busy node: Hubble's newest event waits for the next
		}
		count++
	}
	n.awaitForwarded(uint64(len(written)))
	var took []time.Duration
	err := jetstream.Read(b.Context(), connect(b, n.config.NATS.URL), jetstream.ReadOptions{}, func(s jetstream.Stored) error {
		took = append(took, s.At.Sub(written[s.Incident.Source.AddrPort()]))
		return nil
	})
	if err != nil || len(took) != len(written) {
		b.Fatalf("%d of %d incidents, %v", len(took), len(written), err)
	}
	slices.Sort(took)
	b.ReportMetric(took[len(took)/2].Seconds()*1000, "ms-p50")
	b.ReportMetric(took[len(took)*99/100].Seconds()*1000, "ms-p99")
	b.ReportMetric(0, "ns/op")
}

const (
	// A collector's turn: so many entries deleted in a tenth of a second, and
	// every so many seconds.
	soakBurst      = 50_000
	soakBurstEvery = 20
	// soakResidentMiB is what the agent may hold through all of it.
	soakResidentMiB = 250
)

// soakLoad is what a node's agent gets a second.
type soakLoad struct {
	flows, changes int
	step           time.Duration // between those that come at once
	connections    int           // that talk
	tracked        int           // at the benchmark's beginning
}

// BenchmarkSoak puts an agent in a process of its own under a node's load, one
// second an operation, and reports what it takes:
// go test ./internal/agent -run '^$' -bench Soak/busy -benchtime 600x -timeout 20m
func BenchmarkSoak(b *testing.B) {
	for name, l := range map[string]soakLoad{
		"busy": {20_000, 5_000, 10 * time.Millisecond, 200_000, 262_144},
		"calm": {1_000, 250, time.Millisecond, 5_000, 5_000},
	} {
		b.Run(name, l.soak)
	}
}

func (l soakLoad) soak(b *testing.B) {
	server := newHubble(b, 1<<16)
	address := freeAddress(b)
	hub := startHub(b)
	j := &journal{stored: map[string]bool{}}
	p := startProcess(b, childConfig{Hubble: server.Addr(), NATS: hub.ClientURL(), StateDir: b.TempDir(), Listen: address}, j)
	tr := traffic{t: b, hubble: server, changes: func(changes ...correlator.Event) {
		if err := p.change(changes...); err != nil {
			b.Fatal(err)
		}
	}}
	n := &node{t: b, http: "http://" + address}
	soak := &soak{soakLoad: l, traffic: tr}
	eventually(b, "the agent answers", n.answers)
	soak.second(b.Context())
	n.awaitReady()
	for n.status().Tracking.Connections < l.tracked {
		soak.second(b.Context())
	}
	before, cpu := usageOf(b, n, p.Process.Pid), cpuOf(b, p.Process.Pid)
	peak := before
	flows := soak.flows
	for b.Loop() {
		soak.second(b.Context())
		peak.residentMiB = max(peak.residentMiB, usageOf(b, n, p.Process.Pid).residentMiB)
	}
	after := usageOf(b, n, p.Process.Pid)
	perThousand := (cpuOf(b, p.Process.Pid) - cpu).Seconds() * 1e3 / float64(soak.flows-flows) * 1e3
	eventually(b, "every broken connection is named", func() bool {
		return n.status().Incidents.Total >= uint64(soak.broken) //nolint:gosec // few
	})
	s := n.status()
	if int(s.Incidents.Reset) != soak.broken || len(s.Losses) != 0 { //nolint:gosec // few
		b.Errorf("%d connections broke; incidents %+v, losses %v", soak.broken, s.Incidents, s.Losses)
	}
	if peak.residentMiB > soakResidentMiB {
		b.Errorf("the agent held %.0f MiB, at most %d are promised", peak.residentMiB, soakResidentMiB)
	}
	b.ReportMetric(before.residentMiB, "MiB-start")
	b.ReportMetric(peak.residentMiB, "MiB-peak")
	b.ReportMetric(after.residentMiB, "MiB-end")
	b.ReportMetric(before.liveMiB, "live-MiB-start")
	b.ReportMetric(after.liveMiB, "live-MiB-end")
	b.ReportMetric(before.goroutines, "goroutines-start")
	b.ReportMetric(after.goroutines, "goroutines-end")
	b.ReportMetric(float64(s.Tracking.Connections), "connections")
	b.ReportMetric(perThousand, "cpu-ms/1000flows")
	b.ReportMetric(0, "ns/op")
	if err := p.end(b, syscall.SIGTERM); err != nil {
		b.Error(err)
	}
}

// soak makes the load: flows of all connections in turn; entries that come and
// go; and one connection a second that breaks.
type soak struct {
	soakLoad
	traffic
	flows, entries, broken, seconds, collected int
}

func (s *soak) second(ctx context.Context) {
	next := time.Now()
	s.seconds++
	steps := int(time.Second / s.step)
	for step := range steps {
		if s.tracked > soakBurst && s.seconds%soakBurstEvery == 0 && step < steps/10 {
			s.collect(soakBurst / (steps / 10))
		}
		for range (step+1)*s.soakLoad.flows/steps - step*s.soakLoad.flows/steps {
			c := connectionOf(s.flows % s.connections)
			s.feed(ctx, c.pod, c.server, flow.TraceObservationPoint_TO_STACK, &flow.TCPFlags{ACK: true})
			s.flows++
		}
		var changes []correlator.Event
		for range (step+1)*s.soakLoad.changes/steps - step*s.soakLoad.changes/steps {
			// Of connections that nobody has seen: new ones, and old ones going.
			op := correlator.Insert
			if s.entries%2 == 1 {
				op = correlator.Evict
			}
			c := connectionOf(s.connections + s.entries/2)
			changes = append(changes, change(op, correlator.Out, c.pod, c.server, c.before))
			s.entries++
		}
		s.traffic.changes(changes...)
		next = next.Add(s.step)
		time.Sleep(time.Until(next))
	}
	if s.flows > s.connections {
		s.sever(ctx, s.broken)
		s.other(ctx)
		s.broken++
	}
}

// collect deletes entries that came since its last turn, as the collector of the
// Cilium agent does.
func (s *soak) collect(n int) {
	var changes []correlator.Event
	for range n {
		c := connectionOf(s.connections + s.collected%(max(s.entries, 2)/2))
		changes = append(changes, change(correlator.Delete, correlator.Out, c.pod, c.server, c.before))
		s.collected++
	}
	s.traffic.changes(changes...)
}

// usage is what a process holds; liveMiB is its heap after the last collection,
// which is half of the goal of the next (GOGC 100).
type usage struct{ residentMiB, liveMiB, goroutines float64 }

// usageOf reads what a process holds.
func usageOf(b *testing.B, n *node, pid int) usage {
	b.Helper()
	var u usage
	u.residentMiB = number(b, readFile(b, fmt.Sprintf("/proc/%d/status", pid)), "VmRSS:") / 1024
	metrics := n.get("/metrics")
	u.goroutines = number(b, metrics, "\ngo_goroutines ")
	u.liveMiB = number(b, metrics, "\ngo_memstats_next_gc_bytes ") / 2 / (1 << 20)
	return u
}

// number returns the number after a word of a text.
func number(b testing.TB, text, word string) float64 {
	b.Helper()
	_, rest, _ := strings.Cut(text, word)
	fields := strings.Fields(rest)
	if len(fields) == 0 {
		b.Fatalf("no %q", word)
	}
	v, err := strconv.ParseFloat(fields[0], 64)
	if err != nil {
		b.Fatal(err)
	}
	return v
}

// cpuOf returns the CPU time a process has had: fields 14 and 15 of its stat, in
// hundredths of a second (proc(5)).
func cpuOf(b *testing.B, pid int) time.Duration {
	b.Helper()
	_, rest, _ := strings.Cut(readFile(b, fmt.Sprintf("/proc/%d/stat", pid)), ") ")
	fields := strings.Fields(rest)
	var ticks int64
	for _, f := range fields[11:13] {
		n, err := strconv.ParseInt(f, 10, 64)
		if err != nil {
			b.Fatal(err)
		}
		ticks += n
	}
	return time.Duration(ticks) * 10 * time.Millisecond
}

func readFile(b testing.TB, name string) string {
	b.Helper()
	raw, err := os.ReadFile(name)
	if err != nil {
		b.Fatal(err)
	}
	return string(raw)
}

func freeAddress(b testing.TB) string {
	b.Helper()
	l := listen(b, "127.0.0.1:0")
	defer l.Close()
	return l.Addr().String()
}
