// SPDX-License-Identifier: Apache-2.0

package guard

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"time"

	"github.com/rs/zerolog"
	"golang.org/x/sys/unix"

	"github.com/renat-project/renat/correlator"
	"github.com/renat-project/renat/correlator/incident"
	"github.com/renat-project/renat/internal/nodestatus"
	"github.com/renat-project/renat/kprobes"
)

// Kernel is what the guard needs of a *kprobes.Tracer.
type Kernel interface {
	Touch(all []kprobes.Touched, host bool) error
	Updates() ([]kprobes.Updates, error)
	Occupancy() ([]kprobes.Occupancy, error)
	Tracked(ctx context.Context, id uint32, each func(correlator.Tuple)) error
	Lookup(t correlator.Tuple, d correlator.Dir) (to correlator.Addr, found bool, err error)
}

// Config is what New needs. The zero value of a field means its default.
type Config struct {
	Share float64 // of a map's usable entries to guard at most, up to 0.5; default 0.25
	CPU   float64 // of one core to use at most, up to 1; default 0.01
	UDP   bool    // guard UDP and SCTP, too
	Host  bool    // guard the node's own connections, too
	// Match chooses connections by what an incident would say of their two
	// sides; nil: all.
	Match func(*incident.Incident) bool
	Log   zerolog.Logger
}

// Defaults and limits of Config.
const (
	DefaultShare = 0.25
	MaxShare     = 0.5 // beyond it the kernel finds too few entries that nobody needs
	DefaultCPU   = 0.01
)

// latest is how late Hubble shows a packet on a busy node, 99 in 100 of them.
const latest = 5 * time.Second

// Guard guards a node's connections.
type Guard struct {
	config Config
	kernel Kernel
	cpus   int                           // possible ones
	spent  func() (time.Duration, error) // CPU time of this thread

	// Run's alone.
	pace    pace
	seeded  map[uint32]bool // tracking maps that were read, by id
	touched []kprobes.Touched
	asked   []*connection // of touched
	looked  [2]int        // how many were looked up in the last run and since: IPv4, IPv6
	firsts  time.Duration // CPU time of first looks since the last run
	each    time.Duration // mean CPU time for a connection
	last    time.Time     // run

	mu      sync.Mutex // guards what follows
	table   table
	limits  limits
	between time.Duration // mean time between two runs
	fresh   []*connection // established since the last look, freshMax at most
	talking int           // guarded connections that the last run left to their own packets
	forced  int           // guarded entries that were evicted although in use, since the last run
	status  nodestatus.Guard
	problem error // of the last run
}

// New returns a Guard for a machine with so many possible CPUs.
func New(c Config, kernel Kernel, cpus int) (*Guard, error) {
	if c.Share == 0 {
		c.Share = DefaultShare
	}
	if c.CPU == 0 {
		c.CPU = DefaultCPU
	}
	switch {
	case c.Share < 0 || c.Share > MaxShare:
		return nil, fmt.Errorf("guarding %g of a map's entries: the share is above 0 and at most %g", c.Share, MaxShare)
	case c.CPU < 0 || c.CPU > 1:
		return nil, fmt.Errorf("guarding with %g of a core: the share is above 0 and at most 1", c.CPU)
	}
	return &Guard{config: c, kernel: kernel, cpus: cpus, spent: threadTime, seeded: map[uint32]bool{}, table: newTable(), limits: limits{backoff: 1}}, nil
}

func threadTime() (time.Duration, error) {
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &now); err != nil {
		return 0, fmt.Errorf("reading this thread's time: %w", err)
	}
	return time.Duration(now.Nano()), nil
}

// Run looks entries up when it is time to, until ctx ends; on a kernel without
// the programs it only waits, and Status says so.
func (g *Guard) Run(ctx context.Context) error {
	runtime.LockOSThread() // whose time is told
	defer runtime.UnlockOSThread()
	for {
		wait, err := g.turn(ctx, time.Now())
		if g.fails(err) {
			<-ctx.Done()
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(wait):
		}
	}
}

// fails notes what a turn ended with, and reports whether there is no use in
// another.
func (g *Guard) fails(err error) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if err != nil && (g.problem == nil || g.problem.Error() != err.Error()) {
		g.config.Log.Warn().Err(err).Msg("no connection is guarded")
	}
	g.problem = err
	return errors.Is(err, kprobes.ErrNoGuard)
}

