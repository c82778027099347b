// SPDX-License-Identifier: Apache-2.0

package main

import (
	"strings"
	"testing"

	"github.com/renat-project/renat/internal/view/usage"
)

// What is shown of an id opens the incident.
func TestDescribe(t *testing.T) {
	url := startNATS(t)
	renat(t, "replay", recordings[0], "--nats-url", url).must(t)
	for _, id := range []string{"142cbfff", "renat:142cbfff", "142CBFFF", "incident/142cbfffeea5", "142cbfffeea5011cef4b1ee4f65d5c61"} {
		got := renat(t, "describe", id, "--nats-url", url).must(t)
		for _, want := range []string{"ID: 142cbfffeea5011cef4b1ee4f65d5c61", "pod     NAT    server", "│        ✗        │", "1 connection of"} {
			if !strings.Contains(got.out, want) {
				t.Errorf("%s: no %q in\n%s", id, want, got.out)
			}
		}
	}
	if got := renat(t, "describe", "142cbfff", "-o", "json", "--nats-url", url).must(t); !strings.Contains(got.out, `"id": "142cbfffeea5011cef4b1ee4f65d5c61"`) {
		t.Errorf("as JSON:\n%s", got.out)
	}
	for id, want := range map[string]int{"00000000": usage.Failed, "abc": usage.Wrong} {
		if got := renat(t, "describe", id, "--nats-url", url); got.code != want {
			t.Errorf("%s: exit %d, %s", id, got.code, got.err)
		}
	}
	if got := renat(t, "describe"); got.code != usage.Wrong || !strings.Contains(got.err, "ID is missing") {
		t.Errorf("exit %d, %s", got.code, got.err)
	}
}
