// SPDX-License-Identifier: Apache-2.0

package main

import (
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/renat-project/renat/internal/recording"
	"github.com/renat-project/renat/internal/view/usage"
)

// replayed is a recording that was changed, and what a replay must say of it.
type replayed struct {
	meta  string
	flows func(lines []string) []string
	nat   func(lines []string) []string
	says  []string
	not   []string
	reset int // incidents seen reset
	found int // -1: nobody knows
}

var (
	point  = regexp.MustCompile(`"trace_observation_point":"[A-Z_]*",?`)
	reason = regexp.MustCompile(`"trace_reason":"[A-Z_]*",?`)
	ports  = regexp.MustCompile(`"source_port":[0-9]*,"destination_port":[0-9]*,?`)
	flags  = regexp.MustCompile(`,?"flags":{[^}]*}`)
)

// without leaves a field out of every line.
func without(field *regexp.Regexp) func([]string) []string {
	return func(lines []string) []string {
		for i := range lines {
			lines[i] = field.ReplaceAllString(lines[i], "")
		}
		return lines
	}
}

// ofNode gives every nth flow to another node.
func ofNode(node string, nth int) func([]string) []string {
	return func(lines []string) []string {
		for i := 0; i < len(lines); i += nth {
			lines[i] = strings.ReplaceAll(lines[i], `"node_name":"node-a"`, `"node_name":"`+node+`"`)
		}
		return lines
	}
}

func insertAt(n int, line string) func([]string) []string {
	return func(lines []string) []string {
		return append(append(append([]string{}, lines[:n]...), line+"\n"), lines[n:]...)
	}
}

const aheadFlow = `{"flow":{"time":"2026-11-23T00:51:26Z","verdict":"FORWARDED","IP":{"source":"10.0.9.9","destination":"198.51.100.1"},"l4":{"TCP":{"source_port":1,"destination_port":443,"flags":{"ACK":true}}},"event_type":{"type":4,"sub_type":3},"trace_observation_point":"TO_STACK","node_name":"node-a"},"node_name":"node-a","time":"2026-11-23T00:51:26Z"}`

const ringLoss = `{"lost_events":{"source":"HUBBLE_RING_BUFFER","num_events_lost":"100"},"node_name":"node-a","time":"2026-11-22T22:51:27Z"}`

