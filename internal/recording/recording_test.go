// SPDX-License-Identifier: Apache-2.0

package recording

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/renat-project/renat/correlator"
)

// record writes a recording of these map operations.
func record(t *testing.T, meta string, lines ...string) *Recording {
	t.Helper()
	dir := t.TempDir()
	for name, content := range map[string]string{MetaFile: meta, NATFile: strings.Join(lines, "\n")} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	r, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestNATSource(t *testing.T) {
	r := record(t, `{"nat_map_max_entries":512,"clock":{"ktime_ns":1000,"wall":"2026-01-01T00:00:00Z"}}`,
		`{"time":"2026-01-01T00:00:01.5Z","ktime_ns":7,"op":"insert","map":"cilium_snat_v6_external","dir":"IN","protocol":"UDP","src":"[2001:db8::1]:53","dst":"[2001:db8::2]:4000","to":"[fd00::1]:4000","errno":17,"flags":1,"program":"tail_handle_snat_fwd_ipv6","cpu":3}`,
		``,
		`nonsense`,
		`{"ktime_ns":3000,"op":"delete","map":"cilium_snat_v6_external","protocol":"SCTP","src":"10.0.0.1:1","dst":"10.0.0.2:2","program":"syscall","comm":"cilium-agent"}`,
		`{"time":"2026-01-01T00:00:02Z","op":"replaced","map":"cilium_ct4_global"}`,
	)
	var lines []int
	bad := &BadLines{Max: 1, Report: func(_ string, line int, _ error) { lines = append(lines, line) }}
	var got []correlator.Event
	if err := r.NAT(bad).Run(t.Context(), func(ev correlator.Event) { got = append(got, ev) }); err != nil {
		t.Fatal(err)
	}
	if len(got) != 4 || bad.Count != 1 || len(lines) != 1 || lines[0] != 3 {
		t.Fatalf("%d events, bad lines %v", len(got), lines)
	}
	first, loss, second, third := &got[0], &got[1], &got[2], &got[3]
	if n := &first.NAT; first.Time != 1767225601500000000 || n.Op != correlator.Insert || n.Dir != correlator.In || n.Errno != 17 ||
		n.KTime != 7 || n.CPU != 3 || n.Flags != 1 || n.To.String() != "[fd00::1]:4000" || n.Map.MaxEntries != 512 || n.Map.CT || !n.Map.IPv6() ||
		n.Caller.Program != "tail_handle_snat_fwd_ipv6" || first.Tuple.String() != "UDP [2001:db8::1]:53 -> [2001:db8::2]:4000" {
		t.Errorf("first: %+v", first)
	}
	if loss.Kind != correlator.KindLoss || loss.Time != first.Time || loss.Loss.From != correlator.LossKernelDecode || loss.Loss.Count != 1 {
		t.Errorf("loss: %+v", loss)
	}
	if n := &second.NAT; second.Time != 1767225600000002000 || n.Op != correlator.Delete || n.Dir != correlator.Out ||
		n.Caller.Program != correlator.ProgramSyscall || n.Caller.Comm != "cilium-agent" || n.Map != first.NAT.Map {
		t.Errorf("second, with its time from the clock anchor: %+v", second)
	}
	if n := &third.NAT; n.Op != correlator.Replaced || !n.Map.CT {
		t.Errorf("third: %+v", third)
	}
}

func TestBadNATLines(t *testing.T) {
	const good = `"time":"2026-01-01T00:00:00Z","op":"insert","map":"cilium_ct4_global","dir":"OUT","protocol":"TCP","src":"10.0.0.1:1","dst":"10.0.0.2:2"`
	for says, line := range map[string]string{
		"unexpected end":            `{`,
		"time is missing":           `{"op":"insert"}`,
		"out of range":              strings.Replace(good, "2026", "1890", 1),
		"parsing time":              strings.Replace(good, "2026-01", "2026", 1),
		`unknown op "steal"`:        strings.Replace(good, "insert", "steal", 1),
		`unknown dir "UP"`:          strings.Replace(good, "OUT", "UP", 1),
		`unknown protocol "TCPX"`:   strings.Replace(good, "TCP", "TCPX", 1),
		`unknown map "cilium_lxc"`:  strings.Replace(good, "cilium_ct4_global", "cilium_lxc", 1),
		`"10.0.0.1" is not ip:port`: strings.Replace(good, "10.0.0.1:1", "10.0.0.1", 1),
		"errno -3 is negative":      good + `,"errno":-3`,
		"cannot unmarshal":          good + `,"errno":"x"`,
		`"nobody" is not ip:port`:   good + `,"to":"nobody"`,
	} {
		if line[0] != '{' {
			line = "{" + line + "}"
		}
		r := record(t, `{}`, line)
		bad := &BadLines{}
		err := r.NAT(bad).Run(t.Context(), func(correlator.Event) {})
		if err == nil || !strings.Contains(err.Error(), says) || !strings.Contains(err.Error(), "nat.jsonl line 1") {
			t.Errorf("%s: error %v, want %q", line, err, says)
		}
	}
}

func TestNATSourceStops(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	r := record(t, `{}`, strings.Repeat(`{"time":"2026-01-01T00:00:00Z","op":"replaced","map":"cilium_ct4_global"}`+"\n", 10))
	n := 0
	err := r.NAT(&BadLines{}).Run(ctx, func(correlator.Event) {
		n++
		cancel()
	})
	if !errors.Is(err, context.Canceled) || n != 1 {
		t.Errorf("%d events, %v", n, err)
	}
}

// FuzzNATLine checks that any line is either an event that the correlator can
// take or an error, and that what is read fast is what encoding/json reads.
func FuzzNATLine(f *testing.F) {
	f.Add([]byte(`{"time":"2026-01-01T00:00:01.5Z","op":"insert","map":"cilium_snat_v6_external","dir":"IN","protocol":"UDP","src":"[2001:db8::1]:53","dst":"[2001:db8::2]:4000","to":"[fd00::1]:4000"}`))
	f.Add([]byte(`{"ktime_ns":1,"op":"evict","map":"cilium_ct4_global","protocol":"300","src":"[fe80::1%eth0]:1","dst":"10.0.0.1:2"}`))
	for _, line := range append(natSamples(f)[:50], natOddities...) {
		f.Add([]byte(line))
	}
	f.Fuzz(func(t *testing.T, line []byte) {
		compareNATLine(t, string(line))
		l, err := parseNATLine(line)
		if err != nil {
			return
		}
		ev, err := (&Recording{}).NAT(&BadLines{}).event(&l)
		if err != nil {
			return
		}
		sound := ev.Kind == correlator.KindNAT && ev.NAT.Map != nil && ev.NAT.Op != 0 && ev.NAT.Errno >= 0 ||
			ev.Kind == correlator.KindLoss && ev.Loss.From != 0
		if !sound {
			t.Fatalf("%q gave %+v", line, ev)
		}
	})
}
