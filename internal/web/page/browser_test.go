// SPDX-License-Identifier: Apache-2.0

//go:build chromium

package page_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"

	"github.com/renat-project/renat/internal/web/api"
	"github.com/renat-project/renat/internal/web/board"
	"github.com/renat-project/renat/internal/web/page"
)

// patience is how long anything may take that a test waits for, on a machine
// that does other things, too.
const patience = 2 * time.Minute

// browser is one Chromium for all tests, in a zone that is not UTC.
var browser context.Context

func TestMain(m *testing.M) {
	os.Exit(func() int {
		options := append(chromedp.DefaultExecAllocatorOptions[:],
			chromedp.NoSandbox, // as root there is none
			chromedp.Env("TZ=Europe/Berlin", "LANG=en_GB.UTF-8"),
			chromedp.Flag("lang", "en-GB"),
			chromedp.Flag("accept-lang", "en-GB"),
			chromedp.WSURLReadTimeout(time.Minute),
		)
		allocator, cancel := chromedp.NewExecAllocator(context.Background(), options...)
		defer cancel()
		var closeBrowser context.CancelFunc
		browser, closeBrowser = chromedp.NewContext(allocator)
		defer closeBrowser()
		if err := chromedp.Do(browser); err != nil {
			fmt.Fprintf(os.Stderr, "starting Chromium (Debian's package chromium): %v\n", err)
			return 1
		}
		return m.Run()
	}())
}

// site serves a board with its page.
func site(t testing.TB, b *board.Board, access api.AccessConfig) *httptest.Server {
	t.Helper()
	a, err := api.NewAccess(access)
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.Handle("/v1/", a.Wrap(api.New(api.Config{Board: b, Version: "v0.2.0", Title: "hub"})))
	mux.Handle("/", page.Handler())
	s := httptest.NewServer(mux)
	t.Cleanup(s.Close)
	return s
}

// tab is a page in the browser.
type tab struct {
	t   testing.TB
	ctx context.Context
	url string
	// mu guards complaints: what the console said that a test did not expect.
	mu         sync.Mutex
	complaints []string
}

// open returns a new tab on the site, 1280 by 800, that shows path, or
// nothing yet. When the test ends, nothing may have gone wrong in the tab but what allowed begins with.
func open(t testing.TB, url, path string, allowed ...string) *tab {
	t.Helper()
	ctx, cancel := chromedp.NewContext(browser, chromedp.WithNewBrowserContext())
	p := &tab{t: t, ctx: ctx, url: url}
	t.Cleanup(func() {
		cancel()
		p.mu.Lock()
		defer p.mu.Unlock()
		for _, c := range p.complaints {
			if !slices.ContainsFunc(allowed, func(a string) bool { return strings.HasPrefix(c, a) }) {
				t.Errorf("the browser complains: %s", c)
			}
		}
	})
	if err := chromedp.Listen(ctx, p.listen); err != nil {
		t.Fatal(err)
	}
	p.do(func(ctx context.Context, target *chromedp.Target) (chromedp.Void, error) {
		_, err := cdp.Call(ctx, target, log.Enable, cdp.Empty{})
		return chromedp.Void{}, err
	}, chromedp.EmulateViewport(1280, 800))
	if path != "" {
		p.visit(path)
	}
	return p
}

// listen notes what the page did wrong.
func (p *tab) listen(ev any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch ev := ev.(type) {
	case *runtime.EventExceptionThrown:
		p.complaints = append(p.complaints, fmt.Sprintf("%+v", ev.ExceptionDetails))
	case *log.EventEntryAdded: // refused by the policy, or by the server
		p.complaints = append(p.complaints, ev.Entry.Text)
	}
}

func (p *tab) do(actions ...chromedp.Action[chromedp.Void]) {
	p.t.Helper()
	run(p, chromedp.Steps(actions...))
}

// run returns what an action does.
func run[T any](p *tab, action chromedp.Action[T]) T {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.ctx, patience)
	defer cancel()
	v, err := chromedp.Run(ctx, action)
	if err != nil {
		p.t.Fatalf("%v\nthe page says: %s", err, p.text("body"))
	}
	return v
}

func (p *tab) visit(path string) {
	p.t.Helper()
	p.do(chromedp.Navigate(p.url + path))
}

// dark chooses the colours.
func (p *tab) dark(dark bool) {
	p.t.Helper()
	scheme := "light"
	if dark {
		scheme = "dark"
	}
	p.do(func(ctx context.Context, target *chromedp.Target) (chromedp.Void, error) {
		_, err := cdp.Call(ctx, target, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{
			{Name: "prefers-color-scheme", Value: scheme}, {Name: "prefers-reduced-motion", Value: "reduce"},
		}})
		return chromedp.Void{}, err
	})
}

// eval returns what a JavaScript expression is.
func eval[T any](p *tab, expression string) T {
	p.t.Helper()
	return run(p, chromedp.Evaluate[T](expression))
}

// text returns what can be read in the first element of a selector.
func (p *tab) text(selector string) string {
	ctx, cancel := context.WithTimeout(p.ctx, 5*time.Second)
	defer cancel()
	s, err := chromedp.Run(ctx, chromedp.Evaluate[string](fmt.Sprintf(`document.querySelector(%q)?.innerText ?? "(none)"`, selector)))
	if err != nil {
		return err.Error()
	}
	return s
}

// until waits for a JavaScript expression to be true.
func (p *tab) until(what, expression string, opts ...chromedp.EvaluateOption) {
	p.t.Helper()
	deadline := time.Now().Add(patience)
	for {
		if run(p, chromedp.Evaluate[bool]("Boolean("+expression+")", opts...)) {
			return
		}
		if time.Now().After(deadline) {
			p.t.Fatalf("%s did not happen within %s; the page says:\n%s", what, patience, p.text("main"))
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// click clicks the middle of an element once it is there to be seen, in one turn:
// the page draws itself anew when it likes, and until a mouse arrives something
// else may have come to that place.
func (p *tab) click(selector string) {
	p.t.Helper()
	asUser := func(e *runtime.EvaluateParams) { e.UserGesture = new(true) }
	p.until("a click on "+selector, fmt.Sprintf(`(() => {
		const element = document.querySelector(%q);
		element?.scrollIntoView({block: "center"});
		const box = element?.getClientRects()[0];
		const hit = box && document.elementFromPoint(box.x + box.width / 2, box.y + box.height / 2);
		if (!hit || !element.contains(hit)) return false;
		hit.dispatchEvent(new MouseEvent("click", {bubbles: true, cancelable: true}));
		return true;
	})()`, selector), asUser)
}

// resize gives the page another width and height, and waits for it to be laid
// out so: in the first frame it is told, in the second all is in its place.
func (p *tab) resize(width, height int64) {
	p.t.Helper()
	p.do(chromedp.EmulateViewport(width, height))
	p.until("the new size", fmt.Sprintf(`innerWidth == %d && innerHeight == %d`, width, height))
	run(p, chromedp.Evaluate[bool](`new Promise((then) => requestAnimationFrame(() => requestAnimationFrame(() => then(true))))`, chromedp.EvalAwaitPromise))
}

// says waits for the main part of the page to have a text.
func (p *tab) says(text string) {
	p.t.Helper()
	quoted, _ := json.Marshal(text) // a string can be encoded
	p.until(fmt.Sprintf("the text %q", text), fmt.Sprintf(`document.querySelector("#app")?.innerText.includes(%s)`, quoted))
}
