// SPDX-License-Identifier: Apache-2.0

package main

import (
	"os"
	"testing"
)

func TestCommittedDocumentIsFresh(t *testing.T) {
	got, err := os.ReadFile("../../../docs/metrics.md")
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != document() {
		t.Error("docs/metrics.md is stale: run go generate ./internal/metrics")
	}
}
