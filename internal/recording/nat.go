// SPDX-License-Identifier: Apache-2.0

package recording

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/renat-project/renat/correlator"
)

// natLine is one line of nat.jsonl.
type natLine struct {
	Time     string `json:"time"`
	KTime    uint64 `json:"ktime_ns,omitempty"`
	Op       string `json:"op"`
	Map      string `json:"map,omitempty"`
	Dir      string `json:"dir,omitempty"`
	Protocol string `json:"protocol,omitempty"`
	Src      string `json:"src,omitempty"`
	Dst      string `json:"dst,omitempty"`
	To       string `json:"to,omitempty"`
	Created  string `json:"created,omitempty"`
	Left     string `json:"left,omitempty"` // of a tracking entry that was removed alive
	Errno    int16  `json:"errno,omitempty"`
	Forced   bool   `json:"forced,omitempty"`
	Flags    uint8  `json:"flags,omitempty"`
	Program  string `json:"program,omitempty"`
	Comm     string `json:"comm,omitempty"`
	CPU      uint16 `json:"cpu"`

	MaxEntries uint32 `json:"max_entries,omitempty"` // of opReplaced: the new map's

	// Of opLost only.
	Source string `json:"source,omitempty"`
	Count  uint64 `json:"count,omitempty"`
	First  string `json:"first,omitempty"`
	Last   string `json:"last,omitempty"`
}

// opLost is the op of a line that tells of lost events.
const opLost = "lost"

// timeLayout is RFC 3339 with all nine decimals.
const timeLayout = "2006-01-02T15:04:05.000000000Z07:00"

func formatTime(unixNano int64) string {
	return time.Unix(0, unixNano).UTC().Format(timeLayout)
}

