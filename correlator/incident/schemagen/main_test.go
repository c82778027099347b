// SPDX-License-Identifier: Apache-2.0

package main

import (
	"os"
	"strings"
	"testing"
)

func TestCommittedFilesAreFresh(t *testing.T) {
	t.Chdir("..")
	schema, page, err := documents(".")
	if err != nil {
		t.Fatal(err)
	}
	for file, want := range map[string][]byte{"incident.v1.schema.json": schema, "../../docs/incident-reference.md": page} {
		got, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if string(got) != string(want) {
			t.Errorf("%s is stale: run go generate ./correlator/incident", file)
		}
	}
}

// Whoever adds a value of Kind, Cause or Step says what it means.
func TestEveryValueHasAMeaning(t *testing.T) {
	t.Chdir("..")
	_, page, err := documents(".")
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range []string{"| `kind` | `renat` | the pod's", "| `cause` | `unknown` | ", "| `outcome` | `reset` | ", "| `step` | `packet_dropped` | a packet of the pod"} {
		if !strings.Contains(string(page), row) {
			t.Errorf("the page lacks %q", row)
		}
	}
}
