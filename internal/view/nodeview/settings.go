// SPDX-License-Identifier: Apache-2.0

package nodeview

import (
	"fmt"
	"os"

	"go.yaml.in/yaml/v3"

	"github.com/renat-project/renat/internal/sizing"
)

// ReadSettings reads Cilium's settings from a file: the ConfigMap cilium-config
// as kubectl get -o yaml or -o json writes it, or its data alone.
func ReadSettings(path string) (sizing.Settings, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return sizing.Settings{}, fmt.Errorf("reading Cilium's settings: %w", err)
	}
	var file struct {
		Kind string            `yaml:"kind"`
		Data map[string]string `yaml:"data"`
	}
	err = yaml.Unmarshal(b, &file)
	if err == nil && file.Kind != "ConfigMap" {
		err = yaml.Unmarshal(b, &file.Data)
	}
	if err != nil {
		return sizing.Settings{}, fmt.Errorf("reading Cilium's settings from %s, which should be the ConfigMap cilium-config: %w", path, err)
	}
	s, err := sizing.ParseSettings(file.Data)
	if err != nil {
		err = fmt.Errorf("reading Cilium's settings from %s: %w", path, err)
	}
	return s, err
}
