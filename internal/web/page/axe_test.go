// SPDX-License-Identifier: Apache-2.0

//go:build chromium

package page_test

import (
	"os"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"github.com/renat-project/renat/internal/web/api"
	"github.com/renat-project/renat/internal/web/board"
)

// axe-core is a development dependency, and not part of the page.
const axe = "web/node_modules/axe-core/axe.min.js"

// finding is a rule of axe-core that the page breaks.
type finding struct {
	ID, Impact, Help string
	Nodes            []struct{ HTML, FailureSummary string }
}

// No view has a serious finding, in light or dark, wide or narrow.
func TestAccessibility(t *testing.T) {
	script, err := os.ReadFile(axe)
	if err != nil {
		t.Fatalf("%v: run npm ci in internal/web/page/web", err)
	}
	b := demoBoard(t, time.Now())
	one := recorded(t)[len(recorded(t))-1]
	b.Add(one, 0)
	s, empty := site(t, b, api.AccessConfig{}), site(t, board.New(board.Config{}), api.AccessConfig{})
	for _, view := range []struct{ url, path, ready string }{
		{s.URL, "/", `document.querySelectorAll(".chart canvas").length == 2`},
		{s.URL, "/incidents?namespace=shop&since=200h", `document.querySelectorAll(".row a").length > 5`},
		{s.URL, "/incidents?view=groups", `document.querySelector(".groups")`},
		{s.URL, "/incidents/" + one.ID, `document.querySelector(".steps")`},
		{empty.URL, "/", `document.querySelector(".headline")`},
		{empty.URL, "/incidents", `document.querySelector(".empty")`},
	} {
		for _, dark := range []bool{false, true} {
			p := open(t, view.url, "")
			p.dark(dark)
			p.visit(view.path)
			p.until("the view", view.ready)
			for _, width := range []int64{1280, 360} {
				p.resize(width, 800)
				p.do(evaluate(string(script)))
				for _, f := range check(p) {
					t.Errorf("%s, dark %v, %d px: %s: %s (%s)", view.path, dark, width, f.Impact, f.Help, f.ID)
					for _, n := range f.Nodes[:min(3, len(f.Nodes))] {
						t.Logf("  %s\n  %s", n.HTML, n.FailureSummary)
					}
				}
			}
		}
	}
}

// check returns what axe-core calls serious or critical.
func check(p *tab) []finding {
	p.t.Helper()
	return run(p, chromedp.Evaluate[[]finding](`axe.run().then((r) => r.passes.length < 10 ? [{ID: "none", Impact: "no", Help: "axe-core found nothing to check"}] : r.violations.filter((v) => v.impact == "serious" || v.impact == "critical")
		.map((v) => ({ID: v.id, Impact: v.impact, Help: v.help, Nodes: v.nodes.map((n) => ({HTML: n.html, FailureSummary: n.failureSummary}))})))`,
		chromedp.EvalAwaitPromise))
}
