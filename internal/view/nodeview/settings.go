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
func ReadSettings(path string) (*sizing.Settings, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("reading Cilium's settings: %w", err)
	}
	var file struct {
		Kind     string `yaml:"kind"`
		Metadata struct {
			Name string `yaml:"name"`
		} `yaml:"metadata"`
		Data map[string]string `yaml:"data"`
	}
	err = yaml.Unmarshal(b, &file)
	if err == nil && file.Kind == "" {
		err = yaml.Unmarshal(b, &file.Data)
	}
	const want = "should be the ConfigMap cilium-config"
	switch name := file.Metadata.Name; {
	case err != nil:
		return nil, fmt.Errorf("reading Cilium's settings from %s, which %s: %w", path, want, err)
	case file.Kind != "" && file.Kind != "ConfigMap":
		return nil, fmt.Errorf("reading Cilium's settings from %s, which %s: it is of kind %s", path, want, file.Kind)
	case name != "" && name != "cilium-config":
		return nil, fmt.Errorf("reading Cilium's settings from %s, which %s: it is %s", path, want, name)
	case !sizing.AreSettings(file.Data):
		return nil, fmt.Errorf("reading Cilium's settings from %s, which %s: it has none of them", path, want)
	}
	s, err := sizing.ParseSettings(file.Data)
	if err != nil {
		return nil, fmt.Errorf("reading Cilium's settings from %s: %w", path, err)
	}
	return &s, nil
}
