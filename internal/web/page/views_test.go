// SPDX-License-Identifier: Apache-2.0

//go:build chromium

package page_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"
	_ "time/tzdata" // the browser's zone, wherever it is run

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
	"github.com/rs/zerolog"

	"github.com/renat-project/renat/correlator/incident"
	"github.com/renat-project/renat/internal/hub"
	"github.com/renat-project/renat/internal/web/api"
	"github.com/renat-project/renat/internal/web/board"
	"github.com/renat-project/renat/sinks/jetstream"
	"github.com/renat-project/renat/sinks/jetstream/embedded"
)

func TestNow(t *testing.T) {
	now := time.Now()
	b := demoBoard(t, now)
	p := open(t, site(t, b, api.AccessConfig{}).URL, "/")
	p.says("182 connections broke in the last hour")
	p.says("8 nodes: 1 degraded, 3 breaking, 1 evicting, 3 ok")
	p.says("hubble: waits for unix:///var/run/cilium/hubble.sock")
	if got := eval[[]string](p, `[...document.querySelectorAll(".tile .state")].map((e) => e.innerText)`); strings.Join(got, " ") != "degraded breaking breaking breaking evicting ok ok ok" {
		t.Errorf("tiles, the worst first: %v", got)
	}
	tiles := eval[string](p, `document.querySelector(".tiles").innerText`)
	for _, want := range []string{
		"1 connection breaks by the next packet", "2 connections break by the next packet", "guard: map too small: the kernel evicted 9 entries",
		"guard: 2,048 connections\n", "about 31 kept from breaking (an estimate), 4,310 runs, 228 ns a connection",
	} {
		if !strings.Contains(tiles, want) {
			t.Errorf("the tiles do not say %q: %s", want, tiles)
		}
	}
	p.until("the charts", `document.querySelectorAll(".chart canvas").length == 2`)
	if label := eval[string](p, `document.querySelector(".broken .chart").getAttribute("aria-label")`); !strings.Contains(label, "last hour: 182 in all, most ") {
		t.Errorf("the chart tells who cannot see it %q", label)
	}
	p.says("LRU eviction\n170\ndeleted by a process\n12")
	p.says("bpf.natMax 131072 → " + b.Plan(now).Values[0].Value + " on 4 nodes") // as renat advise says
	p.says("12 connections broke because a process deleted NAT entries: a larger map does not help against that.")
	p.click(`.workloads a`)
	p.until("the filter", `location.pathname + location.search == "/incidents?workload=shop%2FDeployment%2Fcheckout&since=1h"`)
	p.says("91 incidents match")
}

// The time that Now shows is in its address.
func TestRange(t *testing.T) {
	now := time.Now()
	b := board.New(board.Config{})
	for n, age := range []time.Duration{time.Minute, 2 * time.Hour, 20 * time.Hour, 100 * time.Hour} {
		b.Add(moved(recorded(t)[n], now.Add(-age)), 0)
	}
	p := open(t, site(t, b, api.AccessConfig{}).URL, "/")
	p.says("1 connection broke in the last hour")
	for n, want := range []struct{ search, says string }{
		{"?since=6h", "2 connections broke in the last 6 hours"},
		{"?since=24h", "3 connections broke in the last 24 hours"},
		{"?since=7d", "4 connections broke in the last 7 days"},
	} {
		p.click(fmt.Sprintf(`.range nav > :nth-child(%d)`, n+2))
		p.says(want.says)
		p.until("the address", fmt.Sprintf(`location.search == %q`, want.search))
	}
	p.do(chromedp.Reload())
	p.says("4 connections broke in the last 7 days")
	if label := eval[string](p, `document.querySelector(".broken .chart").getAttribute("aria-label")`); !strings.HasPrefix(label, "Broken connections per 3 hours in the last 7 days: 4 in all") {
		t.Errorf("the chart of a week says %q", label)
	}
	p.click(`.why a`)
	p.until("the incidents of a cause", `location.pathname + location.search == "/incidents?cause=" + location.search.slice(7).split("&")[0] + "&since=7d"`)
	p.visit("/")
	p.click(`.range nav > button`)
	berlin, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	local := func(t time.Time) string { return t.In(berlin).Format("2006-01-02T15:04:05") }
	p.choose(`input[name=since]`, local(now.Add(-30*time.Hour)))
	p.says("3 connections broke since")
	p.choose(`input[name=until]`, local(now.Add(-time.Hour)))
	p.says("2 connections broke from")
	p.until("the latest of that time", `document.querySelectorAll(".feed li").length == 2`)
	p.click(`.range nav > a`)
	p.says("1 connection broke in the last hour")
}

