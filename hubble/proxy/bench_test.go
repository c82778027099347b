// SPDX-License-Identifier: Apache-2.0

package proxy_test

import (
	"errors"
	"io"
	"testing"

	"github.com/cilium/cilium/api/v1/observer"
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
				if err := server.Feed(b.Context(), flows[i%len(flows)]); err != nil {
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
			if n < b.N-1 {
				b.Errorf("%d of %d flows", n, b.N)
			}
		}
	}
	b.Run("direct", run(nil))
	b.Run("through", run(ignorant{}))
	b.Run("enriched", run(knowing{}))
}
