// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/rs/zerolog"

	"github.com/renat-project/renat/correlator/incident"
	"github.com/renat-project/renat/internal/view/usage"
	"github.com/renat-project/renat/sinks/jetstream"
	"github.com/renat-project/renat/sinks/jetstream/embedded"
)

// startNATS runs a server on loopback and returns its URL.
func startNATS(t *testing.T) string {
	t.Helper()
	s, err := embedded.Start(t.Context(), embedded.Config{Dir: t.TempDir(), Listen: "127.0.0.1:0", Log: zerolog.Nop()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Shutdown)
	return s.ClientURL()
}

// limited says that args say how many are shown, or that 20 will do.
func limited(args string) bool {
	for _, flag := range []string{"--last", "--first", "--all"} {
		if strings.Contains(args, flag) {
			return true
		}
	}
	return args == "" || args == "--namespace shop"
}

func TestObserveFilters(t *testing.T) {
	url := startNATS(t)
	renat(t, "replay", recordings[0], "--nats-url", url).must(t)
	for args, want := range map[string]int{
		"":                              20,
		"--all":                         30,
		"--namespace shop":              20,
		"--last 7":                      7,
		"--first 4":                     4,
		"--not --kind renat":            28,
		"--not --kind orphaned_reply":   2,
		"--not --port 443":              10,
		"--not --port 443 --kind renat": 0,
		"--port 443 --not --kind renat": 18,
		"--not --port 443 --not --kind orphaned_reply": 0,
		"--not --ip 10.0.0.0/8,fd00::/8":               0,
		"--kind renat":                                 2,
		"--id 142cbfff":                                1,
		"--id renat:142cbfff":                          1,
		"--id 142cbfffeea5011cef4b1ee4f65d5c61":        1,
		"--not --id 142cbfff":                          29,
		"--id 00000000":                                0,
		"--since 2026-11-22":                           30,
		"--until 2026-11-22":                           0,
		"--since 9999d":                                30,
		"--kind orphaned_reply":                        28,
		"--kind renat,orphaned_reply":                  30,
		"--kind renat --last 1":                        1,
		"--namespace other":                            0,
		"--pod client-7":                               30,
		"--pod shop/client-7":                          30,
		"--pod other/client-7":                         0,
		"--pod other/client-7 --pod client-7d4b9":      30,
		"--ip 10.0.1.10":                               30,
		"--ip 192.168.50.1":                            30,
		"--ip 10.0.0.0/8":                              30,
		"--ip [fd00::1]":                               0,
		"--ip fd00::/8":                                0,
		"--port 443":                                   20,
		"--port 57070":                                 1,
		"--port 1 --port 57070":                        1,
		"--cause userspace_delete":                     2,
		"--cause lru_eviction":                         28,
		"--outcome unconfirmed":                        0,
		"--node-name node-a":                           30,
		"--node-name node-b":                           0,
		"--workload client-7d4b9":                      30,
		"--destination 192.168.50.2:443":               20,
		"--destination 192.168.50.2:80":                0,
		"--until 2026-11-22T22:52:14.389Z":             28,
		"--since 2026-11-22T22:52:14.390Z":             2,
		"--since 2030-01-01T00:00:00Z":                 0,
		"--since 99999h":                               30,
		"--since 1ms":                                  0,
	} {
		if !limited(args) {
			args += " --all"
		}
		args := append(strings.Fields(args), "--nats-url", url, "-o", "json")
		if got := renat(t, append([]string{"observe"}, args...)...).must(t).incidents(t); len(got) != want {
			t.Errorf("observe %s: %d incidents, want %d", args, len(got), want)
		}
	}
	dict := renat(t, "observe", "--nats-url", url, "--last", "1", "-o", "dict").must(t).out
	for _, want := range []string{"NAT BEFORE: ", "EVIDENCE: ", "kernel OUT entry deleted by process \"init\"", "hubble packet from the server to the pod (RST)"} {
		if !strings.Contains(dict, want) {
			t.Errorf("dict does not show %q:\n%s", want, dict)
		}
	}
}

// What is not followed comes by time, and what is not shown is said.
func TestObserveOrder(t *testing.T) {
	url := startNATS(t)
	renat(t, "replay", recordings[0], "--nats-url", url).must(t)
	got := renat(t, "observe", "--nats-url", url, "--all", "-o", "json").must(t)
	all := got.incidents(t)
	if !slices.IsSortedFunc(all, func(a, b *incident.Incident) int { return a.Time.Compare(b.Time) }) || got.err != "" {
		t.Errorf("not by time, or told of more: %s", got.err)
	}
	if got := renat(t, "observe", "--nats-url", url).must(t); !strings.Contains(got.err, "The last 20 that match: --all") {
		t.Errorf("says %q", got.err)
	}
	if got := renat(t, "observe", "--nats-url", url, "--namespace", "nosuch").must(t); got.err != "No incident matches.\n" || got.out != "" {
		t.Errorf("says %q, %q", got.err, got.out)
	}
	table := renat(t, "observe", "--nats-url", url, "-o", "table", "--time-format", "RFC3339").must(t).out
	if lines := strings.Split(table, "\n"); len(lines) != 22 || !strings.HasPrefix(lines[0], "TIMESTAMP") || !strings.Contains(lines[1], "2026-11-22T") {
		t.Errorf("table:\n%s", table)
	}
}

// Reading creates nothing, and reads what another renat has open through that.
func TestObserveStore(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "typo")
	renat(t, "observe", "--state-dir", dir)
	if _, err := os.Stat(dir); err == nil {
		t.Error("reading created the folder")
	}
	empty := t.TempDir()
	renat(t, "observe", "--state-dir", empty)
	if entries, err := os.ReadDir(empty); err != nil || len(entries) > 0 {
		t.Errorf("reading created %v (%v)", entries, err)
	}
	store := t.TempDir()
	renat(t, "replay", recordings[0], "--state-dir", store).must(t)
	if got := renat(t, "observe", "--state-dir", store, "-o", "json", "--all").must(t).incidents(t); len(got) != 30 {
		t.Errorf("%d incidents", len(got))
	}
	s, err := embedded.Start(t.Context(), embedded.Config{Dir: store, Listen: "127.0.0.1:0", Log: zerolog.Nop()})
	if err != nil {
		t.Fatal(err)
	}
	if got := renat(t, "observe", "--state-dir", store, "-o", "json", "--all").must(t).incidents(t); len(got) != 30 {
		t.Errorf("%d incidents beside another that has the store open", len(got))
	}
	s.Shutdown()
	if s, err = embedded.Start(t.Context(), embedded.Config{Dir: store, Log: zerolog.Nop()}); err != nil {
		t.Fatal(err)
	}
	defer s.Shutdown()
	if got := renat(t, "observe", "--state-dir", store); got.code != usage.Failed || !strings.Contains(got.err, "stop the other renat") {
		t.Errorf("beside one that takes no clients: %d, %s", got.code, got.err)
	}
}

