// SPDX-License-Identifier: Apache-2.0

package proxy_test

import (
	"errors"
	"io"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/cilium/cilium/api/v1/observer"
	"golang.org/x/sys/unix"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/fieldmaskpb"

	"github.com/renat-project/renat/hubble/enrich"
	"github.com/renat-project/renat/hubble/hubbletest"
	"github.com/renat-project/renat/hubble/proxy"
)

// BenchmarkFlows is one flow from an Observer to a client that decodes it, as
// all but the JSON output of hubble observe asks for it: without a proxy,
// through one that adds nothing, and through one that adds to every second
// flow. Observer, proxy and client share this process's cores.
func BenchmarkFlows(b *testing.B) {
	flows := recorded(b)
	run := func(source enrich.Source) func(*testing.B) {
		return func(b *testing.B) {
			server := observe(b, hubbletest.Config{Capacity: b.N})
			for i := range b.N {
				if err := server.Feed(flows[i%len(flows)]); err != nil {
					b.Fatal(err)
				}
			}
			server.Seal()
			address := server.Addr()
			if source != nil {
				address, _ = front(b, proxy.Config{Upstream: address, Source: source})
			}
			conn := connect(b, address, grpc.WithReadBufferSize(128<<10))
			b.ReportAllocs()
			b.ResetTimer()
			before := cpuTime(b)
			stream, err := observer.NewObserverClient(conn).GetFlows(b.Context(), &observer.GetFlowsRequest{
				First: true, Number: uint64(b.N), FieldMask: &fieldmaskpb.FieldMask{Paths: []string{
					"time", "verdict", "IP", "l4", "source.identity", "source.namespace", "source.pod_name", "destination.identity",
					"destination.namespace", "destination.pod_name", "Type", "node_name", "event_type", "is_reply", "Summary",
				}},
			})
			if err != nil {
				b.Fatal(err)
			}
			n := 0
			for ; ; n++ {
				if _, err := stream.Recv(); errors.Is(err, io.EOF) {
					break
				} else if err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(cpuTime(b)-before)/float64(b.N), "cpu-ns/op")
			if n < b.N-1 {
				b.Errorf("%d of %d flows", n, b.N)
			}
		}
	}
	b.Run("direct", run(nil))
	b.Run("through", run(ignorant{}))
	b.Run("enriched", run(knowing{}))
}

// cpuTime returns what this process has used.
func cpuTime(b *testing.B) time.Duration {
	b.Helper()
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkLatency is by how much a flow comes later through a proxy that adds
// to it, at 1,000 flows/s: both clients read the same Observer at once.
func BenchmarkLatency(b *testing.B) {
	flows := recorded(b)
	server := observe(b, hubbletest.Config{})
	address, _ := front(b, proxy.Config{Upstream: server.Addr(), Source: knowing{}})
	feed := func() {
		if err := server.Feed(flows[0]); err != nil {
			b.Error(err)
		}
	}
	for range 3 {
		feed()
	}
	var arrived [2][]time.Time
	var reading, ready sync.WaitGroup
	for n, a := range []string{server.Addr(), address} {
		stream, err := observer.NewObserverClient(connect(b, a)).GetFlows(b.Context(), &observer.GetFlowsRequest{Follow: true, Number: 1})
		if err != nil {
			b.Fatal(err)
		}
		ready.Add(1)
		reading.Go(func() {
			for i := range b.N + 1 {
				if _, err := stream.Recv(); err != nil {
					b.Error(err)
				}
				if arrived[n] = append(arrived[n], time.Now()); i == 0 {
					ready.Done()
				}
			}
		})
	}
	ready.Wait()
	b.ResetTimer()
	start := time.Now()
	for i := range b.N {
		time.Sleep(time.Until(start.Add(time.Duration(i) * time.Millisecond)))
		feed()
	}
	reading.Wait()
	late := make([]time.Duration, b.N)
	for i := range late {
		late[i] = arrived[1][i+1].Sub(arrived[0][i+1])
	}
	slices.Sort(late)
	b.ReportMetric(float64(late[b.N/2].Microseconds()), "p50-µs")
	b.ReportMetric(float64(late[b.N*99/100].Microseconds()), "p99-µs")
}
