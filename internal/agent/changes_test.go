// SPDX-License-Identifier: Apache-2.0

package agent_test

import (
	"bufio"
	"encoding/binary"
	"io"

	"github.com/renat-project/renat/correlator"
)

// changeSize is how long a map operation is on its way to a process. Reading it
// is next to nothing: what the agent costs shall not be what its test does.
const changeSize = 3 + 3*18 + 2*8

// change sends map operations of natMap to the process.
func (p *process) change(all ...correlator.Event) error {
	var b []byte
	for i := range all {
		ev, named := &all[i], byte(0)
		if ev.NAT.Caller != nil {
			named = 1
		}
		b = append(b, byte(ev.NAT.Op), byte(ev.NAT.Dir), named)
		for _, a := range []correlator.Addr{ev.Tuple.Src, ev.Tuple.Dst, ev.NAT.To} {
			b = binary.LittleEndian.AppendUint16(append(b, a.IP[:]...), a.Port)
		}
		b = binary.LittleEndian.AppendUint64(b, uint64(ev.Time)) //nolint:gosec // positive
		b = binary.LittleEndian.AppendUint64(b, ev.NAT.KTime)
	}
	_, err := p.stdin.Write(b)
	return err
}

// readChanges reads map operations until the test has ended, or is about to.
func readChanges(r io.Reader, give func(...correlator.Event)) {
	var all []correlator.Event
	for in := bufio.NewReaderSize(r, 1<<16); ; {
		for all = all[:0]; len(all) == 0 || in.Buffered() >= changeSize; {
			var b [changeSize]byte
			if _, err := io.ReadFull(in, b[:]); err != nil {
				return
			}
			all = append(all, changeOf(b[:]))
		}
		give(all...)
	}
}

func changeOf(b []byte) correlator.Event {
	ev := correlator.Event{Kind: correlator.KindNAT, Tuple: correlator.Tuple{Protocol: correlator.TCP}}
	ev.NAT.Op, ev.NAT.Dir, ev.NAT.Map = correlator.Op(b[0]), correlator.Dir(b[1]), natMap
	if b[2] != 0 {
		ev.NAT.Caller = snatTail
	}
	for i, a := range []*correlator.Addr{&ev.Tuple.Src, &ev.Tuple.Dst, &ev.NAT.To} {
		at := b[3+18*i:]
		a.IP, a.Port = [16]byte(at), binary.LittleEndian.Uint16(at[16:])
	}
	ev.Time = int64(binary.LittleEndian.Uint64(b[changeSize-16:])) //nolint:gosec // positive
	ev.NAT.KTime = binary.LittleEndian.Uint64(b[changeSize-8:])
	return ev
}
