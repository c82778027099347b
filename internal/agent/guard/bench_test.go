// SPDX-License-Identifier: Apache-2.0

package guard

import (
	"fmt"
	"runtime"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/renat-project/renat/correlator"
	"github.com/renat-project/renat/internal/sizing"
)

// cpuTime is this process's, garbage collection included.
func cpuTime(b *testing.B) time.Duration {
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkNode has a second of a busy node: 5,000 connections open, talk and end
// after another second, 10,000 others live, in a NAT map of 131,072 entries on 8
// CPUs; runs are as many as so many updates need, and what talks is left to its own
// packets. The kernel's part is BenchmarkTouch's of kprobes for each connection that
// is looked up.
func BenchmarkNode(b *testing.B) {
	const live, opened, entries, cpus = 10_000, 5_000, 131_072, 8
	n := newNode(entries)
	g, err := New(Config{}, n, cpus)
	if err != nil {
		b.Fatal(err)
	}
	n.updates = make([]uint64, cpus)
	ev := flow(1, cart, 0, 0)
	show := func(n int, flags correlator.TCPFlags, reason correlator.Reason) {
		ev.Tuple.Src.Port, ev.Tuple.Dst.IP[15] = uint16(n), byte(n>>16)
		ev.Flow.Flags, ev.Flow.Reason = flags, reason
		g.Flow(ev)
	}
	for i := range live {
		ev.Flow.Src = &correlator.Peer{Namespace: "shop", Pod: fmt.Sprint("cart-", i)}
		show(i, correlator.ACK, correlator.ReasonEstablished)
	}
	runtime.LockOSThread() // whose time is told
	defer runtime.UnlockOSThread()
	now, every := start, uint64(sizing.TouchEvery(entries, cpus, false))
	looked := 0
	began := cpuTime(b)
	b.ResetTimer()
	for young := live + opened; b.Loop(); young += opened {
		for i := range opened {
			show(young+i-opened, correlator.ACK|correlator.FIN, correlator.ReasonEstablished)
			show(young+i-opened, correlator.ACK, correlator.ReasonEstablished)
			show(young+i, correlator.SYN, correlator.ReasonNew)
			show(young+i, correlator.ACK, correlator.ReasonEstablished)
			show(young+i, correlator.ACK|correlator.PSH, correlator.ReasonEstablished)
			if n.updates[0] += 2; n.updates[0]%every < 2 || i%(opened/4) == 0 {
				n.touched = n.touched[:0]
				if _, err := g.turn(b.Context(), now.Add(time.Duration(i)*time.Second/opened)); err != nil {
					b.Fatal(err)
				}
				looked += len(n.touched)
			}
		}
		now = now.Add(time.Second)
	}
	if s := g.Status(); s.Runs == 0 || s.Connections < live || s.Known > live+opened || s.Problem != "" {
		b.Fatalf("%+v", s)
	}
	b.ReportMetric((cpuTime(b)-began).Seconds()/float64(b.N), "cores")
	b.ReportMetric(float64(g.Status().Runs)/float64(b.N), "runs/s")
	b.ReportMetric(float64(looked)/float64(b.N), "connections/s")
}
