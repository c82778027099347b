// SPDX-License-Identifier: Apache-2.0

package check

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
	"github.com/prometheus/prometheus/tsdb/chunks"
	"github.com/prometheus/prometheus/util/annotations"
)

// store is what was scraped, once a minute from the epoch on, in the order of
// labels. It stands for Prometheus' own, whose packages bring the libraries of
// three clouds.
type store []storage.Series

// newStore reads series in the notation of Prometheus' tests, one a line.
func newStore(t testing.TB, text string) (all store) {
	t.Helper()
	for line := range strings.Lines(text) {
		name, values, err := parser.ParseSeriesDesc(strings.TrimSpace(line))
		if err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		var scraped []chunks.Sample
		for minute, v := range values {
			if !v.Omitted {
				scraped = append(scraped, sample{at: int64(minute) * time.Minute.Milliseconds(), value: v.Value})
			}
		}
		all = append(all, storage.NewListSeries(name, scraped))
	}
	slices.SortFunc(all, func(a, b storage.Series) int { return labels.Compare(a.Labels(), b.Labels()) })
	return all
}

// newEngine returns Prometheus' query engine.
func newEngine(t testing.TB) *promql.Engine {
	t.Helper()
	e := promql.NewEngine(promql.EngineOpts{
		Logger: slog.New(slog.DiscardHandler), MaxSamples: 1_000_000, Timeout: time.Minute, Parser: parser,
	})
	t.Cleanup(func() { e.Close() })
	return e
}

// ask returns how many series a query has at this minute.
func ask(t testing.TB, s store, query string, minute int) (int, error) {
	t.Helper()
	q, err := newEngine(t).NewInstantQuery(t.Context(), s, nil, query, time.Unix(int64(minute)*60, 0))
	if err != nil {
		return 0, err
	}
	defer q.Close()
	result := q.Exec(t.Context())
	if result.Err != nil {
		return 0, fmt.Errorf("asking %s: %w", query, result.Err)
	}
	v, err := result.Vector()
	return len(v), err
}

// Querier implements storage.Queryable.
func (s store) Querier(_, _ int64) (storage.Querier, error) {
	return querier{storage.NoopQuerier(), s}, nil
}

type querier struct {
	storage.Querier // for what the engine does not ask
	store           store
}

// Select implements storage.Querier.
func (q querier) Select(_ context.Context, _ bool, _ *storage.SelectHints, matchers ...*labels.Matcher) storage.SeriesSet {
	found := &seriesSet{}
	for _, s := range q.store {
		if !slices.ContainsFunc(matchers, func(m *labels.Matcher) bool { return !m.Matches(s.Labels().Get(m.Name)) }) {
			found.rest = append(found.rest, s)
		}
	}
	return found
}

// seriesSet implements storage.SeriesSet.
type seriesSet struct {
	rest []storage.Series
	at   storage.Series
}

func (s *seriesSet) Next() bool {
	if len(s.rest) == 0 {
		return false
	}
	s.at, s.rest = s.rest[0], s.rest[1:]
	return true
}
func (s *seriesSet) At() storage.Series              { return s.at }
func (*seriesSet) Err() error                        { return nil }
func (*seriesSet) Warnings() annotations.Annotations { return nil }

// sample implements chunks.Sample.
type sample struct {
	at    int64
	value float64
}

func (s sample) T() int64                    { return s.at }
func (s sample) F() float64                  { return s.value }
func (s sample) Copy() chunks.Sample         { return s }
func (sample) ST() int64                     { return 0 }
func (sample) H() *histogram.Histogram       { return nil }
func (sample) FH() *histogram.FloatHistogram { return nil }
func (sample) Type() chunkenc.ValueType      { return chunkenc.ValFloat }
