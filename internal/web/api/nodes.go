// SPDX-License-Identifier: Apache-2.0

package api

import (
	"cmp"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/renat-project/renat/internal/sizing"
	"github.com/renat-project/renat/internal/web/board"
)

// NodeList is the answer of /v1/nodes.
type NodeList struct {
	Nodes []board.Node `json:"nodes"`
	// What all nodes are together, those left out included.
	Fleet board.Fleet `json:"fleet"`
	board.Problem
}

// SizeAdvice is the answer of /v1/advice.
type SizeAdvice struct {
	// What renat advise says where Cilium's settings are not known. Without nodes
	// in it, nothing was measured.
	Plan sizing.Plan `json:"plan"`
	// How many maps there is advice on, those left out included.
	Maps int `json:"maps"`
	// On how many nodes a map is too small.
	Small int `json:"small"`
	// The least and the most entries of these maps now; missing if there is none.
	Sizes []int `json:"sizes,omitempty"`
	// Of how many nodes nothing is known, those left out included.
	Unmeasured int `json:"unmeasured"`
	board.Problem
}

func (a *API) nodes(w http.ResponseWriter, r *http.Request) error {
	limit, err := number(r.URL.Query(), "limit", 0, 1, maxNodes)
	if err != nil {
		return err
	}
	now := time.Now()
	l := NodeList{Problem: a.config.Board.Problem()}
	if l.Nodes, l.Fleet = a.config.Board.Worst(now, limit); limit == 0 {
		l.Nodes = a.config.Board.Nodes(now)
	}
	return reply(w, l)
}

func (a *API) advice(w http.ResponseWriter, r *http.Request) error {
	limit, err := number(r.URL.Query(), "limit", 0, 1, maxNodes)
	if err != nil {
		return err
	}
	s := a.advisor.ask(a.config.Board)
	s.Problem = a.config.Board.Problem()
	if limit > 0 {
		s.cut(limit)
	}
	return reply(w, s)
}

// keepTimes is for how many times as long as advice took it is kept: working it
// out for thousands of nodes takes a hundredth of a core then, whoever asks.
const keepTimes = 100

// advisor works out advice, at most as often as keepTimes lets it.
type advisor struct {
	mu     sync.Mutex // guards what follows
	advice SizeAdvice
	until  time.Time
}

// ask returns advice that may be shared: its lists are not to be written.
func (d *advisor) ask(b *board.Board) SizeAdvice {
	d.mu.Lock()
	defer d.mu.Unlock()
	if began := time.Now(); began.After(d.until) {
		d.advice = SizeAdvice{Plan: b.Plan(began)}
		d.advice.sum()
		ended := time.Now()
		d.until = ended.Add(keepTimes * ended.Sub(began))
	}
	return d.advice
}

// sum fills in what the plan comes to.
func (s *SizeAdvice) sum() {
	s.Maps, s.Unmeasured = len(s.Plan.Nodes), len(s.Plan.Unmeasured)
	small := map[string]bool{}
	for k := range s.Plan.Nodes {
		if a := &s.Plan.Nodes[k]; a.Needs() {
			small[a.Node] = true
			s.Sizes = append(s.Sizes, a.Current)
		}
	}
	if s.Small = len(small); s.Small > 0 {
		s.Sizes = []int{slices.Min(s.Sizes), slices.Max(s.Sizes)}
	}
}

// cut leaves at most so many names in each list of the plan, those with a map that
// is too small first.
func (s *SizeAdvice) cut(limit int) {
	p := &s.Plan
	p.Nodes = slices.Clone(p.Nodes)
	slices.SortStableFunc(p.Nodes, func(a, b sizing.Advice) int {
		rank := map[bool]int{true: 0, false: 1}
		return cmp.Compare(rank[a.Needs()], rank[b.Needs()])
	})
	p.Nodes = p.Nodes[:min(limit, len(p.Nodes))]
	for _, names := range []*[]string{&p.Unmeasured, &p.NotInForce, &p.Restart} {
		*names = (*names)[:min(limit, len(*names))]
	}
}
