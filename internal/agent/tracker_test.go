// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/renat-project/renat/correlator"
	"github.com/renat-project/renat/correlator/incident"
)

// reader is a kernel that has been read up to a monotonic time.
type reader struct {
	Kernel
	upTo int64
}

func (r *reader) CaughtUp() uint64         { return uint64(r.upTo) } //nolint:gosec // positive
func (r *reader) Remembers() time.Duration { return time.Hour }

// A tracker whose sources are further behind than it waits for says so, and until
// they have not been for a while; not of flows from before its start.
func TestTrackerTellsThatItIsBehind(t *testing.T) {
	const second = int64(time.Second)
	h := &hands{monotonic: 100 * second, offset: time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC).UnixNano()}
	k := &reader{}
	tr, err := newTracker(correlator.Config{}, newClock(h.read), k, prometheus.ObserverFunc(func(float64) {}), func(*incident.Incident, time.Duration) {})
	if err != nil {
		t.Fatal(err)
	}
	flow := func(age int64) {
		_, wall := h.read()
		tr.flow(correlator.Event{Time: wall - age, Kind: correlator.KindFlow, Tuple: correlator.Tuple{Protocol: correlator.TCP}})
	}
	const flows, changes = "Hubble's flows come 7 s late", "the kernel's changes are read 7 s late"
	for _, step := range []struct {
		what         string
		pass         int64 // before, in seconds
		flow, unread int64 // ages of a flow that comes and of what has not been read, in seconds; 0: none
		want         string
	}{
		{"nothing has come", 0, 0, 0, ""},
		{"a flow from before the start", 1, 7, 0, ""},
		{"a flow in time", 9, 5, 0, ""},
		{"a late flow", 0, 7, 0, flows},
		{"one in time", 4, 1, 0, flows},
		{"nothing more", 7, 0, 0, ""},
		{"the kernel's side is behind", 1, 0, 7, changes},
		{"both are", 1, 7, 7, changes},
		{"it has caught up", 4, 1, 0, changes},
		{"for a while", 7, 1, 1, ""},
	} {
		h.monotonic += step.pass * second
		k.upTo = h.monotonic - step.unread*second
		if step.flow > 0 {
			flow(step.flow * second)
		}
		tr.wake()
		err := tr.behind()
		if (err == nil) != (step.want == "") || err != nil && !strings.Contains(err.Error(), step.want) {
			t.Errorf("%s: %v, want %q", step.what, err, step.want)
		}
	}
}
