// SPDX-License-Identifier: Apache-2.0

// Command dashboards writes the Grafana dashboards to the folder named by its
// argument. What they query is in fleet.go and node.go; how Grafana wants it
// said, in grafana.go.
package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
)

//go:generate go run . ../../deploy/helm/renat/dashboards

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: dashboards FOLDER")
		os.Exit(2)
	}
	if err := write(os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, "dashboards:", err)
		os.Exit(1)
	}
}

func write(folder string) error {
	for _, d := range []dashboard{fleet, node} {
		b, err := json.MarshalIndent(d.object(), "", "  ")
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(folder, d.name+".json"), append(b, '\n'), 0o644); err != nil {
			return err
		}
	}
	return nil
}
