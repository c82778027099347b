// SPDX-License-Identifier: Apache-2.0

package hubbletest

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/cilium/cilium/api/v1/flow"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// fields builds the match of each filter field that is known here.
var fields = map[protoreflect.Name]func(*flow.FlowFilter) (match, error){
	"uuid":    func(ff *flow.FlowFilter) (match, error) { return oneOf(ff.GetUuid(), (*flow.Flow).GetUuid) },
	"verdict": func(ff *flow.FlowFilter) (match, error) { return oneOf(ff.GetVerdict(), (*flow.Flow).GetVerdict) },
	"source_identity": func(ff *flow.FlowFilter) (match, error) {
		return oneOf(ff.GetSourceIdentity(), func(f *flow.Flow) uint32 { return f.GetSource().GetIdentity() })
	},
	"destination_identity": func(ff *flow.FlowFilter) (match, error) {
		return oneOf(ff.GetDestinationIdentity(), func(f *flow.Flow) uint32 { return f.GetDestination().GetIdentity() })
	},
	"ip_version": func(ff *flow.FlowFilter) (match, error) {
		return oneOf(ff.GetIpVersion(), func(f *flow.Flow) flow.IPVersion { return f.GetIP().GetIpVersion() })
	},
	"source_ip": func(ff *flow.FlowFilter) (match, error) {
		return byIP(ff.GetSourceIp(), func(f *flow.Flow) string { return f.GetIP().GetSource() })
	},
	"source_ip_xlated": func(ff *flow.FlowFilter) (match, error) {
		return byIP(ff.GetSourceIpXlated(), func(f *flow.Flow) string { return f.GetIP().GetSourceXlated() })
	},
	"destination_ip": func(ff *flow.FlowFilter) (match, error) {
		return byIP(ff.GetDestinationIp(), func(f *flow.Flow) string { return f.GetIP().GetDestination() })
	},
	"source_pod": func(ff *flow.FlowFilter) (match, error) { return byPod(ff.GetSourcePod(), (*flow.Flow).GetSource) },
	"destination_pod": func(ff *flow.FlowFilter) (match, error) {
		return byPod(ff.GetDestinationPod(), (*flow.Flow).GetDestination)
	},
	"source_label":     func(ff *flow.FlowFilter) (match, error) { return byLabel(ff.GetSourceLabel()) },
	"source_port":      func(ff *flow.FlowFilter) (match, error) { return byPort(ff.GetSourcePort(), 0) },
	"destination_port": func(ff *flow.FlowFilter) (match, error) { return byPort(ff.GetDestinationPort(), 1) },
	"drop_reason_desc": byDropReason,
	"event_type":       byEventType,
	"protocol":         byProtocol,
	"tcp_flags":        byTCPFlags,
	"reply":            byReply,
}

func oneOf[T comparable](wanted []T, get func(*flow.Flow) T) (match, error) {
	return func(f *flow.Flow) bool { return slices.Contains(wanted, get(f)) }, nil
}

func byDropReason(ff *flow.FlowFilter) (match, error) {
	return func(f *flow.Flow) bool {
		return f.GetVerdict() == flow.Verdict_DROPPED && slices.Contains(ff.GetDropReasonDesc(), f.GetDropReasonDesc())
	}, nil
}

func byReply(ff *flow.FlowFilter) (match, error) {
	return func(f *flow.Flow) bool {
		return f.GetIsReply() != nil && slices.Contains(ff.GetReply(), f.GetIsReply().GetValue())
	}, nil
}

func byEventType(ff *flow.FlowFilter) (match, error) {
	return func(f *flow.Flow) bool {
		ev := f.GetEventType()
		return ev != nil && slices.ContainsFunc(ff.GetEventType(), func(t *flow.EventTypeFilter) bool {
			return (t.GetType() == 0 || t.GetType() == ev.GetType()) && (!t.GetMatchSubType() || t.GetSubType() == ev.GetSubType())
		})
	}, nil
}

// byIP takes addresses and prefixes.
func byIP(wanted []string, get func(*flow.Flow) string) (match, error) {
	var prefixes []netip.Prefix
	for _, s := range wanted {
		p, err := netip.ParsePrefix(s)
		if !strings.Contains(s, "/") {
			var a netip.Addr
			a, err = netip.ParseAddr(s)
			p = netip.PrefixFrom(a, a.BitLen())
		}
		if err != nil {
			return nil, err
		}
		prefixes = append(prefixes, p)
	}
	return func(f *flow.Flow) bool {
		a, err := netip.ParseAddr(get(f))
		return err == nil && slices.ContainsFunc(prefixes, func(p netip.Prefix) bool { return p.Contains(a) })
	}, nil
}

