// SPDX-License-Identifier: Apache-2.0

package peaks_test

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/renat-project/renat/internal/agent/peaks"
	"github.com/renat-project/renat/internal/nodestatus"
)

var nat = nodestatus.Map{Name: "cilium_snat_v4_external", MaxEntries: 1024}

func open(t *testing.T, path string) *peaks.Peaks {
	t.Helper()
	p, err := peaks.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func see(t *testing.T, p *peaks.Peaks, m nodestatus.Map, entries uint64, inserts float64, at time.Time) {
	t.Helper()
	if err := p.See(&m, &entries, &nodestatus.Rates{Inserts: inserts, Evictions: inserts / 2}, at); err != nil {
		t.Fatal(err)
	}
}

func TestPeaksSurviveARestart(t *testing.T) {
	path := filepath.Join(t.TempDir(), "peaks.json")
	start := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	p := open(t, path)
	see(t, p, nat, 500, 10, start)
	see(t, p, nat, 700, 8, start.Add(10*time.Second))
	if err := p.See(&nat, nil, nil, start.Add(20*time.Second)); err != nil {
		t.Fatal(err)
	}
	if got := open(t, path).Of(nat.Name, 1024); got == nil || got.Entries != 500 {
		t.Errorf("after a crash within the minute: %+v", got)
	}
	if err := p.Save(); err != nil {
		t.Fatal(err)
	}
	p = open(t, path)
	see(t, p, nat, 600, 9, start.Add(time.Hour))
	want := nodestatus.Peaks{Since: start, Entries: 700, Inserts: 10, Evictions: 5}
	if got := p.Of(nat.Name, 1024); got == nil || *got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
}

func TestAnotherSizeBeginsAnew(t *testing.T) {
	p := open(t, filepath.Join(t.TempDir(), "peaks.json"))
	start := time.Now()
	see(t, p, nat, 1000, 10, start)
	larger := nat
	larger.MaxEntries = 4096
	if p.Of(nat.Name, 4096) != nil {
		t.Error("peaks of a map that was not seen")
	}
	see(t, p, larger, 5, 1, start.Add(time.Minute))
	if got := p.Of(nat.Name, 4096); got == nil || got.Entries != 5 || p.Of(nat.Name, 1024) != nil {
		t.Errorf("%+v", got)
	}
}

func TestBadFiles(t *testing.T) {
	path := filepath.Join(t.TempDir(), "peaks.json")
	for _, content := range []string{"{", "[]", `{"cilium_snat_v4_external":3}`} {
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		p, err := peaks.Open(path)
		if err == nil || p == nil {
			t.Fatalf("%s: %v", content, err)
		}
		see(t, p, nat, 1, 1, time.Now())
		open(t, path)
	}
	if err := os.WriteFile(path, []byte(`{"x":null}`), 0o600); err != nil {
		t.Fatal(err)
	}
	if open(t, path).Of("x", 0) != nil {
		t.Error("peaks of null")
	}
	p := open(t, filepath.Join(t.TempDir(), "missing", "peaks.json"))
	if err := p.See(&nat, nil, nil, time.Now()); err == nil {
		t.Error("no error without a folder")
	}
}
