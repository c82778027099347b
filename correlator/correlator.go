// SPDX-License-Identifier: Apache-2.0

package correlator

import (
	"fmt"
	"time"

	"github.com/renat-project/renat/correlator/incident"
)

// Config sizes a Correlator. The zero value of a field means its default.
type Config struct {
	Node    string // Kubernetes node the events come from
	Cluster string // its cluster

	// Settle is how long after a connection lost its mapping an RST is waited
	// for; default 3 s.
	Settle time.Duration
	// Hold is how long each event waits for earlier ones: any two events that
	// arrive in the wrong order within it give the same incidents. A replay
	// can afford the whole Settle; a live agent takes what its sources need,
	// because an incident is late by it. Default Settle.
	Hold time.Duration
	// Patience is how long an event waits at most while flows or map operations
	// are behind: Hubble on a busy node may be late by seconds. What was heard
	// of last tells how far it is, so that an RST that arrives is not kept
	// waiting by it; how far the kernel's reader is tells KernelRead.
	// Default, and at least, Hold.
	Patience time.Duration
	// MaxConnections is how many connections are remembered; default 262,144.
	// Beyond it, those not heard of for longest go, roughly in that order.
	MaxConnections int
	// MaxSuspects is how many connections may wait for a verdict at once;
	// default 65,536.
	MaxSuspects int
	// MaxHeld is how many events may wait at once; default 1,048,576.
	MaxHeld int
}

const (
	defaultSettle         = 3 * time.Second
	defaultMaxConnections = 1 << 18
	defaultMaxSuspects    = 1 << 16
	defaultMaxHeld        = 1 << 20

	// maxTime is the end of the year 2199: later times are not believed.
	maxTime = 7_258_118_400_000_000_000
)

// Correlator finds broken connections. It belongs to one goroutine.
type Correlator struct {
	cfg          Config
	emit         func(*incident.Incident)
	reorder      reorder
	table        *table
	suspects     suspects
	resets       []ref // suspects whose RST was seen, by time
	hosts        []ref // connections of the host's that are suspects, the newest
	hostResets   []hostReset
	opens        opens // whose flow has not come
	early        opens // whose tracking entry's insert has not
	losses       ledger
	maps         maps
	untracked    untracked
	noPort       noPort
	replacedAt   map[bool]int64    // when they were last, by whether IPv6
	was          map[ending]uint32 // sizes of the maps that were replaced
	replacements []*replacement
	stats        Stats
	lag          lag
	remembers    int64 // of the kernel's filter
	flowsSeen    bool
	lastFlow     int64        // the newest flow's stamp
	usualAt      int64        // when Hubble last showed two packets alike within its usual interval
	tracked      bool         // the inserts of tracking entries are seen
	dispatch     func(*Event) // c.process, bound once
	forget       func(ref)    // c.forgotten, bound once
}

// Stats counts what a Correlator did since New.
type Stats struct {
	Flows, NATChanges, Losses uint64 // events observed, by kind
	Ignored                   uint64 // of other protocols or a per-cluster map, or without a believable time
	Late                      uint64 // older than Hold and Patience allow: taken as they came
	Early                     uint64 // released before their time because MaxHeld was reached
	Incidents                 uint64 // published
	Harmless                  uint64 // suspects that turned out well
	Undecided                 uint64 // suspects that the input's end left open
	HubbleUnseen              uint64 // connections opened that Hubble did not show
	ConnectionsForgotten      uint64 // dropped because MaxConnections was reached
	SuspectsForgotten         uint64 // decided before their time, or the loss of their tracking entry forgotten, because MaxSuspects was reached
	Lost                      [lossSources]uint64

	Connections, Suspects, Held int // in the tables now
}

