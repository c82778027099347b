// SPDX-License-Identifier: Apache-2.0

//go:build vmtest

package agent_test

import (
	"errors"
	"fmt"
	"net/netip"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cilium/cilium/api/v1/flow"
	"golang.org/x/sys/unix"
)

// checkObserver asks for flows whose translation is in the kernel's map: before
// and after it changes, outside the node, and when it is gone.
func checkObserver(t *testing.T, n *realNode, address string) {
	t.Helper()
	want := func(what string, src, dst netip.AddrPort, flows ...observed) {
		t.Helper()
		n.other(t.Context()) // the newest is withheld
		var got []observed
		for _, f := range observe(t, address) {
			if f.src == src.String() && f.dst == dst.String() {
				f.src, f.dst = "", ""
				got = append(got, f)
			}
		}
		if !slices.Equal(got, flows) {
			t.Errorf("%s: got %+v, want %+v", what, got, flows)
		}
	}

	c := n.begin(1)
	at := connectionOf(c)
	mapped := observed{summary: "SNAT " + at.before.String(), preNAT: at.pod.String(), postNAT: at.before.String()}
	want("working", at.pod, at.server, mapped, mapped)

	n.sever(t.Context(), c)
	id := n.awaitNamed(c)[c].ID
	n.acknowledge(c)
	before, after := mapped, mapped
	before.incident, after.incident = id, id
	before.summary += "; renat:" + id[:8]
	after.postNAT = at.after.String()
	after.summary = fmt.Sprintf("SNAT %s (was :%d); renat:%s", at.after, at.before.Port(), id[:8])
	want("re-NATted", at.pod, at.server, before, before, after)
	want("re-NATted, from the server", at.server, at.pod, before, before, after)

	n.feed(t.Context(), at.after, at.server, flow.TraceObservationPoint_TO_NETWORK, &flow.TCPFlags{ACK: true})
	want("outside the node", at.after, at.server, after)

	gone := n.begin(1)
	at = connectionOf(gone)
	n.lose(gone)
	time.Sleep(500 * time.Millisecond) // more than flows trail the kernel
	n.acknowledge(gone)
	mapped = observed{summary: "SNAT " + at.before.String(), preNAT: at.pod.String(), postNAT: at.before.String()}
	want("evicted", at.pod, at.server, mapped, mapped, observed{})
}

// checkWhoMayConnect tries the socket as others than root.
func checkWhoMayConnect(t *testing.T, address string) {
	t.Helper()
	path := strings.TrimPrefix(address, "unix://")
	openFolders(t, path)
	for gid, want := range map[int]error{ciliumGroup: nil, nobody: unix.EACCES} {
		result := make(chan error)
		go func() {
			runtime.LockOSThread() // it has other rights from here on, and ends with this goroutine
			result <- connectAs(nobody, gid, path)
		}()
		if err := <-result; !errors.Is(err, want) {
			t.Errorf("group %d connects: %v, want %v", gid, err, want)
		}
	}
}

// connectAs gives this thread, and it alone, the rights of a user.
func connectAs(uid, gid int, path string) error {
	for _, call := range [][4]uintptr{
		{unix.SYS_SETGROUPS, 0, 0, 0},
		{unix.SYS_SETRESGID, uintptr(gid), uintptr(gid), uintptr(gid)},
		{unix.SYS_SETRESUID, uintptr(uid), uintptr(uid), uintptr(uid)},
	} {
		if _, _, errno := unix.RawSyscall(call[0], call[1], call[2], call[3]); errno != 0 {
			return errno
		}
	}
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	return unix.Connect(fd, &unix.SockaddrUnix{Name: path})
}
