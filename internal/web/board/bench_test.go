// SPDX-License-Identifier: Apache-2.0

package board_test

import (
	"context"
	"runtime"
	"testing"
	"time"

	"github.com/renat-project/renat/correlator/incident"
	"github.com/renat-project/renat/correlator/incident/filter"
	"github.com/renat-project/renat/internal/web/board"
)

const many = 100_000

func hubBoard() *board.Board {
	b := board.New(board.Config{Incidents: many, Whole: func(context.Context, uint64) (*incident.Incident, error) { return nil, nil }})
	for n := range many {
		b.Load(sample(n), uint64(n))
	}
	return b
}

// BenchmarkBoardMemory reports what a hub's board costs for each incident.
func BenchmarkBoardMemory(b *testing.B) {
	for b.Loop() {
		before := heap()
		full := hubBoard()
		b.ReportMetric(float64(heap()-before)/many, "B/incident")
		runtime.KeepAlive(full)
	}
}

func heap() uint64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// BenchmarkIncidents100k lists a page of a full board, the last one of all.
func BenchmarkIncidents100k(b *testing.B) {
	full := hubBoard()
	f := filter.Filter{Namespaces: []string{"shop"}}
	for b.Loop() {
		if l, err := full.Incidents(b.Context(), &f, board.Page{Skip: many - 100, Limit: 100}); err != nil || len(l.Incidents) != 100 {
			b.Fatal(len(l.Incidents), err)
		}
	}
}

func BenchmarkSummary100k(b *testing.B) {
	full := hubBoard()
	for b.Loop() {
		if s, err := full.Summary(b.Context(), &filter.Filter{}, 100, time.Now()); err != nil || s.Total != many {
			b.Fatal(s.Total)
		}
	}
}

// BenchmarkAdd adds to a full board.
func BenchmarkAdd(b *testing.B) {
	full := hubBoard()
	n := many
	for b.Loop() {
		full.Add(sample(n), uint64(n))
		n++
	}
}