// New returns a Correlator that hands its incidents to emit, in the order of
// their verdicts. It fails when a limit or duration is negative, or Settle,
// Hold or Patience exceeds ten minutes.
func New(cfg Config, emit func(*incident.Incident)) (*Correlator, error) {
	if cfg.Settle == 0 {
		cfg.Settle = defaultSettle
	}
	if cfg.Hold == 0 {
		cfg.Hold = cfg.Settle
	}
	if err := cfg.check(); err != nil {
		return nil, err
	}
	cfg.Patience = max(cfg.Patience, cfg.Hold)
	if cfg.MaxConnections == 0 {
		cfg.MaxConnections = defaultMaxConnections
	}
	if cfg.MaxSuspects == 0 {
		cfg.MaxSuspects = defaultMaxSuspects
	}
	if cfg.MaxHeld == 0 {
		cfg.MaxHeld = defaultMaxHeld
	}
	c := &Correlator{cfg: cfg, emit: emit, table: newTable(cfg.MaxConnections), maps: maps{}, lag: newLag(), remembers: withheldAfter, untracked: untracked{of: map[ref]untracking{}},
		noPort: noPort{open: map[server][]*refusals{}, past: map[server]run{}},
		was:    map[ending]uint32{}, replacedAt: map[bool]int64{}}
	c.reorder = newReorder(cfg.Hold, cfg.Patience, cfg.MaxHeld, c.table.warm)
	c.dispatch, c.forget = c.process, c.forgotten
	return c, nil
}

// check names the first field that is out of range.
func (c *Config) check() error {
	for _, d := range []struct {
		what string
		is   time.Duration
	}{{"settle", c.Settle}, {"hold", c.Hold}, {"patience", c.Patience}} {
		if d.is < 0 || d.is > 10*time.Minute {
			return fmt.Errorf("correlator: %s %v is not between 0 and 10m", d.what, d.is)
		}
	}
	for _, n := range []struct {
		what string
		is   int
	}{{"max connections", c.MaxConnections}, {"max suspects", c.MaxSuspects}, {"max held", c.MaxHeld}} {
		if n.is < 0 {
			return fmt.Errorf("correlator: %s %d is negative", n.what, n.is)
		}
	}
	return nil
}

// Observe takes one event; it keeps no pointer to ev. The clock moves to the
// event's time if that is the newest.
func (c *Correlator) Observe(ev *Event) {
	if ev.Time <= 0 || ev.Time >= maxTime || !ev.relevant() {
		c.stats.Ignored++
		return
	}
	switch ev.Kind {
	case KindFlow:
		c.stats.Flows++
		c.reorder.hear(ev.Time)
	case KindNAT:
		c.stats.NATChanges++
	case KindLoss:
		c.stats.Losses++
	}
	c.Advance(ev.Time)
	if c.reorder.size >= c.cfg.MaxHeld {
		c.stats.Early += uint64(c.reorder.shrink(c.dispatch))
	}
	if !c.reorder.add(ev) {
		c.stats.Late++
		c.process(ev)
	}
}

// relevant reports whether ev can say something of a masqueraded connection.
func (ev *Event) relevant() bool {
	switch ev.Kind {
	case KindLoss:
		return true
	case KindNAT:
		if ev.NAT.Map == nil || ev.NAT.Map.PerCluster() {
			return false
		}
		if ev.NAT.Op == Replaced {
			return true
		}
	case KindFlow:
	default:
		return false
	}
	switch ev.Tuple.Protocol {
	case TCP, UDP, SCTP:
		return true
	}
	return false
}

// Advance moves the clock to now (Unix nanoseconds), so that verdicts fall
// without an event. A time that has passed is ignored.
func (c *Correlator) Advance(now int64) {
	if now <= c.reorder.now || now >= maxTime {
		return
	}
	c.reorder.advance(now, c.dispatch)
	c.pass(c.reorder.released())
}

