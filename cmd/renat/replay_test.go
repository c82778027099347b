// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"

	"github.com/renat-project/renat/correlator"
	"github.com/renat-project/renat/correlator/incident"
	"github.com/renat-project/renat/internal/recording"
	"github.com/renat-project/renat/internal/view/usage"

	"github.com/rs/zerolog"
)

// TestReplayTwiceStoresOnce replays into one store again, also with the lines
// in another order: nothing is added.
func TestReplayTwiceStoresOnce(t *testing.T) {
	store := t.TempDir()
	first := renat(t, "replay", recordings[0], "--state-dir", store).must(t)
	if !strings.Contains(first.err, "30 stored, 0 there before, 0 failed") {
		t.Errorf("first replay: %s", first.err)
	}
	shuffled := variant(t, recordings[0], func(_ string, lines []string) []string {
		// Neighbours change places; the correlator orders by time.
		for i := 0; i+1 < len(lines); i += 2 {
			lines[i], lines[i+1] = lines[i+1], lines[i]
		}
		return lines
	})
	for _, dir := range []string{recordings[0], shuffled} {
		again := renat(t, "replay", dir, "--state-dir", store).must(t)
		if !strings.Contains(again.err, "0 stored, 30 there before, 0 failed") {
			t.Errorf("again: %s", again.err)
		}
		if sortedLines(again.out) != sortedLines(first.out) {
			t.Errorf("again printed\n%s\nfirst\n%s", again.out, first.out)
		}
	}
	stored := renat(t, "observe", "--state-dir", store, "--all").must(t)
	if sortedLines(stored.out) != sortedLines(first.out) {
		t.Errorf("observe printed\n%s\nreplay\n%s", stored.out, first.out)
	}
}

func sortedLines(s string) string {
	lines := strings.Split(s, "\n")
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}

// TestOrderOfArrivalDecidesNothing feeds the events of a recording in orders in
// which each is late by up to the settle time.
func TestOrderOfArrivalDecidesNothing(t *testing.T) {
	for _, dir := range recordings {
		rec, err := recording.Open(dir)
		if err != nil {
			t.Fatal(err)
		}
		var events []correlator.Event
		bad := &recording.BadLines{}
		if err := merge(t.Context(), func(ev *correlator.Event) { events = append(events, *ev) },
			rec.NAT(bad), &recordedFlows{rec: rec, bad: bad, log: zerolog.Nop()}); err != nil {
			t.Fatal(err)
		}
		want := correlate(t, events)
		for seed := range uint64(5) {
			rng := rand.New(rand.NewPCG(seed, 1))
			type arrival struct {
				at int64
				ev *correlator.Event
			}
			arrivals := make([]arrival, len(events))
			for i := range events {
				arrivals[i] = arrival{events[i].Time + rng.Int64N(int64(3*time.Second)), &events[i]}
			}
			slices.SortFunc(arrivals, func(a, b arrival) int { return int(a.at - b.at) })
			late := make([]correlator.Event, len(events))
			for i, a := range arrivals {
				late[i] = *a.ev
			}
			if got := correlate(t, late); got != want {
				t.Fatalf("%s, seed %d: another order gave\n%s\nwant\n%s", dir, seed, got, want)
			}
		}
	}
}

func correlate(t *testing.T, events []correlator.Event) string {
	t.Helper()
	var all strings.Builder
	c, err := correlator.New(correlator.Config{}, func(i *incident.Incident) {
		b, err := i.MarshalCloudEvent()
		if err != nil {
			t.Fatal(err)
		}
		all.Write(append(b, '\n'))
	})
	if err != nil {
		t.Fatal(err)
	}
	for i := range events {
		c.Observe(&events[i])
	}
	c.Flush()
	if s := c.Stats(); s.Late != 0 {
		t.Fatalf("%d events late", s.Late)
	}
	return all.String()
}

