// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/renat-project/renat/correlator/incident"
	"github.com/renat-project/renat/sinks/jetstream"
)

// Row is the score of a class, or of all.
type Row struct {
	Class       Class `json:"class,omitempty"`
	Connections int   `json:"connections"`
	// Broken by the client's own account. Named, Missed and Other add up to it.
	Broken int `json:"broken"`
	// Named by exactly one incident, with the right kind, cause and ports.
	Named  int `json:"named"`
	Missed int `json:"missed"`
	// Other broke without the datapath's doing.
	Other int `json:"other"`
	// False counts incidents that name no broken connection, name one again, or
	// are wrong in something.
	False int `json:"false"`
	// Survived counts unconfirmed incidents that are right in everything, of
	// connections that live on: the datapath gave them another port, the RST
	// got lost, and when their old port was free again they found back to it.
	Survived int `json:"survived"`
	// FailureRate is Broken by Connections, 0 to 1.
	FailureRate float64 `json:"failure_rate"`
}

// Latency is how long it took from the RST's flow to the stored incident.
type Latency struct {
	Incidents int           `json:"incidents"`
	P50       time.Duration `json:"p50_ns"`
	P99       time.Duration `json:"p99_ns"`
}

// score compares incidents with the account.
type score struct {
	watched   span
	before    int // connections that broke before the agent had to name them
	rows      map[Class]*Row
	unopened  int // for another reason than ports
	replaced  *replacement
	faults    []string
	latencies []time.Duration
}

func (a *account) score(c Config, stored []jetstream.Stored) *score {
	a.mu.Lock()
	defer a.mu.Unlock()
	s := &score{watched: a.watched, rows: map[Class]*Row{}}
	for _, c := range plans[c.Kind].classes() {
		s.rows[c] = &Row{Class: c}
	}
	named := map[key][]jetstream.Stored{}
	stored = s.judgeReplacement(a, c, s.judgePorts(a, stored))
	for _, i := range stored {
		k := key{i.Incident.Source.AddrPort(), i.Incident.Destination.AddrPort()}
		if cn := a.connections[k]; cn == nil || s.rows[cn.class] == nil {
			s.rows[Churn].False++
			s.fault("%s -> %s: nobody made it, but an incident says %s", k.client, k.server, describe(i.Incident))
			continue
		}
		named[k] = append(named[k], i)
	}
	for k, cn := range a.connections {
		if row := s.rows[cn.class]; row != nil {
			row.Connections++
			s.judge(row, k, cn, named[k])
		}
	}
	if r := s.replaced; len(r.broken) > 0 && r.alone != 1 {
		s.rows[Churn].False++
		s.fault("%d connections that broke because their map was replaced have an incident of their own, not one", r.alone)
	}
	slices.Sort(s.faults)
	return s
}

func (s *score) fault(format string, args ...any) {
	s.faults = append(s.faults, fmt.Sprintf(format, args...))
}

// judge scores one connection and the incidents that name it.
func (s *score) judge(row *Row, k key, c *connection, incidents []jetstream.Stored) {
	at := fmt.Sprintf("%s %s -> %s", c.class, k.client, k.server)
	if c.broken == nil {
		for _, i := range incidents {
			if _, ok := c.match(i.Incident, s.watched); ok && i.Incident.Outcome == incident.Unconfirmed {
				row.Survived++
				continue
			}
			row.False++
			s.fault("%s: works, but an incident says %s; the datapath's account: %v", at, describe(i.Incident), c.failures)
		}
		return
	}
	if c.brokeBefore(s.watched.must) && c.remains(incidents, s.watched) {
		s.before++
		return
	}
	row.Broken++
	right := false
	for _, i := range incidents {
		f, ok := c.match(i.Incident, s.watched)
		if !ok || right {
			row.False++
			s.fault("%s: %v; an incident says %s; the datapath's account: %v", at, c.broken, describe(i.Incident), c.failures)
			continue
		}
		right = true
		if f.cause == incident.MapReplaced {
			s.replaced.alone++
		}
		if !f.reset.IsZero() {
			s.latencies = append(s.latencies, i.At.Sub(f.reset))
		}
	}
	switch {
	case right || s.replaced.told && c.byReplacement():
		row.Named++
	case len(c.failures) == 0:
		row.Other++
		s.fault("%s: %v; the datapath had no part in it", at, c.broken)
	default:
		row.Missed++
		s.fault("%s: %v; no incident; the datapath's account: %v", at, c.broken, c.failures)
	}
}

