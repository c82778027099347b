// SPDX-License-Identifier: Apache-2.0

//go:build vmtest

package lab_test

import (
	"cmp"
	"context"
	"errors"
	"io"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/rs/zerolog"

	"github.com/renat-project/renat/correlator"
	"github.com/renat-project/renat/correlator/incident"
	"github.com/renat-project/renat/hubble"
	"github.com/renat-project/renat/hubble/hubbletest"
	"github.com/renat-project/renat/internal/recording"
	"github.com/renat-project/renat/internal/yard/lab"
)

// TestPrivilegedLab makes connections break in every way there is and wants
// each that its client saw broken to be named by exactly one incident with the
// right kind, cause and ports, and nothing else to be named; so also by a
// replay of what was recorded meanwhile.
func TestPrivilegedLab(t *testing.T) {
	for _, c := range []lab.Config{
		{Restore: "none"},
		{Restore: "both"},
		{Restore: "none", IPv6: true},
		{Restore: "both", IPv6: true},
	} {
		t.Run(nameOf(c), func(t *testing.T) {
			c.Duration, c.Connections, c.Churn = 6*time.Second, 30, 60
			c.Log = zerolog.New(zerolog.NewTestWriter(t)).Level(zerolog.WarnLevel)
			r := &lab.Result{}
			for tries := 3; tries > 0 && r.Evictions == 0; tries-- { // else the machine had no time for the load
				c.Record = filepath.Join(t.TempDir(), "recording")
				r = run(t, c, nil)
				if !r.Right() {
					t.Error("some connections were missed, or named wrongly")
				}
			}
			for _, row := range r.Classes {
				if row.Class == lab.GCPush && mended(c, row.Class) != (row.Broken <= row.Connections/2) {
					t.Errorf("of %d %s connections %d broke with restore %s", row.Connections, row.Class, row.Broken, c.Restore)
				}
				if (row.Class == lab.Push || row.Class == lab.GC) && row.Broken == 0 {
					t.Errorf("no %s connection broke", row.Class)
				}
			}
			if n, want := replay(t, c.Record), r.Total.Named+r.Total.Survived; n != want {
				t.Errorf("the recording has %d incidents, want %d", n, want)
			}
		})
	}
}

// mended reports whether most of a class whose entries a process deletes live on,
// because the datapath restores them; one may be too late for that.
func mended(c lab.Config, class lab.Class) bool { return class == lab.GCPush && c.Restore != "none" }

func nameOf(c lab.Config) string {
	return c.Restore + "_" + version(c.IPv6)
}

func version(ipv6 bool) string {
	if ipv6 {
		return "IPv6"
	}
	return "IPv4"
}

// TestPrivilegedInterrupted ends a run in the middle: it must end soon, and
// leave nothing in the kernel.
func TestPrivilegedInterrupted(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	var stopped time.Time
	l, err := lab.New(lab.Config{Churn: 20, Log: zerolog.Nop(), Ready: func(string) {
		time.AfterFunc(2*time.Second, func() {
			stopped = time.Now()
			cancel()
		})
	}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := l.Run(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("it ended with %v", err)
	}
	if took := time.Since(stopped); took > 10*time.Second {
		t.Errorf("it took %v to end", took)
	}
	left := mapsLeft()
	for end := time.Now().Add(10 * time.Second); len(left) > 0 && time.Now().Before(end); left = mapsLeft() {
		time.Sleep(50 * time.Millisecond) // the kernel frees what a program used a little later
	}
	if len(left) > 0 {
		t.Errorf("maps are left: %q", left)
	}
}

// mapsLeft names the datapath's maps that there are.
func mapsLeft() (names []string) {
	for id := ebpf.MapID(0); ; {
		next, err := ebpf.MapGetNextID(id)
		if err != nil {
			return names
		}
		id = next
		m, err := ebpf.NewMapFromID(id)
		if err != nil {
			continue // it went away meanwhile
		}
		if info, err := m.Info(); err == nil && strings.HasPrefix(info.Name, "cilium_") {
			names = append(names, info.Name)
		}
		m.Close()
	}
}

// replay counts the incidents of a recording.
func replay(t *testing.T, dir string) (n int) {
	t.Helper()
	rec, err := recording.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	var events []correlator.Event
	take := func(ev correlator.Event) { events = append(events, ev) }
	bad := &recording.BadLines{}
	if err := rec.NAT(bad).Run(t.Context(), take); err != nil {
		t.Fatal(err)
	}
	flows, _, err := rec.Flows()
	if err != nil {
		t.Fatal(err)
	}
	defer flows.Close()
	lines, err := io.ReadAll(flows)
	if err != nil {
		t.Fatal(err)
	}
	server, err := hubbletest.New(hubbletest.Config{Capacity: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	defer server.Stop()
	if err := server.Load(string(lines)); err != nil {
		t.Fatal(err)
	}
	server.Seal()
	client, err := hubble.New(hubble.Config{Address: server.Addr()})
	if err != nil {
		t.Fatal(err)
	}
	if err := client.Run(t.Context(), take); err != nil {
		t.Fatal(err)
	}
	slices.SortStableFunc(events, func(a, b correlator.Event) int { return cmp.Compare(a.Time, b.Time) })
	c, err := correlator.New(correlator.Config{}, func(*incident.Incident) { n++ })
	if err != nil {
		t.Fatal(err)
	}
	for i := range events {
		c.Observe(&events[i])
	}
	c.Flush()
	return n
}
