// SPDX-License-Identifier: Apache-2.0

package jsonpb

import (
	"github.com/cilium/cilium/api/v1/flow"
	"github.com/cilium/cilium/api/v1/observer"
	"google.golang.org/protobuf/types/known/timestamppb"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// message is a response and the parts that it may have, made once; each is
// emptied when it is taken.
type message struct {
	resp      observer.GetFlowsResponse
	member    observer.GetFlowsResponse_Flow
	flow      flow.Flow
	outer     timestamppb.Timestamp
	time      timestamppb.Timestamp
	ip        flow.IP
	l4        flow.Layer4
	tcp       flow.TCP
	flags     flow.TCPFlags
	udp       flow.UDP
	sctp      flow.SCTP
	ends      [2]flow.Endpoint // source and destination
	eventType flow.CiliumEventType
	reply     wrapperspb.BoolValue
}

// takes are what is done with a field, by its path; every message on the way to
// one has a place here, too.
var takes = withEndpoints(map[string]func(*Reader, value){
	"response.flow": func(r *Reader, _ value) {
		r.flow.flow.Reset()
		r.flow.member.Flow = &r.flow.flow
		r.flow.resp.ResponseTypes = &r.flow.member
	},
	"response.node_name": func(r *Reader, v value) { r.flow.resp.NodeName = v.text },
	"response.time": func(r *Reader, v value) {
		r.flow.resp.Time = setTime(&r.flow.outer, v)
	},
	"response.flow.time":                    func(r *Reader, v value) { r.flow.flow.Time = setTime(&r.flow.time, v) },
	"response.flow.uuid":                    func(r *Reader, v value) { r.flow.flow.Uuid = v.text },
	"response.flow.verdict":                 func(r *Reader, v value) { r.flow.flow.Verdict = flow.Verdict(v.number) },
	"response.flow.node_name":               func(r *Reader, v value) { r.flow.flow.NodeName = v.text },
	"response.flow.trace_observation_point": func(r *Reader, v value) { r.flow.flow.TraceObservationPoint = flow.TraceObservationPoint(v.number) },
	"response.flow.trace_reason":            func(r *Reader, v value) { r.flow.flow.TraceReason = flow.TraceReason(v.number) },
	"response.flow.drop_reason_desc":        func(r *Reader, v value) { r.flow.flow.DropReasonDesc = flow.DropReason(v.number) },
	"response.flow.source_names":            func(r *Reader, v value) { r.flow.flow.SourceNames = append(r.flow.flow.SourceNames, v.text) },
	"response.flow.destination_names":       func(r *Reader, v value) { r.flow.flow.DestinationNames = append(r.flow.flow.DestinationNames, v.text) },
	"response.flow.is_reply": func(r *Reader, v value) {
		r.flow.reply.Reset()
		r.flow.reply.Value = v.number != 0
		r.flow.flow.IsReply = &r.flow.reply
	},
	"response.flow.event_type": func(r *Reader, _ value) {
		r.flow.eventType.Reset()
		r.flow.flow.EventType = &r.flow.eventType
	},
	"response.flow.event_type.type":     func(r *Reader, v value) { r.flow.eventType.Type = int32(v.number) },
	"response.flow.event_type.sub_type": func(r *Reader, v value) { r.flow.eventType.SubType = int32(v.number) },
	"response.flow.IP": func(r *Reader, _ value) {
		r.flow.ip.Reset()
		r.flow.flow.IP = &r.flow.ip
	},
	"response.flow.IP.source":        func(r *Reader, v value) { r.flow.ip.Source = v.text },
	"response.flow.IP.destination":   func(r *Reader, v value) { r.flow.ip.Destination = v.text },
	"response.flow.IP.source_xlated": func(r *Reader, v value) { r.flow.ip.SourceXlated = v.text },
	"response.flow.l4": func(r *Reader, _ value) {
		r.flow.l4.Reset()
		r.flow.flow.L4 = &r.flow.l4
	},
	"response.flow.l4.TCP": func(r *Reader, _ value) {
		r.flow.tcp.Reset()
		r.flow.l4.Protocol = &flow.Layer4_TCP{TCP: &r.flow.tcp}
	},
	"response.flow.l4.TCP.source_port":      func(r *Reader, v value) { r.flow.tcp.SourcePort = uint32(v.number) },
	"response.flow.l4.TCP.destination_port": func(r *Reader, v value) { r.flow.tcp.DestinationPort = uint32(v.number) },
	"response.flow.l4.TCP.flags": func(r *Reader, _ value) {
		r.flow.flags.Reset()
		r.flow.tcp.Flags = &r.flow.flags
	},
	"response.flow.l4.TCP.flags.FIN": func(r *Reader, v value) { r.flow.flags.FIN = v.number != 0 },
	"response.flow.l4.TCP.flags.SYN": func(r *Reader, v value) { r.flow.flags.SYN = v.number != 0 },
	"response.flow.l4.TCP.flags.RST": func(r *Reader, v value) { r.flow.flags.RST = v.number != 0 },
	"response.flow.l4.TCP.flags.PSH": func(r *Reader, v value) { r.flow.flags.PSH = v.number != 0 },
	"response.flow.l4.TCP.flags.ACK": func(r *Reader, v value) { r.flow.flags.ACK = v.number != 0 },
	"response.flow.l4.TCP.flags.URG": func(r *Reader, v value) { r.flow.flags.URG = v.number != 0 },
	"response.flow.l4.TCP.flags.ECE": func(r *Reader, v value) { r.flow.flags.ECE = v.number != 0 },
	"response.flow.l4.TCP.flags.CWR": func(r *Reader, v value) { r.flow.flags.CWR = v.number != 0 },
	"response.flow.l4.TCP.flags.NS":  func(r *Reader, v value) { r.flow.flags.NS = v.number != 0 },
	"response.flow.l4.UDP": func(r *Reader, _ value) {
		r.flow.udp.Reset()
		r.flow.l4.Protocol = &flow.Layer4_UDP{UDP: &r.flow.udp}
	},
	"response.flow.l4.UDP.source_port":      func(r *Reader, v value) { r.flow.udp.SourcePort = uint32(v.number) },
	"response.flow.l4.UDP.destination_port": func(r *Reader, v value) { r.flow.udp.DestinationPort = uint32(v.number) },
	"response.flow.l4.SCTP": func(r *Reader, _ value) {
		r.flow.sctp.Reset()
		r.flow.l4.Protocol = &flow.Layer4_SCTP{SCTP: &r.flow.sctp}
	},
	"response.flow.l4.SCTP.source_port":      func(r *Reader, v value) { r.flow.sctp.SourcePort = uint32(v.number) },
	"response.flow.l4.SCTP.destination_port": func(r *Reader, v value) { r.flow.sctp.DestinationPort = uint32(v.number) },
	"response.flow.l4.ICMPv4":                func(r *Reader, _ value) { r.flow.l4.Protocol = &flow.Layer4_ICMPv4{ICMPv4: &flow.ICMPv4{}} },
	"response.flow.l4.ICMPv6":                func(r *Reader, _ value) { r.flow.l4.Protocol = &flow.Layer4_ICMPv6{ICMPv6: &flow.ICMPv6{}} },
	"response.flow.l4.VRRP":                  func(r *Reader, _ value) { r.flow.l4.Protocol = &flow.Layer4_VRRP{VRRP: &flow.VRRP{}} },
	"response.flow.l4.IGMP":                  func(r *Reader, _ value) { r.flow.l4.Protocol = &flow.Layer4_IGMP{IGMP: &flow.IGMP{}} },
})

// withEndpoints adds what is done with a flow's source and destination.
func withEndpoints(all map[string]func(*Reader, value)) map[string]func(*Reader, value) {
	for n, path := range []string{"response.flow.source", "response.flow.destination"} {
		all[path] = func(r *Reader, _ value) {
			r.flow.ends[n].Reset()
			if n == 0 {
				r.flow.flow.Source = &r.flow.ends[n]
			} else {
				r.flow.flow.Destination = &r.flow.ends[n]
			}
		}
		all[path+".identity"] = func(r *Reader, v value) { r.flow.ends[n].Identity = uint32(v.number) }
		all[path+".namespace"] = func(r *Reader, v value) { r.flow.ends[n].Namespace = v.text }
		all[path+".pod_name"] = func(r *Reader, v value) { r.flow.ends[n].PodName = v.text }
		all[path+".labels"] = func(r *Reader, v value) { r.flow.ends[n].Labels = append(r.flow.ends[n].Labels, v.text) }
		all[path+".workloads"] = func(r *Reader, _ value) {
			r.flow.ends[n].Workloads = append(r.flow.ends[n].Workloads, &flow.Workload{})
		}
		last := func(r *Reader) *flow.Workload { w := r.flow.ends[n].Workloads; return w[len(w)-1] }
		all[path+".workloads.name"] = func(r *Reader, v value) { last(r).Name = v.text }
		all[path+".workloads.kind"] = func(r *Reader, v value) { last(r).Kind = v.text }
	}
	return all
}

func setTime(t *timestamppb.Timestamp, v value) *timestamppb.Timestamp {
	t.Reset()
	t.Seconds, t.Nanos = v.number, v.nanos
	return t
}
