// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"time"

	"github.com/nats-io/nats.go"

	datapath "github.com/renat-project/renat/bpf/lab"
	"github.com/renat-project/renat/correlator/incident"
	"github.com/renat-project/renat/hubble/hubbletest"
	"github.com/renat-project/renat/internal/recording"
	"github.com/renat-project/renat/kprobes"
	"github.com/renat-project/renat/sinks/jetstream"
	"github.com/renat-project/renat/sinks/jetstream/embedded"
)

// Result is what a run showed.
type Result struct {
	Version  string        `json:"version,omitempty"`
	Kernel   string        `json:"kernel"`
	Kind     incident.Kind `json:"kind,omitempty"` // that the run was for
	Restore  string        `json:"restore"`
	MapSize  int           `json:"map_size"`
	IPv6     bool          `json:"ipv6"`
	Duration time.Duration `json:"duration_ns"`
	// HubbleLate is how late flows were, and AgentAfter when the agent began.
	HubbleLate time.Duration `json:"hubble_late_ns,omitempty"`
	AgentAfter time.Duration `json:"agent_after_ns,omitempty"`
	// BrokeBefore counts connections that broke before it did: they are not
	// among Broken.
	BrokeBefore int      `json:"broke_before,omitempty"`
	Classes     []Row    `json:"classes"`
	Total       Row      `json:"total"`
	Latency     Latency  `json:"latency"`
	Guard       *Guarded `json:"guard,omitempty"` // nil: there was none
	// Evictions from the NAT map, as the kernel tracer counted them.
	Evictions uint64 `json:"evictions"`
	// Unopened counts connections that could not be opened: an entry was evicted
	// between the SYN and its answer, most often. Those that were refused a port are
	// not among them.
	Unopened int `json:"unopened"`
	// Lost counts packets that the Observer was not told of.
	Lost uint64 `json:"lost"`
	// Faults says what is behind each miss, false or other failure.
	Faults []string `json:"faults,omitempty"`
}

// Right reports whether every connection that the datapath broke is named
// rightly and nothing else is.
func (r *Result) Right() bool { return r.Total.Missed == 0 && r.Total.False == 0 }

// Lab is one run.
type Lab struct {
	cfg  Config
	plan plan
	dir  string
	// What close undoes, the last first.
	cleanUp []func() error

	net      *network
	datapath *datapath.Datapath
	pins     *bpffs
	reports  *datapath.Reports
	observer *hubbletest.Server
	tracer   *kprobes.Tracer
	recorder *recording.Writer // nil: none
	nats     *embedded.Server
	conn     *nats.Conn
	account  *account
	witness  *witness
	servers  *servers
	http     net.Listener // the agent's; nil without a guard
	guarded  *Guarded
}

// New checks the configuration.
func New(c Config) (*Lab, error) {
	c, err := c.withDefaults()
	if err != nil {
		return nil, err
	}
	return &Lab{cfg: c, plan: plans[c.Kind], account: newAccount()}, nil
}

// Run builds the laboratory, lets its traffic run, and scores what the agent
// found. It returns ctx's error when that ends before.
func (l *Lab) Run(ctx context.Context) (result *Result, err error) {
	defer func() { err = errors.Join(err, l.close()) }()
	if err := l.build(ctx); err != nil {
		return nil, fmt.Errorf("building the laboratory: %w", err)
	}
	since := time.Now()
	if err := l.operate(ctx); err != nil {
		return nil, err
	}
	var stored []jetstream.Stored
	err = jetstream.Read(ctx, l.conn, jetstream.ReadOptions{Since: since}, func(s jetstream.Stored) error {
		stored = append(stored, s)
		return nil
	})
	if err != nil && !errors.Is(err, jetstream.ErrNoStream) { // without an incident there is none
		return nil, err
	}
	return l.result(stored)
}

// Check finds out whether this machine can run it, by building everything.
func (l *Lab) Check(ctx context.Context) (err error) {
	defer func() { err = errors.Join(err, l.close()) }()
	if err := l.build(ctx); err != nil {
		return fmt.Errorf("building the laboratory: %w", err)
	}
	return nil
}

func (l *Lab) result(stored []jetstream.Stored) (*Result, error) {
	s := l.account.score(l.cfg, stored)
	r := &Result{
		Version: l.cfg.Version, Kernel: l.tracer.Status().Kernel, Kind: l.cfg.Kind, Restore: l.cfg.Restore, MapSize: l.cfg.MapSize, IPv6: l.cfg.IPv6,
		Duration: l.cfg.Duration, HubbleLate: l.cfg.HubbleLate, AgentAfter: l.cfg.AgentAfter, BrokeBefore: s.before, Latency: s.latency(), Unopened: s.unopened, Faults: s.faults, Guard: l.guarded,
	}
	r.Classes, r.Total = s.table()
	counted, err := l.tracer.Stats()
	if err != nil {
		return nil, err
	}
	for _, m := range counted.Maps {
		if !m.Map.CT {
			r.Evictions += m.Evictions
		}
	}
	r.Lost, err = l.reports.Lost()
	return r, err
}