// badRecordings are what users have instead of a recording.
var badRecordings = map[string]struct {
	make func(t *testing.T, dir string) // changes an uncompressed copy
	code int
	says []string // on stderr
	n    int      // incidents still found
}{
	"empty folder": {func(t *testing.T, dir string) {
		remove(t, dir, recording.FlowsFile, recording.NATFile, recording.MetaFile)
	}, usage.Failed, []string{"holds neither nat.jsonl nor flows.jsonl"}, 0},
	"flows only": {func(t *testing.T, dir string) { remove(t, dir, recording.NATFile) },
		usage.Failed, []string{"no nat.jsonl", "without map operations"}, 0},
	"no flows": {func(t *testing.T, dir string) { remove(t, dir, recording.FlowsFile) },
		usage.Done, []string{"holds no flows"}, 30},
	"no meta": {func(t *testing.T, dir string) { remove(t, dir, recording.MetaFile) }, usage.Done, nil, 30},
	"garbled meta": {func(t *testing.T, dir string) { write(t, filepath.Join(dir, recording.MetaFile), "{") },
		usage.Failed, []string{"meta.json", "unexpected end"}, 0},
	"garbled map operation": {func(t *testing.T, dir string) { insertLine(t, dir, recording.NATFile, 7, "{nonsense") },
		usage.Done, []string{"nat.jsonl", `"line":7`, "1 unreadable lines", "1 kernel_decode"}, 30},
	"garbled flow": {func(t *testing.T, dir string) { insertLine(t, dir, recording.FlowsFile, 9, "nonsense") },
		usage.Done, []string{"flows.jsonl", `"line":9`, "1 unreadable lines"}, 30},
	"too many garbled lines": {func(t *testing.T, dir string) {
		for range 101 {
			insertLine(t, dir, recording.NATFile, 7, "{nonsense")
		}
	}, usage.Failed, []string{"nat.jsonl line 107", "more than 100 bad lines", "--max-bad-lines"}, 0},
	"unknown map": {func(t *testing.T, dir string) {
		insertLine(t, dir, recording.NATFile, 2, `{"time":"2026-11-22T22:51:26Z","op":"insert","map":"my_map","dir":"OUT","protocol":"TCP","src":"10.0.0.1:1","dst":"10.0.0.2:2"}`)
	}, usage.Done, []string{`unknown map \"my_map\"`, `"line":2`}, 30},
	"unknown fields": {func(t *testing.T, dir string) {
		insertLine(t, dir, recording.NATFile, 2, `{"time":"2026-11-22T22:51:26Z","op":"insert","map":"cilium_ct4_global","dir":"OUT","protocol":"TCP","src":"10.0.0.1:1","dst":"10.0.0.2:2","later":{"a":1}}`)
		insertLine(t, dir, recording.FlowsFile, 2, `{"flow":{"time":"2026-11-22T22:51:26Z","later":[1],"IP":{"source":"10.0.0.1","destination":"10.0.0.2"}},"time":"2026-11-22T22:51:26Z"}`)
	}, usage.Done, nil, 30},
	"IPv6 in brackets": {func(t *testing.T, dir string) {
		insertLine(t, dir, recording.NATFile, 2, `{"time":"2026-11-22T22:51:26Z","op":"insert","map":"cilium_snat_v6_external","dir":"OUT","protocol":"TCP","src":"[fd00::1]:1","dst":"[2001:db8::1]:2","to":"[2001:db8::2]:1"}`)
	}, usage.Done, nil, 30},
	"long lines": {func(t *testing.T, dir string) {
		insertLine(t, dir, recording.NATFile, 2, `{"time":"2026-11-22T22:51:26Z","op":"insert","map":"cilium_ct4_global","dir":"OUT","protocol":"TCP","src":"10.0.0.1:1","dst":"10.0.0.2:2","pad":"`+strings.Repeat("x", 100_000)+`"}`)
		insertLine(t, dir, recording.FlowsFile, 2, `{"flow":{"time":"2026-11-22T22:51:26Z","Summary":"`+strings.Repeat("x", 100_000)+`"},"time":"2026-11-22T22:51:26Z"}`)
	}, usage.Done, nil, 30},
	"endless lines": {func(t *testing.T, dir string) {
		insertLine(t, dir, recording.NATFile, 2, strings.Repeat("x", 3<<20))
		insertLine(t, dir, recording.FlowsFile, 2, strings.Repeat("x", 3<<20))
	}, usage.Done, []string{"2 unreadable lines", "longer than"}, 30},
	"Windows line ends and empty lines": {func(t *testing.T, dir string) {
		insertLine(t, dir, recording.NATFile, 2, "\r\n\n\r")
		insertLine(t, dir, recording.FlowsFile, 2, "\r\n\n\r")
	}, usage.Done, nil, 30},
	"not a gzip file": {func(t *testing.T, dir string) {
		if err := os.Rename(filepath.Join(dir, recording.NATFile), filepath.Join(dir, recording.NATFile+".gz")); err != nil {
			t.Fatal(err)
		}
	}, usage.Failed, []string{"nat.jsonl.gz is no gzip file"}, 0},
	"truncated gzip": {func(t *testing.T, dir string) {
		remove(t, dir, recording.NATFile)
		b, err := os.ReadFile(filepath.Join(recordings[0], recording.NATFile+".gz"))
		if err != nil {
			t.Fatal(err)
		}
		write(t, filepath.Join(dir, recording.NATFile+".gz"), string(b[:len(b)*9/10]))
	}, usage.Failed, []string{"nat.jsonl.gz is cut off", "after line"}, 28},
	"not a zstd file": {func(t *testing.T, dir string) {
		if err := os.Rename(filepath.Join(dir, recording.NATFile), filepath.Join(dir, recording.NATFile+".zst")); err != nil {
			t.Fatal(err)
		}
	}, usage.Failed, []string{"nat.jsonl.zst is no zstd file"}, 0},
	"zstd": {func(t *testing.T, dir string) {
		for _, name := range []string{recording.FlowsFile, recording.NATFile} {
			zstandard(t, dir, name, func(b []byte) []byte { return b })
		}
	}, usage.Done, nil, 30},
	"truncated zstd": {func(t *testing.T, dir string) {
		zstandard(t, dir, recording.NATFile, func(b []byte) []byte { return b[:len(b)*9/10] })
	}, usage.Failed, []string{"nat.jsonl.zst is cut off", "after line"}, 28},
	"truncated line": {func(t *testing.T, dir string) {
		lines := readLines(t, filepath.Join(dir, recording.FlowsFile))
		lines[len(lines)-1] = lines[len(lines)-1][:20]
		write(t, filepath.Join(dir, recording.FlowsFile), strings.Join(lines, ""))
	}, usage.Done, []string{"1 unreadable lines"}, 30},
}

