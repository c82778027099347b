// SPDX-License-Identifier: Apache-2.0

package hubble

// windowSize is how many flows a client remembers to recognise repeats after
// an interruption: 4 s of a node with 4,000 flows a second.
const windowSize = 1 << 14

// window remembers the latest events of a stream, so that the next one can
// begin a little earlier and leave out what was seen.
type window struct {
	ring  []seen // the latest windowSize events
	next  int    // where the next one goes in a full ring
	last  int64  // time of the flow that came last, Unix nanoseconds; 0 before the first
	known map[uint64]struct{}
	until int64 // known is needed up to this flow time
	fresh bool  // the stream was resumed and has shown no flow yet
}

type seen struct {
	time int64
	key  uint64
}

// resume makes the window expect repeats and returns the time, in Unix
// nanoseconds, from which to ask again: overlap before the last flow, or less
// if the window does not reach back that far. 0 means that no flow was seen.
func (w *window) resume(overlap int64) int64 {
	if w.last == 0 {
		return 0
	}
	w.known = make(map[uint64]struct{}, len(w.ring))
	for _, s := range w.ring {
		w.known[s.key] = struct{}{}
	}
	w.until, w.fresh = w.last+overlap, true
	since := w.last - overlap
	if len(w.ring) == windowSize {
		since = min(max(since, w.ring[w.next].time+1), w.last)
	}
	return since
}

// add takes in an event; flow tells a flow, whose time counts, from a loss.
// repeat tells that the event was seen before the stream was interrupted; gap
// that the resumed stream's first flow is not a repeat, so that flows are
// missing since the one before.
func (w *window) add(time int64, key uint64, flow bool) (repeat, gap bool) {
	if w.known != nil {
		_, repeat = w.known[key]
		if flow {
			gap = w.fresh && !repeat
			w.fresh = false
			if time > w.until {
				w.known = nil
			}
		}
	}
	if repeat {
		return true, false
	}
	if flow {
		w.last = time
	}
	if len(w.ring) < windowSize {
		w.ring = append(w.ring, seen{w.last, key})
		return false, gap
	}
	w.ring[w.next] = seen{w.last, key}
	w.next = (w.next + 1) % windowSize
	return false, gap
}
