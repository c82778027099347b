// SPDX-License-Identifier: Apache-2.0

package kprobes

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"math/bits"
	"slices"
	"time"

	"github.com/cilium/ebpf"

	"github.com/renat-project/renat/correlator"
)

// A survey looks for what happened while nobody watched: connections that are
// tracked and lack a NAT entry. Each is put into the kernel's filter, so that
// what becomes of it is sent, and told of as Missing. It is made when a NAT map
// is found, and after losses.

const (
	// surveyEvery is how often losses may cause a survey, which reads all maps.
	surveyEvery = time.Minute
	// surveyMax is how many tracked connections of an IP version are looked at;
	// each takes some 200 bytes while it lasts.
	surveyMax = 1 << 20
	// bothMax is how many connections without either entry are told of: those
	// that never were translated look the same.
	bothMax = 1 << 15
)

// The flag of a CT value that says that more than a SYN was seen, and where it
// has the time of its end (pkg/maps/ctmap/types.go, 1.12 to 1.20).
const (
	ctSeenNonSYN    = 1 << 4
	valueCTLifetime = 32
)

// tracked is a connection as a survey finds it.
type tracked struct {
	tuple   correlator.Tuple
	snat    correlator.Addr // by the NAT entry that is there; zero if none is
	created uint64          // when that was made, as Cilium stamps it
	out, in bool            // which of them are there
}

// survey is what is found of one IP version.
type survey struct {
	clock     stamps
	all       []tracked
	of        []int32           // one more than the place in all, from the tuple's hash on; a power of two
	addresses map[[16]byte]int  // how many connections of pods are translated to each
	hosts     map[[16]byte]bool // addresses that are translated to themselves
	leftOut   uint64            // beyond surveyMax or bothMax
}

// track takes an entry of a CT map.
func (s *survey) track(m *cilium, key, value []byte) {
	tuple, lives := s.clock.lives(m, key, value)
	switch {
	case !lives:
		return
	case len(s.all) == cap(s.all):
		s.leftOut++
		return
	}
	if n := s.find(&tuple, m.v6); *n == 0 {
		s.all = append(s.all, tracked{tuple: tuple})
		*n = int32(len(s.all))
	}
}

// lives reports whether an entry of a CT map is that of a connection which is
// established, which neither side has closed and whose lifetime is ahead, and
// returns the tuple of the packets that its opener sends.
func (s stamps) lives(m *cilium, key, value []byte) (correlator.Tuple, bool) {
	tuple, _ := m.tuple(key)
	flags := binary.NativeEndian.Uint16(value[valueCTFlags:])
	switch {
	case key[len(key)-1] != uint8(correlator.Out):
		return tuple, false // answers, services' or ICMP's about another
	case flags&ctClosed != 0, tuple.Protocol == correlator.TCP && flags&ctSeenNonSYN == 0:
		return tuple, false
	case tuple.Protocol != correlator.TCP && tuple.Protocol != correlator.UDP && tuple.Protocol != correlator.SCTP:
		return tuple, false
	}
	return tuple, s.age(uint64(binary.NativeEndian.Uint32(value[valueCTLifetime:]))) <= 0
}

// newSurvey makes room for the connections of some tracking maps; what is not
// needed of it is never touched.
func newSurvey(clock stamps, ct []*cilium) *survey {
	room := 0
	for _, m := range ct {
		room += int(m.fd.MaxEntries())
	}
	room = min(room, surveyMax)
	return &survey{
		clock: clock, all: make([]tracked, 0, room), of: make([]int32, 2<<bits.Len(uint(room))),
		addresses: map[[16]byte]int{}, hosts: map[[16]byte]bool{},
	}
}

// find returns the tuple's place in of; 0 is there if it is new.
func (s *survey) find(tuple *correlator.Tuple, v6 bool) *int32 {
	mask := uint64(len(s.of) - 1)
	for i := hashOf(tuple, v6) & mask; ; i = (i + 1) & mask {
		if n := &s.of[i]; *n == 0 || s.all[*n-1].tuple == *tuple {
			return n
		}
	}
}

// translate takes an entry of a NAT map.
func (s *survey) translate(m *cilium, key, value []byte) {
	tuple, dir := m.tuple(key)
	snat := m.addr(value[valueTo:])
	switch {
	case dir == correlator.In:
		tuple, snat = correlator.Tuple{Src: snat, Dst: tuple.Src, Protocol: tuple.Protocol}, tuple.Dst
	case snat.IP != tuple.Src.IP:
		s.addresses[snat.IP]++
	default:
		s.hosts[snat.IP] = true
	}
	n := *s.find(&tuple, m.v6)
	if n == 0 {
		return
	}
	c := &s.all[n-1]
	c.snat, c.created = snat, binary.NativeEndian.Uint64(value)
	if dir == correlator.In {
		c.in = true
	} else {
		c.out = true
	}
}

// guess returns the address that most connections are translated to; none if
// none is.
func (s *survey) guess() (ip [16]byte) {
	best := 0
	for a, n := range s.addresses {
		if n > best || n == best && slices.Compare(a[:], ip[:]) < 0 {
			best, ip = n, a
		}
	}
	return ip
}

// survey reads the maps of both IP versions. No event is emitted meanwhile: the
// kernel's ring holds what happens.
func (t *Tracer) survey(emit func(correlator.Event)) error {
	t.delivering.Store(true)
	defer t.delivering.Store(false)
	before := t.unsurveyed.Load()
	for _, v6 := range []bool{false, true} {
		if err := t.surveyFamily(v6, emit); err != nil {
			return err
		}
	}
	t.tooMany.Store(t.unsurveyed.Load() - before)
	return nil
}