// byPod takes "namespace/prefix", "namespace/", "/prefix", and "prefix", which
// is of the namespace default.
func byPod(wanted []string, get func(*flow.Flow) *flow.Endpoint) (match, error) {
	if slices.Contains(wanted, "") {
		return nil, errors.New("the name is empty")
	}
	return func(f *flow.Flow) bool {
		ep := get(f)
		if ep.GetNamespace() == "" && ep.GetPodName() == "" {
			return false
		}
		return slices.ContainsFunc(wanted, func(w string) bool {
			ns, pod, found := strings.Cut(w, "/")
			if !found {
				ns, pod = "default", w
			}
			return (ns == "" || ns == ep.GetNamespace()) && strings.HasPrefix(ep.GetPodName(), pod)
		})
	}, nil
}

// byLabel takes whole labels with their source ("reserved:world"), no selectors.
func byLabel(wanted []string) (match, error) {
	for _, w := range wanted {
		if source, key, found := strings.Cut(w, ":"); !found || source == "" || key == "" || strings.ContainsAny(w, " (,!") {
			return nil, fmt.Errorf("this server knows whole labels only, not %q", w)
		}
	}
	return func(f *flow.Flow) bool {
		return slices.ContainsFunc(wanted, func(w string) bool { return slices.Contains(f.GetSource().GetLabels(), w) })
	}, nil
}

// byPort looks at the source port (side 0) or the destination port (side 1).
func byPort(wanted []string, side int) (match, error) {
	var ports []uint32
	for _, s := range wanted {
		n, err := strconv.ParseUint(s, 10, 16)
		if err != nil {
			return nil, err
		}
		ports = append(ports, uint32(n))
	}
	return func(f *flow.Flow) bool {
		var p [2]uint32
		switch l4 := f.GetL4().GetProtocol().(type) {
		case *flow.Layer4_TCP:
			p = [2]uint32{l4.TCP.GetSourcePort(), l4.TCP.GetDestinationPort()}
		case *flow.Layer4_UDP:
			p = [2]uint32{l4.UDP.GetSourcePort(), l4.UDP.GetDestinationPort()}
		case *flow.Layer4_SCTP:
			p = [2]uint32{l4.SCTP.GetSourcePort(), l4.SCTP.GetDestinationPort()}
		default:
			return false
		}
		return slices.Contains(ports, p[side])
	}, nil
}

func byProtocol(ff *flow.FlowFilter) (match, error) {
	var wanted []string
	for _, p := range ff.GetProtocol() {
		p = strings.ToLower(p)
		if !slices.Contains([]string{"tcp", "udp", "sctp", "icmp", "icmpv4", "icmpv6"}, p) {
			return nil, fmt.Errorf("this server does not know the protocol %q", p)
		}
		wanted = append(wanted, p)
	}
	return func(f *flow.Flow) bool {
		switch f.GetL4().GetProtocol().(type) {
		case *flow.Layer4_TCP:
			return slices.Contains(wanted, "tcp")
		case *flow.Layer4_UDP:
			return slices.Contains(wanted, "udp")
		case *flow.Layer4_SCTP:
			return slices.Contains(wanted, "sctp")
		case *flow.Layer4_ICMPv4:
			return slices.Contains(wanted, "icmp") || slices.Contains(wanted, "icmpv4")
		case *flow.Layer4_ICMPv6:
			return slices.Contains(wanted, "icmp") || slices.Contains(wanted, "icmpv6")
		}
		return false
	}, nil
}

// byTCPFlags matches flows that have all flags of one of the wanted sets.
func byTCPFlags(ff *flow.FlowFilter) (match, error) {
	var wanted []uint
	for _, f := range ff.GetTcpFlags() {
		wanted = append(wanted, flagBits(f))
	}
	return func(f *flow.Flow) bool {
		flags := f.GetL4().GetTCP().GetFlags()
		have := flagBits(flags)
		return flags != nil && slices.ContainsFunc(wanted, func(w uint) bool { return have&w == w })
	}, nil
}

func flagBits(f *flow.TCPFlags) (bits uint) {
	for i, set := range []bool{
		f.GetFIN(), f.GetSYN(), f.GetRST(), f.GetPSH(), f.GetACK(), f.GetURG(), f.GetECE(), f.GetCWR(), f.GetNS(),
	} {
		if set {
			bits |= 1 << i
		}
	}
	return bits
}
