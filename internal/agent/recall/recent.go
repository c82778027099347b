// SPDX-License-Identifier: Apache-2.0

package recall

import "time"

// recent is a map of what was put lately: for at least age and at most twice
// as long, and no more than twice max. One goroutine at a time may use it.
type recent[K comparable, V any] struct {
	max        int
	age        time.Duration
	young, old map[K]V
	since      time.Time // of young
}

func newRecent[K comparable, V any](limit int, age time.Duration) *recent[K, V] {
	return &recent[K, V]{max: limit, age: age, young: map[K]V{}}
}

// turn makes what is young old when it is.
func (r *recent[K, V]) turn(now time.Time) {
	switch aged := now.Sub(r.since); {
	case aged >= 2*r.age:
		r.old, r.young, r.since = nil, map[K]V{}, now
	case aged >= r.age, len(r.young) >= r.max:
		r.old, r.young, r.since = r.young, map[K]V{}, now
	}
}

func (r *recent[K, V]) put(k K, v V, now time.Time) {
	r.turn(now)
	r.young[k] = v
}

func (r *recent[K, V]) get(k K, now time.Time) (V, bool) {
	r.turn(now)
	if v, ok := r.young[k]; ok {
		return v, true
	}
	v, ok := r.old[k]
	return v, ok
}

func (r *recent[K, V]) remove(k K) {
	delete(r.young, k)
	delete(r.old, k)
}
