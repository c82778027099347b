// SPDX-License-Identifier: Apache-2.0

package fleet

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime/pprof"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"golang.org/x/sync/errgroup"

	"github.com/renat-project/renat/sinks/jetstream"
)

// fleet is all of a run.
type fleet struct {
	config  Config
	servers []*child
	hubs    []*child // that live, the active one first
	gone    []*child // hubs that were killed
	pages   places
	nodes   []*node
	readers []*reader
	account *account
	told    lags // statuses, by NATS's answer
	nc      *nats.Conn
	self    usage
	hubsOf  func(context.Context, string) (*child, error)
}

// Run does all that the configuration says. It fails if something could not be
// tried; what was tried and did not hold is in the report.
func Run(ctx context.Context, c Config) (*Report, error) {
	if err := c.check(); err != nil {
		return nil, err
	}
	f := &fleet{config: c, account: newAccount()}
	defer f.stop()
	if c.Profiles != "" {
		stop, err := profileSelf(filepath.Join(c.Profiles, "nodes.cpu"))
		if err != nil {
			return nil, err
		}
		defer stop()
	}
	var background sync.WaitGroup
	defer background.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	if err := f.start(ctx); err != nil {
		return nil, err
	}
	background.Go(func() { f.watch(ctx) })
	for _, n := range f.nodes {
		background.Go(func() { n.tell(ctx, &f.config) })
	}
	if err := wait(ctx, c.Every+10*time.Minute, "every node to tell its status", f.allTold); err != nil {
		return nil, err
	}
	for range c.Readers {
		r := newReader(&f.pages)
		f.readers = append(f.readers, r)
		background.Go(func() { r.run(ctx) })
	}
	return f.measure(ctx)
}

func profileSelf(path string) (stop func(), err error) {
	out, err := os.Create(path)
	if err != nil {
		return nil, err
	}
	if err := pprof.StartCPUProfile(out); err != nil {
		return nil, err
	}
	return func() { pprof.StopCPUProfile(); out.Close() }, nil
}

// start starts everything, and connects the nodes.
func (f *fleet) start(ctx context.Context) (err error) {
	c := &f.config
	if f.servers, err = startServers(ctx, c); err != nil {
		return err
	}
	urls := urlOf(f.servers)
	if f.nc, err = jetstream.Connect(ctx, jetstream.Config{URL: urls, Name: "fleet", Wait: time.Minute, Log: c.Log}); err != nil {
		return err
	}
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	receiver := &http.Server{Handler: f.account, ReadHeaderTimeout: 5 * time.Second}
	go func() { _ = receiver.Serve(l) }() // ends when it is closed
	context.AfterFunc(ctx, func() { receiver.Close() })
	f.hubsOf = func(ctx context.Context, name string) (*child, error) {
		return spawn(ctx, c, name, role{Hub: &hubRole{NATS: urls, Holder: name, Receiver: "http://" + l.Addr().String(), Lease: c.Lease, GroupInterval: c.GroupInterval, Replicas: c.Replicas}})
	}
	if err := f.addHub(ctx, "hub-0"); err != nil {
		return err
	}
	if err := wait(ctx, time.Minute, "the first hub to be active", func() bool { return f.holder(ctx) == "hub-0" }); err != nil {
		return err
	}
	if err := f.addHub(ctx, "hub-1"); err != nil {
		return err
	}
	for k := range c.Nodes {
		f.nodes = append(f.nodes, &node{
			cluster: fmt.Sprintf("cluster-%c", 'a'+k%c.Clusters), name: fmt.Sprintf("ip-10-0-%d-%d.eu-central-1.compute.internal", k/c.Clusters/250, k/c.Clusters%250),
			number: k, started: time.Now(), took: &f.told,
		})
	}
	var connecting errgroup.Group
	connecting.SetLimit(32)
	for _, n := range f.nodes {
		connecting.Go(func() error { return n.connect(ctx, c, urls) })
	}
	return connecting.Wait()
}

func (f *fleet) addHub(ctx context.Context, name string) error {
	h, err := f.hubsOf(ctx, name)
	if err != nil {
		return err
	}
	f.hubs = append(f.hubs, h)
	var all []string
	for _, h := range f.hubs {
		all = append(all, h.addresses[0])
	}
	f.pages.set(all)
	return nil
}

// holder names the active hub, "" if there is none.
func (f *fleet) holder(ctx context.Context) string {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	name, err := jetstream.LeaseHolder(ctx, f.nc)
	if err != nil {
		return ""
	}
	return name
}

// takeover kills the active hub and returns how long none was. Another one comes
// for the one that was killed, as in a Deployment.
func (f *fleet) takeover(ctx context.Context) (time.Duration, error) {
	killed := f.hubs[0]
	began := time.Now()
	f.pages.set([]string{f.hubs[1].addresses[0]})
	killed.kill()
	f.hubs, f.gone = f.hubs[1:], append(f.gone, killed)
	next := f.hubs[0].name
	if err := wait(ctx, 2*time.Minute, next+" to be active", func() bool { return f.holder(ctx) == next }); err != nil {
		return 0, err
	}
	took := time.Since(began)
	return took, f.addHub(ctx, "hub-2")
}

// allTold says that every node has told its status.
func (f *fleet) allTold() bool {
	for _, n := range f.nodes {
		if n.puts.Load() == 0 {
			return false
		}
	}
	return true
}

// storm has all incidents happen and returns when all are stored.
func (f *fleet) storm(ctx context.Context) error {
	c := &f.config
	var all errgroup.Group
	stormy := c.stormy()
	for k := range stormy {
		n := f.nodes[k*len(f.nodes)/stormy]
		count := c.Incidents / stormy
		if k < c.Incidents%stormy {
			count++
		}
		all.Go(func() error { return n.storm(ctx, c, count, c.Storm, f.account) })
	}
	return all.Wait()
}

// complete waits until all was told of, as long as there is more and more.
func (f *fleet) complete(ctx context.Context) error {
	for so := f.account.toldOf(); so < f.config.Incidents; {
		err := wait(ctx, time.Minute, fmt.Sprintf("more than %d of %d incidents to be told of", so, f.config.Incidents), func() bool {
			before := so
			so = f.account.toldOf()
			return so > before
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// watch looks every second at what all use.
func (f *fleet) watch(ctx context.Context) {
	look := time.NewTicker(time.Second)
	defer look.Stop()
	for {
		for _, p := range f.servers {
			p.use.look(p.cmd.Process.Pid)
		}
		f.self.look(os.Getpid())
		select {
		case <-ctx.Done():
			return
		case <-look.C:
		}
	}
}

// stop ends all that was started.
func (f *fleet) stop() {
	for _, n := range f.nodes {
		if n.nc != nil {
			n.nc.Close()
		}
	}
	if f.nc != nil {
		f.nc.Close()
	}
	for _, p := range f.hubs {
		p.stop()
	}
	for _, p := range f.servers {
		p.stop()
	}
}
