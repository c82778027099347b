// SPDX-License-Identifier: Apache-2.0

//go:build vmtest

package kprobes

import (
	"slices"
	"testing"
	"time"
)

// TestPrivilegedLongTimeouts has Cilium keep a tracking entry for longer than the
// filter's window is: removals older than that are remembered from then on.
func TestPrivilegedLongTimeouts(t *testing.T) {
	eachFamily(t, func(t *testing.T, v6 bool) {
		bpffs := newBPFFS(t)
		s := newSurveyed(t, bpffs, v6)
		const window, kept = 2 * time.Second, time.Hour
		r := record(t, Config{BPFFS: bpffs, filterWindow: window}, 2)
		u := newUser(t, s.nat, s.l)
		for _, port := range []uint16{1, 2} {
			u.do(t, s.l.op(doUpdate, s.l.out(port, port), 0), s.l.op(doDelete, s.l.out(port, port), 0))
		}
		r.take(t)
		time.Sleep(window + 2*time.Second) // until they are forgotten
		u.do(t, s.l.op(doUpdate, s.l.out(1, 1001), 0))
		s.put(t, 3, 0, true, false, false, ctTracked, kept)
		if err := r.followTimeouts(); err != nil {
			t.Fatal(err)
		}
		if got := r.Remembers(); got < kept || got > kept+timeoutMargin {
			t.Errorf("removals are remembered for %s", got)
		}
		u.do(t, s.l.op(doUpdate, s.l.out(2, 1002), 0))
		var ports []uint16
		for _, ev := range r.take(t) {
			ports = append(ports, ev.NAT.To.Port)
		}
		if !slices.Equal(ports, []uint16{1002}) {
			t.Errorf("inserts of %v were sent", ports)
		}
	})
}
