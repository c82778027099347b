// SPDX-License-Identifier: Apache-2.0

package correlator_test

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/renat-project/renat/correlator"
)

type scenarioMaps struct{ nat, ct, cluster, other *correlator.Map }

// natOf returns the NAT map that a line is about, which a prime tells.
func (m *scenarioMaps) natOf(line string) **correlator.Map {
	if strings.Contains(line, "'") {
		return &m.other
	}
	return &m.nat
}

func newScenarioMaps(names map[string]string) *scenarioMaps {
	m := &scenarioMaps{
		nat: &correlator.Map{Name: "cilium_snat_v4_external", MaxEntries: 512},
		ct:  &correlator.Map{Name: "cilium_ct4_global", CT: true},

		cluster: &correlator.Map{Name: "cilium_per_cluster_snat_v4_external_3", MaxEntries: 512},
		other:   &correlator.Map{Name: "cilium_snat_v6_external", MaxEntries: 256},
	}
	if names["pod"][0] == '[' {
		m.nat.Name, m.ct.Name, m.other.Name = "cilium_snat_v6_external", "cilium_ct6_global", "cilium_snat_v4_external"
	}
	return m
}

// parseEvent reads one line of a scenario:
//
//	@TIME track PROTO SRC -> DST [cpu N]                            CT entry created
//	@TIME insert|evict|delete|missing OUT|IN PROTO SRC -> DST [is ADDR] [cluster] [made @TIME] [by PROGRAM [COMM]] [forced] [errno N] [cpu N]
//	@TIME untrack evict|delete PROTO SRC -> DST left DURATION [by PROGRAM [COMM]] [forced]   CT entry gone
//	@TIME replaced|replaced' [SIZE]                                 the NAT map, or the other version's, is a new one
//	@TIME to-stack|to-endpoint|to-network|to-overlay|dropped REASON FLAGS PROTO SRC -> DST [pod NAME] [xlated HOST]
//	@TIME lost SOURCE COUNT
func parseEvent(line string, names map[string]string, maps *scenarioMaps) (ev correlator.Event, err error) {
	f := strings.Fields(line)
	d, err := time.ParseDuration(strings.TrimPrefix(f[0], "@"))
	if err != nil {
		return ev, err
	}
	ev.Time = start + int64(d)
	switch f[1] {
	case "track":
		ev.NAT.KTime = uint64(d) + 1
		if ev, err = parseNAT(ev, append([]string{"insert", "OUT"}, f[2:]...), names, maps); err == nil {
			ev.NAT.Map = maps.ct
		}
		return ev, err
	case "untrack":
		ev.NAT.KTime = uint64(d) + 1
		if ev, err = parseNAT(ev, append([]string{f[2], "OUT"}, f[3:]...), names, maps); err == nil {
			ev.NAT.Map = maps.ct
		}
		return ev, err
	case "replaced", "replaced'":
		nat := maps.natOf(line)
		if len(f) > 2 && f[2] == "cluster" {
			nat, f = &maps.cluster, f[:2]
		}
		ev.Kind = correlator.KindNAT
		size := int((*nat).MaxEntries)
		if len(f) > 2 {
			if size, err = strconv.Atoi(f[2]); err != nil {
				return ev, err
			}
		}
		// What follows is done to the new map.
		*nat = &correlator.Map{Name: (*nat).Name, MaxEntries: uint32(size), Was: (*nat).MaxEntries}
		ev.NAT = correlator.NATChange{Op: correlator.Replaced, Map: *nat, KTime: uint64(d) + 1}
		return ev, nil
	case "lost":
		return parseLoss(ev, f[2:])
	case "insert", "evict", "delete", "missing":
		ev.NAT.KTime = uint64(d) + 1
		ev.NAT.Map = *maps.natOf(line)
		return parseNAT(ev, f[1:], names, maps)
	}
	return parseFlow(ev, f[1:], names)
}

