// SPDX-License-Identifier: Apache-2.0

package nodeview

import (
	"cmp"
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"

	"github.com/renat-project/renat/internal/view/usage"
)

// BuildVersion is the release's version, if the linker set one, else what the Go
// tool stamped.
func BuildVersion(linked string) string {
	info, ok := debug.ReadBuildInfo()
	if linked != "" || !ok {
		return cmp.Or(linked, "unknown")
	}
	return cmp.Or(info.Main.Version, "unknown")
}

// NewVersion is a program's command that says which version it is: in a line, or as
// JSON or YAML. People call the program by command.
func NewVersion(program, command, version string) *cobra.Command {
	v := struct {
		Program  string `json:"program"`
		Version  string `json:"version"`
		Platform string `json:"platform"`
		Go       string `json:"go"`
	}{program, version, runtime.GOOS + "/" + runtime.GOARCH, runtime.Version()}
	var output string
	cmd := &cobra.Command{
		Use:     "version",
		Short:   "Print the version",
		Example: fmt.Sprintf("  %s version\n  %[1]s version -o json", command),
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			switch output {
			case outTable:
				_, err := fmt.Fprintln(cmd.OutOrStdout(), v.Program, v.Version, v.Platform, v.Go)
				return err
			case outJSON, outYAML:
				return encode(cmd.OutOrStdout(), v, output)
			}
			return usage.Errorf("output format %q is not one of json, yaml", output)
		},
	}
	cmd.Flags().StringVarP(&output, "output", "o", "", "output format: json, yaml; a line if empty")
	usage.Complete(cmd, "output", outJSON, outYAML)
	return cmd
}
