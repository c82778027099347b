// SPDX-License-Identifier: Apache-2.0

package hubbletest

import (
	"context"
	"maps"
	"slices"
	"time"

	"github.com/cilium/cilium/api/v1/flow"
	"github.com/cilium/cilium/api/v1/observer"
	"github.com/cilium/cilium/api/v1/relay"
	"github.com/cilium/cilium/pkg/hubble/parser/fieldmask"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/timestamppb"
)

// versionHeader is the response header in which Hubble servers name themselves.
const versionHeader = "hubble-server-version"

func (s *Server) header() metadata.MD { return metadata.Pairs(versionHeader, s.cfg.Version) }

// ServerStatus implements observer.ObserverServer.
func (s *Server) ServerStatus(ctx context.Context, _ *observer.ServerStatusRequest) (*observer.ServerStatusResponse, error) {
	if err := grpc.SetHeader(ctx, s.header()); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ring.mu.Lock()
	defer s.ring.mu.Unlock()
	held := s.ring.len()
	if s.ring.sealed {
		held-- // the end is no event
	}
	uptime := time.Since(s.started)
	return &observer.ServerStatusResponse{
		Version:   s.cfg.Version,
		MaxFlows:  uint64(s.ring.slots - 1),
		NumFlows:  uint64(held),
		SeenFlows: s.ring.flows,
		UptimeNs:  uint64(uptime),
		FlowsRate: float64(s.ring.flows) / uptime.Seconds(),
	}, nil
}

// GetNodes implements observer.ObserverServer as a relay of this one node does.
func (s *Server) GetNodes(ctx context.Context, _ *observer.GetNodesRequest) (*observer.GetNodesResponse, error) {
	st, err := s.ServerStatus(ctx, nil)
	if err != nil {
		return nil, err
	}
	return &observer.GetNodesResponse{Nodes: []*observer.Node{{
		Name: s.cfg.NodeName, Version: st.GetVersion(), Address: s.Addr(), State: relay.NodeState_NODE_CONNECTED,
		Tls: &observer.TLS{Enabled: s.cfg.TLS != nil}, UptimeNs: st.GetUptimeNs(),
		NumFlows: st.GetNumFlows(), MaxFlows: st.GetMaxFlows(), SeenFlows: st.GetSeenFlows(),
	}}}, nil
}

// GetNamespaces implements observer.ObserverServer.
func (s *Server) GetNamespaces(ctx context.Context, _ *observer.GetNamespacesRequest) (*observer.GetNamespacesResponse, error) {
	if err := grpc.SetHeader(ctx, s.header()); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	resp := &observer.GetNamespacesResponse{}
	for _, ns := range slices.Sorted(maps.Keys(s.namespaces)) {
		resp.Namespaces = append(resp.Namespaces, &observer.Namespace{Cluster: "default", Namespace: ns})
	}
	return resp, nil
}

// GetFlows implements observer.ObserverServer.
func (s *Server) GetFlows(req *observer.GetFlowsRequest, stream grpc.ServerStreamingServer[observer.GetFlowsResponse]) error {
	if req.GetFirst() && req.GetFollow() {
		return status.Error(codes.InvalidArgument, "first cannot be specified with follow")
	}
	for _, t := range []*timestamppb.Timestamp{req.GetSince(), req.GetUntil()} {
		if err := t.CheckValid(); t != nil && err != nil {
			return status.Error(codes.InvalidArgument, err.Error())
		}
	}
	filter, err := newFilter(req.GetWhitelist(), req.GetBlacklist())
	if err != nil {
		return err
	}
	m, err := fieldmask.New(req.GetFieldMask())
	if err != nil {
		return err
	}
	if err := stream.SetHeader(s.header()); err != nil {
		return err
	}
	want := span{first: req.GetFirst(), follow: req.GetFollow(), number: req.GetNumber()}
	if req.GetSince() != nil {
		want.since = req.GetSince().AsTime()
	}
	a := &answer{server: s, req: req, filter: filter, mask: m, stream: stream, span: want, masked: &flow.Flow{}}
	rd := s.current().open(want, func(e entry) bool { return filter(e.flow) })
	defer rd.close()
	return a.run(rd)
}
