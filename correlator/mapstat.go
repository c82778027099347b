// SPDX-License-Identifier: Apache-2.0

package correlator

import "time"

// rateWindow is how many seconds the eviction rate of an incident covers.
const rateWindow = 10

// maps counts each map's evictions over the last seconds.
type maps map[*Map]*evictions

// evictions are counted per second of event time, in a ring.
type evictions struct {
	second [rateWindow]int64
	count  [rateWindow]uint32
}

func (m maps) evicted(of *Map, at int64) {
	e := m[of]
	if e == nil {
		e = &evictions{}
		m[of] = e
	}
	s := at / int64(time.Second)
	i := s % rateWindow
	if e.second[i] != s {
		e.second[i], e.count[i] = s, 0
	}
	e.count[i]++
}

// rate returns the evictions per second in the rateWindow seconds up to at.
func (m maps) rate(of *Map, at int64) float64 {
	e := m[of]
	if e == nil {
		return 0
	}
	s := at / int64(time.Second)
	n := uint32(0)
	for i, second := range e.second {
		if second > s-rateWindow && second <= s {
			n += e.count[i]
		}
	}
	return float64(n) / rateWindow
}
