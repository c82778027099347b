// SPDX-License-Identifier: Apache-2.0

//go:build chromium

package page_test

import (
	"bytes"
	"fmt"
	"net/netip"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/renat-project/renat/correlator/incident"
	"github.com/renat-project/renat/internal/nodestatus"
	"github.com/renat-project/renat/internal/web/board"
)

// replayed are the incidents of a recording, as the program derives them.
var replayed = sync.OnceValues(func() ([]*incident.Incident, error) {
	cmd := exec.Command("go", "run", "./cmd/renat", "replay", "internal/recording/testdata/cilium-1.20.2", "-o", "json")
	cmd.Dir = filepath.Join("..", "..", "..")
	var errs bytes.Buffer
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("%w: %s", err, errs.String())
	}
	var all []*incident.Incident
	for line := range bytes.Lines(out) {
		i, err := incident.UnmarshalCloudEvent(line)
		if err != nil {
			return nil, err
		}
		all = append(all, i)
	}
	return all, nil
})

func recorded(t testing.TB) []*incident.Incident {
	t.Helper()
	all, err := replayed()
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// moved returns a copy of i that happened at another time.
func moved(i *incident.Incident, at time.Time) *incident.Incident {
	c := *i
	by := at.Sub(i.Time)
	c.Time = at
	for _, t := range []*time.Time{&c.NAT.RemovedAt, &c.NAT.RenattedAt} {
		if !t.IsZero() {
			*t = t.Add(by)
		}
	}
	c.Evidence = slices.Clone(i.Evidence)
	for n := range c.Evidence {
		c.Evidence[n].Time = c.Evidence[n].Time.Add(by)
	}
	c.ID = c.NewID(uint64(at.UnixNano()))
	return &c
}

// recordedBoard shows the recorded incidents as they were.
func recordedBoard(t testing.TB) *board.Board {
	t.Helper()
	b := board.New(board.Config{})
	for _, i := range recorded(t) {
		b.Add(i, 0)
	}
	return b
}

// cluster are the made-up parts of demoBoard.
var cluster = []struct {
	node, workload, server string
	share                  int
}{
	{"node-a", "shop/Deployment/checkout", "payments.example.com:443", 9},
	{"node-a", "shop/Deployment/cart", "192.168.50.2:443", 5},
	{"node-c", "shop/Deployment/checkout", "payments.example.com:443", 4},
	{"node-c", "search/StatefulSet/indexer", "objects.example.net:443", 3},
	{"node-f", "ops/CronJob/mailer", "smtp.example.org:587", 2},
	{"node-a", "search/StatefulSet/indexer", "objects.example.net:443", 2},
	{"node-f", "shop/Deployment/cart", "192.168.50.2:443", 1},
}

// demoBoard is a made-up cluster in which the recorded incidents happen over
// the last hour, most of them lately.
func demoBoard(t testing.TB, now time.Time) *board.Board {
	t.Helper()
	b := board.New(board.Config{})
	all := recorded(t)
	n := 0
	for c, part := range cluster {
		for k := range part.share * 7 {
			age := time.Duration(20+(k*k*41+c*97)%3300) * time.Second
			if k%3 > 0 {
				age = age/4 + 90*time.Second
			}
			i := moved(all[n%len(all)], now.Add(-age))
			n++
			namespace, workload, _ := strings.Cut(part.workload, "/")
			_, name, _ := strings.Cut(workload, "/")
			i.Node, i.Source.Namespace, i.Source.Workload = part.node, namespace, workload
			i.Source.Pod = fmt.Sprintf("%s-%s", name, []string{"7d4b9-x2k8p", "7d4b9-m4zt6", "7d4b9-9qwhv"}[k%3])
			host, _, _ := strings.Cut(part.server, ":")
			if _, err := netip.ParseAddr(host); err != nil {
				i.Destination.Names = []string{host}
			}
			i.ID = i.NewID(uint64(n))
			b.Add(i, 0)
		}
	}
	for minute := range 60 {
		at := now.Add(time.Duration(minute-59) * time.Minute)
		demoNodes(b, at, at)
	}
	demoNodes(b, time.Now(), neverSilent())
	return b
}

// demoNodes has all nodes tell of themselves.
func demoNodes(b *board.Board, at, arrived time.Time) {
	for n, name := range []string{"node-a", "node-b", "node-c", "node-d", "node-e", "node-f", "node-g", "node-h"} {
		b.SetStatus(demoStatus(name, n, at), arrived)
	}
}

func demoStatus(name string, n int, at time.Time) nodestatus.Status {
	rates := []float64{38, 0, 14, 0, 3, 6, 0, 0}
	wave := 0.6 + 0.4*float64((at.Minute()*7+n*13)%20)/20
	entries := uint64(131072 * []float64{0.999, 0.41, 0.998, 0.22, 0.97, 0.99, 0.35, 0.18}[n])
	s := nodestatus.Status{
		Version: 1, Time: at, Node: name, Cluster: "prod", Renat: "v0.2.0", Started: at.Add(-50 * time.Hour),
		Parts:   []nodestatus.Part{{Name: "kernel", Ready: true}, {Name: "hubble", Ready: true}, {Name: "outbox", Ready: true}, {Name: "nats", Ready: true}},
		Machine: nodestatus.Machine{Kernel: "6.12.48", CPUs: 8, MemoryBytes: 32 << 30}, Hubble: nodestatus.Hubble{Version: "cilium v1.20.2"},
		Maps: []nodestatus.Map{{
			Name: "cilium_snat_v4_external", ID: 40, MaxEntries: 131072, Entries: &entries,
			Inserts: 9_000_000, Evictions: uint64(rates[n] * 180_000),
			LastMinute: nodestatus.Rates{Inserts: 110 + rates[n], Evictions: rates[n] * wave}, LastTenMinutes: nodestatus.Rates{Inserts: 110, Evictions: rates[n]},
		}},
	}
	switch n {
	case 0, 2, 5:
		s.Incidents.LastTen = uint64(12 - 2*n)
	case 4:
		s.Guard = &nodestatus.Guard{
			Connections: 8176, Limit: 8176, Known: 17020, Runs: 5122, NanosecondsPerConnection: 231.6, Kept: 12, Lost: 9,
			Problem: nodestatus.GuardTooSmall + ": the kernel evicted 9 entries although they were guarded",
		}
	case 6:
		s.Parts[1] = nodestatus.Part{Name: "hubble", Problem: "waits for unix:///var/run/cilium/hubble.sock"}
	}
	if n == 5 {
		s.Guard = &nodestatus.Guard{Connections: 2048, Limit: 16352, Known: 2300, Runs: 4310, NanosecondsPerConnection: 228.4, Kept: 31}
	}
	if s.Risks = demoRisks(n, at); len(s.Risks) > 0 {
		atRisk := len(s.Risks)
		s.AtRisk = &atRisk
	}
	return s
}

// demoRisks are connections that break next on a node.
func demoRisks(n int, at time.Time) (all []nodestatus.Risk) {
	for _, r := range []struct {
		node                      int
		pod, server, gone, breaks string
		age                       time.Duration
	}{
		{0, "checkout-7d4b9-x2k8p", "payments.example.com", nodestatus.GoneOut, nodestatus.SpeaksPod, 34 * time.Minute},
		{0, "cart-7d4b9-m4zt6", "", nodestatus.GoneBoth, nodestatus.SpeaksServer, 12 * time.Minute},
		{2, "indexer-0", "objects.example.net", nodestatus.GoneIn, nodestatus.SpeaksServer, 3 * time.Minute},
		{5, "mailer-29381-9qwhv", "smtp.example.org", nodestatus.GoneOut, nodestatus.SpeaksPod, 2 * time.Minute},
	} {
		if r.node != n {
			continue
		}
		risk := nodestatus.Risk{
			Protocol: "TCP", Gone: r.gone, Breaks: r.breaks, Since: at.Add(-r.age), Guarded: n == 5, NAT: "192.0.2.7:40211",
			Source:      nodestatus.RiskPeer{Address: fmt.Sprintf("10.0.%d.10:%d", n, 40000+len(r.pod)), Namespace: "shop", Pod: r.pod},
			Destination: nodestatus.RiskPeer{Address: "192.168.50.2:443"},
		}
		if r.server != "" {
			risk.Destination.Names = []string{r.server}
		}
		all = append(all, risk)
	}
	return all
}

var local = netip.MustParseAddr("10.0.0.1")