// What is at hand finds its incident: an id as hubble shows it, a pod, an address.
func TestSearch(t *testing.T) {
	all := recorded(t)
	one := all[len(all)-1]
	p := open(t, site(t, recordedBoard(t), api.AccessConfig{}).URL, "/", refused) // what is no id was looked up as one
	p.says("No connection broke in the last hour")
	for text, want := range map[string]string{
		one.ID[:8]:              "/incidents/" + one.ID,
		"renat:" + one.ID[:8]:   "/incidents/" + one.ID,
		strings.ToUpper(one.ID): "/incidents/" + one.ID,
		"renat:00000000":        "/incidents/00000000",
		"cafe":                  "/incidents?pod=cafe",
		"shop/client-":          "/incidents?pod=shop%2Fclient-",
		"10.0.1.10":             "/incidents?ip=10.0.1.10",
		"10.0.1.10:57070":       "/incidents?ip=10.0.1.10&port=57070",
		"10.0.0.0/8":            "/incidents?ip=10.0.0.0%2F8",
		"2001:db8::1":           "/incidents?ip=2001%3Adb8%3A%3A1",
		"[2001:db8::1]:443":     "/incidents?ip=2001%3Adb8%3A%3A1&port=443",
		"57070":                 "/incidents?port=57070",
		"db.example.com:5432":   "/incidents?destination=db.example.com%3A5432",
	} {
		p.do(chromedp.SendKeys(chromedp.CSS(`.find input`), text+kb.Enter))
		// It may be the place already, and the search not have ended.
		p.until("the place of "+text, fmt.Sprintf(`location.pathname + location.search == %q && document.querySelector(".find input").value == ""`, want))
	}
	p.visit("/incidents/00000000")
	p.says("not among the newest incidents")
	p.click(`.empty a.button`)
	p.says("30 incidents")
}

// Every filter of an address can be seen and taken off.
func TestFiltersInUse(t *testing.T) {
	p := open(t, site(t, recordedBoard(t), api.AccessConfig{}).URL, "/incidents?since=87600h&kind=renat&kind=orphaned_reply&outcome=reset&id="+recorded(t)[0].ID[:3])
	p.until("the chips", `document.querySelectorAll(".chip").length == 5`)
	if got := eval[string](p, `[...document.querySelectorAll(".chip")].map((c) => c.innerText.replace("\n", " ")).join(", ")`); got != "Kind re-NATted, Kind orphaned reply, Outcome reset, Id "+recorded(t)[0].ID[:3]+", Time in the last 87600 hours" {
		t.Errorf("the filters in use are %q", got)
	}
	if got := eval[string](p, `document.querySelector("select[name=time]").selectedOptions[0].innerText`); got != "Last 87600 hours" {
		t.Errorf("the time is %q", got)
	}
	p.click(`.chips li:nth-child(5) .chip`)
	p.until("the time to go", `!location.search.includes("since") && document.querySelectorAll(".chip").length == 4`)
	p.click(`.chips li:nth-child(1) .chip`)
	p.until("one of two kinds to go", `location.search.startsWith("?kind=orphaned_reply&outcome=reset&id=")`)
}

// A publish to NATS is on the hub's page within a second; the best of five
// counts, because the machine may be busy with something else. And the page says
// so when NATS is away.
func TestLive(t *testing.T) {
	server, publisher, s := hubSite(t)
	for _, view := range []struct{ path, shows string }{
		{"/", `document.querySelector(".feed .who")?.innerText.includes(%q)`},
		{"/incidents?namespace=live", `document.querySelector('[data-index="0"] .who')?.innerText.includes(%q)`},
	} {
		p := open(t, s.URL, view.path)
		p.until("the stream", `document.querySelector(".pulse.open")`)
		best := time.Hour
		for n := range 5 {
			i := moved(recorded(t)[n], time.Now())
			i.Source.Namespace, i.Source.Pod = "live", fmt.Sprintf("pod-%d-%d", len(view.path), n)
			began := time.Now()
			if _, err := publisher.Send(t.Context(), i); err != nil {
				t.Fatal(err)
			}
			p.until("the incident", fmt.Sprintf(view.shows, i.Source.Pod))
			best = min(best, time.Since(began))
		}
		t.Logf("%s shows an incident %s after it was published", view.path, best.Round(time.Millisecond))
		if best > time.Second {
			t.Errorf("%s shows an incident only after %s", view.path, best)
		}
	}
	p := open(t, s.URL, "/incidents", "Failed to load resource")
	p.says("10 incidents")
	server.Shutdown()
	p.says("NATS is away: what happened since is missing here until it is back.")
	p.says("10 incidents")
	p.click(`[data-index="0"]`)
	p.says("Its evidence and labels are missing: NATS, which stores its evidence, is away.")
	p.says("1 connection of live/")
}