// Next is when to call Advance again (Unix nanoseconds), if no event comes before:
// until then nothing is published. Whoever lets time pass only then must also do so
// before each Observe. It is past if what is due waits for KernelRead, and in the
// year 2199 if nothing waits.
func (c *Correlator) Next() int64 {
	at := c.reorder.oldest()
	if c.suspects.oldest != 0 {
		at = min(at, c.suspects.at(c.suspects.oldest).at+c.settling())
	}
	for _, r := range c.resets {
		if cn := c.table.at(r); cn.suspect != 0 {
			at = min(at, c.suspects.at(cn.suspect).due)
			break
		}
	}
	at = min(at, c.refusalsDue())
	for _, p := range c.replacements {
		at = min(at, c.replacementDue(p))
	}
	if at == maxTime {
		return maxTime
	}
	return c.reorder.reaches(at)
}

// settling is how long after what decides a verdict falls without an RST.
func (c *Correlator) settling() int64 { return int64(c.cfg.Settle) + c.lag.extra() }

// KernelRead says that no map operation from before at (Unix nanoseconds) will
// be observed any more. As long as it is not called, all are taken to come in
// time.
func (c *Correlator) KernelRead(at int64) { c.reorder.read = at }

// Remembers says for how long after an entry's removal the inserts of its
// connection are observed, which is longer than tracking entries last; 8,100 s
// as long as it is not called.
func (c *Correlator) Remembers(d time.Duration) { c.remembers = int64(d) }

// Flush takes all events that wait and decides every suspect: the input ends.
// Of one so young that Hubble may still have to show what acquits it nothing is
// said, unless its RST was seen, or that the packet which was re-NATted neither
// opens nor closes.
func (c *Correlator) Flush() {
	c.reorder.flush(c.dispatch)
	c.pass(c.reorder.now)
	for len(c.noPort.order) > 0 {
		c.publishRefusals()
	}
	for c.suspects.oldest != 0 {
		s := c.suspects.at(c.suspects.oldest)
		if c.flowsSeen && s.at+c.lag.late > c.reorder.now && !s.reset && (!s.rule.answersPod || s.triggered == 0) {
			c.stats.Undecided++
			c.drop(s.conn)
			continue
		}
		c.decide(s.conn)
	}
	for _, p := range c.replacements {
		c.publishReplacement(p)
	}
	c.replacements = nil
}

// Stats returns the counters and the tables' sizes.
func (c *Correlator) Stats() Stats {
	s := c.stats
	s.Connections, s.Suspects, s.Held = int(c.table.live), c.suspects.count, c.reorder.size
	return s
}

// pass lets event time reach now: what falls due before it is done in its order.
func (c *Correlator) pass(now int64) {
	for c.suspects.oldest != 0 {
		s := c.suspects.at(c.suspects.oldest)
		deadline := s.at + c.settling()
		if deadline >= now {
			break
		}
		c.until(deadline)
		if c.suspects.oldest != 0 && c.suspects.at(c.suspects.oldest) == s {
			s.waited = true
			c.decide(s.conn)
		}
	}
	c.until(now)
}

// until does what falls due before now but the suspects' deadlines.
func (c *Correlator) until(now int64) {
	c.settleDue(now)
	c.unseen(now)
	c.openedBefore(now)
	c.refusalsBefore(now)
	c.replacementsBefore(now)
}

// process takes an event in its turn.
func (c *Correlator) process(ev *Event) {
	c.pass(ev.Time)
	switch ev.Kind {
	case KindFlow:
		c.onFlow(ev)
	case KindNAT:
		c.onNAT(ev)
	case KindLoss:
		c.onLoss(ev)
	}
}

// connection returns the connection of a pre-NAT tuple, a new one if need be.
func (c *Correlator) connection(tuple *Tuple) ref {
	r := c.table.lookup(tuple)
	if r == 0 {
		return c.table.add(tuple, c.forget)
	}
	c.table.at(r).flags |= used
	return r
}

// forgotten is called for a connection that has to make room.
func (c *Correlator) forgotten(r ref) {
	c.stats.ConnectionsForgotten++
	if c.table.at(r).suspect != 0 {
		c.decide(r)
	}
	c.trackedAgain(r)
}
