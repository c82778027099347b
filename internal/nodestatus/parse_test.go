// SPDX-License-Identifier: Apache-2.0

package nodestatus_test

import (
	"strings"
	"testing"

	"github.com/renat-project/renat/internal/nodestatus"
)

func TestParse(t *testing.T) {
	if s, err := nodestatus.Parse([]byte(`{"version":1,"node":"node-a"}`)); err != nil || s.Node != "node-a" {
		t.Errorf("got %+v, %v", s, err)
	}
	for raw, want := range map[string]string{
		`{"version":99,"node":"newer"}`: "the status of node newer: it has version 99, this renat knows 1",
		`{"version":`:                   "reading a node's status: ",
	} {
		if _, err := nodestatus.Parse([]byte(raw)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", raw, err, want)
		}
	}
}
