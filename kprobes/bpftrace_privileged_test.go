// SPDX-License-Identifier: Apache-2.0

//go:build vmtest

package kprobes

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/cilium/ebpf"
)

const bpftrace = "/usr/bin/bpftrace"

// The scripts look at one map, as renat does, by its id: $1. Debian's bpftrace
// 0.17 crashes on structs of one's own and on pointers to integers, therefore
// they read a key's two words through a struct of the kernel that has words
// in the right places.
const (
	// printEvictions counts updates and deletes by result and prints time, CPU,
	// LRU state, key and value of each evicted entry (they are in the node's
	// first 86 bytes).
	printEvictions = `
kretfunc:htab_lru_map_update_elem /args->map->id == $1/ { @update[retval] = count(); }
kretfunc:htab_lru_map_delete_elem /args->map->id == $1/ { @delete[retval] = count(); }
kretfunc:htab_lru_map_delete_node /((struct bpf_map *)args->arg)->id == $1 && retval/ {
	printf("evict %llu %d %d %d %r\n", nsecs, cpu, args->node->type, args->node->ref, buf(args->node, 86));
}`

	// rememberEvictions also keeps the keys that were evicted and prints the
	// inserts of such, with their caller: what one needs to see a connection
	// come back.
	rememberEvictions = `
kretfunc:htab_lru_map_update_elem /args->map->id == $1/ {
	@update[retval] = count();
	if (@evicted[((struct inode_operations *)args->key)->lookup, ((struct inode_operations *)args->key)->get_link]) {
		printf("insert %llu %d %d %r %r %s\n", nsecs, cpu, retval, buf(args->key, 14), buf(args->value + 32, 6), kstack(5));
	}
}
kretfunc:htab_lru_map_delete_elem /args->map->id == $1/ { @delete[retval] = count(); }
kretfunc:htab_lru_map_delete_node /((struct bpf_map *)args->arg)->id == $1 && retval/ {
	@evicted[((struct inode_operations *)args->node)->readlink, ((struct inode_operations *)args->node)->create] = nsecs;
	printf("evict %llu %d %d %d %r\n", nsecs, cpu, args->node->type, args->node->ref, buf(args->node, 86));
}
END { clear(@evicted); }`
)

// bpftraced watches with a bpftrace script.
func bpftraced(script string, id uint32) func(t *testing.T) watcher {
	return func(t *testing.T) watcher {
		t.Helper()
		out, err := os.Create(filepath.Join(t.TempDir(), "out"))
		if err != nil {
			t.Fatal(err)
		}
		defer out.Close()
		before := programs(t)
		cmd := exec.Command(bpftrace, "-e", script, strconv.Itoa(int(id)))
		cmd.Env = append(os.Environ(), "BPFTRACE_STRLEN=128", "BPFTRACE_MAP_KEYS_MAX=262144", "BPFTRACE_PERF_RB_PAGES=4096")
		cmd.Stdout, cmd.Stderr = out, out
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		within(t, time.Minute, "bpftrace has placed its three probes", func() bool { return programs(t) >= before+3 })
		time.Sleep(2 * time.Second) // the last program is loaded: it is being attached
		read := func() []byte {
			said, err := os.ReadFile(out.Name())
			if err != nil {
				t.Fatal(err)
			}
			return said
		}
		printed := func() int { return bytes.Count(read(), []byte("\nevict ")) }
		return watcher{pid: cmd.Process.Pid, seen: printed, stop: func() {
			t.Helper()
			if err := cmd.Process.Signal(os.Interrupt); err != nil {
				t.Fatal(err)
			}
			if err := cmd.Wait(); err != nil {
				t.Error(err)
			}
			if said := read(); !bytes.Contains(said, []byte("@update[0]: ")) || bytes.Contains(said, []byte("Lost")) {
				t.Errorf("bpftrace counted nothing, or lost events: %.300s", said)
			}
		}}
	}
}

// programs counts the BPF programs of the system.
func programs(t *testing.T) int {
	t.Helper()
	n := 0
	for id := ebpf.ProgramID(0); ; n++ {
		next, err := ebpf.ProgramGetNextID(id)
		if err != nil {
			return n
		}
		id = next
	}
}
