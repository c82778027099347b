// SPDX-License-Identifier: Apache-2.0

//go:build hubbletools

package proxy_test

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/renat-project/renat/hubble/hubbletest"
	"github.com/renat-project/renat/hubble/proxy"
)

// tools returns the folder with hubble and hubble-relay, which make test-tools
// builds.
func tools(t *testing.T) string {
	t.Helper()
	dir := os.Getenv("HUBBLE_TOOLS")
	if dir == "" {
		t.Fatal("HUBBLE_TOOLS does not name the folder with hubble and hubble-relay: run make test-tools")
	}
	return dir + "/"
}

var (
	// additions are what the proxy adds to what hubble prints.
	additions = regexp.MustCompile(`(?:; )?SNAT 192\.0\.2\.1:61565 \(was :\d+\); renat:142cbfff|,"extensions":\{"@type":"type\.googleapis\.com/google\.protobuf\.Struct", ?"value":\{"renat":\{[^{}]*\{[^{}]*\}[^{}]*\}\}\}`)
	// passing are what changes from one call to the next.
	passing = regexp.MustCompile(`Flows/s: [\d.]+|"uptime_ns": ?"\d+"|"flows_rate": ?[\d.]+|\d+s +\d+\.\d+`)
	spaces  = regexp.MustCompile(` +(\n|$)| {2,}`) // table's columns are as wide as their content
)

// plainOutput removes what may differ.
func plainOutput(s string) string {
	return spaces.ReplaceAllString(passing.ReplaceAllString(additions.ReplaceAllString(s, ""), "#"), " ")
}

// hubbleAt returns what hubble says when it asks the server at address.
func hubbleAt(t *testing.T, bin, address string, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, bin+"hubble", append(args, "--server", address)...)
	cmd.Env = []string{"HOME=" + t.TempDir(), "TZ=UTC", "NO_COLOR=1"}
	out, err := cmd.CombinedOutput()
	return strings.ReplaceAll(fmt.Sprintf("%s%v", out, err), "via "+address, "via it")
}

func TestStockTools(t *testing.T) {
	bin := tools(t)
	t.Run("output", func(t *testing.T) { testOutput(t, bin) })
	t.Run("follow", func(t *testing.T) { testFollow(t, bin) })
	t.Run("relay", func(t *testing.T) { testRelay(t, bin) })
}

// testOutput runs hubble against an Observer, through a proxy that knows
// nothing, and through one that adds to every second connection.
func testOutput(t *testing.T, bin string) {
	flows := recorded(t)
	server := observe(t, hubbletest.Config{Version: "cilium v1.20.2+g0"})
	for _, f := range flows {
		if err := server.Feed(f); err != nil {
			t.Fatal(err)
		}
	}
	server.Seal()
	silent, _ := front(t, proxy.Config{Upstream: server.Addr(), Source: ignorant{}})
	adding, _ := front(t, proxy.Config{Upstream: server.Addr(), Source: knowing{}})
	since := flows[len(flows)*3/4].GetTime().AsTime().Format(time.RFC3339Nano)

	var calls [][]string
	for _, o := range []string{"compact", "dict", "table", "json", "jsonpb"} {
		calls = append(calls, []string{"observe", "--last", "60", "-o", o}, []string{"observe", "--first", "30", "-o", o})
	}
	for _, args := range []string{
		"observe --since " + since + " --last 100", "observe --until " + since + " --last 40 -o json", "observe --all -o jsonpb",
		"observe --pod shop/client --last 20", "observe --port 443 --last 20 -o json", "observe --not --port 80 --last 20",
		"observe --protocol tcp --tcp-flags RST --last 20 -o json", "observe --ip 192.168.50.2 --last 5 -o dict", "observe --verdict DROPPED --last 5",
		"observe --last 5 --experimental-field-mask time,IP,l4,Summary -o json", "observe --last 3 -o json --print-raw-filters",
		"observe --port nonsense", "observe --first 3 --follow",
		"status", "status -o json", "list nodes", "list nodes -o json", "list namespaces", "list namespaces -o json", "observe agent-events", "observe debug-events", "reflect",
	} {
		calls = append(calls, strings.Fields(args))
	}
	added := 0
	for _, args := range calls {
		want := hubbleAt(t, bin, server.Addr(), args...)
		if got := hubbleAt(t, bin, silent, args...); passing.ReplaceAllString(got, "#") != passing.ReplaceAllString(want, "#") {
			t.Errorf("hubble %v through the proxy\n%s\nwithout\n%s", args, got, want)
		}
		got := hubbleAt(t, bin, adding, args...)
		added += len(additions.FindAllString(got, -1))
		if plainOutput(got) != plainOutput(want) {
			t.Errorf("hubble %v through the proxy, with additions\n%s\nwithout\n%s", args, got, want)
		}
	}
	if added < 200 {
		t.Errorf("only %d additions were seen", added)
	}
	t.Logf("%d calls, %d additions", len(calls), added)
}

// follow starts a command and returns its lines.
func follow(t *testing.T, name string, args ...string) <-chan string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), name, args...)
	cmd.Env = []string{"HOME=" + t.TempDir(), "TZ=UTC", "NO_COLOR=1"}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	var said bytes.Buffer
	cmd.Stderr = &said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := make(chan string, 1000)
	go func() {
		defer close(lines)
		for s := bufio.NewScanner(out); s.Scan(); {
			lines <- s.Text()
		}
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		for range lines { // to its end
		}
		_ = cmd.Wait() // killed
		if t.Failed() {
			t.Logf("%s says\n%s", name, &said)
		}
	})
	return lines
}

