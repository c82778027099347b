// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"context"
	"errors"
	"io"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/cilium/cilium/api/v1/observer"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/renat-project/renat/hubble/enrich"
)

// services are those that an agent's Observer has.
var services = []string{
	"observer.Observer", "peer.Peer", "grpc.health.v1.Health",
	"grpc.reflection.v1.ServerReflection", "grpc.reflection.v1alpha.ServerReflection",
}

// call is one call that is passed on.
type call struct {
	proxy    *Proxy
	down     grpc.ServerStream
	up       grpc.ClientStream
	getFlows bool
	parts    atomic.Pointer[enrich.Parts] // what may be added; nil until the request is known
}

// forward is the handler of every call.
func (p *Proxy) forward(_ any, down grpc.ServerStream) error {
	method, ok := grpc.MethodFromServerStream(down)
	service, _, _ := strings.Cut(strings.TrimPrefix(method, "/"), "/")
	if !ok || !slices.Contains(services, service) {
		return status.Errorf(codes.Unimplemented, "unknown service %v", service)
	}
	p.calls.Add(1)
	conn, err := p.dial()
	if err != nil {
		return status.Error(codes.Unavailable, err.Error())
	}
	defer conn.Close()
	ctx, cancel := context.WithCancel(down.Context())
	defer cancel()
	md, _ := metadata.FromIncomingContext(ctx)
	both := &grpc.StreamDesc{ClientStreams: true, ServerStreams: true}
	up, err := conn.NewStream(metadata.NewOutgoingContext(ctx, md), both, method)
	if err != nil {
		return err
	}
	c := &call{proxy: p, down: down, up: up, getFlows: method == observer.Observer_GetFlows_FullMethodName}
	go func() {
		if c.requests() != nil {
			cancel()
		}
	}()
	return c.responses()
}

// requests passes on what the client sends until it has sent all.
func (c *call) requests() error {
	for {
		var f frame
		if err := c.down.RecvMsg(&f); errors.Is(err, io.EOF) {
			return c.up.CloseSend()
		} else if err != nil {
			return err
		}
		if c.getFlows {
			f.bytes(func(b []byte) {
				parts := wanted(b)
				c.parts.Store(&parts)
			})
		}
		if err := c.up.SendMsg(&f); errors.Is(err, io.EOF) {
			return nil // the call has ended: responses knows how
		} else if err != nil {
			return err
		}
	}
}

// wanted returns which of the fields that are added to the client asks for.
// Without the addresses and ports there is nothing to look for.
func wanted(request []byte) enrich.Parts {
	var req observer.GetFlowsRequest
	if proto.Unmarshal(request, &req) != nil {
		return enrich.Parts{}
	}
	paths := req.GetFieldMask().GetPaths()
	if len(paths) == 0 {
		return enrich.Parts{Summary: true, Extensions: true}
	}
	if !slices.Contains(paths, "IP") || !slices.Contains(paths, "l4") {
		return enrich.Parts{}
	}
	return enrich.Parts{Summary: slices.Contains(paths, "Summary"), Extensions: slices.Contains(paths, "extensions")}
}

// responses passes on what the Observer answers until it ends the call, and
// returns its status.
func (c *call) responses() error {
	header, err := c.up.Header()
	if err == nil && header != nil {
		err = c.down.SendHeader(header)
	}
	for err == nil {
		var f frame
		if err = c.up.RecvMsg(&f); err != nil {
			break
		}
		if c.getFlows {
			c.enrich(&f)
		}
		err = c.down.SendMsg(&f)
	}
	c.down.SetTrailer(c.up.Trailer())
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}

// enrich adds to a flow what there is to add.
func (c *call) enrich(f *frame) {
	parts := c.parts.Load()
	pool := mem.DefaultBufferPool()
	var memory *[]byte
	f.bytes(func(b []byte) {
		c.proxy.count(b)
		if parts == nil || *parts == (enrich.Parts{}) {
			return
		}
		if _, ok := enrich.Response(c.proxy.config.Source, *parts, b, func(size int) []byte {
			memory = pool.Get(size)
			return *memory
		}); !ok {
			return
		}
		c.proxy.enriched.Add(1)
	})
	if memory != nil {
		f.replace(mem.NewBuffer(memory, pool))
	}
}
