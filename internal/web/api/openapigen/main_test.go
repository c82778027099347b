// SPDX-License-Identifier: Apache-2.0

package main

import (
	"os"
	"testing"
)

func TestCommittedDocumentIsFresh(t *testing.T) {
	t.Chdir("../../../..")
	want, err := document()
	if err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile("internal/web/api/openapi.json")
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != string(want) {
		t.Error("openapi.json is stale: run go generate ./internal/web/api")
	}
}