// turn looks how often the maps were updated, does a run if it is due, and
// returns when to look again.
func (g *Guard) turn(ctx context.Context, now time.Time) (time.Duration, error) {
	updates, err := g.kernel.Updates()
	if err != nil {
		return slowest, err
	}
	g.learn(updates)
	if err := g.seed(ctx, updates); err != nil {
		return slowest, err
	}
	due, wait := g.pace.look(updates, g.cpus, now)
	switch {
	case !due && (g.slow() || !g.hasFresh()):
		return wait, nil
	case !due:
		return wait, g.look(now, g.first, g.accountFirst)
	case g.roomy():
		g.rest()
		return wait, nil
	}
	return wait, g.look(now, g.choose, g.accountRun)
}

// look looks up the chosen connections' entries and notes what was found. Both
// functions are called with g.mu held.
func (g *Guard) look(now time.Time, choose func(time.Time), account func(cost time.Duration, kept int, now time.Time)) error {
	if err := g.kernel.Touch(nil, g.config.Host); err != nil { // to load the program is no part of a run
		return err
	}
	began, err := g.spent()
	if err != nil {
		return err
	}
	g.mu.Lock()
	choose(now)
	g.mu.Unlock()
	g.touched = g.touched[:0]
	for _, c := range g.asked {
		g.touched = append(g.touched, kprobes.Touched{Tuple: c.tuple})
	}
	if err := g.kernel.Touch(g.touched, g.config.Host); err != nil {
		return err
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	kept := 0
	for i, c := range g.asked {
		if g.table.found(c, g.touched[i].Condition, now) {
			kept++
		}
	}
	ended, err := g.spent()
	account(ended-began, kept, now)
	return err
}

// slow reports whether the maps fill so slowly that a connection's own packets keep
// its entries as looks do: one since the last run that Hubble shows late is
// followed by a look within six runs, and it takes eight until an entry may go.
func (g *Guard) slow() bool { return 4*g.between >= latest }

// choose takes all that may be guarded, for a run; on slow maps, what was silent
// since the last one.
func (g *Guard) choose(now time.Time) {
	g.asked, g.talking = g.table.choose(&g.limits, g.asked[:0], now, g.slow())
	g.fresh, g.looked = g.fresh[:0], [2]int{}
	for _, c := range g.asked {
		g.looked[c.v]++
	}
}

func (g *Guard) hasFresh() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return len(g.fresh) > 0
}

// first takes those that were established since the last look: the next run may
// be too late for what Hubble shows late. Where as many are guarded as may be,
// they wait for it.
func (g *Guard) first(time.Time) {
	g.asked = g.asked[:0]
	for _, c := range g.fresh {
		if g.status.Idle || g.table.all[c.key] != c || !c.resting.IsZero() || g.looked[c.v] >= g.limits.of(c.v) {
			continue
		}
		g.looked[c.v]++
		g.asked = append(g.asked, c)
	}
	g.fresh = g.fresh[:0]
}

func (g *Guard) accountFirst(cost time.Duration, kept int, _ time.Time) {
	g.firsts += cost
	g.status.CPUSeconds += cost.Seconds()
	g.status.Connections += kept
}

func (g *Guard) accountRun(cost time.Duration, kept int, now time.Time) {
	kept += g.talking
	g.limits.react(g.forced, kept, now)
	g.forced = 0
	if len(g.asked) > 0 {
		g.each = mean(g.each, cost/time.Duration(len(g.asked)))
	}
	if !g.last.IsZero() {
		g.between = mean(g.between, now.Sub(g.last))
		g.limits.afford(len(g.asked), float64(cost+g.firsts)/(g.config.CPU*float64(g.between)))
	}
	g.last, g.firsts = now, 0
	s := &g.status
	s.Runs++
	s.CPUSeconds += cost.Seconds()
	s.Idle, s.Connections = false, kept
	s.NanosecondsPerConnection = float64(g.each)
}

// mean moves a mean towards a new value; the first one is the mean.
func mean(old, value time.Duration) time.Duration {
	if old == 0 {
		return value
	}
	return old + (value-old)/8
}

// rest leaves out a run: the maps have room.
func (g *Guard) rest() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.status.Idle, g.status.Connections = true, 0
	g.last = time.Time{}
}

// Status tells how it goes.
func (g *Guard) Status() *nodestatus.Guard {
	g.mu.Lock()
	defer g.mu.Unlock()
	s := g.status
	s.Known, s.Limit, s.Overlooked = len(g.table.all), g.limits.total(), g.table.overlooked
	switch {
	case g.problem != nil:
		s.Problem, s.Connections = g.problem.Error(), 0
	default:
		s.Problem = g.limits.problem(g.config.CPU)
	}
	return &s
}