func parseNAT(ev correlator.Event, f []string, names map[string]string, maps *scenarioMaps) (_ correlator.Event, err error) {
	ev.Kind = correlator.KindNAT
	ev.NAT.Op = map[string]correlator.Op{"insert": correlator.Insert, "evict": correlator.Evict, "delete": correlator.Delete, "missing": correlator.Missing}[f[0]]
	if f[1] == "IN" {
		ev.NAT.Dir = correlator.In
	}
	if ev.Tuple, err = parseTuple(f[2:], names); err != nil {
		return ev, err
	}
	for f = f[6:]; len(f) > 0; f = f[1:] {
		switch f[0] {
		case "forced":
			ev.NAT.Forced = true
		case "is":
			ev.NAT.To, err = parseAddr(f[1], names)
			f = f[1:]
		case "left":
			ev.NAT.Left, err = time.ParseDuration(f[1])
			f = f[1:]
		case "cluster":
			ev.NAT.Map = maps.cluster
		case "made":
			var d time.Duration
			d, err = time.ParseDuration(strings.TrimPrefix(f[1], "@"))
			ev.NAT.Created = start + int64(d)
			f = f[1:]
		case "errno":
			var n int
			n, err = strconv.Atoi(f[1])
			ev.NAT.Errno = int16(n)
			f = f[1:]
		case "cpu":
			var n int
			n, err = strconv.Atoi(f[1])
			ev.NAT.CPU = uint16(n)
			f = f[1:]
		case "by":
			ev.NAT.Caller = &correlator.Caller{Program: f[1]}
			f = f[1:]
			if len(f) > 1 {
				ev.NAT.Caller.Comm = f[1]
				f = f[1:]
			}
		default:
			return ev, fmt.Errorf("unknown word %q", f[0])
		}
		if err != nil {
			return ev, err
		}
	}
	return ev, nil
}

func parseFlow(ev correlator.Event, f []string, names map[string]string) (_ correlator.Event, err error) {
	ev.Kind = correlator.KindFlow
	points := map[string]correlator.Point{
		"to-stack": correlator.ToStack, "to-endpoint": correlator.ToEndpoint,
		"to-network": correlator.ToNetwork, "to-overlay": correlator.ToOverlay, "dropped": correlator.Dropped,
	}
	reasons := map[string]correlator.Reason{
		"new": correlator.ReasonNew, "established": correlator.ReasonEstablished,
		"reply": correlator.ReasonReply, "reopened": correlator.ReasonReopened, "unknown": 0, "133": 0, "167": 0,
	}
	var ok [2]bool
	ev.Flow.Point, ok[0] = points[f[0]]
	ev.Flow.Reason, ok[1] = reasons[f[1]]
	if !ok[0] || !ok[1] {
		return ev, fmt.Errorf("unknown observation point or reason")
	}
	if ev.Flow.Point == correlator.Dropped {
		n, _ := strconv.Atoi(f[1])
		ev.Flow.DropReason = uint16(n)
	}
	for i := range 9 {
		if flag := correlator.TCPFlags(1 << i); strings.Contains(","+f[2]+",", ","+flag.String()+",") {
			ev.Flow.Flags |= flag
		}
	}
	if ev.Tuple, err = parseTuple(f[3:], names); err != nil {
		return ev, err
	}
	for f = f[7:]; len(f) > 0; f = f[1:] {
		switch f[0] {
		case "xlated":
			var a correlator.Addr
			if a, err = parseAddr(f[1]+":0", names); err != nil {
				return ev, err
			}
			ev.Flow.Xlated = a.IP
			f = f[1:]
		case "pod":
			ev.Flow.Src = &correlator.Peer{Namespace: "shop", Pod: f[1]}
			f = f[1:]
		default:
			return ev, fmt.Errorf("unknown word %q", f[0])
		}
	}
	return ev, nil
}

func parseLoss(ev correlator.Event, f []string) (correlator.Event, error) {
	ev.Kind = correlator.KindLoss
	n, err := strconv.Atoi(f[1])
	if err != nil {
		return ev, err
	}
	for from := correlator.LossHubblePerf; from.String() != "unknown"; from++ {
		if from.String() == f[0] {
			ev.Loss = correlator.Loss{From: from, Count: uint64(n), First: ev.Time, Last: ev.Time}
			return ev, nil
		}
	}
	return ev, fmt.Errorf("unknown loss %q", f[0])
}

// parseTuple reads PROTO SRC -> DST.
func parseTuple(f []string, names map[string]string) (t correlator.Tuple, err error) {
	if t.Protocol, err = correlator.ParseProtocol(f[0]); err != nil {
		return t, err
	}
	if t.Src, err = parseAddr(f[1], names); err != nil {
		return t, err
	}
	t.Dst, err = parseAddr(f[3], names)
	return t, err
}

// parseAddr reads NAME:PORT.
func parseAddr(s string, names map[string]string) (correlator.Addr, error) {
	name, port, _ := strings.Cut(s, ":")
	return correlator.ParseAddr(names[name] + ":" + port)
}
