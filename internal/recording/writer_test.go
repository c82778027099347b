// SPDX-License-Identifier: Apache-2.0

package recording

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"math"
	"net/netip"
	"os"
	"os/signal"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/cilium/cilium/api/v1/flow"
	"github.com/cilium/cilium/api/v1/observer"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/renat-project/renat/correlator"
)

var recordings = []string{"testdata/cilium-1.15.19", "testdata/cilium-1.20.2"}

func open(t *testing.T, dir string) *Recording {
	t.Helper()
	r, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func create(t *testing.T, meta Meta) (*Writer, string) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "recording")
	w, err := Create(dir, meta)
	if err != nil {
		t.Fatal(err)
	}
	return w, dir
}

// changes reads all map operations.
func (r *Recording) changes(t testing.TB) (events []correlator.Event) {
	t.Helper()
	if err := r.NAT(&BadLines{}).Run(t.Context(), func(ev correlator.Event) { events = append(events, ev) }); err != nil {
		t.Fatal(err)
	}
	return events
}

// text reads a file of a recording, decompressed.
func text(t testing.TB, r *Recording, path string) string {
	t.Helper()
	f, err := r.open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	b, err := io.ReadAll(f)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// parseFlow reads a line of Hubble's.
func parseFlow(t testing.TB, line string) *observer.GetFlowsResponse {
	t.Helper()
	resp := &observer.GetFlowsResponse{}
	if err := resp.UnmarshalJSON([]byte(line)); err != nil {
		t.Fatal(err)
	}
	return resp
}

// TestWriterRoundTrip copies recordings through reader and writer. The flows'
// lines, which Hubble's own tool wrote, and the operations' must come out byte
// for byte; so must the events.
func TestWriterRoundTrip(t *testing.T) {
	for _, dir := range recordings {
		from := open(t, dir)
		meta := from.Meta
		meta.MapMaxEntries, meta.SNATIPv4 = 0, "" // found out anew
		w, copied := create(t, meta)
		flows, events := text(t, from, from.flows), from.changes(t)
		var both sync.WaitGroup
		both.Go(func() {
			for line := range strings.Lines(flows) {
				if err := w.Flow(parseFlow(t, line)); err != nil {
					t.Error(err)
				}
			}
		})
		both.Go(func() {
			for i := range events {
				events[i].NAT.Map.MaxEntries = from.Meta.MapMaxEntries // as the kernel tells it
				if err := w.NAT(&events[i]); err != nil {
					t.Error(err)
				}
			}
		})
		both.Wait()
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		to := open(t, copied)
		if to.Meta != from.Meta {
			t.Errorf("%s: meta %+v, was %+v", dir, to.Meta, from.Meta)
		}
		if text(t, to, to.flows) != flows {
			t.Errorf("%s: flows differ", dir)
		}
		if text(t, to, to.nat) != text(t, from, from.nat) {
			t.Errorf("%s: map operations differ", dir)
		}
		if !reflect.DeepEqual(to.changes(t), from.changes(t)) {
			t.Errorf("%s: events differ", dir)
		}
	}
}

func TestWriterKeepsEveryField(t *testing.T) {
	addr := func(s string) correlator.Addr { return correlator.AddrOf(netip.MustParseAddrPort(s)) }
	nat := &correlator.Map{Name: "cilium_snat_v6_external", MaxEntries: 512}
	bigger := &correlator.Map{Name: nat.Name, MaxEntries: 1024, Was: 512}
	tuple := correlator.Tuple{Src: addr("[fd00::1]:0"), Dst: addr("[2001:db8::1]:65535"), Protocol: 58}
	at := time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC).UnixNano()
	events := []correlator.Event{
		{Time: at, Kind: correlator.KindNAT, Tuple: tuple, NAT: correlator.NATChange{Op: correlator.Insert, Dir: correlator.In,
			Errno: 17, Flags: 255, CPU: 9, To: addr("[fd00::2]:1"), KTime: math.MaxUint64, Map: nat,
			Caller: &correlator.Caller{Program: correlator.ProgramSyscall, Comm: `a"<b`}}},
		{Time: at + 1, Kind: correlator.KindNAT, Tuple: tuple, NAT: correlator.NATChange{Op: correlator.Evict, Forced: true, Created: at - 41e9, Map: nat}},
		{Time: at + 2, Kind: correlator.KindNAT, NAT: correlator.NATChange{Op: correlator.Replaced, Map: bigger}},
		{Time: at + 3, Kind: correlator.KindNAT, Tuple: tuple, NAT: correlator.NATChange{Op: correlator.Delete, Map: bigger}},
		{Time: at + 4, Kind: correlator.KindLoss, Loss: correlator.Loss{From: correlator.LossKernelRing, Count: 7, First: at, Last: at + 4}},
		{Time: at + 5, Kind: correlator.KindLoss, Loss: correlator.Loss{From: correlator.LossHubbleRestart, First: at, Last: at + 1}},
	}
	w, dir := create(t, Meta{})
	for i := range events {
		if err := w.NAT(&events[i]); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if got := open(t, dir).changes(t); !reflect.DeepEqual(got, events) {
		t.Errorf("got  %+v\nwant %+v", got, events)
	}
}

// TestWriterSurvivesKill looks at what is on disk before Close, as after a kill.
func TestWriterSurvivesKill(t *testing.T) {
	w, dir := create(t, Meta{NodeName: "node-a"})
	defer w.Close()
	if r := open(t, dir); text(t, r, r.nat) != "" || r.Meta.NodeName != "node-a" {
		t.Error("a new recording is not empty and readable")
	}
	ev := &correlator.Event{Kind: correlator.KindLoss, Loss: correlator.Loss{From: correlator.LossKernelRing}}
	resp := parseFlow(t, `{"flow":{"uuid":"1"}}`)
	for written := 0; written < 20_000; written++ {
		if err := errors.Join(w.NAT(ev), w.Flow(resp)); err != nil {
			t.Fatal(err)
		}
	}
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(200 * time.Millisecond) {
		r := open(t, dir)
		n, m := len(r.changes(t)), strings.Count(text(t, r, r.flows), "\n")
		if n == 20_000 && m == 20_000 {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("after 10 s %d operations and %d flows are on disk", n, m)
		}
	}
}

// TestWriterOnFullDisk writes until the kernel refuses more, in the middle of a
// write; what was written before must be whole.
func TestWriterOnFullDisk(t *testing.T) {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_FSIZE, &limit); err != nil {
		t.Fatal(err)
	}
	signal.Ignore(syscall.SIGXFSZ)
	small := limit
	small.Cur = 512 << 10
	if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &small); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &limit); err != nil {
			t.Error(err)
		}
		signal.Reset(syscall.SIGXFSZ)
	})
	dir := filepath.Join(t.TempDir(), "recording")
	w, err := Create(dir, Meta{Clock: Clock{KTime: 1}})
	if err != nil {
		t.Fatal(err)
	}
	random := rngLines()
	n := 0
	for err == nil {
		n++
		if n > 1_000_000 {
			t.Fatal("the limit does not come")
		}
		err = w.NAT(random())
	}
	if !errors.Is(err, syscall.EFBIG) || !strings.Contains(err.Error(), dir) {
		t.Errorf("got %v, want the limit and %s", err, dir)
	}
	if again := w.NAT(random()); !errors.Is(again, syscall.EFBIG) {
		t.Errorf("the next line: %v", again)
	}
	if err := w.Close(); !errors.Is(err, syscall.EFBIG) {
		t.Errorf("closing: %v", err)
	}
	r := open(t, dir)
	got := len(r.changes(t))
	if got == 0 || got >= n || text(t, r, r.flows) != "" || r.Meta.Clock.KTime != 1 {
		t.Errorf("%d of %d operations can be read", got, n)
	}
}

