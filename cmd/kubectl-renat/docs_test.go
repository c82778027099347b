// SPDX-License-Identifier: Apache-2.0

package main

import (
	"io"
	"testing"

	"github.com/spf13/cobra"

	"github.com/renat-project/renat/internal/upkeep/docs"
)

func commands() *cobra.Command { return newPlugin(io.Discard, io.Discard).root() }

// What the documents say of kubectl renat is so, and its help says enough.
func TestDocuments(t *testing.T) {
	set, err := docs.Load("../..")
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range set.Commands("kubectl renat", commands) {
		t.Error(p)
	}
	for _, p := range docs.Help("kubectl renat", commands) {
		t.Error(p)
	}
	for _, flag := range docs.Elsewhere("kubectl renat") {
		if commands().PersistentFlags().Lookup(flag) == nil {
			t.Errorf("documents may name --%s, which is no flag of kubectl renat", flag)
		}
	}
}

// The check of the documents sees command lines that are wrong.
func TestDocumentsStale(t *testing.T) {
	for line, bad := range map[string]bool{
		"`kubectl renat nods`":                             true,
		"`kubectl-renat nodes --fail-in breaking`":         true,
		"`kubectl renat nodes --fail-on breaking || true`": false,
		"`kubectl get nodes --fail-in breaking`":           false,
	} {
		set := &docs.Set{Pages: []*docs.Page{docs.NewPage("x.md", []byte(line))}}
		if got := set.Commands("kubectl renat", commands); len(got) > 0 != bad {
			t.Errorf("%s: %v", line, got)
		}
	}
}
