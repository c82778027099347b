// SPDX-License-Identifier: Apache-2.0

package proxy_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/cilium/cilium/api/v1/observer"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protojson"

	"github.com/renat-project/renat/correlator"
	"github.com/renat-project/renat/hubble/enrich"
	"github.com/renat-project/renat/hubble/hubbletest"
	"github.com/renat-project/renat/hubble/proxy"
)

// knowing is a source that knows the connections with even pod ports.
type knowing struct{}

var snat, _ = correlator.ParseAddr("192.0.2.1:61565")

func (knowing) Find(f *enrich.Flow) (enrich.Addition, bool) {
	t := f.Tuples()[0]
	if t.Src.Port%2 == 1 {
		return enrich.Addition{}, false
	}
	return enrich.Addition{
		PreNAT: t.Src, PostNAT: snat, Was: correlator.Addr{IP: snat.IP, Port: t.Src.Port},
		Incident: &enrich.Incident{ID: "142cbfffeea5011c", Kind: "renat", Cause: "lru_eviction", Outcome: "reset"},
	}, true
}

// ignorant is a source that knows nothing.
type ignorant struct{}

func (ignorant) Find(*enrich.Flow) (enrich.Addition, bool) { return enrich.Addition{}, false }

func recorded(t testing.TB) (flows []*observer.GetFlowsResponse) {
	t.Helper()
	for _, name := range []string{"cilium-1.15.19", "cilium-1.20.2"} {
		b, err := os.ReadFile("../testdata/" + name + ".jsonl")
		if err != nil {
			t.Fatal(err)
		}
		for line := range bytes.Lines(b) {
			resp := &observer.GetFlowsResponse{}
			if err := (protojson.UnmarshalOptions{DiscardUnknown: true}).Unmarshal(line, resp); err != nil {
				t.Fatal(err)
			}
			flows = append(flows, resp)
		}
	}
	return flows
}

func observe(t testing.TB, c hubbletest.Config) *hubbletest.Server {
	t.Helper()
	s, err := hubbletest.New(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Stop)
	return s
}

// front starts a proxy and returns its address.
func front(t testing.TB, c proxy.Config) (string, *proxy.Proxy) {
	t.Helper()
	address := "unix://" + filepath.Join(t.TempDir(), "hubble.sock")
	if c.Listener == nil {
		var err error
		if c.Listener, err = proxy.Listen(t.Context(), address, "", nil); err != nil {
			t.Fatal(err)
		}
	} else {
		address = "dns:///" + c.Listener.Addr().String()
	}
	p, err := proxy.New(c)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error)
	go func() { ended <- p.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Errorf("the proxy ended with %v", err)
		}
	})
	return address, p
}

func connect(t testing.TB, address string, more ...grpc.DialOption) *grpc.ClientConn {
	t.Helper()
	conn, err := grpc.NewClient(address, append([]grpc.DialOption{grpc.WithTransportCredentials(insecure.NewCredentials())}, more...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

// reply is all that a client sees of a call.
type reply struct {
	flows           []*observer.GetFlowsResponse
	header, trailer metadata.MD
	code            codes.Code
	message         string
}

func ask(t testing.TB, conn *grpc.ClientConn, req *observer.GetFlowsRequest) (r reply) {
	t.Helper()
	stream, err := observer.NewObserverClient(conn).GetFlows(t.Context(), req)
	if err != nil {
		t.Fatal(err)
	}
	r.header, _ = stream.Header()
	for {
		resp, err := stream.Recv()
		if err != nil {
			if !errors.Is(err, io.EOF) {
				r.code, r.message = status.Code(err), status.Convert(err).Message()
			}
			r.trailer = stream.Trailer()
			return r
		}
		r.flows = append(r.flows, resp)
	}
}