func TestObserveFollows(t *testing.T) {
	url := startNATS(t)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	out, w := io.Pipe()
	code := make(chan int, 1)
	go func() {
		code <- run(ctx, streams{out: w, err: io.Discard}, []string{"observe", "--follow", "--nats-url", url, "-o", "json"})
		w.Close()
	}()
	// The follower may still be on its way, and shows only what comes after it:
	// publish again and again under other names until it has seen one.
	seen := make(chan struct{})
	go func() {
		buf := make([]byte, 1<<16)
		if n, _ := out.Read(buf); n > 0 {
			close(seen)
		}
		io.Copy(io.Discard, out) //nolint:errcheck // until the writer closes
	}()
	for attempt := 0; ; attempt++ {
		renat(t, "replay", recordings[0], "--nats-url", url, "--cluster-name", strings.Repeat("x", attempt+1)).must(t)
		select {
		case <-seen:
		case <-time.After(200 * time.Millisecond):
			continue
		case <-ctx.Done():
			t.Fatal("nothing seen")
		}
		break
	}
	cancel()
	if got := <-code; got != usage.Done {
		t.Errorf("exit code %d after Ctrl-C, want %d", got, usage.Done)
	}
}

// TestObserveSuggests completes names with those of stored incidents.
func TestObserveSuggests(t *testing.T) {
	url := startNATS(t)
	renat(t, "replay", recordings[0], "--nats-url", url, "--cluster-name", "east").must(t)
	suggestions := func(args ...string) string {
		t.Helper()
		names, _, _ := strings.Cut(renat(t, append([]string{"__complete", "observe", "--nats-url", url}, args...)...).must(t).out, ":")
		return strings.Join(strings.Fields(names), " ")
	}
	for _, c := range []struct{ flag, typed, want string }{
		{"--cluster", "", "east"}, {"--cluster", "w", ""}, {"--namespace", "s", "shop"}, {"--pod", "shop/cl", "shop/client-7d4b9"},
		{"--namespace", "other,", "other,shop"}, {"--kind", "", strings.Join(slices.Sorted(slices.Values(incident.Names(incident.Kinds))), " ")},
	} {
		got := strings.Fields(suggestions(c.flag, c.typed))
		slices.Sort(got)
		if strings.Join(got, " ") != c.want {
			t.Errorf("%s %q suggests %q, want %q", c.flag, c.typed, got, c.want)
		}
	}
	start := time.Now()
	url = "nats://127.0.0.1:1"
	if got := suggestions("--cluster", ""); got != "" || time.Since(start) > 4*time.Second {
		t.Errorf("without a server: %q after %s", got, time.Since(start))
	}
}

