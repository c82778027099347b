// SPDX-License-Identifier: Apache-2.0

package fleet

import (
	"cmp"
	"context"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/renat-project/renat/correlator/incident"
	"github.com/renat-project/renat/internal/nodestatus"
	"github.com/renat-project/renat/sinks/jetstream"
)

// node is one with an agent, as NATS sees it.
type node struct {
	cluster, name string
	number        int
	nc            *nats.Conn
	started       time.Time
	incidents     atomic.Uint64

	puts, failed atomic.Uint64
	took         *lags // of all nodes' statuses
}

// connect gives it its connection.
func (n *node) connect(ctx context.Context, c *Config, urls string) (err error) {
	n.nc, err = jetstream.Connect(ctx, jetstream.Config{URL: urls, Name: "renat agent " + n.name, Wait: 2 * time.Minute, Log: c.Log})
	return err
}

// tell puts the status every so often until ctx ends. The nodes of a fleet did not
// start at the same time.
func (n *node) tell(ctx context.Context, c *Config) {
	if sleep(ctx, rand.N(c.Every)) != nil { //nolint:gosec // a phase, no secret
		return
	}
	teller := jetstream.NewTeller(n.nc, c.Replicas)
	ticks := time.NewTicker(c.Every)
	defer ticks.Stop()
	for {
		began := time.Now()
		if err := teller.Put(ctx, n.cluster, n.name, n.status()); err == nil {
			n.puts.Add(1)
			n.took.add(time.Since(began))
		} else if ctx.Err() == nil {
			n.failed.Add(1)
		}
		select {
		case <-ctx.Done():
			return
		case <-ticks.C:
		}
	}
}

// status is that of an agent for IPv4 with a guard.
func (n *node) status() *nodestatus.Status {
	now := time.Now()
	age := uint64(now.Sub(n.started)/time.Millisecond) + uint64(n.number)
	total, atRisk := n.incidents.Load(), int(age%7)
	evictions := 0.0
	if total > 0 {
		evictions = 118.41666666666667
	}
	s := &nodestatus.Status{
		Version: nodestatus.Version, Time: now.UTC(), Node: n.name, Cluster: n.cluster, Renat: "v1.2.0", Started: n.started.UTC(),
		Machine: nodestatus.Machine{Kernel: "6.12.41+deb13-cloud-amd64", CPUs: 16, MemoryBytes: 67_318_468_608},
		Kernel:  nodestatus.Kernel{Backend: "fentry", Why: "the kernel has BTF and attaches to functions", Received: 251 * age},
		Hubble:  nodestatus.Hubble{Address: "unix:///var/run/cilium/hubble.sock", Connected: true, Version: "1.20.2", Flows: 1013 * age},
		Tracking: nodestatus.Tracking{
			Connections: 20_000 + int(age%5000), MaxConnections: 262_144, Suspects: int(age % 13), Held: int(age % 29), Harmless: age / 11,
		},
		Incidents: nodestatus.Incidents{
			Total: total, Reset: total, Renat: total, LastTen: total, LastHour: total,
			Kinds: map[string]uint64{"renat": total}, Outcomes: map[string]uint64{"reset": total}, Last: now.UTC(),
		},
		Outbox: nodestatus.Outbox{Stored: total, Forwarded: total},
		AtRisk: &atRisk,
		Guard:  &nodestatus.Guard{Connections: 800, Known: 1200, Limit: 16_384, Runs: age / 250, CPUSeconds: float64(age) / 120_000, NanosecondsPerConnection: 211.7, Kept: age / 90},
		Losses: map[string]uint64{},
	}
	for _, part := range []string{nodestatus.PartKernel, nodestatus.PartHubble, nodestatus.PartTracking, nodestatus.PartOutbox, nodestatus.PartNATS} {
		s.Parts = append(s.Parts, nodestatus.Part{Name: part, Ready: true})
	}
	for k, name := range []string{"cilium_snat_v4_external", "cilium_ct4_global", "cilium_ct_any4_global"} {
		entries := 90_000 + age%30_000
		m := nodestatus.Map{
			Name: name, ID: uint32(1000 + k), MaxEntries: 131_072, CT: k > 0, Entries: &entries,
			Inserts: 250 * age, Evictions: age / 3, Forced: age / 4000, Deletes: 240 * age,
			LastMinute:     nodestatus.Rates{Inserts: 251.73333333333332, Evictions: evictions},
			LastTenMinutes: nodestatus.Rates{Inserts: 249.91833333333332, Evictions: evictions, ForcedShare: 0.0012},
			Peaks:          &nodestatus.Peaks{Since: n.started.UTC(), Entries: 126_912, Inserts: 911.25, Evictions: 402.11666666666667},
		}
		s.Maps = append(s.Maps, m)
	}
	return s
}