// close undoes what build did.
func (l *Lab) close() error {
	var errs []error
	for i := len(l.cleanUp) - 1; i >= 0; i-- {
		errs = append(errs, l.cleanUp[i]())
	}
	return errors.Join(errs...)
}

func (l *Lab) later(f func() error) { l.cleanUp = append(l.cleanUp, f) }

// quietly makes a clean-up of something that cannot fail.
func quietly(f func()) func() error { return func() error { f(); return nil } }

// build makes everything but the agent and the traffic.
func (l *Lab) build(ctx context.Context) (err error) {
	if err := checkCapabilities(); err != nil {
		return err
	}
	if err := l.makeDir(); err != nil {
		return err
	}
	f := ipv4
	if l.cfg.IPv6 {
		f = ipv6
	}
	if l.net, err = newNetwork(f, len(classes)); err != nil {
		return err
	}
	l.later(quietly(l.net.close))
	if err := l.buildDatapath(); err != nil {
		return err
	}
	l.witness = newWitness(l.account)
	if l.servers, err = listen(l.net.outside, f.server, l.account); err != nil {
		return err
	}
	l.later(quietly(l.servers.close))
	l.observer, err = hubbletest.New(hubbletest.Config{
		Listen: "unix://" + filepath.Join(l.dir, "hubble.sock"), Version: "renat lab", NodeName: nodeName,
	})
	if err != nil {
		return err
	}
	l.later(quietly(l.observer.Stop))
	if err := l.listenHTTP(); err != nil {
		return err
	}
	if err := l.buildRecorder(); err != nil {
		return err
	}
	return l.buildNATS(ctx)
}

func (l *Lab) makeDir() (err error) {
	if l.dir = l.cfg.StateDir; l.dir != "" {
		return os.MkdirAll(l.dir, 0o700)
	}
	if l.dir, err = os.MkdirTemp("", "renat-lab-"); err != nil {
		return fmt.Errorf("making a folder for the state: %w (or name one)", err)
	}
	l.later(func() error { return os.RemoveAll(l.dir) })
	return nil
}

func (l *Lab) buildDatapath() (err error) {
	if l.pins, err = newBPFFS(); err != nil {
		return err
	}
	l.later(l.pins.close)
	c := datapath.Config{
		NATEntries: uint32(l.cfg.MapSize), Restore: restores[l.cfg.Restore], Report: true, Scarce: portScarce, Filtered: portFiltered,
		CTEntries: uint32(l.plan.ctSize), Policed: l.plan.policed,
		PinDir: filepath.Join(l.pins.dir(), "tc/globals"),
	}
	if l.cfg.IPv6 {
		c.Pods6, c.SNAT6, c.Other6 = l.net.family.pods, l.net.family.node, l.net.other
	} else {
		c.Pods4, c.SNAT4, c.Other4 = l.net.family.pods, l.net.family.node, l.net.other
	}
	if l.datapath, err = datapath.New(c); err != nil {
		return err
	}
	l.later(func() error { return l.net.node.do(l.datapath.Close) })
	if err := l.net.node.do(func() error { return l.datapath.Attach(uplinkName) }); err != nil {
		return err
	}
	if l.reports, err = l.datapath.Reports(); err != nil {
		return err
	}
	l.later(l.reports.Close)
	// A recording holds every operation.
	l.tracer, err = kprobes.New(kprobes.Config{BPFFS: l.pins.dir(), Everything: l.cfg.Record != ""})
	if err != nil {
		return err
	}
	l.later(l.tracer.Close)
	return nil
}

// buildNATS starts a server of the laboratory's own and connects to it.
func (l *Lab) buildNATS(ctx context.Context) (err error) {
	l.nats, err = embedded.Start(ctx, embedded.Config{Dir: filepath.Join(l.dir, "nats"), Listen: "127.0.0.1:0", Log: l.cfg.Log})
	if err != nil {
		return err
	}
	l.later(quietly(l.nats.Shutdown))
	if l.conn, err = jetstream.Connect(ctx, jetstream.Config{InProcess: l.nats, Name: "renat lab", Wait: 5 * time.Second, Log: l.cfg.Log}); err != nil {
		return err
	}
	l.later(quietly(l.conn.Close))
	return nil
}
