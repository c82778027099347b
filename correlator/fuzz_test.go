// SPDX-License-Identifier: Apache-2.0

package correlator_test

import (
	"encoding/binary"
	"testing"
	"time"

	"github.com/renat-project/renat/correlator"
	"github.com/renat-project/renat/correlator/incident"
)

// FuzzObserve makes events of any bytes, 24 an event: whatever a source says,
// the correlator does not panic, keeps its bounds and publishes nothing twice.
func FuzzObserve(f *testing.F) {
	f.Add([]byte("an event has 24 bytes...and here is another one...."))
	f.Add(make([]byte, 240))
	nat := &correlator.Map{Name: "cilium_snat_v4_external", MaxEntries: 4}
	ct := &correlator.Map{Name: "cilium_ct4_global", CT: true}
	f.Fuzz(func(t *testing.T, data []byte) {
		ids := map[string]bool{}
		c := newCorrelator(t, correlator.Config{
			Settle: 100 * time.Millisecond, Hold: 10 * time.Millisecond, MaxConnections: 4, MaxSuspects: 2, MaxHeld: 8,
		}, func(i *incident.Incident) {
			if ids[i.ID] && i.Protocol == "TCP" {
				t.Errorf("published %s twice", i.ID)
			}
			ids[i.ID] = true
			if len(i.Evidence) > incident.MaxEvidence {
				t.Errorf("%d lines of evidence", len(i.Evidence))
			}
			if _, err := i.MarshalCloudEvent(); err != nil {
				t.Error(err)
			}
		})
		at := start
		for ; len(data) >= 24; data = data[24:] {
			at += int64(int16(binary.LittleEndian.Uint16(data))) * 1e4
			c.Observe(fuzzEvent(data, at, nat, ct))
			if data[23] == 0xff {
				c.Advance(at + 1e9)
			}
		}
		c.Flush()
		if s := c.Stats(); s.Connections > 4 || s.Suspects != 0 || s.Held != 0 {
			t.Errorf("stats %+v", s)
		}
	})
}

func fuzzEvent(b []byte, at int64, nat, ct *correlator.Map) *correlator.Event {
	ev := &correlator.Event{
		Time: at, Kind: correlator.Kind(b[2] % 5),
		Tuple: correlator.Tuple{
			Src: addr(b[3]%4, int(b[4]%4), uint16(b[5]%4)), Dst: addr(b[6]%4, int(b[7]%4), uint16(b[8]%4)),
			Protocol: []correlator.Protocol{correlator.TCP, correlator.TCP, correlator.UDP, 1}[b[9]%4],
		},
	}
	ev.Flow = correlator.Flow{
		Flags: correlator.TCPFlags(b[10]), Point: correlator.Point(b[11]), Reason: correlator.Reason(b[12] % 8),
	}
	if b[13]%8 == 0 {
		ev.Flow.Xlated = addr(b[13]/8%4, int(b[4]%4), 0).IP
	}
	ev.NAT = correlator.NATChange{
		Op: correlator.Op(b[14] % 6), Dir: correlator.Dir(b[15] % 3), Errno: int16(b[16]%3) * 17,
		To: addr(b[17]%4, int(b[18]%4), uint16(b[19]%4)), KTime: uint64(b[20]),
		Map: []*correlator.Map{nat, nat, ct, nil}[b[21]%4],
	}
	if b[22]%2 == 0 {
		ev.NAT.Caller = &correlator.Caller{Program: correlator.ProgramSyscall, Comm: "x"}
	}
	ev.Loss = correlator.Loss{From: correlator.LossSource(b[22]), Count: uint64(b[23])}
	return ev
}
