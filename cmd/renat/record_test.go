// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/renat-project/renat/correlator"
	"github.com/renat-project/renat/correlator/incident"
	"github.com/renat-project/renat/hubble"
	"github.com/renat-project/renat/hubble/hubbletest"
	"github.com/renat-project/renat/internal/recording"
	"github.com/renat-project/renat/internal/view/usage"
	"github.com/renat-project/renat/kprobes"
)

// fakeKernel stands in for a tracer, which this machine may not allow.
type fakeKernel struct {
	source
	status kprobes.Status
}

func (f *fakeKernel) Status() kprobes.Status { return f.status }

// Run emits the source's events and then waits as a tracer does.
func (f *fakeKernel) Run(ctx context.Context, emit func(correlator.Event)) error {
	if err := f.source.Run(ctx, emit); err != nil {
		return err
	}
	<-ctx.Done()
	return ctx.Err()
}

type events []correlator.Event

func (e events) Run(_ context.Context, emit func(correlator.Event)) error {
	for _, ev := range e {
		emit(ev)
	}
	return nil
}

// live is a renat record that runs in this process.
type live struct {
	err    bytes.Buffer // read it after end
	flags  recordFlags
	dir    string
	client *hubble.Client
	cancel context.CancelFunc
	done   chan error
}

// startRecord records from a server and a kernel; flags may be set before.
func startRecord(t *testing.T, server *hubbletest.Server, k kernel, set func(*recordFlags)) *live {
	t.Helper()
	l := &live{dir: filepath.Join(t.TempDir(), "recording"), done: make(chan error, 1)}
	l.flags = recordFlags{globals: &globals{streams: streams{out: io.Discard, err: &l.err}, logLevel: "error", color: "never"}, node: "node-a"}
	if set != nil {
		set(&l.flags)
	}
	var err error
	l.client, err = hubble.New(hubble.Config{
		Address: server.Addr(), Follow: true, Since: time.Unix(1, 0), Logger: zerolog.Nop(),
		PollInterval: 5 * time.Millisecond, MinBackoff: time.Millisecond, MaxBackoff: 20 * time.Millisecond,
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	l.cancel = cancel
	go func() { l.done <- l.flags.record(ctx, l.dir, l.client, k) }()
	t.Cleanup(cancel)
	return l
}

// saw waits until the client received that many flows.
func (l *live) saw(t *testing.T, flows uint64) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); l.client.Stats().Flows < flows; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%+v after 30 s, want %d flows", l.client.Stats(), flows)
		}
	}
}

// end presses Ctrl-C and returns what was said.
func (l *live) end(t *testing.T) string {
	t.Helper()
	l.cancel()
	if err := <-l.done; err != nil {
		t.Fatalf("%v\n%s", err, l.err.String())
	}
	return l.err.String()
}

// rerecord plays a recording to renat record.
func rerecord(t *testing.T, from string, set func(*recordFlags)) (dir, said string) {
	t.Helper()
	rec, err := recording.Open(from)
	if err != nil {
		t.Fatal(err)
	}
	flows := strings.Join(readLines(t, filepath.Join(from, recording.FlowsFile+".gz")), "")
	server, err := hubbletest.New(hubbletest.Config{Capacity: 1<<13 - 1, Version: "cilium v" + rec.Meta.CiliumVersion + "+g0123456"})
	if err != nil {
		t.Fatal(err)
	}
	defer server.Stop()
	if err := server.Load(flows); err != nil {
		t.Fatal(err)
	}
	server.Seal()
	l := startRecord(t, server, &fakeKernel{source: rec.NAT(&recording.BadLines{})}, set)
	l.saw(t, uint64(strings.Count(flows, `"TCP":{`))) // others are not asked for
	return l.dir, l.end(t)
}

// TestRecordThenReplay plays recordings to renat record: what it writes replays
// to the same incidents, to the byte.
func TestRecordThenReplay(t *testing.T) {
	for _, from := range recordings {
		dir, said := rerecord(t, from, nil)
		want, got := renat(t, "replay", from, "-o", "json").must(t), renat(t, "replay", dir, "-o", "json").must(t)
		if got.out != want.out || len(got.incidents(t)) == 0 {
			t.Errorf("%s: recorded again it shows\n%s\nwant\n%s", from, got.out, want.out)
		}
		if !strings.Contains(said, "map operations in ") || !strings.Contains(said, "renat replay "+dir) || strings.Contains(said, "lost") {
			t.Errorf("record said\n%s", said)
		}
		rec, err := recording.Open(dir)
		if err != nil {
			t.Fatal(err)
		}
		version := strings.TrimPrefix(filepath.Base(from), "cilium-")
		if m := rec.Meta; m.CiliumVersion != version || m.NodeName != "node-a" || m.Clock.KTime == 0 || time.Since(m.Clock.Wall) > time.Hour || m.SNATIPv4 != "192.168.50.1" || m.MapMaxEntries != 512 {
			t.Errorf("meta %+v", m)
		}
	}
}