// lineOf is the inverse of NATSource.event. ev is a KindNAT or a KindLoss.
func lineOf(ev *correlator.Event) natLine {
	l := natLine{Time: formatTime(ev.Time)}
	if ev.Kind == correlator.KindLoss {
		l.Op, l.Source, l.Count = opLost, ev.Loss.From.String(), ev.Loss.Count
		l.First, l.Last = formatTime(ev.Loss.First), formatTime(ev.Loss.Last)
		return l
	}
	n := &ev.NAT
	l.KTime, l.Op, l.Map, l.CPU = n.KTime, n.Op.String(), n.Map.Name, n.CPU
	l.Errno, l.Forced, l.Flags = n.Errno, n.Forced, n.Flags
	if n.Caller != nil {
		l.Program, l.Comm = n.Caller.Program, n.Caller.Comm
	}
	if n.Op == correlator.Replaced {
		if !n.Map.CT {
			l.MaxEntries = n.Map.MaxEntries
		}
		return l
	}
	l.Dir, l.Protocol = n.Dir.String(), ev.Tuple.Protocol.String()
	l.Src, l.Dst = ev.Tuple.Src.String(), ev.Tuple.Dst.String()
	if !n.To.IsZero() {
		l.To = n.To.String()
	}
	if n.Left != 0 {
		l.Left = n.Left.String()
	}
	if n.Created != 0 {
		l.Created = formatTime(n.Created)
	}
	return l
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
	type parsed struct {
		natLine
		err error
	}
	return DecodeLines(ctx, f, func() func([]byte) parsed {
		return func(line []byte) (p parsed) {
			p.natLine, p.err = parseNATLine(line)
			return p
		}
	}, func(n int, p parsed, err error) error {
		var ev correlator.Event
		if err = cmp.Or(err, p.err); err == nil {
			ev, err = s.event(&p.natLine)
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

// event makes one of a line.
func (s *NATSource) event(l *natLine) (correlator.Event, error) {
	ev := correlator.Event{Kind: correlator.KindNAT}
	if l.Op == opLost {
		return decodeLost(l)
	}
	var errs [9]error
	ev.Time, errs[0] = s.time(l)
	ev.NAT.Op, errs[1] = parseOp(l.Op)
	ev.NAT.Dir, errs[2] = parseDir(l.Dir)
	ev.NAT.Map, errs[3] = s.mapNamed(l.Map)
	if ev.NAT.Op != correlator.Replaced {
		ev.Tuple, errs[4] = parseTuple(l)
	} else if m := ev.NAT.Map; m != nil {
		// The operations before keep the map they were done on.
		ev.NAT.Map = &correlator.Map{Name: m.Name, CT: m.CT, MaxEntries: cmp.Or(l.MaxEntries, m.MaxEntries), Was: m.MaxEntries}
		s.maps[m.Name] = ev.NAT.Map
	}
	if l.To != "" {
		ev.NAT.To, errs[5] = correlator.ParseAddr(l.To)
	}
	if l.Left != "" {
		if ev.NAT.Left, errs[8] = time.ParseDuration(l.Left); ev.NAT.Left < 0 {
			errs[8] = fmt.Errorf("left %s is negative", l.Left)
		}
	}
	if l.Created != "" {
		ev.NAT.Created, errs[7] = parseTime(l.Created)
	}
	needsTo := ev.NAT.Op == correlator.Insert || ev.NAT.Op == correlator.Missing
	if m := ev.NAT.Map; l.To == "" && needsTo && m != nil && !m.CT {
		errs[5] = fmt.Errorf("op %s of a NAT map without to, the address that it translates to", ev.NAT.Op)
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

// decodeLost reads a line of opLost. Its first and last default to its time.
func decodeLost(l *natLine) (correlator.Event, error) {
	ev := correlator.Event{Kind: correlator.KindLoss, Loss: correlator.Loss{Count: l.Count}}
	var errs [4]error
	ev.Time, errs[0] = parseTime(l.Time)
	ev.Loss.From, errs[1] = parseLossSource(l.Source)
	ev.Loss.First, errs[2] = parseTime(cmp.Or(l.First, l.Time))
	ev.Loss.Last, errs[3] = parseTime(cmp.Or(l.Last, l.Time))
	return ev, cmp.Or(errs[:]...)
}

func parseLossSource(s string) (correlator.LossSource, error) {
	for from := correlator.LossHubblePerf; from.String() != "unknown"; from++ {
		if s == from.String() {
			return from, nil
		}
	}
	return 0, fmt.Errorf("unknown source %q of a loss", s)
}

func (s *NATSource) time(l *natLine) (int64, error) {
	if l.Time == "" {
		if at, ok := s.rec.Meta.Clock.at(l.KTime); ok {
			return at, nil
		}
		return 0, errors.New("time is missing, and so is ktime_ns or the clock of " + MetaFile)
	}
	return parseTime(l.Time)
}

func parseTime(s string) (int64, error) {
	t, err := time.Parse(time.RFC3339Nano, s)
	if err != nil {
		return 0, err
	}
	if y := t.Year(); y < 1970 || y > 2199 {
		return 0, fmt.Errorf("time %s is out of range", s)
	}
	return t.UnixNano(), nil
}

func parseOp(s string) (correlator.Op, error) {
	for _, op := range []correlator.Op{correlator.Insert, correlator.Evict, correlator.Delete, correlator.Replaced, correlator.Missing} {
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
	name = strings.Clone(name) // of the line
	m := &correlator.Map{Name: name}
	switch {
	case strings.HasPrefix(name, "cilium_ct"):
		m.CT = true
	case isNATMap(name):
		m.MaxEntries = s.rec.Meta.MapMaxEntries
	case strings.HasPrefix(name, "cilium_snat_"):
		return nil, fmt.Errorf("map %q only begins like a NAT map's name: its operations are no translations", name)
	default:
		return nil, fmt.Errorf("unknown map %q", name)
	}
	s.maps[name] = m
	return m, nil
}

// isNATMap reports whether a map of that name holds translations. The kernel
// cuts names to 15 characters, and tools print them so.
func isNATMap(name string) bool {
	switch name {
	case "cilium_snat_v4_external", "cilium_snat_v6_external", "cilium_snat_v4_", "cilium_snat_v6_":
		return true
	}
	return strings.HasPrefix(name, "cilium_per_cluster_snat_v4_external") || strings.HasPrefix(name, "cilium_per_cluster_snat_v6_external")
}

// maxCallers bounds the table against a hostile file; a node has a few dozen.
const maxCallers = 4096

func (s *NATSource) caller(c correlator.Caller) *correlator.Caller {
	if p := s.callers[c]; p != nil {
		return p
	}
	c = correlator.Caller{Program: strings.Clone(c.Program), Comm: strings.Clone(c.Comm)}
	if len(s.callers) < maxCallers {
		s.callers[c] = &c
	}
	return &c
}
