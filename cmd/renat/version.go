// SPDX-License-Identifier: Apache-2.0

package main

import (
	"cmp"
	"errors"
	"runtime/debug"

	"github.com/spf13/cobra"

	"github.com/renat-project/renat/internal/view/nodeview"
)

// version is set by the linker for releases.
var version string

func newVersion(g *globals) *cobra.Command {
	var output string
	cmd := &cobra.Command{
		Use:     "version",
		Short:   "Print the version",
		Example: "  renat version\n  renat version -o json",
		Args:    cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			err := nodeview.WriteVersion(g.out, "renat", buildVersion(), output)
			var wrong nodeview.UsageError
			if errors.As(err, &wrong) {
				return usageError{err}
			}
			return err
		},
	}
	cmd.Flags().StringVarP(&output, "output", "o", "", "output format: json, yaml; a line if empty")
	complete(cmd, "output", "json", "yaml")
	return cmd
}

// buildVersion is the release's version, else what the Go tool stamped.
func buildVersion() string {
	info, ok := debug.ReadBuildInfo()
	if version != "" || !ok {
		return cmp.Or(version, "unknown")
	}
	return cmp.Or(info.Main.Version, "unknown")
}
