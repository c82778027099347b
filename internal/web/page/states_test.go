// SPDX-License-Identifier: Apache-2.0

//go:build chromium

package page_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"github.com/renat-project/renat/correlator/incident"
	"github.com/renat-project/renat/internal/nodestatus"
	"github.com/renat-project/renat/internal/web/api"
	"github.com/renat-project/renat/internal/web/board"
)

func TestEmpty(t *testing.T) {
	s := site(t, board.New(board.Config{}), api.AccessConfig{})
	p := open(t, s.URL, "/")
	p.says("No connection broke yet")
	p.says("No agent has reported yet")
	p.visit("/incidents")
	p.says("No incidents")
	p.visit("/incidents?view=groups")
	p.says("No incidents")
	old := site(t, recordedBoard(t), api.AccessConfig{})
	p = open(t, old.URL, "/")
	p.says("No connection broke in the last hour")
	p.says("the newest of 30 incidents is from")
	p.click(`.sub a`)
	p.says("30 connections broke from Nov 22, 22:52:15 to Nov 22, 23:52:15")
	p.visit("/incidents?namespace=nowhere")
	p.says("No incident matches")
	if eval[bool](p, `document.querySelector(".empty .icon.ok") != null`) {
		t.Error("what may be a typing error looks like good news")
	}
}

const (
	refused = "Failed to load resource: the server responded with a status of 4"
	gone    = "Failed to load resource: net::ERR_"
)

func TestErrors(t *testing.T) {
	b := recordedBoard(t)
	s := site(t, b, api.AccessConfig{})
	p := open(t, s.URL, "/incidents/unknown", refused, gone)
	p.says("not among the newest incidents")
	p.visit("/incidents?kind=wrong")
	p.says(`kind "wrong" is not one of renat, orphaned_reply`)
	p.until("no complaint of the connection", `!document.querySelector(".banner, .pulse")`)
	p.visit("/")
	p.until("the stream", `document.querySelector(".pulse.open")`)
	b.Loaded()
	b.SetProblem("NATS is away: what happened since is missing here until it is back", time.Date(2026, 11, 22, 0, 3, 0, 0, time.UTC))
	p.says("NATS is away: what happened since is missing here until it is back.")
	p.says("What broke since Nov 22, 01:03:00.000 is not known") // in Berlin
	p.says("Before that: No connection broke in the last hour")
	p.until("the sign that it is not live", `document.querySelector(".pulse.lost")?.innerText == "not live"`)
	b.SetProblem("", time.Now())
	p.until("the banner to go", `!document.querySelector(".banner")`)
	p.until("the sign that it is live", `document.querySelector(".pulse.open")?.innerText == "live"`)
	s.CloseClientConnections()
	s.Close()
	p.says("The connection to renat is lost")
	p.until("the headline", `/^What broke since \d\d:\d\d:\d\d is not known$/.test(document.querySelector(".headline").innerText)`)
	p.says("Before that: No connection broke in the last hour") // what was known stays
}

// When renat is back, the page goes on by itself, with what it missed.
func TestRestart(t *testing.T) {
	b := recordedBoard(t)
	s := site(t, b, api.AccessConfig{})
	p := open(t, s.URL, "/incidents", gone)
	p.says("30 incidents")
	p.until("the stream", `document.querySelector(".pulse.open")`)
	s.CloseClientConnections()
	i := moved(recorded(t)[0], time.Now())
	b.Add(i, 0)
	p.says("31 incidents")
}

func TestSignIn(t *testing.T) {
	const token = "correct-horse-battery-staple"
	file := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(file, []byte(token), 0o600); err != nil {
		t.Fatal(err)
	}
	p := open(t, site(t, recordedBoard(t), api.AccessConfig{TokenFile: file}).URL, "/incidents", refused)
	p.says("This renat asks for its token")
	p.do(chromedp.SendKeys(chromedp.CSS(`#token`), "wrong"+kb.Enter))
	p.says("wrong token")
	p.do(chromedp.SendKeys(chromedp.CSS(`#token`), token+kb.Enter))
	p.says("30 incidents")
	p.do(chromedp.Reload())
	p.says("30 incidents")
	if seen := eval[string](p, `document.cookie + document.documentElement.outerHTML + JSON.stringify({...localStorage, ...sessionStorage})`); strings.Contains(seen, token) || strings.Contains(seen, "renat-session") {
		t.Error("a script can see the token or the cookie")
	}
}

// evil are texts that would run or format, were they markup.
var evil = []string{
	`<img src=x onerror="window.hit=1">`, `"><script>window.hit=1</script>`, `'onmouseover='window.hit=1`, `javascript:window.hit=1`, `{{constructor}}`, "\u202egnp.exe", strings.Repeat("W", 250),
}

