// SPDX-License-Identifier: Apache-2.0

//go:build chromium

package page_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/renat-project/renat/internal/nodestatus"
	"github.com/renat-project/renat/internal/web/api"
	"github.com/renat-project/renat/internal/web/board"
)

// cloudBoard has the names of a cloud: nodes and servers with long domains in
// common, and pods of long workloads.
func cloudBoard(t *testing.T) *board.Board {
	t.Helper()
	b := board.New(board.Config{})
	now := time.Now()
	for n, i := range recorded(t) {
		i := moved(i, now.Add(-time.Duration(n*n)*time.Minute))
		i.Node = fmt.Sprintf("ip-10-212-13%d-217.eu-central-1.compute.internal", n%4)
		i.Source.Namespace, i.Source.Workload = "payments-production", "Deployment/checkout-orchestrator-worker"
		i.Source.Pod = fmt.Sprintf("checkout-orchestrator-worker-7d4b9c5f6-x2k8%d", n%7)
		i.Destination.Names, i.Destination.Port = []string{fmt.Sprintf("orders-replica-%d.c9akciq32abc.eu-central-1.rds.amazonaws.com", n%3)}, 5432
		i.ID = i.NewID(uint64(n))
		b.Add(i, 0)
	}
	for n := range 4 {
		s := demoStatus(fmt.Sprintf("ip-10-212-13%d-217.eu-central-1.compute.internal", n), n, now)
		for i := range s.Risks {
			s.Risks[i].Source = nodestatus.RiskPeer{Address: "[2001:db8:1234:5678:9abc:def0:1234:5678]:40000", Namespace: "payments-production", Pod: "checkout-orchestrator-worker-7d4b9c5f6-x2k8p"}
			s.Risks[i].Destination = nodestatus.RiskPeer{Address: "[2001:db8:1234:5678:9abc:def0:1234:5679]:5432", Names: []string{"orders-replica-1.c9akciq32abc.eu-central-1.rds.amazonaws.com"}}
		}
		b.SetStatus(s, neverSilent())
	}
	return b
}

// At every width names are cut at their ends, on one line; what tells them apart
// is there, and so is what is short.
func TestLongNames(t *testing.T) {
	s := site(t, cloudBoard(t), api.AccessConfig{})
	for _, view := range []struct{ path, ready string }{
		{"/?since=24h", `document.querySelectorAll(".feed li").length == 8`},
		{"/incidents?since=240h", `document.querySelectorAll(".row a").length > 5`},
		{"/incidents?view=groups", `document.querySelectorAll(".groups tbody tr").length > 5`},
	} {
		p := open(t, s.URL, view.path)
		p.until("the view", view.ready)
		for _, width := range []int64{360, 768, 1400} {
			p.resize(width, 900)
			if wide := eval[int64](p, `document.documentElement.scrollWidth`); wide > width {
				t.Errorf("%s: at %d px the page is %d px wide", view.path, width, wide)
			}
			if broken := eval[[]string](p, notWhole); len(broken) > 0 {
				t.Errorf("%s at %d px: not on one line, or over another: %q", view.path, width, broken)
			}
			if !strings.Contains(view.path, "groups") {
				continue
			}
			for _, name := range []string{"ip-10-212-130-217", "orders-replica-0", "LRU eviction", "orphaned reply"} {
				if !eval[bool](p, fmt.Sprintf(`[...document.querySelectorAll(".groups .cut")].some((e) => e.innerText == %q && e.scrollWidth <= e.clientWidth)`, name)) {
					t.Errorf("%s at %d px: %s is cut", view.path, width, name)
				}
			}
		}
	}
}

// notWhole are the texts of cells and names that break into lines, or reach into
// their neighbour.
const notWhole = `[...document.querySelectorAll(".groups th, .groups .cut, .row [role=cell] > *, .feed a > span, .tile h3, .risks .cut")]
	.filter((e) => e.offsetParent && !e.querySelector(".rest") && (e.getBoundingClientRect().height > 45 ||
		(e.nextElementSibling?.offsetParent && getComputedStyle(e.parentElement).display == "flex" && e.getBoundingClientRect().right > e.nextElementSibling.getBoundingClientRect().left + 1) ||
		(e.closest("[role=cell]")?.nextElementSibling?.offsetParent && e.getBoundingClientRect().top >= e.closest("[role=cell]").nextElementSibling.getBoundingClientRect().top &&
			e.getBoundingClientRect().bottom <= e.closest("[role=cell]").nextElementSibling.getBoundingClientRect().bottom + 1 &&
			e.getBoundingClientRect().right > e.closest("[role=cell]").nextElementSibling.getBoundingClientRect().left + 1)))
	.map((e) => e.innerText)`
