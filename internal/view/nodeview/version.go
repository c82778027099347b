// SPDX-License-Identifier: Apache-2.0

package nodeview

import (
	"cmp"
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"
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
			if err := checkOutput(output, outJSON, outYAML); err != nil {
				return err
			}
			if output != outTable {
				return encode(cmd.OutOrStdout(), v, output)
			}
			_, err := fmt.Fprintln(cmd.OutOrStdout(), v.Program, v.Version, v.Platform, v.Go)
			return err
		},
	}
	registerOutput(cmd, &output, "a line", outJSON, outYAML)
	return cmd
}