// hubSite is a hub without receivers, on a NATS of its own.
func hubSite(t *testing.T) (*embedded.Server, *jetstream.Publisher, *httptest.Server) {
	t.Helper()
	server, err := embedded.Start(t.Context(), embedded.Config{Dir: t.TempDir(), Log: zerolog.Nop()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Shutdown)
	nc, err := jetstream.Connect(t.Context(), jetstream.Config{InProcess: server, Wait: patience, Log: zerolog.Nop()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	publisher, err := jetstream.NewPublisher(nc, jetstream.PublisherConfig{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(publisher.Close)
	h, err := hub.New(hub.Config{NATS: nc, Log: zerolog.Nop()})
	if err != nil {
		t.Fatal(err)
	}
	var running sync.WaitGroup
	ctx, stop := context.WithCancel(t.Context())
	running.Go(func() { _ = h.Run(ctx) }) // without receivers it cannot fail
	s := httptest.NewServer(h.Handler())
	t.Cleanup(func() { s.CloseClientConnections(); s.Close(); stop(); running.Wait() })
	return server, publisher, s
}

func TestFiltersAreInTheAddress(t *testing.T) {
	p := open(t, site(t, recordedBoard(t), api.AccessConfig{}).URL, "/incidents")
	p.says("30 incidents")
	p.choose(`select[name=kind]`, "renat")
	p.says("2 incidents match")
	p.choose(`select[name=field]`, "port")
	p.do(chromedp.SendKeys(chromedp.CSS(`input[name=value]`), "57070"+kb.Enter))
	p.says("1 incident match")
	want := "?kind=renat&port=57070"
	p.until("the address", fmt.Sprintf(`location.search == %q`, want))
	p.do(chromedp.Reload())
	p.says("1 incident match")
	if got := eval[string](p, `document.querySelector("select[name=kind]").value + [...document.querySelectorAll(".chip")].map((c) => c.innerText).join(" ")`); !strings.Contains(got, "renatKind\nre-NATted Port\n57070") {
		t.Errorf("after a reload the filters are %q", got)
	}
	p.click(`[data-index="0"]`)
	p.says("What happened")
	p.do(chromedp.NavigateBack())
	p.says("1 incident match")
	p.do(chromedp.NavigateBack())
	p.says("2 incidents match")
	p.do(chromedp.NavigateBack())
	p.says("30 incidents")
	p.do(chromedp.NavigateForward())
	p.says("2 incidents match")
	p.click(`.chips .quiet`)
	p.says("30 incidents")
	p.click(`.switch a:last-child`)
	p.until("the groups", `document.querySelectorAll(".groups tbody tr").length > 1`)
	p.click(`.groups tbody a`)
	p.until("a group's incidents", `location.search.includes("destination=")`)
}

// choose gives a field a value at once, as its picker does: the page draws
// itself anew when it likes, and takes back what it was not told of.
func (p *tab) choose(selector, value string) {
	p.t.Helper()
	field := fmt.Sprintf(`document.querySelector(%q)`, selector)
	p.until("the field", field)
	p.do(evaluate(fmt.Sprintf(`{ const field = %s; field.value = %q; field.dispatchEvent(new Event("change", {bubbles: true})) }`, field, value)))
}

func TestIncidentView(t *testing.T) {
	var one *incident.Incident
	for _, i := range recorded(t) {
		if i.Kind == incident.Renat {
			one = i
		}
	}
	p := open(t, site(t, recordedBoard(t), api.AccessConfig{}).URL, "/incidents/"+one.ID)
	p.says("1 connection of shop/client-7d4b9 to 192.168.50.2:443 was broken on node node-a")
	p.says("A larger NAT map does not help")
	p.says("hubble observe --ip 10.0.1.10 --port 57070 --protocol tcp")
	for _, e := range one.Evidence {
		p.says(e.What)
	}
	p.says("192.168.50.1:57070 → 192.168.50.1:32832")
	if n := eval[int](p, `document.querySelectorAll(".step svg").length`); n != len(one.Evidence) {
		t.Errorf("%d drawings of %d lines", n, len(one.Evidence))
	}
	for selector, want := range map[string]int{".packet.rst": 1, ".mark.removed": 1, ".mark.refused": 1, ".mark.renatted": 1, ".packet": 5, ".lanes.to-new": 3} {
		if n := eval[int](p, fmt.Sprintf(`document.querySelectorAll(%q).length`, selector)); n != want {
			t.Errorf("%d of %s, want %d", n, selector, want)
		}
	}
	// The browser's zone is Berlin's, the tip says UTC.
	at := eval[[]string](p, `((t) => [t.innerText, t.title])(document.querySelector(".sub time"))`)
	if !strings.Contains(at[0], "23:52:14.391") || at[1] != "2026-11-22 22:52:14.391 UTC" {
		t.Errorf("time %q with the tip %q", at[0], at[1])
	}
	p.click(`.actions button`)
	p.says("Copied")
	p.click(`.raw summary`)
	p.says(`"specversion": "1.0"`)
}

// An incident says which size all nodes need where a larger map helps, and none
// where it does not.
func TestSizeOfIncident(t *testing.T) {
	now := time.Now()
	b := demoBoard(t, now)
	for _, kind := range []incident.Kind{incident.TrackingLost, incident.EgressChanged} {
		i := moved(recorded(t)[0], now)
		i.Kind, i.Cause = kind, incident.LRUEviction
		i.ID = i.NewID(uint64(now.UnixNano()))
		b.Add(i, 0)
	}
	url := site(t, b, api.AccessConfig{}).URL
	one := func(filter string) string {
		res, err := http.Get(url + "/v1/incidents?limit=1&" + filter)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		var list struct{ Incidents []struct{ ID string } }
		if err := json.NewDecoder(res.Body).Decode(&list); err != nil || len(list.Incidents) != 1 {
			t.Fatalf("%v: no incident of %s", err, filter)
		}
		return "/incidents/" + list.Incidents[0].ID
	}
	size := "bpf.natMax 131072 → " + b.Plan(now).Values[0].Value + " on 4 nodes"
	p := open(t, url, one("cause=lru_eviction&kind=orphaned_reply"))
	p.says(size)
	p.says("kubectl renat advise")
	for _, c := range []struct{ filter, says string }{
		{"cause=userspace_delete", "A larger NAT map does not help"},
		{"kind=egress_changed", "A larger NAT map does not help"},
		{"kind=tracking_lost", "a larger one (bpf.ctTcpMax) ends the evictions"},
	} {
		p.visit(one(c.filter))
		p.says(c.says)
		p.until("the advice", `performance.getEntriesByType("resource").some((e) => e.name.includes("/v1/advice") && e.responseEnd > 0)`)
		if strings.Contains(p.text("main"), size) {
			t.Errorf("a size of the NAT map is named to %s", c.filter)
		}
	}
}

func TestKeyboard(t *testing.T) {
	p := open(t, site(t, recordedBoard(t), api.AccessConfig{}).URL, "/incidents")
	p.until("the table", `document.querySelectorAll(".row a").length > 3`)
	p.do(chromedp.Focus(chromedp.CSS(`[data-index="0"] a`)), chromedp.KeyEvent(kb.ArrowDown+kb.ArrowDown))
	p.until("the third row", `document.activeElement.closest("[data-index]")?.dataset.index == "2"`)
	p.do(chromedp.KeyEvent(kb.End))
	p.until("the last row", `document.activeElement.closest("[data-index]")?.dataset.index == "29"`)
	p.do(chromedp.KeyEvent(kb.Home))
	p.until("the first row", `document.activeElement.closest("[data-index]")?.dataset.index == "0"`)
	p.do(chromedp.KeyEvent(kb.Enter))
	p.says("What happened")
	p.until("the focus to be in the view", `document.activeElement == document.querySelector("main")`)
	p.do(chromedp.KeyEvent(kb.Tab))
	p.until("the focus on the first link of the view", `document.activeElement.closest(".back")`)
}