func hostile(n int, at time.Time) *incident.Incident {
	e := evil[n%len(evil)]
	i := &incident.Incident{
		Kind: incident.Renat, Cause: incident.UserspaceDelete, Outcome: incident.Reset, DeletedBy: e, Time: at, Node: e, Cluster: e, Protocol: e,
		NAT: incident.NAT{Map: e, Before: e, After: e, Program: e, RemovedAt: at}, Evidence: []incident.Evidence{},
		Source: incident.Endpoint{Namespace: e, Pod: e, Workload: e, Labels: []string{e}, Names: []string{e}}, Destination: incident.Endpoint{Names: []string{e}},
	}
	i.Source.IP, i.Destination.IP = local, local
	for _, step := range []incident.Step{"", incident.Opened, incident.Renatted, incident.Step(e), "constructor", "__proto__"} {
		i.Evidence = append(i.Evidence, incident.Evidence{Time: at, From: incident.Source(e), What: e, Step: step, Flags: e})
	}
	if n%2 == 1 {
		i.Kind, i.Cause, i.Outcome = incident.Kind(e), incident.Cause(e), incident.Outcome(e)
	}
	i.ID = fmt.Sprintf("%d?#%s", n, strings.ReplaceAll(e, "/", ""))
	return i
}

// Whatever a pod is called, it is shown as text.
func TestHostileNames(t *testing.T) {
	b := board.New(board.Config{})
	now := time.Now()
	for n := range 2 * len(evil) {
		b.Add(hostile(n, now.Add(-time.Duration(n)*time.Second)), 0)
	}
	for n, e := range evil {
		peer, atRisk := nodestatus.RiskPeer{Address: e, Namespace: e, Pod: e, Names: []string{e}}, 2
		b.SetStatus(nodestatus.Status{
			Node: e + fmt.Sprint(n), Cluster: e, Time: now, Parts: []nodestatus.Part{{Name: e, Problem: e}}, Maps: []nodestatus.Map{{Name: e, MaxEntries: 1}},
			AtRisk: &atRisk, Guard: &nodestatus.Guard{Problem: e, Runs: 1},
			Risks: []nodestatus.Risk{
				{Protocol: e, Source: peer, Destination: peer, Gone: e, Breaks: e, Since: now},
				{Protocol: "constructor", Source: nodestatus.RiskPeer{Address: e}, Gone: "constructor", Breaks: "__proto__", Since: now},
			},
		}, neverSilent())
	}
	p := open(t, site(t, b, api.AccessConfig{}).URL, "/", refused) // as a filter, some are wrong
	check := func(view string) {
		t.Helper()
		for _, e := range evil[:5] {
			if !eval[bool](p, fmt.Sprintf(`document.querySelector("#app").textContent.includes(%q)`, e)) {
				t.Errorf("%s does not show %q as it is", view, e)
			}
		}
		clean(t, p, view)
	}
	p.says("14 connections broke")
	p.says("14 connections break next")
	p.click(`.risks button`)
	p.until("all at risk", `document.querySelectorAll(".risks tbody tr").length == 14`)
	check("now")
	p.visit("/incidents")
	p.until("the rows", `document.querySelectorAll(".row a").length >= 7`)
	check("incidents")
	p.visit("/incidents?view=groups")
	p.until("the groups", `document.querySelector(".groups")`)
	check("groups")
	for n := range 2 * len(evil) {
		p.visit("/incidents/" + escape(p, hostile(n, now).ID))
		p.says("Raw evidence")
		clean(t, p, fmt.Sprintf("incident %d", n))
	}
	p.visit("/incidents?namespace=" + escape(p, evil[0]) + "&kind=" + escape(p, evil[1]))
	p.until("the chip", `document.querySelector(".chip")`)
	clean(t, p, "filters")
}

// clean fails if a name became markup or script, or makes the page scroll sideways.
func clean(t *testing.T, p *tab, view string) {
	t.Helper()
	p.resize(360, 740)
	if eval[bool](p, `"hit" in window || document.querySelector("#app img[src=x], #app script, [onerror], [onmouseover], a[href^='javascript:']") != null`) {
		t.Errorf("%s: a name became markup", view)
	}
	p.until(view+" in 360 px", `document.documentElement.scrollWidth <= 360`) // it is laid out again when it can
	p.do(chromedp.EmulateViewport(1280, 800))
}

func escape(p *tab, s string) string {
	return eval[string](p, fmt.Sprintf("encodeURIComponent(%q)", s))
}

// An incident whose evidence is not stored any more says so.
func TestGone(t *testing.T) {
	b := board.New(board.Config{Whole: func(context.Context, uint64) (*incident.Incident, error) { return nil, board.ErrGone }})
	one := recorded(t)[0]
	b.Add(one, 1)
	p := open(t, site(t, b, api.AccessConfig{}).URL, "/incidents/"+one.ID, refused)
	p.says("NATS has removed it")
}
