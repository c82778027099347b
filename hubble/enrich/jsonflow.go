// SPDX-License-Identifier: Apache-2.0

package enrich

import (
	"cmp"
	"net/netip"

	"github.com/cilium/cilium/api/v1/flow"

	"github.com/renat-project/renat/correlator"
)

// jsonResponse is what is read of a line. hubble writes the names as they are
// in the protobuf definition; protobuf's JSON of other programs has lowerCamel
// case.
type jsonResponse struct {
	Flow jsonFlow `json:"flow"`
}

type jsonFlow struct {
	Time string `json:"time"`
	IP   struct {
		Source       string `json:"source"`
		Destination  string `json:"destination"`
		SourceXlated string `json:"source_xlated"`
		XlatedCamel  string `json:"sourceXlated"`
	} `json:"IP"`
	L4 struct {
		TCP, UDP, SCTP *jsonPorts
	} `json:"l4"`
	IsReply      *bool  `json:"is_reply"`
	IsReplyCamel *bool  `json:"isReply"`
	Point        string `json:"trace_observation_point"`
	PointCamel   string `json:"traceObservationPoint"`
}

type jsonPorts struct {
	Source           number `json:"source_port"`
	SourceCamel      number `json:"sourcePort"`
	Destination      number `json:"destination_port"`
	DestinationCamel number `json:"destinationPort"`
	Flags            struct{ SYN, ACK bool }
}

// flow returns what a Source is asked; false for a flow without ports.
func (j *jsonFlow) flow() (Flow, bool) {
	f := Flow{Time: unixNano(j.Time)}
	var ports *jsonPorts
	switch {
	case j.L4.TCP != nil:
		f.Tuple.Protocol, ports = correlator.TCP, j.L4.TCP
		f.Opens = ports.Flags.SYN && !ports.Flags.ACK
	case j.L4.UDP != nil:
		f.Tuple.Protocol, ports = correlator.UDP, j.L4.UDP
	case j.L4.SCTP != nil:
		f.Tuple.Protocol, ports = correlator.SCTP, j.L4.SCTP
	default:
		return f, false
	}
	var ok [2]bool
	point := flow.TraceObservationPoint(flow.TraceObservationPoint_value[cmp.Or(j.Point, j.PointCamel)])
	xlated := cmp.Or(j.IP.SourceXlated, j.IP.XlatedCamel)
	f.Network = xlated != "" || outside(point)
	f.Tuple.Src, ok[0] = addr(j.IP.Source, cmp.Or(ports.Source, ports.SourceCamel))
	if ok[0] && xlated != "" {
		f.Tuple.Src, ok[0] = addr(xlated, cmp.Or(ports.Source, ports.SourceCamel))
	}
	f.Tuple.Dst, ok[1] = addr(j.IP.Destination, cmp.Or(ports.Destination, ports.DestinationCamel))
	switch reply := cmp.Or(j.IsReply, j.IsReplyCamel); {
	case reply != nil && *reply:
		f.Direction = Reply
	case reply != nil, point == flow.TraceObservationPoint_TO_STACK:
		f.Direction = FromPod
	}
	return f, ok[0] && ok[1]
}

func addr(ip string, port number) (correlator.Addr, bool) {
	a, err := netip.ParseAddr(ip)
	if err != nil || a.Zone() != "" || port < 0 || port > 65535 {
		return correlator.Addr{}, false
	}
	return correlator.AddrOf(netip.AddrPortFrom(a, uint16(port))), true
}
