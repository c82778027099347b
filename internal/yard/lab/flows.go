// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"fmt"
	"net/netip"
	"strings"
	"time"

	"github.com/cilium/cilium/api/v1/flow"
	"github.com/cilium/cilium/api/v1/observer"
	"google.golang.org/protobuf/types/known/timestamppb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	datapath "github.com/renat-project/renat/bpf/lab"
	"github.com/renat-project/renat/correlator"
)

// The laboratory's names.
const (
	nodeName    = "lab-node"
	clusterName = "lab"
	namespace   = "lab"
	serverName  = "server.outside.example"

	identityHost  = 1 // Cilium's reserved identities
	identityWorld = 2
	identityPods  = 900 // the first pod's; Cilium counts workloads from 256
	endpointPods  = 100 // the first pod's endpoint id

	// Cilium pkg/monitor/api: MessageTypeDrop and MessageTypeTrace.
	monitorDrop  = 1
	monitorTrace = 4

	dropped = 0 // the point of a report
)

// flowWriter makes Hubble's flows of what the datapath reports.
type flowWriter struct {
	family family
	pods   map[netip.Addr]*flow.Endpoint
	made   uint64
}

func newFlowWriter(f family) *flowWriter {
	w := &flowWriter{family: f, pods: map[netip.Addr]*flow.Endpoint{}}
	for i, c := range classes {
		w.pods[f.pod(i)] = &flow.Endpoint{
			ID: uint32(endpointPods + i), Identity: uint32(identityPods + i), ClusterName: clusterName,
			Namespace: namespace, PodName: podName(c),
			Labels:    []string{"k8s:app=" + dashed(c), "k8s:io.kubernetes.pod.namespace=" + namespace},
			Workloads: []*flow.Workload{{Kind: "Deployment", Name: dashed(c)}},
		}
	}
	return w
}

func podName(c Class) string { return dashed(c) + "-7d4b9" }

// dashed makes a class a name that Kubernetes would allow.
func dashed(c Class) string { return strings.ReplaceAll(string(c), "_", "-") }

// response returns a packet as Hubble would stream it, stamped now: Hubble
// stamps what it reads, not what happened.
func (w *flowWriter) response(r *datapath.Report, now time.Time) *observer.GetFlowsResponse {
	w.made++
	reply := r.Reason == uint8(flow.TraceReason_REPLY)
	f := &flow.Flow{
		Time: timestamppb.New(now), Uuid: uuid(now, w.made),
		Emitter: &flow.Emitter{Name: "Hubble"}, Verdict: flow.Verdict_FORWARDED,
		IP: &flow.IP{Source: r.Src.Addr().String(), Destination: r.Dst.Addr().String(), IpVersion: flow.IPVersion_IPv4},
		L4: &flow.Layer4{Protocol: &flow.Layer4_TCP{TCP: &flow.TCP{
			SourcePort: uint32(r.Src.Port()), DestinationPort: uint32(r.Dst.Port()), Flags: tcpFlags(r.Flags),
		}}},
		Source: w.endpoint(r.Src.Addr()), Destination: w.endpoint(r.Dst.Addr()),
		Type: flow.FlowType_L3_L4, NodeName: nodeName, IsReply: wrapperspb.Bool(reply),
		EventType:        &flow.CiliumEventType{Type: monitorTrace, SubType: subType(r.Point)},
		TrafficDirection: flow.TrafficDirection_EGRESS,
		TraceReason:      flow.TraceReason(r.Reason), TraceObservationPoint: flow.TraceObservationPoint(r.Point),
		Summary: "TCP Flags: " + strings.ReplaceAll(correlator.TCPFlags(r.Flags).String(), ",", ", "), //nolint:staticcheck // what hubble observe prints
	}
	if r.Point == dropped {
		f.Verdict, f.DropReasonDesc, f.IsReply = flow.Verdict_DROPPED, flow.DropReason(r.Reason), nil
		f.EventType = &flow.CiliumEventType{Type: monitorDrop, SubType: int32(r.Reason)}
		f.TraceReason, f.TraceObservationPoint = 0, 0
	}
	if r.Src.Addr().Is6() {
		f.IP.IpVersion = flow.IPVersion_IPv6
	}
	if f.GetDestination().GetIdentity() == identityWorld {
		f.DestinationNames = []string{serverName}
	} else if f.GetSource().GetIdentity() == identityWorld {
		f.SourceNames = []string{serverName}
	}
	return &observer.GetFlowsResponse{
		ResponseTypes: &observer.GetFlowsResponse_Flow{Flow: f}, NodeName: nodeName, Time: f.GetTime(),
	}
}

func (w *flowWriter) endpoint(ip netip.Addr) *flow.Endpoint {
	switch pod := w.pods[ip]; {
	case pod != nil:
		return pod
	case ip == w.family.server:
		return &flow.Endpoint{Identity: identityWorld, Labels: []string{"reserved:world"}}
	}
	return &flow.Endpoint{Identity: identityHost}
}

// subType is the monitor's number of an observation point. They are the same
// but for to-endpoint, which is 0 there.
func subType(point uint8) int32 {
	if point == uint8(flow.TraceObservationPoint_TO_ENDPOINT) {
		return 0
	}
	return int32(point)
}

func tcpFlags(b uint8) *flow.TCPFlags {
	f := correlator.TCPFlags(b)
	return &flow.TCPFlags{
		FIN: f&correlator.FIN != 0, SYN: f&correlator.SYN != 0, RST: f&correlator.RST != 0, PSH: f&correlator.PSH != 0,
		ACK: f&correlator.ACK != 0, URG: f&correlator.URG != 0, ECE: f&correlator.ECE != 0, CWR: f&correlator.CWR != 0,
	}
}

// uuid returns an id of version 7: the time in milliseconds, then a counter
// where others are random.
func uuid(now time.Time, n uint64) string {
	ms := now.UnixMilli()
	return fmt.Sprintf("%08x-%04x-7000-8000-%012x", ms>>16, ms&0xffff, n)
}
