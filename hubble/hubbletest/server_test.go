// SPDX-License-Identifier: Apache-2.0

package hubbletest_test

import (
	"bytes"
	"os"
	"testing"

	"github.com/cilium/cilium/api/v1/observer"
	"google.golang.org/protobuf/encoding/protojson"
)

// recorded returns flows that an agent of Cilium 1.20.2 made.
func recorded(t testing.TB) (out []*observer.GetFlowsResponse) {
	t.Helper()
	b, err := os.ReadFile("../testdata/cilium-1.20.2.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	for line := range bytes.Lines(b) {
		resp := &observer.GetFlowsResponse{}
		if err := (protojson.UnmarshalOptions{DiscardUnknown: true}).Unmarshal(line, resp); err != nil {
			t.Fatal(err)
		}
		out = append(out, resp)
	}
	return out
}
