// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/cilium/cilium/api/v1/observer"

	"github.com/renat-project/renat/correlator"
	"github.com/renat-project/renat/hubble"
	"github.com/renat-project/renat/internal/recording"
	"github.com/renat-project/renat/internal/view/render"
	"github.com/renat-project/renat/kprobes"
)

// kernel is the part of a kprobes.Tracer that a recorder needs.
type kernel interface {
	source
	Status() kprobes.Status
}

// trail is how long flows are read on when the kernel is not any more: an
// agent's flows come up to 125 ms late.
const trail = 500 * time.Millisecond

// recorder is one run of the command.
type recorder struct {
	*recordFlags
	dir      string
	flows    *hubble.Client
	kernel   kernel
	redactor *recording.Redactor // nil: nothing is replaced
	out      *recording.Writer
	started  time.Time

	mu     sync.Mutex // guards what follows
	counts recorded
}

// recorded counts what was written.
type recorded struct {
	flows, changes uint64
	lost           map[correlator.LossSource]uint64 // 0: nobody knows how many
}

// run records until ctx ends, the duration is over, or something fails.
func (r *recorder) run(ctx context.Context) error {
	if r.duration > 0 {
		limited, cancel := context.WithTimeout(ctx, r.duration)
		defer cancel()
		ctx = limited
	}
	ctx, fail := context.WithCancelCause(ctx)
	defer fail(nil)
	trailing, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	defer context.AfterFunc(ctx, func() { time.AfterFunc(trail, stop) })()

	var sources sync.WaitGroup
	sources.Go(func() {
		err := r.kernel.Run(ctx, func(ev correlator.Event) {
			if err := r.write(&ev, nil); err != nil {
				fail(err)
			}
		})
		fail(err) // the first one counts
	})
	sources.Go(func() {
		err := r.flows.Tap(trailing, func(ev correlator.Event, resp *observer.GetFlowsResponse) {
			if err := r.write(&ev, resp); err != nil {
				fail(err)
			}
		})
		fail(err)
	})
	sources.Wait()
	err := context.Cause(ctx)
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return nil
	}
	return err
}

// write writes what Hubble sent; without a message what the kernel showed, or a
// loss that the client noticed.
func (r *recorder) write(ev *correlator.Event, resp *observer.GetFlowsResponse) error {
	r.count(ev, resp.GetFlow() != nil)
	if resp == nil {
		if r.redactor != nil {
			r.redactor.Event(ev)
		}
		return r.out.NAT(ev)
	}
	if r.redactor != nil {
		r.redactor.Flow(resp)
	}
	return r.out.Flow(resp)
}

func (r *recorder) count(ev *correlator.Event, flow bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if flow {
		r.counts.flows++
	}
	switch ev.Kind {
	case correlator.KindNAT:
		r.counts.changes++
	case correlator.KindLoss:
		if r.counts.lost == nil {
			r.counts.lost = map[correlator.LossSource]uint64{}
		}
		r.counts.lost[ev.Loss.From] += ev.Loss.Count
	}
}

func (r *recorder) counted() recorded {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.counts
}

// watch tells, while it records, what is missing, and on a terminal how much
// there is. The caller calls stop.
func (r *recorder) watch() (stop func()) {
	log, done := r.log(), make(chan struct{})
	for _, s := range r.kernel.Status().Degraded {
		log.Warn().Msg(s)
	}
	var watching sync.WaitGroup
	watching.Go(func() {
		tick := time.NewTicker(time.Second)
		defer tick.Stop()
		for problem := ""; ; {
			select {
			case <-done:
				return
			case <-tick.C:
			}
			if now := r.kernel.Status().Problem; now != problem {
				if problem = now; now != "" {
					log.Warn().Str("problem", now).Msg("no map operations")
				}
			}
			if render.IsTerminal(r.err) {
				c := r.counted()
				fmt.Fprintf(r.err, "\r%v: %d flows, %d map operations ", time.Since(r.started).Round(time.Second), c.flows, c.changes)
			}
		}
	})
	return func() {
		close(done)
		watching.Wait()
		if render.IsTerminal(r.err) {
			fmt.Fprintln(r.err)
		}
	}
}

// summarise tells what was recorded; to have recorded nothing is an error.
// Unless complete, the last of what was received is missing.
func (r *recorder) summarise(complete bool) error {
	c, did := r.counted(), "received"
	if complete {
		did = "recorded"
	}
	noFlows, noChanges := r.flows.Stats().LastError, r.kernel.Status().Problem
	if noFlows == "" {
		noFlows = "Hubble sent none"
	}
	if noChanges == "" {
		noChanges = "the maps were not touched"
	}
	if c.flows == 0 && c.changes == 0 {
		return fmt.Errorf("nothing was recorded\nflows: %s\nmap operations: %s", noFlows, noChanges)
	}
	fmt.Fprintf(r.err, "%s %d flows and %d map operations in %v: %s in %s\n",
		did, c.flows, c.changes, time.Since(r.started).Round(time.Second), bytesText(r.out.Size()), r.dir)
	if c.flows == 0 {
		fmt.Fprintf(r.err, "no flows: %s\n", noFlows)
	}
	if c.changes == 0 {
		fmt.Fprintf(r.err, "no map operations: %s\n", noChanges)
	}
	if len(c.lost) > 0 {
		fmt.Fprintf(r.err, "lost: %s\n", c.losses())
	}
	if r.redactor != nil {
		fmt.Fprintln(r.err, "names and addresses are replaced; times, ports, identity numbers and versions are the node's")
	}
	fmt.Fprintf(r.err, "see what it shows: renat replay %s\n", r.dir)
	return nil
}

// bytesText writes a size as people read it.
func bytesText(n int64) string {
	if n < 1e6 {
		return fmt.Sprintf("%d kB", (n+999)/1000)
	}
	return fmt.Sprintf("%.1f MB", float64(n)/1e6)
}

// losses lists what was lost, by place.
func (c *recorded) losses() string {
	var parts []string
	for from, n := range c.lost {
		if n == 0 {
			parts = append(parts, fmt.Sprintf("an unknown number %s", from))
			continue
		}
		parts = append(parts, fmt.Sprintf("%d %s", n, from))
	}
	slices.Sort(parts)
	return strings.Join(parts, ", ")
}

// ciliumVersion takes the number out of "cilium v1.20.2+g63aa1b8".
func ciliumVersion(server string) string {
	version := server[strings.LastIndex(server, " ")+1:]
	version, _, _ = strings.Cut(strings.TrimPrefix(version, "v"), "+")
	return version
}