func TestObserveUsage(t *testing.T) {
	for name, c := range map[string]struct {
		args []string
		code int
		says string
	}{
		"no server":      {[]string{"--nats-url", "nats://me:secret@127.0.0.1:1"}, usage.Failed, "127.0.0.1:1"},
		"nothing stored": {[]string{"--state-dir", t.TempDir()}, usage.Failed, "nothing has been published here yet"},
		"no folder":      {[]string{"--state-dir", "/does/not/exist"}, usage.Failed, "--state-dir: stat /does/not/exist"},
		"wrong since":    {[]string{"--since", "yesterday"}, usage.Wrong, "--since \"yesterday\""},
		"wrong until":    {[]string{"--until", "tomorrow"}, usage.Wrong, "--until \"tomorrow\""},
		"wrong port":     {[]string{"--port", "http"}, usage.Wrong, "--port \"http\""},
		"wrong ip":       {[]string{"--ip", "10.0.0"}, usage.Wrong, "--ip \"10.0.0\""},
		"wrong kind":     {[]string{"--kind", "reset"}, usage.Wrong, "--kind \"reset\""},
		"wrong last":     {[]string{"--last", "-1"}, usage.Wrong, "--last"},
		"not nothing":    {[]string{"--not"}, usage.Wrong, "--not needs a filter"},
		"not a time":     {[]string{"--not", "--since", "1m"}, usage.Wrong, "not for times"},
		"flows as json":  {[]string{"--flows", "-o", "json"}, usage.Wrong, "-o compact"},
		"wrong output":   {[]string{"-o", "xml"}, usage.Wrong, "compact, dict, table, json"},
		"wrong times":    {[]string{"--time-format", "ISO"}, usage.Wrong, "StampMilli, RFC3339"},
		"wrong id":       {[]string{"--id", "shop/cart"}, usage.Wrong, "--id \"shop/cart\""},
		"two limits":     {[]string{"--all", "--last", "3"}, usage.Wrong, "all last"},
		"argument":       {[]string{"everything"}, usage.Wrong, "everything"},
		"creds missing":  {[]string{"--nats-creds", "/does/not/exist"}, usage.Failed, "/does/not/exist"},
	} {
		t.Run(name, func(t *testing.T) {
			got := renat(t, append([]string{"observe"}, c.args...)...)
			if got.code != c.code || !strings.Contains(got.err, c.says) || strings.Contains(got.err, "secret") {
				t.Errorf("exit code %d, want %d and %q:\n%s", got.code, c.code, c.says, got.err)
			}
		})
	}
}

func TestHelpHasExamples(t *testing.T) {
	for _, cmd := range []string{"replay", "record", "observe", "hub", "hub redeliver", "hub test-notification", "version"} {
		if got := renat(t, append(strings.Fields(cmd), "--help")...).must(t); !strings.Contains(got.out, "Examples:\n  renat "+cmd) {
			t.Errorf("%s --help has no example:\n%s", cmd, got.out)
		}
	}
	if got := renat(t, "version").must(t); !strings.HasPrefix(got.out, "renat ") {
		t.Errorf("version printed %q", got.out)
	}
}

// TestObserveHealthyNode reads where agents watch and nothing broke yet.
func TestObserveHealthyNode(t *testing.T) {
	url := startNATS(t)
	nc, err := nats.Connect(url)
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	nodes, err := jetstream.OpenNodes(t.Context(), nc, 1)
	if err != nil {
		t.Fatal(err)
	}
	if got := renat(t, "observe", "--nats-url", url, "--last", "5"); got.code != usage.Failed {
		t.Errorf("no agent: exit code %d: %s", got.code, got.err)
	}
	if err := nodes.Put(t.Context(), "prod", "node-a", struct{}{}); err != nil {
		t.Fatal(err)
	}
	got := renat(t, "observe", "--nats-url", url, "--last", "5")
	if got.code != usage.Done || !strings.Contains(got.err, "No incident yet") || got.out != "" {
		t.Errorf("exit code %d, %q: %s", got.code, got.out, got.err)
	}
}
