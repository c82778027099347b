// SPDX-License-Identifier: Apache-2.0

package hubbletest

import (
	"bytes"
	"os"
	"testing"

	"github.com/cilium/cilium/api/v1/observer"
)

func FuzzLoad(f *testing.F) {
	b, err := os.ReadFile("../testdata/cilium-1.15.19.jsonl")
	if err != nil {
		f.Fatal(err)
	}
	for l := range bytes.Lines(b) {
		f.Add(l)
	}
	f.Add([]byte("{}\n\nnull\r\n{\"flow\":{}}"))
	f.Fuzz(func(t *testing.T, b []byte) {
		lines, last, bad := bytes.Count(b, []byte("\n"))+1, 0, 0
		n, err := load(bytes.NewReader(b), func(resp *observer.GetFlowsResponse) error {
			if resp.GetFlow() == nil && resp.GetLostEvents() == nil {
				t.Error("fed a response without an event")
			}
			return nil
		}, func(line int, _ error) bool {
			if line <= last || line > lines {
				t.Errorf("bad line %d of %d after bad line %d", line, lines, last)
			}
			last = line
			bad++
			return true
		})
		if err != nil || n+bad > lines {
			t.Errorf("fed %d and found %d bad of %d lines: %v", n, bad, lines, err)
		}
	})
}
