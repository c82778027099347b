// SPDX-License-Identifier: Apache-2.0

package main

import (
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/cilium/cilium/api/v1/observer"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"github.com/renat-project/renat/correlator"
	"github.com/renat-project/renat/hubble"
	"github.com/renat-project/renat/hubble/hubbletest"
)

// serve repeats the recorded flows n times in all, prints its address, and
// ends when its input does.
func serve(n int, path string) error {
	flows, err := load(path)
	if err != nil {
		return err
	}
	srv, err := hubbletest.New(hubbletest.Config{Capacity: n + 1})
	if err != nil {
		return err
	}
	defer srv.Stop()
	for i := range n {
		if err := srv.Feed(flows[i%len(flows)]); err != nil {
			return err
		}
	}
	srv.Seal()
	fmt.Println(srv.Addr())
	_, err = io.Copy(io.Discard, os.Stdin)
	return err
}

// load reads the flows that every reader would get: those with ports.
func load(path string) (flows []*observer.GetFlowsResponse, err error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var r io.Reader = f
	if strings.HasSuffix(path, ".gz") {
		if r, err = gzip.NewReader(f); err != nil {
			return nil, err
		}
	}
	b, err := io.ReadAll(r)
	if err != nil {
		return nil, err
	}
	for line := range strings.Lines(string(b)) {
		resp := &observer.GetFlowsResponse{}
		if err := (protojson.UnmarshalOptions{DiscardUnknown: true}).Unmarshal([]byte(line), resp); err != nil {
			return nil, err
		}
		if _, ok, err := hubble.FromResponse(resp); ok && err == nil {
			flows = append(flows, resp)
		}
	}
	if len(flows) == 0 {
		return nil, fmt.Errorf("%s holds no flows", path)
	}
	return flows, nil
}

// readers are the kinds of reader that this command contains.
var readers = []struct{ name, about string }{
	{"client", "renat's client, decoded and converted"},
	{"undecoded", "received and not decoded"},
	{"generated", "generated decoder, nothing done with the flow"},
}

func read(role, addr string, n int) error {
	got := 0
	if role == "client" {
		c, err := hubble.New(hubble.Config{Address: addr})
		if err != nil {
			return err
		}
		if err := c.Run(context.Background(), func(correlator.Event) { got++ }); err != nil {
			return err
		}
		return check(got, n)
	}
	// Whole flows, as the stock CLI gets them for -o json.
	conn, err := grpc.NewClient(addr, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return err
	}
	defer conn.Close()
	opts := []grpc.CallOption{}
	if role == "undecoded" {
		opts = append(opts, grpc.ForceCodecV2(discard{}))
	}
	stream, err := observer.NewObserverClient(conn).GetFlows(context.Background(), &observer.GetFlowsRequest{First: true}, opts...)
	if err != nil {
		return err
	}
	for {
		if _, err := stream.Recv(); errors.Is(err, io.EOF) {
			return check(got, n)
		} else if err != nil {
			return err
		}
		got++
	}
}

func check(got, n int) error {
	if got != n {
		return fmt.Errorf("got %d flows of %d", got, n)
	}
	return nil
}

// discard is a codec that decodes nothing.
type discard struct{}

func (discard) Name() string                         { return "proto" }
func (discard) Unmarshal(mem.BufferSlice, any) error { return nil }

func (discard) Marshal(v any) (mem.BufferSlice, error) {
	b, err := proto.Marshal(v.(proto.Message))
	return mem.BufferSlice{mem.SliceBuffer(b)}, err
}
