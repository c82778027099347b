// SPDX-License-Identifier: Apache-2.0

package main

import (
	"os"
	"testing"
)

func TestCommittedSchemaIsFresh(t *testing.T) {
	t.Chdir("..")
	want, err := schema(".")
	if err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile("incident.v1.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != string(want) {
		t.Error("incident.v1.schema.json is stale: run go generate ./correlator/incident")
	}
}