// blind leaves of an incident what redaction does not change.
func blind(i *incident.Incident) string {
	port := func(s string) uint16 { a, _ := netip.ParseAddrPort(s); return a.Port() }
	return fmt.Sprint(i.Kind, i.Cause, i.Outcome, i.Time, i.Protocol, i.Source.Port, i.Source.Identity, i.Destination.Port, i.Destination.Identity,
		i.NAT.Map, port(i.NAT.Before), port(i.NAT.After), i.NAT.RemovedAt, i.NAT.RenattedAt, i.NAT.Forced, i.NAT.Program, len(i.Evidence), i.Loss, i.Map)
}

// TestRecordRedacted wants the same incidents but for names and addresses, of
// which none may be found anywhere.
func TestRecordRedacted(t *testing.T) {
	for _, from := range recordings {
		dir, said := rerecord(t, from, func(f *recordFlags) { f.redact, f.cluster = true, "prod-eu" })
		want := renat(t, "replay", from, "-o", "json").must(t).incidents(t)
		replayed := renat(t, "replay", dir, "-o", "json").must(t)
		got := replayed.incidents(t)
		if len(got) != len(want) {
			t.Fatalf("%s: %d incidents, want %d", from, len(got), len(want))
		}
		for n := range want {
			if blind(got[n]) != blind(want[n]) {
				t.Errorf("%s: incident %d is\n%s\nwant\n%s", from, n, blind(got[n]), blind(want[n]))
			}
		}
		files, err := filepath.Glob(filepath.Join(dir, "*"))
		if err != nil {
			t.Fatal(err)
		}
		text := replayed.out
		for _, f := range files {
			text += strings.Join(readLines(t, f), "")
		}
		for _, secret := range []string{`"10.0.1.10`, "client-7d4b9", "shop", `node-a"`, "prod-eu", "52:11:bc", `"init"`} {
			if strings.Contains(text, secret) {
				t.Errorf("%s: %s is left", from, secret)
			}
		}
		for line := range strings.Lines(text) {
			// Of the 65,536 addresses of their kind one may by chance stand for
			// one of these, but not for both.
			if strings.Contains(line, `"192.168.50.1:`) && strings.Contains(line, `"192.168.50.2:`) {
				t.Errorf("%s: an address is left in %s", from, line)
			}
		}
		if len(files) != 3 || !strings.Contains(said, "are replaced") {
			t.Errorf("%s: files %v, said\n%s", from, files, said)
		}
	}
}

