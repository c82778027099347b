// SPDX-License-Identifier: Apache-2.0

package correlator

import (
	"fmt"
	"slices"
	"testing"
	"time"
)

// TestOrder wants events of two sources by their times: held for flows that are
// behind, but no longer than patience, and at once when they come too late.
func TestOrder(t *testing.T) {
	const ms = int64(time.Millisecond)
	start := int64(1_700_000_000) * int64(time.Second)
	var got []string
	o := NewOrder(20*time.Millisecond, 200*time.Millisecond, 4, func(ev *Event) {
		got = append(got, fmt.Sprint(ev.Kind == KindFlow, (ev.Time-start)/ms))
	})
	add := func(kind Kind, at int64) { o.Add(&Event{Time: start + at*ms, Kind: kind}) }
	want := func(what string, lines ...string) {
		t.Helper()
		if !slices.Equal(got, lines) {
			t.Errorf("%s: got %q, want %q", what, got, lines)
		}
		got = nil
	}
	add(KindFlow, 1000)
	add(KindNAT, 1050)
	o.Advance(start + 1100*ms)
	want("flows are behind", "true 1000")
	add(KindFlow, 1040)
	o.Heard(start + 1090*ms)
	o.Advance(start + 1115*ms)
	want("they caught up", "true 1040", "false 1050")
	add(KindNAT, 1120)
	o.Advance(start + 1350*ms)
	want("patience ends", "false 1120")
	add(KindFlow, 1110)
	want("too late", "true 1110")
	for at := range int64(5) {
		add(KindNAT, 1400+5*at)
	}
	want("too many", "false 1400")
}
