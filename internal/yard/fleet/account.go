// SPDX-License-Identifier: Apache-2.0

package fleet

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/renat-project/renat/correlator/incident"
	"github.com/renat-project/renat/sinks/notification"
)

// account is what happened and what was told of it. It is the receiver: a
// webhook. It may be used by any goroutine.
type account struct {
	stored, told lags // from when an incident happened
	retried      atomic.Uint64

	mu     sync.Mutex
	groups map[group]*groupAccount
	seen   map[string]bool // notifications by id
	// count is how many incidents were told of.
	count, notifications, twice int
}

// group is what the receiver groups by, as far as incidents differ in it.
type group struct{ cluster, node, workload string }

// groupAccount is what happened to a group, in its order, and how many of it
// were told of: a hub reads incidents in the order in which they were stored.
type groupAccount struct {
	happened []time.Time
	told     int
}

func newAccount() *account {
	return &account{groups: map[group]*groupAccount{}, seen: map[string]bool{}}
}

// made notes an incident that is about to be stored.
func (a *account) made(i *incident.Incident) {
	key := group{i.Cluster, i.Node, i.Source.Owner()}
	a.mu.Lock()
	defer a.mu.Unlock()
	g := a.groups[key]
	if g == nil {
		g = &groupAccount{}
		a.groups[key] = g
	}
	g.happened = append(g.happened, i.Time)
}

// ServeHTTP takes notifications.
func (a *account) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var m struct{ Data notification.Notification }
	body, err := io.ReadAll(r.Body)
	if err == nil {
		err = json.Unmarshal(body, &m)
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	a.take(&m.Data, time.Now())
}

func (a *account) take(n *notification.Notification, now time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.seen[n.ID] {
		a.twice++
		return
	}
	a.seen[n.ID] = true
	a.notifications++
	a.count += n.Count
	l := n.Group.Labels
	g := a.groups[group{l["cluster"], l["node"], l["workload"]}]
	if g == nil {
		return // the count will not agree
	}
	for k := g.told; k < min(g.told+n.Count, len(g.happened)); k++ {
		a.told.add(now.Sub(g.happened[k]))
	}
	g.told += n.Count
}

// toldOf is how many incidents were told of so far.
func (a *account) toldOf() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.count
}

// differences are the groups of which not all was told, or more.
func (a *account) differences() (all []string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for key, g := range a.groups {
		if g.told != len(g.happened) {
			all = append(all, fmt.Sprintf("%s/%s/%s: %d happened, %d were told of", key.cluster, key.node, key.workload, len(g.happened), g.told))
		}
	}
	slices.Sort(all)
	return all
}

// lags are durations. The zero value has none.
type lags struct {
	mu  sync.Mutex
	all []time.Duration
}

func (l *lags) add(d time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.all = append(l.all, d)
}

// Lag is what many lags have in common.
type Lag struct {
	Count    int
	P50, P99 time.Duration
	Max      time.Duration
}

func (l *lags) sum() Lag {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := len(l.all)
	if n == 0 {
		return Lag{}
	}
	slices.Sort(l.all)
	return Lag{n, l.all[n/2], l.all[n*99/100], l.all[n-1]}
}

// String is for people.
func (l Lag) String() string {
	if l.Count == 0 {
		return "none"
	}
	return fmt.Sprintf("p50 %v, p99 %v, at most %v", short(l.P50), short(l.P99), short(l.Max))
}

// short has three digits or so.
func short(d time.Duration) time.Duration {
	for unit := time.Second; unit > time.Nanosecond; unit /= 1000 {
		if d >= unit {
			return d.Round(unit / 100)
		}
	}
	return d
}
