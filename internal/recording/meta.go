// SPDX-License-Identifier: Apache-2.0

package recording

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"time"

	"github.com/renat-project/renat/correlator"
)

// Meta describes the node that was recorded. Every field may be empty.
type Meta struct {
	CiliumVersion string `json:"cilium_version,omitempty"`
	RenatVersion  string `json:"renat_version,omitempty"` // that recorded
	Kernel        string `json:"kernel,omitempty"`
	Backend       string `json:"backend,omitempty"` // fentry or kprobe
	NodeName      string `json:"node_name,omitempty"`
	ClusterName   string `json:"cluster_name,omitempty"`
	Aggregation   string `json:"monitor_aggregation,omitempty"`
	MapMaxEntries uint32 `json:"nat_map_max_entries,omitempty"` // of every NAT map
	SNATIPv4      string `json:"snat_ipv4,omitempty"`           // one that connections got
	SNATIPv6      string `json:"snat_ipv6,omitempty"`
	PossibleCPUs  int    `json:"possible_cpus,omitempty"`
	Redacted      bool   `json:"redacted,omitempty"` // names and addresses are not the node's
	Clock         Clock  `json:"clock"`
}

// Clock is one moment on both clocks.
type Clock struct {
	KTime uint64    `json:"ktime_ns"` // monotonic clock
	Wall  time.Time `json:"wall"`
}

// at converts a monotonic time; ok is false without an anchor.
func (c Clock) at(ktime uint64) (unixNano int64, ok bool) {
	if c.Wall.IsZero() || ktime == 0 {
		return 0, false
	}
	return c.Wall.UnixNano() + int64(ktime-c.KTime), true
}

// Truth is one probe of one connection by its client.
type Truth struct {
	Class  string         `json:"class"`
	Round  int            `json:"round"`
	Client netip.AddrPort `json:"client"` // before translation
	Server netip.AddrPort `json:"server"`
	Broken bool           `json:"broken"`
	Err    string         `json:"err,omitempty"` // what the client's system call said
	At     time.Time      `json:"at"`
}

// Describe changes what the recording says of the node, as more is known; it
// is written by Close.
func (w *Writer) Describe(change func(*Meta)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	change(&w.meta)
}

// learn takes from a map operation what Meta lacks.
func (w *Writer) learn(ev *correlator.Event) {
	n := &ev.NAT
	if n.Map.CT {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	m := &w.meta
	if m.MapMaxEntries == 0 {
		m.MapMaxEntries = n.Map.MaxEntries
	}
	snat := &m.SNATIPv4
	if n.Map.IPv6() {
		snat = &m.SNATIPv6
	}
	if *snat == "" && n.Op == correlator.Insert && n.Errno == 0 && n.Dir == correlator.Out && !n.To.IsZero() {
		*snat = n.To.AddrPort().Addr().String()
	}
}

// writeMeta replaces meta.json; w.mu is held, or w is new.
func (w *Writer) writeMeta() error {
	b, err := json.MarshalIndent(w.meta, "", "  ")
	if err != nil {
		return fmt.Errorf("writing recording: %w", err)
	}
	path := filepath.Join(w.dir, MetaFile)
	temporary := path + ".new"
	if err := os.WriteFile(temporary, append(b, '\n'), 0o600); err != nil {
		os.Remove(temporary)
		return fmt.Errorf("writing recording: %w", err)
	}
	if err := os.Rename(temporary, path); err != nil {
		return errors.Join(fmt.Errorf("writing recording: %w", err), os.Remove(temporary))
	}
	return nil
}