func TestReplayBadInput(t *testing.T) {
	for name, c := range badRecordings {
		t.Run(name, func(t *testing.T) {
			dir := variant(t, recordings[0], func(_ string, lines []string) []string { return lines })
			c.make(t, dir)
			got := renat(t, "replay", dir)
			if got.code != c.code {
				t.Errorf("exit code %d, want %d", got.code, c.code)
			}
			for _, want := range c.says {
				if !strings.Contains(got.err, want) {
					t.Errorf("stderr does not say %q:\n%s", want, got.err)
				}
			}
			if n := strings.Count(got.out, "\n"); c.n != 0 && n != c.n {
				t.Errorf("%d incidents, want %d", n, c.n)
			}
		})
	}
}

func remove(t *testing.T, dir string, names ...string) {
	t.Helper()
	for _, name := range names {
		if err := os.Remove(filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
}

// insertLine makes line the nth of the file.
func insertLine(t *testing.T, dir, name string, n int, line string) {
	t.Helper()
	path := filepath.Join(dir, name)
	write(t, path, strings.Join(slices.Insert(readLines(t, path), n-1, line+"\n"), ""))
}

func TestReplayUsage(t *testing.T) {
	for name, c := range map[string]struct {
		args []string
		code int
		says string
	}{
		"no folder":       {[]string{"replay"}, usage.Wrong, "is missing"},
		"missing folder":  {[]string{"replay", "/does/not/exist"}, usage.Failed, "/does/not/exist: no such file"},
		"a file":          {[]string{"replay", "replay_test.go"}, usage.Failed, "is not a folder"},
		"unknown flag":    {[]string{"replay", recordings[0], "--nonsense"}, usage.Wrong, "--nonsense"},
		"unknown format":  {[]string{"replay", recordings[0], "-o", "xml"}, usage.Wrong, "not one of compact, dict, table, json"},
		"unknown command": {[]string{"replya"}, usage.Wrong, "unknown command"},
		"wrong settle":    {[]string{"replay", recordings[0], "--settle", "-1s"}, usage.Wrong, "settle"},
		"both stores":     {[]string{"replay", recordings[0], "--state-dir", "a", "--nats-url", "b"}, usage.Wrong, "nats-url"},
		"no server":       {[]string{"replay", recordings[0], "--nats-url", "nats://me:secret@127.0.0.1:1"}, usage.Failed, "127.0.0.1:1"},
		"wrong colour":    {[]string{"version", "--color", "pink"}, usage.Wrong, "--color"},
		"wrong log level": {[]string{"version", "--log-level", "loud"}, usage.Wrong, "--log-level"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := renat(t, c.args...)
			if got.code != c.code || !strings.Contains(got.err, c.says) {
				t.Errorf("exit code %d, want %d and %q:\n%s", got.code, c.code, c.says, got.err)
			}
			if strings.Contains(got.err, "secret") {
				t.Errorf("the password is shown:\n%s", got.err)
			}
		})
	}
}

func TestReplayInterrupted(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if got := renatUntil(ctx, "replay", recordings[0]); got.code != usage.Failed || !strings.Contains(got.err, "interrupted") {
		t.Errorf("exit code %d: %s", got.code, got.err)
	}
}

func TestEnvironmentSetsFlags(t *testing.T) {
	t.Setenv("RENAT_OUTPUT", "json")
	if got := renat(t, "replay", recordings[0]).must(t); len(got.incidents(t)) != 30 {
		t.Errorf("RENAT_OUTPUT was not taken: %s", got.out)
	}
	t.Setenv("RENAT_SETTLE", "soon")
	if got := renat(t, "replay", recordings[0]); got.code != usage.Wrong || !strings.Contains(got.err, "RENAT_SETTLE") {
		t.Errorf("exit code %d: %s", got.code, got.err)
	}
}

// zstandard compresses a file, in frames as a recorder writes them, and edits what
// comes of it.
func zstandard(t *testing.T, dir, name string, edit func([]byte) []byte) {
	t.Helper()
	lines := readLines(t, filepath.Join(dir, name))
	remove(t, dir, name)
	z, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	defer z.Close()
	var all []byte
	for frame := range slices.Chunk(lines, 500) {
		all = z.EncodeAll([]byte(strings.Join(frame, "")), all)
	}
	write(t, filepath.Join(dir, name+".zst"), string(edit(all)))
}
