// SPDX-License-Identifier: Apache-2.0

//go:build chromium

package page_test

import (
	"context"
	"fmt"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
	"github.com/rs/zerolog"

	"github.com/renat-project/renat/correlator/incident"
	"github.com/renat-project/renat/internal/web/api"
	"github.com/renat-project/renat/internal/hub"
	"github.com/renat-project/renat/sinks/jetstream"
	"github.com/renat-project/renat/sinks/jetstream/embedded"
)

func TestNow(t *testing.T) {
	now := time.Now()
	b := demoBoard(t, now)
	p := open(t, site(t, b, api.AccessConfig{}).URL, "/")
	p.says("182 connections broke in the last hour")
	p.says("8 nodes: 3 breaking, 1 evicting, 4 ok")
	p.says("hubble: waits for unix:///var/run/cilium/hubble.sock")
	if got := eval[[]string](p, `[...document.querySelectorAll(".tile .state")].map((e) => e.innerText)`); strings.Join(got, " ") != "breaking breaking breaking evicting ok ok ok ok" {
		t.Errorf("tiles, the worst first: %v", got)
	}
	p.until("the charts", `document.querySelectorAll(".chart canvas").length == 2`)
	if label := eval[string](p, `document.querySelector(".broken .chart").getAttribute("aria-label")`); !strings.Contains(label, "last hour: 182 in all, most ") {
		t.Errorf("the chart tells who cannot see it %q", label)
	}
	p.do(chromedp.Click(chromedp.CSS(`.workloads a`)))
	p.until("the filter", `location.pathname + location.search == "/incidents?workload=shop%2FDeployment%2Fcheckout&since=1h"`)
	p.says("91 incidents match")
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
	p.do(chromedp.Click(chromedp.CSS(`[data-index="0"]`)))
	p.says("NATS, which stores its evidence, is away")
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
	p.do(chromedp.SetValue(chromedp.CSS(`select[name=kind]`), "renat"), dispatch(`select[name=kind]`))
	p.says("2 incidents match")
	p.do(chromedp.SetValue(chromedp.CSS(`select[name=field]`), "port"), dispatch(`select[name=field]`),
		chromedp.SendKeys(chromedp.CSS(`input[name=value]`), "57070"+kb.Enter))
	p.says("1 incident match")
	want := "?kind=renat&port=57070"
	p.until("the address", fmt.Sprintf(`location.search == %q`, want))
	p.do(chromedp.Reload())
	p.says("1 incident match")
	if got := eval[string](p, `document.querySelector("select[name=kind]").value + document.querySelector(".chip").innerText`); !strings.Contains(got, "renatPort\n57070") {
		t.Errorf("after a reload the filters are %q", got)
	}
	p.do(chromedp.Click(chromedp.CSS(`[data-index="0"]`)))
	p.says("What happened")
	p.do(chromedp.NavigateBack())
	p.says("1 incident match")
	p.do(chromedp.NavigateBack())
	p.says("2 incidents match")
	p.do(chromedp.NavigateBack())
	p.says("30 incidents")
	p.do(chromedp.NavigateForward())
	p.says("2 incidents match")
	p.do(chromedp.Click(chromedp.CSS(`.chips .quiet`)))
	p.says("30 incidents")
	p.do(chromedp.Click(chromedp.CSS(`.switch a:last-child`)))
	p.until("the groups", `document.querySelectorAll(".groups tbody tr").length > 1`)
	p.do(chromedp.Click(chromedp.CSS(`.groups tbody a`)))
	p.until("a group's incidents", `location.search.includes("destination=")`)
}

// dispatch tells the page that the value of an element was changed.
func dispatch(selector string) chromedp.Action[chromedp.Void] {
	return evaluate(fmt.Sprintf(`document.querySelector(%q).dispatchEvent(new Event("change", {bubbles: true}))`, selector))
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
	p.do(chromedp.Click(chromedp.CSS(`.actions button`)))
	p.says("Copied")
	p.do(chromedp.Click(chromedp.CSS(`.raw summary`)))
	p.says(`"specversion": "1.0"`)
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