// rngLines makes operations that do not compress well.
func rngLines() func() *correlator.Event {
	m := &correlator.Map{Name: "cilium_ct6_global", CT: true}
	state := uint64(1)
	return func() *correlator.Event {
		ev := &correlator.Event{Time: 1e18, Kind: correlator.KindNAT, NAT: correlator.NATChange{Op: correlator.Delete, Map: m}}
		for _, ip := range []*[16]byte{&ev.Tuple.Src.IP, &ev.Tuple.Dst.IP} {
			for i := range ip {
				state = state*6364136223846793005 + 1442695040888963407
				ip[i] = byte(state >> 56)
			}
		}
		return ev
	}
}

func TestWriterUnusualFlows(t *testing.T) {
	w, dir := create(t, Meta{})
	for _, f := range []*flow.Flow{
		{Uuid: "1", Extensions: &anypb.Any{TypeUrl: "type.googleapis.com/acme.Unknown", Value: []byte{1}}},
		{Uuid: "2", Time: &timestamppb.Timestamp{Seconds: math.MaxInt64}},
	} {
		if err := w.Flow(&observer.GetFlowsResponse{ResponseTypes: &observer.GetFlowsResponse_Flow{Flow: f}}); err != nil {
			t.Fatal(err)
		}
		if f.Uuid == "1" && f.Extensions == nil {
			t.Error("the caller's flow was changed")
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	r := open(t, dir)
	if got := text(t, r, r.flows); got != `{"flow":{"uuid":"1"}}`+"\n" {
		t.Errorf("flows: %s", got)
	}
	if got := r.changes(t); len(got) != 1 || got[0].Loss.From != correlator.LossHubbleDecode || got[0].Loss.Count != 1 {
		t.Errorf("losses: %+v", got)
	}
}

func TestWriterTruth(t *testing.T) {
	w, dir := create(t, Meta{})
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for _, truth := range []Truth{
		{Class: "idle", Client: netip.MustParseAddrPort("10.0.0.1:1"), Server: netip.MustParseAddrPort("[fd00::1]:2"), At: at},
		{Class: "push", Round: 2, Broken: true, Err: "ECONNRESET", At: at},
	} {
		if err := w.Truth(truth); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(filepath.Join(dir, TruthFile))
	if err != nil {
		t.Fatal(err)
	}
	first, second, _ := bytes.Cut(b, []byte("\n"))
	if string(first) != `{"class":"idle","round":0,"client":"10.0.0.1:1","server":"[fd00::1]:2","broken":false,"at":"2026-01-02T03:04:05Z"}` ||
		!bytes.Contains(second, []byte(`"broken":true,"err":"ECONNRESET"`)) {
		t.Errorf("truth:\n%s", b)
	}
}

func TestCreateRefuses(t *testing.T) {
	full := t.TempDir()
	file := filepath.Join(full, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for dir, says := range map[string]string{full: "is not empty: name a new folder", file: "not a directory"} {
		if _, err := Create(dir, Meta{}); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v, want %q", dir, err, says)
		}
	}
	if _, err := os.Stat(filepath.Join(full, MetaFile)); !errors.Is(err, fs.ErrNotExist) {
		t.Error("a refused folder was written to")
	}
}
