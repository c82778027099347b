// SPDX-License-Identifier: Apache-2.0

package fleet

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"time"

	"github.com/renat-project/renat/internal/hub"
	"github.com/renat-project/renat/internal/nodestatus"
	"github.com/renat-project/renat/sinks/jetstream"
)

// Report is what a run measured.
type Report struct {
	Config      Config
	Calm, Storm Phase
	StatusBytes int // of one status
	Puts        uint64
	FailedPuts  uint64 // the next one comes in its time
	StatusTook  Lag
	// Lags of incidents since they happened: to be confirmed by NATS, and to be
	// told of, which waits for their group.
	Stored, Told  Lag
	Retried       uint64
	Notifications int
	Twice         int // notifications that came again after the takeover
	Takeover      time.Duration
	Caught        time.Duration // from the end of the storm until all was told of
	Stores        []jetstream.Store
	Disk          int64 // of all servers, in bytes
	First         Lag   // until the page can be drawn
	FirstBytes    int64
	Answers       Lag
	Shown         Lag
	PageLost      uint64 // how often a reader had to open it anew
	NATS, Agents  Plugin
	Memory        []Memory
	// Lost says what is missing; empty: nothing.
	Lost []string
}

// Phase is what something used in a time.
type Phase struct {
	Took         time.Duration
	Traffic      traffic
	Hubs         []Cores
	Servers      float64 // cores, of all three
	Here         float64 // of the nodes, receiver and readers
	ReaderBytes  int64
	ReaderEvents uint64
}

// Cores is what one process used.
type Cores struct {
	Name  string
	Cores float64
}

// Memory is the most a process had resident.
type Memory struct {
	Name string
	Peak uint64
}

// state is what was used until now.
type state struct {
	at      time.Time
	cpu     map[string]time.Duration
	traffic traffic
	bytes   int64
	events  uint64
}

func (f *fleet) look(ctx context.Context) state {
	s := state{at: time.Now(), cpu: map[string]time.Duration{}, traffic: carried(ctx, f.servers)}
	for _, p := range f.children() {
		p.use.look(p.cmd.Process.Pid)
		s.cpu[p.name], _ = p.use.get()
	}
	s.cpu[""], _ = f.self.get()
	for _, r := range f.readers {
		s.bytes += r.bytes.Load()
		s.events += r.events.Load()
	}
	return s
}

func (f *fleet) children() []*child { return slices.Concat(f.servers, f.gone, f.hubs) }

func (f *fleet) since(ctx context.Context, before state) Phase {
	now := f.look(ctx)
	took := now.at.Sub(before.at)
	cores := func(name string) float64 { return (now.cpu[name] - before.cpu[name]).Seconds() / took.Seconds() }
	p := Phase{
		Took: took, Traffic: now.traffic.minus(before.traffic), Here: cores(""),
		ReaderBytes: now.bytes - before.bytes, ReaderEvents: now.events - before.events,
	}
	for _, s := range f.servers {
		p.Servers += cores(s.name)
	}
	for _, h := range slices.Concat(f.gone, f.hubs) {
		p.Hubs = append(p.Hubs, Cores{h.name, cores(h.name)})
	}
	return p
}

// measure has the fleet go through everything.
func (f *fleet) measure(ctx context.Context) (*Report, error) {
	c := &f.config
	r := &Report{Config: *c}
	before := f.look(ctx)
	if err := sleep(ctx, c.Calm); err != nil {
		return nil, err
	}
	r.Calm = f.since(ctx, before)
	before = f.look(ctx)
	stored := make(chan error, 1)
	go func() { stored <- f.storm(ctx) }()
	if err := sleep(ctx, c.Storm/2); err != nil {
		return nil, err
	}
	var err error
	if r.Takeover, err = f.takeover(ctx); err != nil {
		return nil, err
	}
	if err := <-stored; err != nil {
		return nil, fmt.Errorf("storing incidents: %w", err)
	}
	r.Storm = f.since(ctx, before)
	if r.NATS, err = pluginOfNATS(ctx, c, f.nc); err != nil {
		return nil, err
	}
	if r.Agents, err = pluginOfAgents(ctx, f.nodes); err != nil {
		return nil, err
	}
	ended := time.Now()
	if err := f.complete(ctx); err != nil {
		r.lost("%v", err)
	}
	r.Caught = time.Since(ended)
	return r, f.fill(ctx, r)
}

func sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}

func (r *Report) lost(format string, args ...any) {
	r.Lost = append(r.Lost, fmt.Sprintf(format, args...))
}

// fill adds what is known at the end.
func (f *fleet) fill(ctx context.Context, r *Report) (err error) {
	status, err := json.Marshal(f.nodes[0].status())
	if err != nil {
		return err
	}
	r.StatusBytes = len(status)
	a := f.account
	r.Stored, r.Told, r.Retried, r.Notifications, r.Twice = a.stored.sum(), a.told.sum(), a.retried.Load(), a.notifications, a.twice
	for _, n := range f.nodes {
		r.Puts, r.FailedPuts = r.Puts+n.puts.Load(), r.FailedPuts+n.failed.Load()
	}
	r.StatusTook = f.told.sum()
	var first, answers, shown lags
	for _, reader := range f.readers {
		first.all, answers.all, shown.all = append(first.all, reader.first.all...), append(answers.all, reader.answers.all...), append(shown.all, reader.shown.all...)
		r.FirstBytes = max(r.FirstBytes, reader.firstBytes)
		r.PageLost += reader.lost.Load()
	}
	r.First, r.Answers, r.Shown = first.sum(), answers.sum(), shown.sum()
	if r.Stores, err = jetstream.Stores(ctx, f.nc); err != nil {
		return err
	}
	r.Disk = sizeOf(f.config.Dir)
	for _, p := range f.children() {
		p.use.look(p.cmd.Process.Pid)
		_, peak := p.use.get()
		r.Memory = append(r.Memory, Memory{p.name, peak})
	}
	_, peak := f.self.get()
	r.Memory = append(r.Memory, Memory{"nodes", peak})
	return f.check(ctx, r)
}

// check finds what was lost.
func (f *fleet) check(ctx context.Context, r *Report) error {
	for _, d := range f.account.differences() {
		r.lost("%s", d)
	}
	for _, s := range r.Stores {
		if s.Name == jetstream.DeadStream && s.Messages > 0 {
			r.lost("%d notifications were put aside", s.Messages)
		}
		if s.Name == jetstream.Stream && s.Bytes < jetstream.DefaultMaxBytes*9/10 && s.Messages != uint64(f.config.Incidents) {
			r.lost("NATS stores %d incidents", s.Messages)
		}
	}
	for name, p := range map[string]Plugin{"NATS": r.NATS, "the agents": r.Agents} {
		if p.Nodes != f.config.Nodes {
			r.lost("kubectl renat nodes shows %d nodes of %s", p.Nodes, name)
		}
	}
	for _, h := range f.hubs {
		err := wait(ctx, time.Minute, "all to be on the page of "+h.name, func() bool { return f.complaint(ctx, h) == "" })
		if err != nil {
			r.lost("%v: %s", err, f.complaint(ctx, h))
		}
	}
	return ctx.Err()
}

// complaint is what is missing on a hub's page; "" if nothing is.
func (f *fleet) complaint(ctx context.Context, h *child) string {
	var s struct {
		Held    int
		Problem string
	}
	if err := getJSON(ctx, "http://"+h.addresses[0]+"/v1/summary", &s); err != nil {
		return err.Error()
	}
	if want := min(f.config.Incidents, hub.DefaultIncidents); s.Held != want || s.Problem != "" {
		return fmt.Sprintf("%d incidents, problem %q", s.Held, s.Problem)
	}
	var list struct {
		Nodes []struct{ State nodestatus.State }
	}
	if err := getJSON(ctx, "http://"+h.addresses[0]+"/v1/nodes", &list); err != nil {
		return err.Error()
	}
	for _, n := range list.Nodes {
		if n.State == nodestatus.Silent || n.State == nodestatus.Blind {
			return "a node is " + string(n.State)
		}
	}
	if len(list.Nodes) != f.config.Nodes {
		return fmt.Sprintf("%d nodes", len(list.Nodes))
	}
	return ""
}

