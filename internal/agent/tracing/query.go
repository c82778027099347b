// SPDX-License-Identifier: Apache-2.0

package tracing

import (
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/renat-project/renat/correlator"
	"github.com/renat-project/renat/kprobes"
)

// MaxLast is how many past flows may be asked for.
const MaxLast = 1000

// Query says what to trace.
type Query struct {
	Namespace, Pod string // a pod by its name, as Hubble knows it
	Pods           []correlator.Addr
	Server         correlator.Addr
	Protocol       correlator.Protocol
	NoNAT, NoCT    bool
	Last           int // of the flows that came before, this many
}

// ParseQuery reads the parameters of /v1/trace: pod=namespace/name, ip=ip[:port]
// (may be given twice, for IPv4 and IPv6), to=ip[:port], which leaves out an ip
// of the other version, protocol, map=nat or ct, last.
func ParseQuery(v url.Values) (q Query, err error) {
	if pod := v.Get("pod"); pod != "" {
		var whole bool
		if q.Namespace, q.Pod, whole = strings.Cut(pod, "/"); !whole || q.Namespace == "" || q.Pod == "" {
			return q, fmt.Errorf("pod %q is not namespace/name", pod)
		}
	}
	for _, ip := range v["ip"] {
		a, err := parseEnd(ip)
		if err != nil {
			return q, fmt.Errorf("ip %w", err)
		}
		q.Pods = append(q.Pods, a)
	}
	if to := v.Get("to"); to != "" {
		if q.Server, err = parseEnd(to); err != nil {
			return q, fmt.Errorf("to %w", err)
		}
	}
	if p := v.Get("protocol"); p != "" {
		if q.Protocol, err = correlator.ParseProtocol(strings.ToUpper(p)); err != nil {
			return q, err
		}
	}
	switch m := v.Get("map"); m {
	case "":
	case "nat":
		q.NoCT = true
	case "ct":
		q.NoNAT = true
	default:
		return q, fmt.Errorf("map %q is neither nat nor ct", m)
	}
	if last := v.Get("last"); last != "" {
		if q.Last, err = strconv.Atoi(last); err != nil || q.Last < 0 || q.Last > MaxLast {
			return q, fmt.Errorf("last %q is not a number from 0 to %d", last, MaxLast)
		}
	}
	if err := q.check(); err != nil {
		return q, err
	}
	q.Pods = slices.DeleteFunc(q.Pods, func(p correlator.Addr) bool { return !q.reaches(p) })
	return q, nil
}

func (q *Query) check() error {
	if q.Pod == "" && len(q.Pods) == 0 && q.Server.IsZero() {
		return errors.New("nothing chosen: give pod, ip or to")
	}
	if len(q.Pods) > 2 || len(q.Pods) == 2 && is6(q.Pods[0]) == is6(q.Pods[1]) {
		return errors.New("a trace follows one ip of IPv4 and one of IPv6")
	}
	if len(q.Pods) > 0 && !slices.ContainsFunc(q.Pods, q.reaches) {
		return errors.New("ip and to are of different IP versions")
	}
	return nil
}

// reaches says whether the server, if one is asked for, is of the IP version of
// a pod's address.
func (q *Query) reaches(pod correlator.Addr) bool {
	return q.Server.IP == ([16]byte{}) || is6(pod) == is6(q.Server)
}

// parseEnd reads ip or ip:port.
func parseEnd(s string) (correlator.Addr, error) {
	if ip, err := netip.ParseAddr(strings.Trim(s, "[]")); err == nil {
		return correlator.AddrOf(netip.AddrPortFrom(ip, 0)), nil
	}
	a, err := correlator.ParseAddr(s)
	if err != nil {
		return a, fmt.Errorf("%q is not ip, ip:port or [ip]:port", s)
	}
	return a, nil
}

func is6(a correlator.Addr) bool { return a.AddrPort().Addr().Is6() }

// selections are what the kernel is to look for, given the pod's addresses.
func (q *Query) selections(pods []correlator.Addr) (all []kprobes.Selection) {
	s := kprobes.Selection{Server: q.Server, Protocol: q.Protocol, NoNAT: q.NoNAT, NoCT: q.NoCT}
	for _, p := range pods {
		s.Pod = p
		all = append(all, s)
	}
	if len(pods) == 0 && q.Pod == "" {
		all = append(all, s)
	}
	return all
}

// isPods says whether a peer is the pod that is asked for by name.
func (q *Query) isPods(p *correlator.Peer) bool {
	return q.Pod != "" && p != nil && p.Pod == q.Pod && p.Namespace == q.Namespace
}

// wants says whether a flow belongs to what is asked for: its packets go either way.
func (q *Query) wants(ev *correlator.Event, pods []correlator.Addr) bool {
	if q.Protocol != 0 && ev.Tuple.Protocol != q.Protocol {
		return false
	}
	return q.wantsFrom(ev.Flow.Src, &ev.Tuple.Src, &ev.Tuple.Dst, pods) || q.wantsFrom(ev.Flow.Dst, &ev.Tuple.Dst, &ev.Tuple.Src, pods)
}

func (q *Query) wantsFrom(peer *correlator.Peer, pod, server *correlator.Addr, pods []correlator.Addr) bool {
	if !within(server, &q.Server) {
		return false
	}
	if q.isPods(peer) {
		return true
	}
	for i := range pods {
		if within(pod, &pods[i]) {
			return true
		}
	}
	return len(pods) == 0 && q.Pod == ""
}

// within says whether an address is the one that is asked for; zero is any.
func within(a, want *correlator.Addr) bool {
	return (want.IP == ([16]byte{}) || a.IP == want.IP) && (want.Port == 0 || a.Port == want.Port)
}