// TestReplayInputs replays what users take from relays, exporters and editors.
func TestReplayInputs(t *testing.T) {
	mark := func(lines []string) []string { return append([]string{"\ufeff" + lines[0]}, lines[1:]...) }
	for name, c := range map[string]replayed{
		"all of another cluster's node": {meta: `{"node_name":"node-a","cluster_name":"prod"}`, flows: func(lines []string) []string {
			return append(ofNode("dr/node-a", 1)(lines), strings.ReplaceAll(lines[0], "dr/node-a", "prod/node-b"))
		}, says: []string{"flows of other nodes", `"own":0`}, found: 30},
		"all of another node alone": {meta: `{"node_name":"node-a","cluster_name":"prod"}`, flows: ofNode("dr/node-b", 1),
			says: []string{"flows of other nodes", `"own":0`}, found: 30},
		"all of a cluster that is named otherwise": {meta: `{"node_name":"node-a","cluster_name":"prod"}`, flows: ofNode("kubernetes/node-a", 1),
			says: []string{"meta.json names otherwise"}, not: []string{"other nodes"}, reset: 30, found: 30},
		"the node's name with its domain, beside another": {meta: `{"node_name":"node-a.example.com"}`, flows: func(lines []string) []string {
			return append(lines, ofNode("node-b", 1)([]string{lines[0]})...)
		}, says: []string{"flows of other nodes", `"others":1`, "meta.json names otherwise"}, reset: 30, found: 30},
		"several nodes, and which was recorded is not known": {meta: `{}`, flows: ofNode("node-b", 2),
			says: []string{"several nodes", "node-a", "node-b"}, reset: 30, found: 30},
		"none of another node": {meta: `{"node_name":"node-a","cluster_name":"prod"}`, flows: ofNode("prod/node-a", 2),
			not: []string{"other nodes"}, reset: 30, found: 30},
		"one node under another name": {meta: `{"node_name":"node-a.example.com"}`,
			says: []string{"meta.json names otherwise"}, reset: 30, found: 30},
		"one flow two hours ahead at the beginning": {flows: insertAt(0, aheadFlow),
			says: []string{`"flows":1`, "stamped ahead"}, not: []string{"later than the settle time"}, reset: 30, found: 30},
		"one flow two hours ahead in the middle": {flows: insertAt(5000, aheadFlow),
			says: []string{"stamped ahead"}, not: []string{"later than the settle time"}, reset: 30, found: 30},
		"Hubble's ring losses": {flows: insertAt(300, ringLoss),
			says: []string{"100 hubble_ring"}, not: []string{"later than the settle time"}, reset: 30, found: 30},
		"a ring loss at the end": {flows: func(lines []string) []string { return append(lines, ringLoss+"\n") },
			says: []string{"100 hubble_ring"}, reset: 30, found: 30},
		"no observation point": {flows: without(point), says: []string{"can be used", "trace_observation_point"}, found: 30},
		"no reason":            {flows: without(reason), says: []string{"hardly any flow has trace_reason"}, found: -1},
		"no ports":             {flows: without(ports), says: []string{"hardly any flow has source_port"}, found: -1},
		"no TCP flags":         {flows: without(flags), says: []string{"hardly any flow has flags"}, found: -1},
		"an empty file":        {flows: func([]string) []string { return nil }, says: []string{"the file holds no flows"}, found: 30},
		"a mark in meta.json":  {meta: "\ufeff{}", reset: 30, found: 30},
		"byte order marks":     {flows: mark, nat: mark, not: []string{"unreadable"}, reset: 30, found: 30},
		"another protocol": {nat: insertAt(2, `{"time":"2026-11-22T22:51:26Z","op":"insert","map":"cilium_ct_any4_global","dir":"OUT","protocol":"GRE","src":"10.0.0.1:0","dst":"10.0.0.2:0"}`),
			not: []string{"unreadable"}, reset: 30, found: 30},
		"an insert without to": {nat: insertAt(2, `{"time":"2026-11-22T22:51:26Z","op":"insert","map":"cilium_snat_v4_external","dir":"OUT","protocol":"TCP","src":"10.0.0.1:1","dst":"10.0.0.2:2"}`),
			says: []string{"without to", "1 unreadable"}, reset: 30, found: 30},
		"a map that begins alike": {nat: insertAt(2, `{"time":"2026-11-22T22:51:26Z","op":"insert","map":"cilium_snat_v4_alloc_retries","dir":"OUT","protocol":"TCP","src":"10.0.0.1:1","dst":"10.0.0.2:2","to":"10.0.0.3:3"}`),
			says: []string{"only begins like a NAT map's name"}, reset: 30, found: 30},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := variant(t, recordings[0], func(file string, lines []string) []string {
				edit := c.flows
				if file == recording.NATFile {
					edit = c.nat
				}
				if edit == nil {
					return lines
				}
				return edit(lines)
			})
			if c.meta != "" {
				write(t, filepath.Join(dir, recording.MetaFile), c.meta)
			}
			got := renat(t, "replay", dir).must(t)
			for _, s := range c.says {
				if !strings.Contains(got.err, s) {
					t.Errorf("stderr does not say %q:\n%s", s, got.err)
				}
			}
			for _, s := range c.not {
				if strings.Contains(got.err, s) {
					t.Errorf("stderr says %q:\n%s", s, got.err)
				}
			}
			if n, reset := strings.Count(got.out, "\n"), strings.Count(got.out, "reset"); c.found >= 0 && n != c.found || c.reset != 0 && reset < c.reset {
				t.Errorf("%d incidents, %d reset; want %d and %d", n, reset, c.found, c.reset)
			}
		})
	}
}

// TestReplayBothFiles refuses a folder where there is no telling which file is meant.
func TestReplayBothFiles(t *testing.T) {
	dir := variant(t, recordings[0], func(_ string, lines []string) []string { return lines })
	write(t, filepath.Join(dir, recording.FlowsFile+".gz"), "")
	if got := renat(t, "replay", dir); got.code != usage.Failed || !strings.Contains(got.err, "holds both flows.jsonl and flows.jsonl.gz") {
		t.Errorf("exit code %d: %s", got.code, got.err)
	}
}

// TestReplayCompressedByAnotherName says what a compressed file should be called.
func TestReplayCompressedByAnotherName(t *testing.T) {
	for name, c := range map[string]struct{ begins, says string }{
		"gzip": {"\x1f\x8b\x08", "let its name end in .gz"}, "zstd": {"\x28\xb5\x2f\xfd", "let its name end in .zst"},
	} {
		dir := variant(t, recordings[0], func(_ string, lines []string) []string { return lines })
		write(t, filepath.Join(dir, recording.FlowsFile), c.begins)
		if got := renat(t, "replay", dir); got.code != usage.Failed || !strings.Contains(got.err, c.says) {
			t.Errorf("%s: exit code %d: %s", name, got.code, got.err)
		}
	}
}