func (t *Tracer) surveyFamily(v6 bool, emit func(correlator.Event)) error {
	nat, ct := t.mapsOf(v6)
	if nat == nil || len(ct) == 0 {
		return nil
	}
	s := newSurvey(newStamps(t.tick), ct)
	// Tracking first: who is tracked by then has its NAT entries by the time
	// they are read, or lost them.
	for _, m := range ct {
		if err := m.entries(math.MaxInt, s.track); err != nil {
			return fmt.Errorf("reading map %s: %w", m.Name, err)
		}
	}
	if err := nat.entries(math.MaxInt, s.translate); err != nil {
		return fmt.Errorf("reading map %s: %w", nat.Name, err)
	}
	if ip := s.guess(); ip != [16]byte{} {
		t.snat[v6] = ip
	}
	return t.tellMissing(s, nat, t.snat[v6], emit)
}

// tellMissing puts the connections that lack an entry into the filter and tells
// of them, unless they have it by then.
func (t *Tracer) tellMissing(s *survey, nat *cilium, guess [16]byte, emit func(correlator.Event)) error {
	unit := t.kernel.filter.now()
	lacking := s.all[:0]
	for _, c := range s.all {
		if c.out && c.in {
			continue
		}
		if c.snat.IsZero() && guess != [16]byte{} {
			c.snat = correlator.Addr{IP: guess, Port: c.tuple.Src.Port}
		}
		t.kernel.filter.add(&c.tuple, c.snat, nat.v6, unit)
		lacking = append(lacking, c)
	}
	// What changes from now on is sent, and comes later than this.
	ktime, wall := Now()
	// Those of which an entry is left are sure to be translated.
	slices.SortStableFunc(lacking, func(a, b tracked) int { return -cmp.Compare(a.has(), b.has()) })
	both := 0
	for i := range lacking {
		c := &lacking[i]
		if c.snat.IsZero() || c.has() == 0 && (s.hosts[c.tuple.Src.IP] || s.addresses[c.tuple.Src.IP] > 0) {
			continue // no telling where from it was sent; or the host's own, which keeps its port
		}
		if both == bothMax && c.has() == 0 {
			s.leftOut++
			continue
		}
		ev := correlator.Event{Time: wall.UnixNano(), Kind: correlator.KindNAT,
			NAT: correlator.NATChange{Op: correlator.Missing, Map: nat.Map, KTime: ktime}}
		if c.has() != 0 {
			ev.NAT.Created = s.clock.made(c.created, ev.Time)
		}
		out, in := ev, ev
		out.Tuple, out.NAT.To = c.tuple, c.snat
		in.NAT.Dir, in.NAT.To = correlator.In, c.tuple.Src
		in.Tuple = correlator.Tuple{Src: c.tuple.Dst, Dst: c.snat, Protocol: c.tuple.Protocol}
		missing, err := absent(nat, c, &out, &in)
		if err != nil {
			return err
		}
		if len(missing) == 0 {
			continue
		}
		if c.has() == 0 {
			both++
		}
		t.missing.Add(1)
		for _, ev := range missing {
			emit(*ev)
		}
	}
	t.unsurveyed.Add(s.leftOut)
	return nil
}

// has returns how many entries are there.
func (c *tracked) has() int {
	switch {
	case c.out && c.in:
		return 2
	case c.out || c.in:
		return 1
	}
	return 0
}

// absent looks again for the entries that a connection lacks, and returns the
// events of those that are gone; none if any is there, be it another's.
func absent(nat *cilium, c *tracked, out, in *correlator.Event) (gone []*correlator.Event, err error) {
	for _, ev := range []*correlator.Event{out, in} {
		if ev == out && c.out || ev == in && c.in {
			continue
		}
		value, err := nat.fd.LookupBytes(nat.key(ev.Tuple, ev.NAT.Dir))
		if err != nil {
			return nil, fmt.Errorf("looking up %s in %s: %w", ev.Tuple, nat.Name, err)
		}
		if value != nil {
			return nil, nil
		}
		gone = append(gone, ev)
	}
	return gone, nil
}

// mapsOf returns the watched maps of an IP version.
func (t *Tracer) mapsOf(v6 bool) (nat *cilium, ct []*cilium) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, m := range t.sorted() {
		switch {
		case m.v6 != v6 || m.PerCluster():
		case m.CT:
			ct = append(ct, m)
		default:
			nat = m
		}
	}
	return nat, ct
}

// entries reads at least limit entries, or all there are, in batches. That does
// not mark them as used.
func (c *cilium) entries(limit int, each func(m *cilium, key, value []byte)) error {
	switch {
	case c.v6: // both maps' values have one size
		return readEntries(c.fd, limit, func(k *[key6Size]byte, v *[value6Size]byte) { each(c, k[:], v[:]) })
	case c.CT:
		return readEntries(c.fd, limit, func(k *[key4Size]byte, v *[valueCTSize]byte) { each(c, k[:], v[:]) })
	}
	return readEntries(c.fd, limit, func(k *[key4Size]byte, v *[value4Size]byte) { each(c, k[:], v[:]) })
}

func readEntries[K, V any](fd *ebpf.Map, limit int, each func(*K, *V)) error {
	keys, values := make([]K, readBatch), make([]V, readBatch)
	var cursor ebpf.MapBatchCursor
	for read := 0; read < limit; {
		n, err := fd.BatchLookup(&cursor, keys, values, nil)
		for i := range keys[:n] {
			each(&keys[i], &values[i])
		}
		if errors.Is(err, ebpf.ErrKeyNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		read += n
	}
	return nil
}