// workloads of a node have incidents.
const workloads = 4

// storm has count incidents happen within a time, evenly, and stores each as the
// outbox does: one after the other, again until NATS confirms it. An incident
// that waits for those before it keeps its time.
func (n *node) storm(ctx context.Context, c *Config, count int, within time.Duration, account *account) error {
	p, err := jetstream.NewPublisher(n.nc, jetstream.PublisherConfig{Stream: jetstream.StreamConfig{Replicas: c.Replicas}})
	if err != nil {
		return err
	}
	defer p.Close()
	began := time.Now()
	for k := range count {
		at := began.Add(time.Duration(float64(within) * (float64(k) + float64(n.number%97)/97) / float64(count)))
		if err := sleep(ctx, time.Until(at)); err != nil {
			return err
		}
		i := n.incident(k, at)
		account.made(i)
		for again := false; ; again = true {
			if _, err = p.Send(ctx, i); err == nil {
				break
			}
			if ctx.Err() != nil || jetstream.Permanent(err) {
				return cmp.Or(ctx.Err(), err)
			}
			if !again {
				account.retried.Add(1)
			}
			_ = sleep(ctx, 100*time.Millisecond) // Send says that ctx ended
		}
		account.stored.add(time.Since(at))
		n.incidents.Add(1)
	}
	return nil
}

// incident is the k-th, as large as those of a busy node.
func (n *node) incident(k int, at time.Time) *incident.Incident {
	i := &incident.Incident{
		Kind: incident.Renat, Cause: incident.LRUEviction, Outcome: incident.Reset, Time: at.UTC(), Node: n.name, Cluster: n.cluster, Protocol: "TCP",
		Source: incident.Endpoint{
			IP: netip.AddrFrom4([4]byte{10, byte(n.number >> 8), byte(n.number), byte(k)}), Port: uint16(32_768 + k%28_000), Namespace: "shop",
			Pod: fmt.Sprintf("cart-%d-6d8f7c9b5-x2x4%d", k%workloads, k%20), Workload: fmt.Sprintf("Deployment/cart-%d", k%workloads), Identity: 41_235,
			Labels: []string{
				"k8s:app=cart", "k8s:io.cilium.k8s.namespace.labels.kubernetes.io/metadata.name=shop", "k8s:io.cilium.k8s.policy.cluster=" + n.cluster,
				"k8s:io.cilium.k8s.policy.serviceaccount=cart", "k8s:io.kubernetes.pod.namespace=shop", "k8s:pod-template-hash=6d8f7c9b5",
			},
		},
		Destination: incident.Endpoint{IP: netip.MustParseAddr("192.0.2.10"), Port: 443, Identity: 2, Names: []string{"payments.example.com"}, Labels: []string{"reserved:world"}},
		NAT: incident.NAT{
			Map: "cilium_snat_v4_external", Before: fmt.Sprintf("198.51.100.7:%d", 32_768+k%28_000), After: fmt.Sprintf("198.51.100.7:%d", 61_000+k%4000),
			RemovedAt: at.Add(-41 * time.Second).UTC(), RenattedAt: at.UTC(), Program: "tail_handle_snat_fwd_ipv4",
		},
		Map: incident.Map{MaxEntries: 131_072, EvictionsPerSecond: 118.4},
	}
	for k := range 10 {
		i.Evidence = append(i.Evidence, incident.Evidence{
			Time: at.Add(time.Duration(k-10) * 4 * time.Second).UTC(), From: incident.Kernel,
			What: "evict OUT 10.0.3.17:45678 -> 192.0.2.10:443 as 198.51.100.7:45678, idle for 40 s",
		})
	}
	i.ID = i.NewID(uint64(n.number)<<32 | uint64(k))
	return i
}
