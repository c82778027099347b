// SPDX-License-Identifier: Apache-2.0

package nodeview

import (
	"fmt"
	"io"
	"runtime"
)

// WriteVersion says which version of a program this is: in a line, or as JSON or YAML.
func WriteVersion(w io.Writer, program, version, format string) error {
	v := struct {
		Program  string `json:"program"`
		Version  string `json:"version"`
		Platform string `json:"platform"`
		Go       string `json:"go"`
	}{program, version, runtime.GOOS + "/" + runtime.GOARCH, runtime.Version()}
	switch format {
	case outTable:
		_, err := fmt.Fprintln(w, v.Program, v.Version, v.Platform, v.Go)
		return err
	case outJSON, outYAML:
		return encode(w, v, format)
	}
	return UsageError{fmt.Errorf("output format %q is not one of json, yaml", format)}
}
