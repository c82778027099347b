// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"github.com/cilium/ebpf"
	"golang.org/x/sync/errgroup"
	"golang.org/x/time/rate"

	"github.com/renat-project/renat/hubble"
	"github.com/renat-project/renat/internal/agent"
	"github.com/renat-project/renat/kprobes"
	"github.com/renat-project/renat/sinks/jetstream"
)

const (
	// agentWait is how long the agent may take to watch the maps.
	agentWait = 30 * time.Second
	// surveyWait is how long it may take to read the maps then.
	surveyWait = time.Second
	// afterwards is how long there are some short connections after the others
	// have ended: Hubble withholds the newest flow until there is another, and
	// the agent waits 3 s for an RST, and longer for one that is late.
	afterwards     = 5 * time.Second
	afterwardsRate = 5 // per second
)

// operate runs the agent and, beside it, the traffic; then it lets the agent
// end, so that all it found is stored.
func (l *Lab) operate(ctx context.Context) error {
	running, ctx := errgroup.WithContext(ctx)
	// What runs ends in this order: traffic, feed, agent, printing.
	feeding, endFeed := context.WithCancel(ctx)
	watching, endAgent := context.WithCancel(ctx)
	printing, endPrint := context.WithCancel(ctx)
	defer func() { endFeed(); endAgent(); endPrint() }()

	cpus, err := ebpf.PossibleCPU()
	if err != nil {
		return fmt.Errorf("counting the CPUs: %w", err)
	}
	f := &feed{
		reports: l.reports, flows: newFlowWriter(l.net.family), observer: l.observer,
		witness: l.witness, recorder: l.recorder, late: newLateness(l.cfg.HubbleLate, cpus),
	}
	fed := make(chan struct{})
	running.Go(func() error {
		defer close(fed)
		return f.run(feeding)
	})
	running.Go(func() error {
		defer endPrint()
		if sleep(watching, l.cfg.AgentAfter); watching.Err() != nil {
			return nil
		}
		if err := agent.Run(watching, l.agentConfig()); err != nil {
			return fmt.Errorf("running the agent: %w", err)
		}
		return nil
	})
	running.Go(func() error { return l.print(printing) })
	watched := make(chan struct{})
	running.Go(func() error {
		defer close(watched)
		return l.awaitAgent(watching)
	})
	running.Go(func() error {
		defer endAgent()
		if l.cfg.AgentAfter == 0 {
			<-watched
		}
		err := l.makeTraffic(ctx, f.behind)
		endFeed()
		<-fed
		return err
	})
	return running.Wait()
}

func (l *Lab) agentConfig() agent.Config {
	c := agent.Config{
		Node: nodeName, Cluster: clusterName, Version: l.cfg.Version, Kernel: l.tracer,
		Hubble:   hubble.Config{Address: l.observer.Addr()},
		NATS:     jetstream.Config{URL: l.nats.ClientURL()},
		StateDir: filepath.Join(l.dir, "agent"), Guard: l.cfg.Guard, Listener: l.http, Log: l.cfg.Log,
	}
	if l.recorder != nil {
		c.Kernel = &recordingTracer{l.tracer, l.recorder}
	}
	return c
}

// awaitAgent waits until the agent watches the maps, or ctx ends. What breaks
// before, or while it reads the maps, it need not name.
func (l *Lab) awaitAgent(ctx context.Context) error {
	sleep(ctx, l.cfg.AgentAfter)
	for end := time.Now().Add(agentWait); l.tracer.Status().State != kprobes.Watching; sleep(ctx, 20*time.Millisecond) {
		if ctx.Err() != nil {
			return nil
		}
		if time.Now().After(end) {
			return fmt.Errorf("the agent does not watch the laboratory's maps: %s", l.tracer.Status().Problem)
		}
	}
	if l.cfg.AgentAfter == 0 {
		return nil
	}
	at, _ := kprobes.Now()
	l.account.watchedFrom(at, at+uint64(surveyWait))
	return nil
}

// makeTraffic makes the traffic of the whole run.
func (l *Lab) makeTraffic(ctx context.Context, late func() bool) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if l.cfg.Ready != nil {
		l.cfg.Ready(l.nats.ClientURL())
	}
	t := &traffic{
		cfg: l.cfg, plan: l.plan, net: l.net, datapath: l.datapath, account: l.account, witness: l.witness, servers: l.servers,
		late: late, open: map[*client]struct{}{},
	}
	defer context.AfterFunc(ctx, t.hangUp)()
	limit := rate.NewLimiter(rate.Limit(l.cfg.Churn), 1)
	churning, endChurn := context.WithCancel(ctx)
	churned := make(chan struct{})
	go func() {
		defer close(churned)
		t.runChurn(churning, limit)
	}()
	timed, cancel := context.WithTimeout(ctx, l.cfg.Duration)
	defer cancel()
	t.runLong(timed)
	asked := l.askGuard(ctx)
	limit.SetLimit(min(afterwardsRate, limit.Limit()))
	sleep(ctx, afterwards+2*l.cfg.HubbleLate)
	endChurn()
	<-churned
	return cmp.Or(ctx.Err(), asked)
}

// print hands out incidents as they are stored, until ctx ends.
func (l *Lab) print(ctx context.Context) error {
	if l.cfg.Incident == nil {
		return nil
	}
	err := jetstream.Read(ctx, l.conn, jetstream.ReadOptions{Follow: true, NewOnly: true, Log: l.cfg.Log}, l.cfg.Incident)
	if errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}
