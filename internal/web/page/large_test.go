// SPDX-License-Identifier: Apache-2.0

//go:build chromium

package page_test

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/performance"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"github.com/renat-project/renat/correlator/incident"
	"github.com/renat-project/renat/internal/web/api"
	"github.com/renat-project/renat/internal/web/board"
)

const many = 100_000

// largeBoard is a hub's, full.
func largeBoard(t testing.TB) *board.Board {
	t.Helper()
	b := board.New(board.Config{Incidents: many, Whole: func(context.Context, uint64) (*incident.Incident, error) { return nil, board.ErrGone }})
	first, all := time.Now().Add(-many*time.Second), recorded(t)
	for n := range many {
		i := *all[n%len(all)]
		i.Time = first.Add(time.Duration(n) * time.Second)
		i.Node, i.Source.Pod = fmt.Sprintf("node-%d", n%50), fmt.Sprintf("cart-%d", n%500)
		i.Source.IP = netip.AddrFrom4([4]byte{10, 0, byte(n >> 8), byte(n)})
		i.ID = i.NewID(uint64(n))
		b.Load(&i, uint64(n))
	}
	return b
}

// However many incidents there are, the page has elements for those that can be
// seen, and any of them can be reached.
func TestManyIncidents(t *testing.T) {
	p := open(t, site(t, largeBoard(t), api.AccessConfig{}).URL, "/incidents")
	p.says("100,000 incidents")
	p.until("the rows", `document.querySelectorAll(".row a").length > 5`)
	few := func() {
		t.Helper()
		if n := eval[int](p, `document.querySelectorAll("*").length`); n > 1500 {
			t.Errorf("%d elements", n)
		}
	}
	few()
	p.do(chromedp.Focus(chromedp.CSS(`[data-index="0"] a`)), chromedp.KeyEvent(kb.End))
	p.until("the last row", `document.querySelector('[data-index="99999"] .who')?.innerText.includes("cart-0")`)
	few()
	p.do(evaluate(`document.querySelector(".table .scroll").scrollTop = 52 * 50000`))
	p.until("a row in the middle", `document.querySelector('[data-index="50000"] .who')?.innerText.includes("cart-499")`)
	few()
	p.visit("/incidents?node=node-7")
	p.says("2,000 incidents match")
	p.visit("/incidents?view=groups")
	p.until("the groups", `document.querySelectorAll(".groups tbody tr").length == 200`)
}

// BenchmarkManyIncidents opens the view of 100,000 incidents and scrolls through
// it, and reports when something was to be seen, when the incidents were, and the
// longest time that scrolling kept the page busy in one piece (below 50 ms: 0). On
// a busy machine only the CPU time of a step says something.
func BenchmarkManyIncidents(b *testing.B) {
	s := site(b, largeBoard(b), api.AccessConfig{})
	const steps = 60
	var paint, rows, busy, cpu float64
	for b.Loop() {
		p := open(b, s.URL, "")
		p.visit("/incidents")
		p.until("the rows", `document.querySelectorAll(".row a").length > 5 && performance.mark("rows")`)
		p.do(evaluate(`window.longest = 0; new PerformanceObserver((l) => l.getEntries().forEach((e) => { longest = Math.max(longest, e.duration) })).observe({type: "longtask"})`))
		before := p.threadTime()
		for n := range steps {
			p.do(evaluate(fmt.Sprintf(`document.querySelector(".table .scroll").scrollTop += %d`, 200+n*n*20)))
			time.Sleep(16 * time.Millisecond)
		}
		cpu += p.threadTime() - before
		p.until("rows after scrolling", `document.querySelectorAll(".row a").length > 5`)
		paint = max(paint, eval[float64](p, `performance.getEntriesByName("first-contentful-paint")[0].startTime`))
		rows = max(rows, eval[float64](p, `performance.getEntriesByName("rows")[0].startTime`))
		busy = max(busy, eval[float64](p, `longest`))
	}
	b.ReportMetric(cpu*1000/steps/float64(b.N), "cpu-ms/step")
	b.ReportMetric(paint, "ms-to-paint")
	b.ReportMetric(rows, "ms-to-rows")
	b.ReportMetric(busy, "ms-longest-task")
}

// threadTime is how many seconds of CPU the page's thread has used.
func (p *tab) threadTime() float64 {
	p.t.Helper()
	return run(p, func(ctx context.Context, target *chromedp.Target) (float64, error) {
		if _, err := cdp.Call(ctx, target, performance.Enable, performance.EnableParams{}); err != nil {
			return 0, err
		}
		all, err := cdp.Call(ctx, target, performance.GetMetrics, cdp.Empty{})
		if err != nil {
			return 0, err
		}
		for _, m := range all.Metrics {
			if m.Name == "ThreadTime" {
				return m.Value, nil
			}
		}
		return 0, errors.New("the browser does not tell its CPU time")
	})
}

func evaluate(expression string) chromedp.Action[chromedp.Void] {
	run := chromedp.Evaluate[bool](expression + "; true")
	return chromedp.Func(func(ctx context.Context, target *chromedp.Target) error {
		_, err := run(ctx, target)
		return err
	})
}