// lossesOf reads what a recording's map operations tell of losses.
func lossesOf(t *testing.T, dir string) (losses []correlator.Loss) {
	t.Helper()
	rec, err := recording.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	err = rec.NAT(&recording.BadLines{}).Run(t.Context(), func(ev correlator.Event) {
		if ev.Kind == correlator.KindLoss {
			losses = append(losses, ev.Loss)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	return losses
}

// TestRecordLosses has the kernel lose events and Hubble restart: both are in
// the recording, and a replay counts them.
func TestRecordLosses(t *testing.T) {
	flows := readLines(t, filepath.Join(recordings[0], recording.FlowsFile+".gz"))
	server, err := hubbletest.New(hubbletest.Config{})
	if err != nil {
		t.Fatal(err)
	}
	defer server.Stop()
	feed := func(lines []string) {
		t.Helper()
		if err := server.Load(strings.Join(lines, "")); err != nil {
			t.Fatal(err)
		}
	}
	at := time.Date(2026, 11, 22, 22, 51, 26, 0, time.UTC).UnixNano()
	l := startRecord(t, server, &fakeKernel{source: events{
		{Time: at, Kind: correlator.KindNAT, NAT: correlator.NATChange{Op: correlator.Replaced, Map: &correlator.Map{Name: "cilium_ct4_global", CT: true}}},
		{Time: at, Kind: correlator.KindLoss, Loss: correlator.Loss{From: correlator.LossKernelRing, Count: 42, First: at, Last: at}},
	}}, nil)
	feed(flows[:10])
	l.saw(t, 9)
	server.Halt()
	if err := server.Resume(false); err != nil {
		t.Fatal(err)
	}
	feed(flows[10:20])
	l.saw(t, 18)
	said := l.end(t)
	if !strings.Contains(said, "recorded 18 flows and 1 map operations") || !strings.Contains(said, "lost: 42 kernel_ring, an unknown number hubble_restart") {
		t.Errorf("record said\n%s", said)
	}
	losses := lossesOf(t, l.dir)
	if len(losses) != 2 || losses[0].Count != 42 || losses[1].From != correlator.LossHubbleRestart || losses[1].Count != 0 {
		t.Errorf("losses %+v", losses)
	}
	if got := renat(t, "replay", l.dir).must(t); !strings.Contains(got.err, "lost: 42 kernel_ring") {
		t.Errorf("replay said\n%s", got.err)
	}
}

func TestRecordEnds(t *testing.T) {
	server, err := hubbletest.New(hubbletest.Config{})
	if err != nil {
		t.Fatal(err)
	}
	defer server.Stop()
	t.Run("kernel", func(t *testing.T) {
		l := startRecord(t, server, &fakeKernel{source: broken{}, status: kprobes.Status{Problem: "no maps yet"}}, nil)
		err := <-l.done
		if err == nil || !strings.Contains(err.Error(), "the ring buffer is gone") || !strings.Contains(err.Error(), "nothing was recorded") ||
			!strings.Contains(err.Error(), "map operations: no maps yet") {
			t.Errorf("got %v", err)
		}
	})
	t.Run("folder in use", func(t *testing.T) {
		l := startRecord(t, server, &fakeKernel{source: broken{}}, nil)
		if err := <-l.done; err == nil {
			t.Error("a broken kernel is no failure")
		}
		again := l.flags.record(t.Context(), l.dir, l.client, &fakeKernel{})
		if again == nil || !strings.Contains(again.Error(), "is not empty: name a new folder") {
			t.Errorf("got %v", again)
		}
	})
	t.Run("duration", func(t *testing.T) {
		m := &correlator.Map{Name: "cilium_ct4_global", CT: true}
		l := startRecord(t, server, &fakeKernel{source: events{{Time: 1e18, Kind: correlator.KindNAT, NAT: correlator.NATChange{Op: correlator.Replaced, Map: m}}}},
			func(f *recordFlags) { f.duration = 50 * time.Millisecond })
		if err := <-l.done; err != nil || !strings.Contains(l.err.String(), "no flows: ") {
			t.Errorf("%v: %s", err, l.err.String())
		}
	})
}

type broken struct{}

func (broken) Run(context.Context, func(correlator.Event)) error {
	return fmt.Errorf("the ring buffer is gone: %w", syscall.EBADF)
}

func TestRecordUsage(t *testing.T) {
	used := t.TempDir()
	write(t, filepath.Join(used, "file"), "")
	for name, c := range map[string]struct {
		args []string
		code int
		says string
	}{
		"no folder":      {nil, usage.Wrong, "is missing"},
		"negative":       {[]string{"x", "--duration", "-1s"}, usage.Wrong, "--duration"},
		"wrong cidr":     {[]string{"x", "--exclude-cidr", "10.0.0.1"}, usage.Wrong, "--exclude-cidr"},
		"TLS flags only": {[]string{"x", "--tls-server-name", "y"}, usage.Wrong, "without --tls"},
		"no CA":          {[]string{"x", "--tls", "--tls-ca-cert-files", "/does/not/exist"}, usage.Wrong, "/does/not/exist"},
		"no address":     {[]string{"x", "--hubble-server", "ftp://x:1"}, usage.Wrong, "unix://"},
	} {
		t.Run(name, func(t *testing.T) {
			got := renat(t, append([]string{"record"}, c.args...)...)
			if got.code != c.code || !strings.Contains(got.err, c.says) {
				t.Errorf("exit code %d, want %d and %q:\n%s", got.code, c.code, c.says, got.err)
			}
		})
	}
	if _, err := os.Stat("x"); err == nil {
		t.Error("a folder was made in vain")
	}
}
