// SPDX-License-Identifier: Apache-2.0

package hubble

import (
	"github.com/cilium/cilium/api/v1/flow"
	"github.com/cilium/cilium/api/v1/observer"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/renat-project/renat/correlator"
)

// FromResponse converts one message of a GetFlows stream, decoded with
// Cilium's generated types. ok is false, without an error, for messages that
// hold nothing for the correlator: protocols without ports, observation points
// that were not asked for, a relay's node status. An error means that the flow
// cannot be used: no valid time, address or port.
//
// Event.Time is the flow's time; a loss keeps the response's, or 0 if it has
// none. The peers are not interned.
func FromResponse(resp *observer.GetFlowsResponse) (ev correlator.Event, ok bool, err error) {
	r := recordOfResponse(resp)
	f := resp.GetFlow()
	ok, err = r.event(&ev)
	if ok && r.variant == variantFlow {
		ev.Flow.Src = newPeer(f.GetSource(), f.GetSourceNames())
		ev.Flow.Dst = newPeer(f.GetDestination(), f.GetDestinationNames())
	}
	return ev, ok, err
}

func recordOfResponse(resp *observer.GetFlowsResponse) (r record) {
	r = record{outer: stampOf(resp.GetTime())}
	f, lost := resp.GetFlow(), resp.GetLostEvents()
	switch resp.GetResponseTypes().(type) {
	case *observer.GetFlowsResponse_Flow:
		r.variant = variantFlow
		r.flow = recordOf(f)
	case *observer.GetFlowsResponse_LostEvents:
		r.variant = variantLost
		r.lost = lostRecord{
			source: int32(lost.GetSource()), count: lost.GetNumEventsLost(),
			first: stampOf(lost.GetFirst()), last: stampOf(lost.GetLast()),
		}
	}
	return r
}

func recordOf(f *flow.Flow) flowRecord {
	r := flowRecord{
		time: stampOf(f.GetTime()), uuid: f.GetUuid(),
		source: f.GetIP().GetSource(), dest: f.GetIP().GetDestination(),
		xlated:    f.GetIP().GetSourceXlated(),
		eventType: f.GetEventType().GetType(),
		point:     int32(f.GetTraceObservationPoint()),
		reason:    int32(f.GetTraceReason()),
		drop:      int32(f.GetDropReasonDesc()),
	}
	switch p := f.GetL4().GetProtocol().(type) {
	case *flow.Layer4_TCP:
		r.l4, r.sport, r.dport = l4TCP, p.TCP.GetSourcePort(), p.TCP.GetDestinationPort()
		r.flags = flagsOf(p.TCP.GetFlags())
	case *flow.Layer4_UDP:
		r.l4, r.sport, r.dport = l4UDP, p.UDP.GetSourcePort(), p.UDP.GetDestinationPort()
	case *flow.Layer4_SCTP:
		r.l4, r.sport, r.dport = l4SCTP, p.SCTP.GetSourcePort(), p.SCTP.GetDestinationPort()
	}
	return r
}

func flagsOf(f *flow.TCPFlags) (flags correlator.TCPFlags) {
	for i, set := range []bool{
		f.GetFIN(), f.GetSYN(), f.GetRST(), f.GetPSH(), f.GetACK(), f.GetURG(), f.GetECE(), f.GetCWR(), f.GetNS(),
	} {
		if set {
			flags |= 1 << i
		}
	}
	return flags
}

func stampOf(t *timestamppb.Timestamp) stamp {
	if t == nil {
		return stamp{}
	}
	return stamp{set: true, seconds: t.GetSeconds(), nanos: t.GetNanos()}
}

// newPeer returns nil where Hubble knew nothing: a masked response holds an
// empty endpoint then.
func newPeer(ep *flow.Endpoint, names []string) *correlator.Peer {
	p := &correlator.Peer{
		Identity: ep.GetIdentity(), Namespace: ep.GetNamespace(), Pod: ep.GetPodName(),
		Labels: ep.GetLabels(), Names: names,
	}
	if w := ep.GetWorkloads(); len(w) > 0 {
		p.Workload = w[0].GetName()
		if kind := w[0].GetKind(); kind != "" {
			p.Workload = kind + "/" + p.Workload
		}
	}
	if p.Identity == 0 && p.Namespace == "" && p.Pod == "" && p.Workload == "" && len(p.Labels) == 0 && len(p.Names) == 0 {
		return nil
	}
	return p
}
