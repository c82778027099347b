// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/cilium/cilium/api/v1/flow"
	"github.com/cilium/cilium/api/v1/observer"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/renat-project/renat/internal/view/usage"
)

func unzipped(t testing.TB, path string) []byte {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// brokenConnections returns the connections of a recording's truth that broke,
// as "client server".
func brokenConnections(t *testing.T, dir string) map[string]bool {
	t.Helper()
	f, err := os.Open(filepath.Join(dir, "truth.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	broken := map[string]bool{}
	for s := bufio.NewScanner(f); s.Scan(); {
		var probe struct {
			Client, Server string
			Broken         bool
		}
		if err := json.Unmarshal(s.Bytes(), &probe); err != nil {
			t.Fatal(err)
		}
		if probe.Broken {
			broken[probe.Client+" "+probe.Server] = true
		}
	}
	return broken
}

// TestEnrichMarksTheFlowsOfBrokenConnections enriches both recordings. All flows
// of broken connections are marked, and besides them the RST of the host that
// answered an orphaned reply.
func TestEnrichMarksTheFlowsOfBrokenConnections(t *testing.T) {
	for _, dir := range recordings {
		version := filepath.Base(dir)
		in := unzipped(t, filepath.Join(dir, "flows.jsonl.gz"))
		file := filepath.Join(t.TempDir(), "flows.jsonl")
		if err := os.WriteFile(file, in, 0o600); err != nil {
			t.Fatal(err)
		}
		var out bytes.Buffer
		if code := run(t.Context(), streams{out: &out, err: io.Discard}, []string{"enrich", "--recording", dir, "--input-file", file}); code != usage.Done {
			t.Fatalf("ended with %d", code)
		}
		broken := brokenConnections(t, dir)
		seen := map[string]bool{}
		orphans, resets, lines := map[string]bool{}, 0, 0
		results := bufio.NewScanner(&out)
		for line := range bytes.Lines(in) {
			if !results.Scan() {
				t.Fatalf("%s: %d of the lines came", version, lines)
			}
			lines++
			before, after := &observer.GetFlowsResponse{}, &observer.GetFlowsResponse{}
			if err := errors.Join(protojson.Unmarshal(line, before), protojson.Unmarshal(results.Bytes(), after)); err != nil {
				t.Fatal(err)
			}
			f := after.GetFlow()
			renat := extension(t, f)
			f.Extensions = nil
			f.Summary = before.GetFlow().GetSummary() //nolint:staticcheck // it is what the tools show
			if !proto.Equal(before, after) {
				t.Fatalf("%s became %s", line, results.Bytes())
			}
			tcp, marked := f.GetL4().GetTCP(), renat["incident"].GetStructValue().GetFields()
			if tcp == nil {
				continue
			}
			name, back := ends(f)
			switch {
			case broken[name] || broken[back]:
				if marked == nil {
					t.Errorf("%s: not marked: %s", version, line)
				}
				seen[name], seen[back] = true, true
				orphans[marked["id"].GetStringValue()] = marked["kind"].GetStringValue() == "orphaned_reply"
			case marked != nil && tcp.GetFlags().GetRST() && f.GetTraceObservationPoint() == flow.TraceObservationPoint_TO_NETWORK && orphans[marked["id"].GetStringValue()]:
				resets++
			case marked != nil:
				t.Errorf("%s: marked: %s", version, line)
			}
		}
		if results.Scan() {
			t.Errorf("%s: more than %d lines", version, lines)
		}
		for c := range broken {
			if !seen[c] {
				t.Errorf("%s: no flow of %s", version, c)
			}
		}
		t.Logf("%s: %d lines, %d broken connections, %d resets by the host", version, lines, len(broken), resets)
	}
}

// ends returns both, as brokenConnections names them, in either order.
func ends(f *flow.Flow) (forth, back string) {
	tcp := f.GetL4().GetTCP()
	src := fmt.Sprintf("%s:%d", f.GetIP().GetSource(), tcp.GetSourcePort())
	dst := fmt.Sprintf("%s:%d", f.GetIP().GetDestination(), tcp.GetDestinationPort())
	return src + " " + dst, dst + " " + src
}

func extension(t *testing.T, f *flow.Flow) map[string]*structpb.Value {
	t.Helper()
	var s structpb.Struct
	if f.GetExtensions() == nil {
		return nil
	}
	if err := f.GetExtensions().UnmarshalTo(&s); err != nil {
		t.Fatal(err)
	}
	return s.GetFields()["renat"].GetStructValue().GetFields()
}

// TestEnrichFromNATS marks as many flows with the incidents of a server as with
// the recording that they came from.
func TestEnrichFromNATS(t *testing.T) {
	url, dir := startNATS(t), recordings[0]
	renat(t, "replay", dir, "--nats-url", url).must(t)
	file := filepath.Join(t.TempDir(), "flows.jsonl")
	if err := os.WriteFile(file, unzipped(t, filepath.Join(dir, "flows.jsonl.gz")), 0o600); err != nil {
		t.Fatal(err)
	}
	marks := func(args ...string) int {
		var out bytes.Buffer
		if code := run(t.Context(), streams{out: &out, err: io.Discard}, append([]string{"enrich", "--input-file", file}, args...)); code != usage.Done {
			t.Fatalf("ended with %d", code)
		}
		return bytes.Count(out.Bytes(), []byte(`"incident"`))
	}
	if stored, recorded := marks("--nats-url", url), marks("--recording", dir); stored != recorded || stored == 0 {
		t.Errorf("%d flows marked from NATS, %d from the recording", stored, recorded)
	}
}

func TestEnrichRefuses(t *testing.T) {
	for _, args := range [][]string{
		{"enrich", "--agent", "nonsense"}, {"enrich", "--agent", "http://127.0.0.1:1"},
		{"enrich", "--recording", "/none"}, {"enrich", "--recording", "x", "--nats-url", "nats://x"},
		{"enrich", "--input-file", "/none"}, {"enrich", "more"},
	} {
		if code := run(t.Context(), streams{out: io.Discard, err: io.Discard}, args); code == usage.Done {
			t.Errorf("renat %v: no error", args)
		}
	}
}
