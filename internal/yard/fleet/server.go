// SPDX-License-Identifier: Apache-2.0

package fleet

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/url"
	"path/filepath"
	"strings"
	"time"

	natsserver "github.com/nats-io/nats-server/v2/server"
)

// servers are in the cluster of NATS.
const servers = 3

// serverRole is one of them.
type serverRole struct {
	Name, Dir string
	Port      int // for the others
	Routes    []string
}

func (r *serverRole) play(ctx context.Context, ready func(...string)) error {
	o := &natsserver.Options{
		ServerName: r.Name, Host: "127.0.0.1", Port: natsserver.RANDOM_PORT, HTTPHost: "127.0.0.1", HTTPPort: natsserver.RANDOM_PORT,
		JetStream: true, StoreDir: r.Dir, NoSigs: true,
		Cluster: natsserver.ClusterOpts{Name: "fleet", Host: "127.0.0.1", Port: r.Port},
	}
	for _, address := range r.Routes {
		o.Routes = append(o.Routes, &url.URL{Scheme: "nats", Host: address})
	}
	s, err := natsserver.NewServer(o)
	if err != nil {
		return err
	}
	s.ConfigureLogger()
	s.Start()
	defer s.WaitForShutdown()
	defer s.Shutdown()
	if !s.ReadyForConnections(time.Minute) {
		return errors.New("NATS does not start")
	}
	ready(s.ClientURL(), s.MonitorAddr().String())
	<-ctx.Done()
	return nil
}

// startServers starts the cluster of NATS.
func startServers(ctx context.Context, c *Config) (all []*child, err error) {
	var ports []int
	var routes []string
	for range servers {
		l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		ports, routes = append(ports, l.Addr().(*net.TCPAddr).Port), append(routes, l.Addr().String())
		l.Close()
	}
	for n, port := range ports {
		name := fmt.Sprintf("nats-%d", n)
		p, err := spawn(ctx, c, name, role{Server: &serverRole{Name: name, Dir: filepath.Join(c.Dir, name), Port: port, Routes: routes}})
		if err != nil {
			return all, err
		}
		all = append(all, p)
	}
	return all, wait(ctx, 2*time.Minute, "the servers to have a leader", func() bool {
		for _, s := range all {
			var v struct {
				Meta struct {
					Leader string `json:"leader"`
					Size   int    `json:"cluster_size"`
				} `json:"meta_cluster"`
			}
			if s.monitor(ctx, "/jsz", &v) != nil || v.Meta.Leader == "" || v.Meta.Size != servers {
				return false
			}
		}
		return true
	})
}

// monitor asks a server how it is.
func (p *child) monitor(ctx context.Context, path string, answer any) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	return getJSON(ctx, "http://"+p.addresses[1]+path, answer)
}

// traffic is what servers took and gave, in bytes, among themselves too.
type traffic struct{ In, Out int64 }

func (t traffic) minus(o traffic) traffic { return traffic{t.In - o.In, t.Out - o.Out} }

// carried is the traffic of all servers until now.
func carried(ctx context.Context, all []*child) (sum traffic) {
	for _, s := range all {
		var v struct {
			In  int64 `json:"in_bytes"`
			Out int64 `json:"out_bytes"`
		}
		if s.monitor(ctx, "/varz", &v) == nil {
			sum.In, sum.Out = sum.In+v.In, sum.Out+v.Out
		}
	}
	return sum
}

// urlOf is where clients connect.
func urlOf(all []*child) string {
	var urls []string
	for _, s := range all {
		urls = append(urls, s.addresses[0])
	}
	return strings.Join(urls, ",")
}

// sizeOf is how many bytes the files in a folder have.
func sizeOf(dir string) (sum int64) {
	_ = filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error { // what goes meanwhile does not count
		if err == nil && !d.IsDir() {
			if info, err := d.Info(); err == nil {
				sum += info.Size()
			}
		}
		return nil
	})
	return sum
}

// wait returns when ok does, or fails after a time.
func wait(ctx context.Context, within time.Duration, what string, ok func() bool) error {
	for deadline := time.Now().Add(within); !ok(); {
		if time.Now().After(deadline) {
			return fmt.Errorf("waited in vain for %s", what)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(20 * time.Millisecond):
		}
	}
	return nil
}
