// SPDX-License-Identifier: Apache-2.0

// Command dashboards writes the Grafana dashboards to the folder named by its
// argument. What they query is in fleet.go and node.go; how it looks, in panel.go.
package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
)

//go:generate go run . ../../helm/renat/dashboards

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
	for _, p := range []page{fleet, node} {
		d, err := p.build()
		if err != nil {
			return fmt.Errorf("%s: %w", p.name, err)
		}
		b, err := json.MarshalIndent(d, "", "  ")
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(folder, p.name+".json"), append(b, '\n'), 0o644); err != nil {
			return err
		}
	}
	return nil
}
