// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"cmp"
	"encoding/json"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/renat-project/renat/correlator"
	"github.com/renat-project/renat/internal/nodestatus"
)

const (
	// riskAge is how old an answer may be: who asks more often looks nothing up.
	riskAge = 5 * time.Second
	// riskLooks is how many connections are looked up at most, three entries each:
	// those that lost an entry last, since fewest of them have closed.
	riskLooks = 4096
	// risksShown is how many of them are listed.
	risksShown = 1000
	// riskPage is how many of the tracker's connections are gone through while it
	// waits.
	riskPage = 4096
)

// risks knows which connections break by their next packet.
type risks struct {
	mu   sync.Mutex // held while it is looked; guards what follows
	last nodestatus.AtRisk
	err  error
}

// serveAtRisk answers with what is at risk.
func (a *agent) serveAtRisk(w http.ResponseWriter, _ *http.Request) {
	all, err := a.atRisk()
	if err != nil {
		http.Error(w, "looking connections up: "+err.Error(), http.StatusServiceUnavailable)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(&all) // who asked has gone
}

// atRisk returns the connections that live, as connection tracking knows, and
// lack an entry that the tracker saw go.
func (a *agent) atRisk() (nodestatus.AtRisk, error) {
	a.risks.mu.Lock()
	defer a.risks.mu.Unlock()
	if time.Since(a.risks.last.Time) > riskAge {
		a.risks.last, a.risks.err = a.lookAtRisk()
	}
	return a.risks.last, a.risks.err
}

func (a *agent) lookAtRisk() (nodestatus.AtRisk, error) {
	out := nodestatus.AtRisk{
		Version: nodestatus.Version, Time: time.Now().UTC(), Node: a.config.Node, Cluster: a.config.Cluster, Connections: []nodestatus.Risk{},
	}
	lacking := a.tracker.lacking()
	slices.SortFunc(lacking, func(x, y correlator.Lacking) int { return cmp.Compare(y.Since, x.Since) })
	out.Unchecked = max(0, len(lacking)-riskLooks)
	for i := range lacking[:len(lacking)-out.Unchecked] {
		r, is, err := a.isAtRisk(&lacking[i])
		switch {
		case err != nil:
			return out, err
		case is && len(out.Connections) == risksShown:
			out.More++
		case is:
			out.Connections = append(out.Connections, r)
		}
	}
	slices.Reverse(out.Connections)
	return out, nil
}

// isAtRisk looks a connection up.
func (a *agent) isAtRisk(l *correlator.Lacking) (r nodestatus.Risk, is bool, err error) {
	if open, err := a.config.Kernel.Open(l.Tuple); err != nil || !open {
		return r, false, err
	}
	to, hasOut, err := a.config.Kernel.Lookup(l.Tuple, correlator.Out)
	if err != nil {
		return r, false, err
	}
	if !hasOut {
		to = l.SNAT
	}
	hasIn := false
	if !to.IsZero() {
		var pod correlator.Addr
		in := correlator.Tuple{Src: l.Tuple.Dst, Dst: to, Protocol: l.Tuple.Protocol}
		if pod, hasIn, err = a.config.Kernel.Lookup(in, correlator.In); err != nil {
			return r, false, err
		}
		hasIn = hasIn && pod == l.Tuple.Src
	}
	switch {
	case hasOut && hasIn:
		return r, false, nil
	case l.HostNetwork && !hasIn && (to.IsZero() || to == l.Tuple.Src):
		return r, false, nil // as if it were not translated
	case hasIn:
		r.Gone, r.Breaks = nodestatus.GoneOut, nodestatus.SpeaksPod
	case hasOut:
		r.Gone, r.Breaks = nodestatus.GoneIn, nodestatus.SpeaksServer
	default:
		r.Gone, r.Breaks = nodestatus.GoneBoth, nodestatus.SpeaksServer
	}
	r.Protocol, r.Since = l.Tuple.Protocol.String(), a.clock.wall(time.Unix(0, l.Since)).UTC()
	r.Source, r.Destination = riskPeer(l.Tuple.Src, l.Src), riskPeer(l.Tuple.Dst, l.Dst)
	if !to.IsZero() {
		r.NAT = to.String()
	}
	r.HostNetwork, r.Guarded = l.HostNetwork, a.guard != nil && a.guard.Knows(l.Tuple)
	return r, true, nil
}

func riskPeer(at correlator.Addr, p *correlator.Peer) nodestatus.RiskPeer {
	r := nodestatus.RiskPeer{Address: at.String()}
	if p != nil {
		r.Namespace, r.Pod, r.Workload, r.Names = p.Namespace, p.Pod, p.Workload, p.Names
	}
	return r
}

// lacking returns the connections that lack an entry, as far as events tell. The
// tracker waits for a page of them at a time.
func (t *tracker) lacking() (all []correlator.Lacking) {
	for from, more := 0, true; more; more = from != 0 {
		t.mu.Lock()
		from = t.correlator.Lack(from, riskPage, func(l *correlator.Lacking) { all = append(all, *l) })
		t.mu.Unlock()
	}
	return all
}
