// SPDX-License-Identifier: Apache-2.0

package main

import (
	"os"
	"path/filepath"
	"testing"
)

func TestCommittedDashboardsAreFresh(t *testing.T) {
	folder, committed := t.TempDir(), "../../helm/renat/dashboards"
	if err := write(folder); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"fleet.json", "node.json"} {
		want, err := os.ReadFile(filepath.Join(folder, name))
		if err != nil {
			t.Fatal(err)
		}
		got, err := os.ReadFile(filepath.Join(committed, name))
		if err != nil || string(got) != string(want) {
			t.Errorf("%s is stale: run go -C deploy/check generate ./dashboards (%v)", name, err)
		}
	}
}
