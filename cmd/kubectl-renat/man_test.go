// SPDX-License-Identifier: Apache-2.0

package main

import (
	"flag"
	"testing"

	"github.com/renat-project/renat/internal/upkeep/docs"
)

var manDir = flag.String("man", "", "folder to write the man pages to")

// TestManPages makes the man pages of every command; for a release, with -man,
// it keeps them. They are made in a test because the program needs no code for it.
func TestManPages(t *testing.T) {
	dir := *manDir
	if dir == "" {
		dir = t.TempDir()
	}
	if err := docs.Man(dir, commands()); err != nil {
		t.Fatal(err)
	}
}
