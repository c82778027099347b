// SPDX-License-Identifier: Apache-2.0

package recording

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/renat-project/renat/correlator"
)

// natLine is one line of nat.jsonl.
type natLine struct {
	Time     string `json:"time"`
	KTime    uint64 `json:"ktime_ns"`
	Op       string `json:"op"`
	Map      string `json:"map"`
	Dir      string `json:"dir"`
	Protocol string `json:"protocol"`
	Src      string `json:"src"`
	Dst      string `json:"dst"`
	To       string `json:"to"`
	Errno    int16  `json:"errno"`
	Forced   bool   `json:"forced"`
	Flags    uint8  `json:"flags"`
	Program  string `json:"program"`
	Comm     string `json:"comm"`
	CPU      uint16 `json:"cpu"`
}

// NATSource reads a recording's map operations; it has the interface of the
// kernel's own source.
type NATSource struct {
	rec     *Recording
	bad     *BadLines
	maps    map[string]*correlator.Map
	callers map[correlator.Caller]*correlator.Caller
}

// NAT returns the source of the recording's map operations. Lines that cannot
// be read go to bad.
func (r *Recording) NAT(bad *BadLines) *NATSource {
	return &NATSource{
		rec: r, bad: bad,
		maps:    map[string]*correlator.Map{},
		callers: map[correlator.Caller]*correlator.Caller{},
	}
}

// Run emits every operation in the file's order and returns nil at its end. A
// skipped line is emitted as a loss at the time of the line before it. It
// fails when the file cannot be read on, or after too many bad lines.
func (s *NATSource) Run(ctx context.Context, emit func(correlator.Event)) error {
	f, err := s.rec.open(s.rec.nat)
	if err != nil {
		return err
	}
	defer f.Close()
	var last int64
	return eachLine(f, func(n int, line []byte, err error) error {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		var ev correlator.Event
		if err == nil {
			ev, err = s.decode(line)
		}
		if err != nil {
			loss := correlator.Loss{From: correlator.LossKernelDecode, Count: 1, First: last, Last: last}
			emit(correlator.Event{Time: last, Kind: correlator.KindLoss, Loss: loss})
			return s.bad.Add(s.rec.nat, n, err)
		}
		last = ev.Time
		emit(ev)
		return nil
	})
}

// decode reads one line.
func (s *NATSource) decode(line []byte) (correlator.Event, error) {
	ev := correlator.Event{Kind: correlator.KindNAT}
	var l natLine
	if err := json.Unmarshal(line, &l); err != nil {
		return ev, err
	}
	var errs [7]error
	ev.Time, errs[0] = s.time(&l)
	ev.NAT.Op, errs[1] = parseOp(l.Op)
	ev.NAT.Dir, errs[2] = parseDir(l.Dir)
	ev.NAT.Map, errs[3] = s.mapNamed(l.Map)
	if ev.NAT.Op != correlator.Replaced {
		ev.Tuple, errs[4] = parseTuple(&l)
	}
	if l.To != "" {
		ev.NAT.To, errs[5] = correlator.ParseAddr(l.To)
	}
	if l.Errno < 0 {
		errs[6] = fmt.Errorf("errno %d is negative", l.Errno)
	}
	ev.NAT.Errno, ev.NAT.Forced, ev.NAT.Flags, ev.NAT.CPU, ev.NAT.KTime = l.Errno, l.Forced, l.Flags, l.CPU, l.KTime
	if l.Program != "" || l.Comm != "" {
		ev.NAT.Caller = s.caller(correlator.Caller{Program: l.Program, Comm: l.Comm})
	}
	return ev, cmp.Or(errs[:]...)
}

func (s *NATSource) time(l *natLine) (int64, error) {
	if l.Time == "" {
		if at, ok := s.rec.Meta.Clock.at(l.KTime); ok {
			return at, nil
		}
		return 0, errors.New("time is missing, and so is ktime_ns or the clock of " + MetaFile)
	}
	t, err := time.Parse(time.RFC3339Nano, l.Time)
	if err != nil {
		return 0, err
	}
	if y := t.Year(); y < 1970 || y > 2199 {
		return 0, fmt.Errorf("time %s is out of range", l.Time)
	}
	return t.UnixNano(), nil
}

func parseOp(s string) (correlator.Op, error) {
	for _, op := range []correlator.Op{correlator.Insert, correlator.Evict, correlator.Delete, correlator.Replaced} {
		if s == op.String() {
			return op, nil
		}
	}
	return 0, fmt.Errorf("unknown op %q", s)
}

func parseDir(s string) (correlator.Dir, error) {
	switch s {
	case "OUT", "":
		return correlator.Out, nil
	case "IN":
		return correlator.In, nil
	}
	return 0, fmt.Errorf("unknown dir %q", s)
}

func parseTuple(l *natLine) (t correlator.Tuple, err error) {
	var errs [3]error
	t.Protocol, errs[0] = correlator.ParseProtocol(l.Protocol)
	t.Src, errs[1] = correlator.ParseAddr(l.Src)
	t.Dst, errs[2] = correlator.ParseAddr(l.Dst)
	return t, cmp.Or(errs[:]...)
}

// mapNamed returns the one Map of that name.
func (s *NATSource) mapNamed(name string) (*correlator.Map, error) {
	if m := s.maps[name]; m != nil {
		return m, nil
	}
	m := &correlator.Map{Name: name}
	switch {
	case strings.HasPrefix(name, "cilium_ct"):
		m.CT = true
	case strings.HasPrefix(name, "cilium_snat_"), strings.HasPrefix(name, "cilium_per_cluster_snat_"):
		m.MaxEntries = s.rec.Meta.MapMaxEntries
	default:
		return nil, fmt.Errorf("unknown map %q", name)
	}
	s.maps[name] = m
	return m, nil
}

// maxCallers bounds the table against a hostile file; a node has a few dozen.
const maxCallers = 4096

func (s *NATSource) caller(c correlator.Caller) *correlator.Caller {
	if p := s.callers[c]; p != nil {
		return p
	}
	if len(s.callers) < maxCallers {
		s.callers[c] = &c
	}
	return &c
}