func next(t *testing.T, lines <-chan string) string {
	t.Helper()
	select {
	case l := <-lines:
		return l
	case <-time.After(10 * time.Second):
		t.Fatal("nothing comes")
		return ""
	}
}

func testFollow(t *testing.T, bin string) {
	flows := recorded(t)
	server := observe(t, hubbletest.Config{})
	adding, _ := front(t, proxy.Config{Upstream: server.Addr(), Source: knowing{}})
	feed := func(from, to int) {
		for _, f := range flows[from:to] {
			f.GetFlow().Time = timestamppb.Now()
			if err := server.Feed(f); err != nil {
				t.Fatal(err)
			}
		}
	}
	feed(0, 20)
	for _, address := range []string{server.Addr(), adding} {
		if peer := next(t, follow(t, bin+"hubble", "watch", "peers", "--server", address)); !strings.Contains(peer, "PEER_ADDED") || !strings.Contains(peer, server.Addr()) {
			t.Errorf("%s tells of the peer %s", address, peer)
		}
	}
	var streams []<-chan string
	for _, address := range []string{server.Addr(), adding} {
		streams = append(streams, follow(t, bin+"hubble", "observe", "--follow", "--last", "5", "--server", address))
	}
	for range 5 {
		if want, got := next(t, streams[0]), next(t, streams[1]); plainOutput(got) != plainOutput(want) {
			t.Errorf("got  %s\nwant %s", got, want)
		}
	}
	feed(20, 60)
	for range 40 {
		if want, got := next(t, streams[0]), next(t, streams[1]); plainOutput(got) != plainOutput(want) {
			t.Errorf("got  %s\nwant %s", got, want)
		}
	}
}

// testRelay puts a relay in front of an Observer, and one in front of a
// proxy, and asks both.
func testRelay(t *testing.T, bin string) {
	var outputs []string
	for _, proxied := range []bool{false, true} {
		path := filepath.Join(t.TempDir(), "front.sock")
		c := hubbletest.Config{Version: "cilium v1.20.2+g0"}
		if proxied {
			c.PeerAddress = "unix://" + path
		}
		server := observe(t, c)
		for _, f := range recorded(t) {
			if err := server.Feed(f); err != nil {
				t.Fatal(err)
			}
		}
		server.Seal()
		address := server.Addr()
		if proxied {
			l, err := proxy.Listen(t.Context(), "unix://"+path, "", nil)
			if err != nil {
				t.Fatal(err)
			}
			front(t, proxy.Config{Upstream: address, Source: knowing{}, Listener: l})
			address = "unix://" + path
		}
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		relay := l.Addr().String()
		l.Close()
		follow(t, bin+"hubble-relay", "serve", "--peer-service", address, "--listen-address", relay,
			"--disable-client-tls", "--disable-server-tls", "--gops=false", "--health-listen-address", "127.0.0.1:0")
		for deadline := time.Now().Add(20 * time.Second); !strings.Contains(hubbleAt(t, bin, relay, "list", "nodes"), "Connected"); {
			if time.Now().After(deadline) {
				t.Fatalf("the relay does not reach its node: %s", hubbleAt(t, bin, relay, "list", "nodes"))
			}
			time.Sleep(100 * time.Millisecond)
		}
		said := ""
		for _, args := range []string{"observe --last 100", "observe --last 50 -o json", "status", "list namespaces"} {
			said += hubbleAt(t, bin, relay, strings.Fields(args)...)
		}
		outputs = append(outputs, said)
	}
	if n := len(additions.FindAllString(outputs[1], -1)); n < 20 {
		t.Errorf("only %d additions through the relay", n)
	}
	if got, want := plainOutput(outputs[1]), plainOutput(outputs[0]); got != want {
		t.Errorf("with a proxy\n%s\nwithout\n%s", got, want)
	}
}

// BenchmarkStockHubble is one flow that hubble prints, alternately without and
// through a proxy that adds to every second one.
func BenchmarkStockHubble(b *testing.B) {
	const held = 40_000
	flows := recorded(b)
	server := observe(b, hubbletest.Config{Capacity: held})
	for i := range held {
		if err := server.Feed(flows[i%len(flows)]); err != nil {
			b.Fatal(err)
		}
	}
	server.Seal()
	address, _ := front(b, proxy.Config{Upstream: server.Addr(), Source: knowing{}})
	var took [2]time.Duration
	for b.Loop() {
		for n, a := range []string{server.Addr(), address} {
			start := time.Now()
			cmd := exec.CommandContext(b.Context(), filepath.Join(os.Getenv("HUBBLE_TOOLS"), "hubble"),
				"observe", "--first", fmt.Sprint(held), "-o", "compact", "--server", a)
			cmd.Env = []string{"HOME=" + b.TempDir()}
			if err := cmd.Run(); err != nil {
				b.Fatal(err)
			}
			took[n] += time.Since(start)
		}
	}
	perFlow := func(d time.Duration) float64 { return float64(d) / float64(b.N) / held }
	b.ReportMetric(perFlow(took[0]), "direct-ns/flow")
	b.ReportMetric(perFlow(took[1]), "through-ns/flow")
	b.ReportMetric(100*float64(took[0])/float64(took[1]), "%-of-direct")
}