func getJSON(ctx context.Context, url string, into any) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s", url, res.Status)
	}
	return json.NewDecoder(res.Body).Decode(into)
}

// Write tells all to people.
func (r *Report) Write(w io.Writer) {
	c := &r.Config
	fmt.Fprintf(w, "%d nodes in %d clusters, a status of %d bytes every %v; %d incidents in %v on %d nodes; %d readers; %d copies\n\n",
		c.Nodes, c.Clusters, r.StatusBytes, c.Every, c.Incidents, c.Storm, c.stormy(), c.Readers, c.Replicas)
	for _, p := range []struct {
		name string
		Phase
	}{{"calm", r.Calm}, {"storm", r.Storm}} {
		if p.Took < time.Second/2 {
			continue
		}
		per := func(n int64) string { return size(float64(n)/p.Took.Seconds()) + "/s" }
		fmt.Fprintf(w, "%s, %v\n  NATS: in %s, out %s, %.2f cores\n", p.name, p.Took.Round(time.Second), per(p.Traffic.In), per(p.Traffic.Out), p.Servers)
		for _, h := range p.Hubs {
			fmt.Fprintf(w, "  %s: %.2f cores\n", h.Name, h.Cores)
		}
		if c.Readers > 0 {
			fmt.Fprintf(w, "  a reader: %s, %.0f events/s\n", per(p.ReaderBytes/int64(c.Readers)), float64(p.ReaderEvents)/float64(c.Readers)/p.Took.Seconds())
		}
		fmt.Fprintf(w, "  nodes, receiver and readers: %.2f cores\n", p.Here)
	}
	fmt.Fprintf(w, "\nincident stored: %v; stored again: %d\nincident told of (waits %v or %v for its group): %v; %d notifications, %d twice\n",
		r.Stored, r.Retried, groupWait, c.GroupInterval, r.Told, r.Notifications, r.Twice)
	fmt.Fprintf(w, "hub taken over after %v; all told of %v after the storm\n", short(r.Takeover), short(r.Caught))
	fmt.Fprintf(w, "statuses stored: %d, failed: %d; %v\n", r.Puts, r.FailedPuts, r.StatusTook)
	fmt.Fprintf(w, "page drawn: %v, %s; answers: %v; incident on it: %v; opened anew %d times\n", r.First, size(float64(r.FirstBytes)), r.Answers, r.Shown, r.PageLost)
	fmt.Fprintf(w, "kubectl renat nodes: --nats-url %v; agents %v\n", r.NATS, r.Agents)
	for _, s := range r.Stores {
		fmt.Fprintf(w, "%s: %d messages, %s in %d copies\n", s.Name, s.Messages, size(float64(s.Bytes)), s.Replicas)
	}
	fmt.Fprintf(w, "disks of the servers: %s\nmemory at most:", size(float64(r.Disk)))
	for _, m := range r.Memory {
		fmt.Fprintf(w, " %s %s", m.Name, size(float64(m.Peak)))
	}
	if len(r.Lost) > 0 {
		fmt.Fprintf(w, "\n\nLOST:%s\n", indent(r.Lost))
		return
	}
	fmt.Fprintln(w, "\n\nNothing was lost.")
}

// size is a number of bytes for people.
func size(n float64) string {
	for _, unit := range []string{"B", "kB", "MB"} {
		if n < 1000 {
			return fmt.Sprintf("%.3g %s", n, unit)
		}
		n /= 1000
	}
	return fmt.Sprintf("%.3g GB", n)
}
