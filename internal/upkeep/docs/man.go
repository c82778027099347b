// SPDX-License-Identifier: Apache-2.0

package docs

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/cobra/doc"
)

// Man writes a man page for a program and each of its commands into a folder,
// dated by SOURCE_DATE_EPOCH.
func Man(dir string, root *cobra.Command) error {
	for _, cmd := range Tree(root) {
		cmd.DisableAutoGenTag = true // names today's date
	}
	if err := doc.GenManTree(root, &doc.GenManHeader{Section: "1", Manual: "renat"}, dir); err != nil {
		return fmt.Errorf("making the man pages: %w", err)
	}
	for _, cmd := range Tree(root) {
		page := filepath.Join(dir, strings.ReplaceAll(cmd.CommandPath(), " ", "-")+".1")
		if info, err := os.Stat(page); err != nil || info.Size() == 0 {
			return fmt.Errorf("making the man page of %s: %s is missing or empty", cmd.CommandPath(), page)
		}
	}
	return nil
}
