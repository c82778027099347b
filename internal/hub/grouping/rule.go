// SPDX-License-Identifier: Apache-2.0

package grouping

import (
	"slices"
	"time"

	"github.com/renat-project/renat/correlator/incident"
	"github.com/renat-project/renat/sinks/notification"
)

// The defaults of a Rule.
const (
	DefaultWait     = 10 * time.Second
	DefaultInterval = 5 * time.Minute
	DefaultRepeat   = 4 * time.Hour
	// DefaultListed incidents are in a notification, of at most ListedBytes.
	DefaultListed = 20
	ListedBytes   = 64 << 10
	// DefaultMaxPending bounds the incidents that wait for their notification.
	DefaultMaxPending = 100_000
	// DefaultMaxGroups bounds the groups; what would need another one shares
	// a group whose labels are all Other.
	DefaultMaxGroups = 10_000
	// Other is the label value of that group.
	Other = "(other)"

	// allListedBytes bounds the incidents listed in all groups together.
	allListedBytes = 64 << 20
)

// DefaultBy is what receivers group by.
var DefaultBy = []Label{"cluster", "node", "workload", "destination"}

// Rule is how a receiver's incidents are grouped. All durations and numbers
// must be positive, but for Threshold and Refresh.
type Rule struct {
	Receiver string
	// Match selects the incidents: all must match.
	Match []Matcher
	By    []Label
	// Wait is how long a group collects before its first notification,
	// Interval the least time from one to the next.
	Wait, Interval time.Duration
	// Repeat is after how long a group that goes on is announced anew, and
	// one that is quiet is forgotten.
	Repeat time.Duration
	// Threshold keeps a group back until so many incidents happened Within.
	Threshold int
	Within    time.Duration
	// Refresh is how often to tell of a group without news until it has been
	// quiet for Interval; 0: never.
	Refresh time.Duration
	Listed  int
	// MaxPending incidents wait at most: when four fifths do, groups are
	// notified after Wait instead of Interval.
	MaxPending, MaxGroups int
	// Render sets a notification's Title, Text and Link; nil: it has none.
	Render func(*notification.Notification)
}

// matches reports whether i is for the receiver.
func (r *Rule) matches(i *incident.Incident) bool {
	return !slices.ContainsFunc(r.Match, func(m Matcher) bool { return !m.Matches(i) })
}

// values are those of the labels to group by.
func (r *Rule) values(i *incident.Incident) []string {
	v := make([]string, len(r.By))
	for n, l := range r.By {
		v[n] = l.Of(i)
	}
	return v
}

// grace is added to Within before an incident below the threshold is dropped:
// what belongs to it may arrive later.
const grace = 10 * time.Second

// passes reports whether threshold of the times, which it sorts, lie within. The
// threshold must be positive.
func (r *Rule) passes(times []int64) bool {
	slices.Sort(times)
	for n := r.Threshold - 1; n < len(times); n++ {
		if times[n]-times[n-r.Threshold+1] <= int64(r.Within) {
			return true
		}
	}
	return false
}
