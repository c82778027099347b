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

// neverSilent is when a status arrives that counts however slow the machine is.
func neverSilent() time.Time { return time.Now().Add(time.Hour) }

// What breaks next is listed with what lacks and who must speak, those for
// longest first.
func TestRisks(t *testing.T) {
	b := board.New(board.Config{})
	for n, name := range []string{"node-a", "node-b", "node-c", "node-d", "node-e", "node-f"} {
		b.SetStatus(demoStatus(name, n, time.Now()), neverSilent())
	}
	p := open(t, site(t, b, api.AccessConfig{}).URL, "/")
	p.says("4 connections break next")
	got := eval[[]string](p, `[...document.querySelectorAll(".risks tbody tr")].map((r) => [...r.cells].map((c) => c.innerText.replace("\n", " ").replace(/^\d+ min ago$/, "ago")).join("; "))`)
	want := []string{
		"shop/checkout-7d4b9-x2k8p 10.0.0.10:40020; payments.example.com 192.168.50.2:443; node-a; OUT; ago; the pod speaks",
		"shop/cart-7d4b9-m4zt6 10.0.0.10:40016; 192.168.50.2:443; node-a; OUT and IN; ago; the server speaks",
		"shop/indexer-0 10.0.2.10:40009; objects.example.net 192.168.50.2:443; node-c; IN; ago; the server speaks",
		"shop/mailer-29381-9qwhv 10.0.5.10:40018; smtp.example.org 192.168.50.2:443; node-f; OUT, though guarded; ago; the pod speaks",
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("at risk are\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// A node tells only some of many, and what a silent one told counts no more. The
// page follows what nodes tell.
func TestManyRisks(t *testing.T) {
	b := board.New(board.Config{})
	now := time.Now()
	tell := func(node string, total int, at, arrived time.Time) {
		s := nodestatus.Status{Node: node, Time: at, AtRisk: &total, Parts: []nodestatus.Part{}, Maps: []nodestatus.Map{}}
		for n := range min(total, nodestatus.RisksTold) {
			s.Risks = append(s.Risks, nodestatus.Risk{
				Protocol: "TCP", Gone: nodestatus.GoneOut, Breaks: nodestatus.SpeaksPod, Since: at.Add(-time.Duration(n+1) * time.Minute),
				Source:      nodestatus.RiskPeer{Address: fmt.Sprintf("10.0.1.10:%d", n)},
				Destination: nodestatus.RiskPeer{Address: "192.0.2.10:443"},
			})
		}
		b.SetStatus(s, arrived)
	}
	tell("many", 300, now, neverSilent())
	tell("silent", 7, now, now.Add(-2*board.SilentAfter))
	p := open(t, site(t, b, api.AccessConfig{}).URL, "/")
	p.says("300 connections break next")
	p.says("280 more are not listed here: kubectl renat at-risk lists them all.")
	p.until("a few of them", `document.querySelectorAll(".risks tbody tr").length == 6`)
	p.click(`.risks button`)
	p.until("all that are told", `document.querySelectorAll(".risks tbody tr").length == 20 && !document.querySelector(".risks button")`)
	tell("many", 1, now.Add(time.Second), neverSilent())
	p.says("1 connection breaks next")
	tell("many", 0, now.Add(2*time.Second), neverSilent())
	p.until("nothing at risk", `!document.querySelector(".risks")`)
}
