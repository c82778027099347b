// SPDX-License-Identifier: Apache-2.0

package render

import (
	"fmt"

	"go.yaml.in/yaml/v3"

	"github.com/renat-project/renat/correlator/incident"
)

// yamlOf is an incident's CloudEvent as YAML.
func yamlOf(i *incident.Incident) ([]byte, error) {
	b, err := i.MarshalCloudEvent()
	if err != nil {
		return nil, err
	}
	return YAMLOf(b)
}

// YAMLOf writes JSON as YAML, with the same names and values.
func YAMLOf(raw []byte) ([]byte, error) {
	var plain any
	if err := yaml.Unmarshal(CleanJSON(raw), &plain); err != nil { // such JSON is YAML, and so whole numbers stay whole
		return nil, fmt.Errorf("writing YAML: %w", err)
	}
	b, err := yaml.Marshal(plain)
	if err != nil {
		return nil, fmt.Errorf("writing YAML: %w", err)
	}
	return b, nil
}
