// SPDX-License-Identifier: Apache-2.0

//go:build vmtest

package kprobes

import (
	"errors"
	"runtime"
	"strings"
	"testing"

	"github.com/cilium/ebpf"
)

// backends are those that Debian's kernel must have.
func backends(t *testing.T) []Backend {
	t.Helper()
	if runtime.GOARCH == "arm64" && older(t, 6, 12) {
		return []Backend{Kprobe}
	}
	return []Backend{Fentry, Kprobe}
}

// TestPrivilegedLacks wants renat to do without what a kernel lacks, and to say
// so.
func TestPrivilegedLacks(t *testing.T) {
	bpffs := newBPFFS(t)
	newMap(t, bpffs, "cilium_snat_v4_external", nat4, 64)
	r := record(t, Config{BPFFS: bpffs}, 1)
	s := r.Status()
	if looks := r.kernel.ahead != nil; looks == older(t, 7, 3) {
		t.Errorf("entries are looked up before they are deleted: %v", looks)
	}
	if backends(t)[0] == Fentry {
		if s.Backend != Fentry || len(s.Degraded) != 0 {
			t.Errorf("%+v", s)
		}
	} else {
		if s.Backend != Kprobe || !strings.HasPrefix(s.Why, "no fentry here: ") || len(s.Degraded) != 1 || !strings.HasPrefix(s.Degraded[0], "kprobes do not see") {
			t.Errorf("without fentry: %+v", s)
		}
		if _, err := New(Config{Backend: Fentry}); !errors.Is(err, ebpf.ErrNotSupported) {
			t.Errorf("fentry asked for: %v", err)
		}
	}
	_, err := r.Occupancy()
	if noCount := errors.Is(err, ErrNoCount); noCount != older(t, 6, 8) || (err != nil && !noCount) {
		t.Errorf("Occupancy: %v", err)
	}
	err = r.Touch([]Touched{{Tuple: nat4.out(1, 1).tuple}}, false)
	if noGuard := errors.Is(err, ErrNoGuard); noGuard != older(t, 5, 14) || (err != nil && !noGuard) {
		t.Errorf("Touch: %v", err)
	}
	t.Logf("linux %s, %s: %s because %s; degraded %q; guard %v", release(), runtime.GOARCH, s.Backend, s.Why, s.Degraded, err)
}