// brokeBefore reports whether the datapath broke the connection before a time, and
// did not since.
func (c *connection) brokeBefore(at uint64) bool {
	before := len(c.failures) > 0
	for _, f := range c.failures {
		before = before && f.at < at
	}
	return before
}

// remains reports whether incidents do not name a failure of the connection, but at
// most once what is left of it: its client may speak once more, from another port.
func (c *connection) remains(incidents []jetstream.Stored, watched span) bool {
	if len(incidents) == 0 {
		return true
	}
	i := incidents[0].Incident
	_, named := c.match(i, watched)
	return !named && len(incidents) == 1 && i.Cause == incident.UnknownCause && i.NAT.Before == c.seen.String()
}

// match finds the failure that an incident describes rightly. Of entries made
// before the agent watched it may not know what removed them.
func (c *connection) match(i *incident.Incident, watched span) (failure, bool) {
	for _, f := range c.failures {
		cause := i.Cause == f.cause || i.Cause == incident.UnknownCause && f.mapped < watched.may
		if i.Kind == f.kind && cause && c.seen == f.before && f.translated(i) && (!f.silent || i.Outcome == incident.Timeout) {
			return f, true
		}
	}
	return failure{}, false
}

// translated reports whether an incident says rightly what became of the
// connection's entries. Of one that lost no translation it need not tell any.
func (f failure) translated(i *incident.Incident) bool {
	if f.kind == incident.TrackingLost {
		return i.NAT.SecondsLeft > 0 && (i.NAT.Before == "" || i.NAT.Before == f.before.String()) &&
			(i.DeletedBy != "") == (f.cause == incident.UserspaceDelete)
	}
	return i.NAT.Before == f.before.String() && i.NAT.After == written(f.after)
}

func written(a netip.AddrPort) string {
	if !a.IsValid() {
		return ""
	}
	return a.String()
}

// clock is how times of evidence are written.
const clock = "15:04:05.000000"

func describe(i *incident.Incident) string {
	var b strings.Builder
	fmt.Fprintf(&b, "{%s %s %s %s, %s", i.Kind, i.Cause, i.NAT.Before, i.NAT.After, i.Outcome)
	for _, e := range i.Evidence {
		fmt.Fprintf(&b, "; %s %s: %s", e.Time.Format(clock), e.From, e.What)
	}
	return b.String() + "}"
}

// String describes a failure as describe does an incident.
func (f failure) String() string {
	return fmt.Sprintf("{%s %s %s %s}", f.kind, f.cause, f.before, written(f.after))
}

// table returns the rows in the classes' order, and their sum.
func (s *score) table() (rows []Row, total Row) {
	for _, c := range classes {
		if s.rows[c] == nil {
			continue
		}
		r := *s.rows[c]
		total.Connections += r.Connections
		total.Broken += r.Broken
		total.Named += r.Named
		total.Missed += r.Missed
		total.Other += r.Other
		total.False += r.False
		total.Survived += r.Survived
		r.rate()
		rows = append(rows, r)
	}
	total.rate()
	return rows, total
}

func (r *Row) rate() {
	if r.Connections > 0 {
		r.FailureRate = float64(r.Broken) / float64(r.Connections)
	}
}

// latency returns the percentiles, of the nearest rank.
func (s *score) latency() Latency {
	slices.Sort(s.latencies)
	n := len(s.latencies)
	if n == 0 {
		return Latency{}
	}
	rank := func(p int) time.Duration { return s.latencies[(n*p+99)/100-1] }
	return Latency{Incidents: n, P50: rank(50), P99: rank(99)}
}
