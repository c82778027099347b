// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"context"
	"encoding/json"
	"net/http"
	"sync"
	"time"

	"github.com/renat-project/renat/correlator"
	"github.com/renat-project/renat/internal/agent/heavy"
	"github.com/renat-project/renat/internal/nodestatus"
)

const (
	// counted is how many pods, or servers, are counted at a time.
	counted = 4096
	// shown is how many of them are shown.
	shown = 100
	// samples is how many connections of a map are looked up, to know how many
	// are open.
	samples = 2048
	// topAge is how old an answer may be: who asks more often reads no map.
	topAge = 5 * time.Second
	// topTime is how long reading the maps may take.
	topTime = 10 * time.Second
)

// tops knows who fills the NAT maps.
type tops struct {
	mu      sync.Mutex // guards evicted
	evicted map[string]*holders

	reading sync.Mutex // held by who reads the maps; guards what follows
	last    nodestatus.Top
}

// holders counts the entries of pods and of servers.
type holders struct {
	sources, destinations *heavy.Counter[correlator.Addr]
}

func newHolders() *holders {
	return &holders{heavy.New[correlator.Addr](counted), heavy.New[correlator.Addr](counted)}
}

// add counts a connection's entry.
func (h *holders) add(t correlator.Tuple) {
	h.sources.Add(correlator.Addr{IP: t.Src.IP})
	h.destinations.Add(t.Dst)
}

// change counts the evictions among what the kernel tracer emits.
func (t *tops) change(ev *correlator.Event) {
	if ev.Kind != correlator.KindNAT || ev.NAT.Op != correlator.Evict || ev.NAT.Dir != correlator.Out || ev.NAT.Map.CT {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	h := t.evicted[ev.NAT.Map.Name]
	if h == nil {
		h = newHolders()
		t.evicted[ev.NAT.Map.Name] = h
	}
	h.add(ev.Tuple)
}

// serveTop reads the NAT maps and answers with who fills them.
func (a *agent) serveTop(w http.ResponseWriter, r *http.Request) {
	a.tops.reading.Lock()
	defer a.tops.reading.Unlock()
	if time.Since(a.tops.last.Time) > topAge {
		ctx, cancel := context.WithTimeout(r.Context(), topTime)
		defer cancel()
		top, err := a.readTop(ctx)
		if err != nil {
			http.Error(w, "reading the maps: "+err.Error(), http.StatusServiceUnavailable)
			return
		}
		a.tops.last = top
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(&a.tops.last) // who asked has gone
}

func (a *agent) readTop(ctx context.Context) (nodestatus.Top, error) {
	top := nodestatus.Top{
		Version: nodestatus.Version, Time: time.Now().UTC(), Node: a.config.Node, Cluster: a.config.Cluster, Maps: []nodestatus.TopMap{},
	}
	for _, m := range a.config.Kernel.Status().Maps {
		if m.CT {
			continue
		}
		out, err := a.readMap(ctx, m)
		if err != nil {
			return top, err
		}
		top.Maps = append(top.Maps, out)
	}
	return top, nil
}

func (a *agent) readMap(ctx context.Context, m *correlator.Map) (nodestatus.TopMap, error) {
	out := nodestatus.TopMap{Name: m.Name, MaxEntries: m.MaxEntries}
	there := newHolders()
	// Every so many connections one is looked up. Two entries each.
	every := max(uint64(m.MaxEntries)/2/samples, 1)
	var connections, looked, open uint64
	var unknown error
	err := a.config.Kernel.Keys(ctx, m.ID, func(t correlator.Tuple, d correlator.Dir) {
		out.Entries++
		if d != correlator.Out {
			return
		}
		there.add(t)
		if connections++; connections%every != 0 || unknown != nil {
			return
		}
		var isOpen bool
		if isOpen, unknown = a.config.Kernel.Open(t); isOpen {
			open++
		}
		looked++
	})
	if err != nil {
		return out, err
	}
	if looked > 0 && unknown == nil {
		share := float64(open) / float64(looked)
		out.Live = &share
	}
	out.Sources, out.Destinations = there.list()
	a.tops.mu.Lock()
	defer a.tops.mu.Unlock()
	out.EvictedSources, out.EvictedDestinations = a.tops.evicted[m.Name].list()
	return out, nil
}

// list returns those that are shown; of nil holders none.
func (h *holders) list() (sources, destinations []nodestatus.Holder) {
	sources, destinations = []nodestatus.Holder{}, []nodestatus.Holder{}
	if h == nil {
		return sources, destinations
	}
	for _, c := range h.sources.Top(shown) {
		sources = append(sources, nodestatus.Holder{Address: c.Key.AddrPort().Addr().String(), Count: c.N, Over: c.Over})
	}
	for _, c := range h.destinations.Top(shown) {
		destinations = append(destinations, nodestatus.Holder{Address: c.Key.String(), Count: c.N, Over: c.Over})
	}
	return sources, destinations
}
