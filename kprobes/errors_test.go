// SPDX-License-Identifier: Apache-2.0

package kprobes

import (
	"runtime"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// Root is never told to be root.
func TestPrivilegeAdvice(t *testing.T) {
	for _, c := range []struct {
		root    bool
		missing []string
		want    string
	}{
		{true, []string{"BPF", "PERFMON"}, "this process lacks BPF and PERFMON although it is root's: give it, or its container, the capabilities"},
		{true, nil, "something else refuses"},
		{false, []string{"PERFMON"}, "this process lacks PERFMON: run as root, or give the process the capabilities"},
		{false, nil, "run as root, or give"},
	} {
		got := privilegeAdvice(c.root, c.missing)
		if !strings.Contains(got, c.want) || c.root && strings.Contains(got, "run as root") {
			t.Errorf("root %v, missing %v: %s", c.root, c.missing, got)
		}
	}
}

// TestLacking takes a thread's capabilities away, all but SYS_ADMIN if it has that,
// then this one, too.
func TestLacking(t *testing.T) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var before, sets [2]unix.CapUserData
	if err := unix.Capget(&header, &before[0]); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = unix.Capset(&header, &before[0]) }() // they are still permitted
	all := []capability{capBPF, capPerfmon, capResource, capAdmin}
	for _, c := range []struct {
		has  uint32
		want []string
	}{
		{before[0].Permitted & (1 << unix.CAP_SYS_ADMIN), []string{"SYS_RESOURCE"}},
		{0, []string{"BPF", "PERFMON", "SYS_RESOURCE", "SYS_ADMIN"}},
	} {
		sets = before
		sets[0].Effective, sets[1].Effective = c.has, 0
		if err := unix.Capset(&header, &sets[0]); err != nil {
			t.Fatal(err)
		}
		if c.has == 0 { // nobody's test has none to begin with
			c.want = []string{"BPF", "PERFMON", "SYS_RESOURCE", "SYS_ADMIN"}
		}
		if got := lacking(all); !slices.Equal(got, c.want) {
			t.Errorf("with capabilities %x it lacks %q, want %q", c.has, got, c.want)
		}
	}
}
