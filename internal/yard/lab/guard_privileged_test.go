// SPDX-License-Identifier: Apache-2.0

//go:build vmtest

package lab_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/features"
	"github.com/rs/zerolog"

	"github.com/renat-project/renat/internal/agent/guard"
	"github.com/renat-project/renat/internal/yard/lab"
	"github.com/renat-project/renat/kprobes"
)

// TestPrivilegedGuardedLab makes the same load without the guard and with it.
// With it no connection may break whose entries were evicted without it; those
// whose entry a process deletes break as before, nobody else suffers, and all
// that breaks is named. Where the kernel has no guard the agent says so, and
// connections break.
func TestPrivilegedGuardedLab(t *testing.T) {
	guarded(t, lab.Config{Duration: 6 * time.Second, Connections: 30}, guard.Config{}, lab.Idle, lab.Push)
}

// TestPrivilegedGuardedOwn does so with the node's own connections among others: eight
// to one server, a quarter of what is guarded in a map of this size.
func TestPrivilegedGuardedOwn(t *testing.T) {
	guarded(t, lab.Config{Kind: lab.HostOwned, Duration: 11 * time.Second, Connections: 20}, guard.Config{Host: true}, lab.Own)
}

// guarded does so with each IP version, without a restore and with both. At least
// three of the teaching classes' connections must break without the guard.
func guarded(t *testing.T, c lab.Config, g guard.Config, teaching ...lab.Class) {
	for _, c.Restore = range []string{"none", "both"} {
		for _, c.IPv6 = range []bool{false, true} {
			t.Run(nameOf(c), func(t *testing.T) { besideUnguarded(t, c, g, teaching) })
		}
	}
}

func besideUnguarded(t *testing.T, c lab.Config, g guard.Config, teaching []lab.Class) {
	c.Churn, c.Seed = 60, 14
	without, _ := scored(t, c)
	c.Guard = &g
	with, guarded := scored(t, c)
	if guarded == nil {
		t.Fatal("the agent told nothing of its guard")
	}
	if strings.Contains(guarded.Problem, kprobes.ErrNoGuard.Error()) {
		wantNoGuard(t, with, guarded)
		return
	}
	for class, was := range without {
		is := with[class]
		switch class {
		case lab.Idle, lab.Push, lab.Own:
			if is.Broken > 0 || is.Connections == 0 {
				t.Errorf("%s: %d of %d connections broke, though guarded", class, is.Broken, is.Connections)
			}
		case lab.GC, lab.GCPush:
			if mended(c, class) != (is.Broken <= is.Connections/2) {
				t.Errorf("%s: %d of %d connections broke with the guard, %d without", class, is.Broken, is.Connections, was.Broken)
			}
		default:
			if is.Broken > was.Broken {
				t.Errorf("%s: %d connections broke with the guard, %d without", class, is.Broken, was.Broken)
			}
		}
	}
	n := 0
	for _, class := range teaching {
		n += without[class].Broken
	}
	if n < 3 {
		t.Errorf("without the guard %d connections of %v broke, too few to learn from", n, teaching)
	}
}

// wantNoGuard wants a kernel to be one without a guard, and connections to break.
func wantNoGuard(t *testing.T, rows map[lab.Class]lab.Row, guarded *lab.Guarded) {
	t.Helper()
	if err := features.HaveProgramType(ebpf.Syscall); !errors.Is(err, ebpf.ErrNotSupported) {
		t.Errorf("guard: %s, but this kernel has its programs: %v", guarded.Problem, err)
	}
	if n := rows[lab.Idle].Broken + rows[lab.Push].Broken; guarded.Kept != 0 || n == 0 {
		t.Errorf("%d idle and push connections broke without a guard, and %d were kept", n, guarded.Kept)
	}
}

// scored runs a laboratory and returns its score by class, and what its guard
// said, if it had one; all that broke must be named, and nothing else.
func scored(t *testing.T, c lab.Config) (map[lab.Class]lab.Row, *lab.Guarded) {
	t.Helper()
	c.Log = zerolog.New(zerolog.NewTestWriter(t)).Level(zerolog.WarnLevel)
	r := run(t, c, nil)
	if !r.Right() {
		t.Error("some connections were missed, or named wrongly")
	}
	return byClass(r), r.Guard
}

func byClass(r *lab.Result) map[lab.Class]lab.Row {
	rows := map[lab.Class]lab.Row{}
	for _, row := range r.Classes {
		rows[row.Class] = row
	}
	return rows
}
