// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"os"
	"strings"

	"sigs.k8s.io/yaml"
)

// readCRD returns the schema of one version in a CustomResourceDefinition.
func readCRD(path, version string) (schema, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var crd struct {
		Spec struct {
			Group    string
			Names    struct{ Kind string }
			Versions []struct {
				Name   string
				Schema struct{ OpenAPIV3Schema schema }
			}
		}
	}
	if err := yaml.Unmarshal(b, &crd); err != nil {
		return nil, err
	}
	for _, v := range crd.Spec.Versions {
		if v.Name != version {
			continue
		}
		s := v.Schema.OpenAPIV3Schema
		strict(s)
		properties := s["properties"].(schema)
		delete(properties, "status")
		properties["apiVersion"] = schema{"enum": []string{crd.Spec.Group + "/" + version}}
		properties["kind"] = schema{"enum": []string{crd.Spec.Names.Kind}}
		texts := schema{"type": "object", "additionalProperties": schema{"type": "string"}}
		properties["metadata"] = schema{
			"type": "object", "required": []string{"name"}, "additionalProperties": false,
			"properties": schema{"name": schema{"type": "string"}, "namespace": schema{"type": "string"}, "labels": texts, "annotations": texts},
		}
		s["required"] = []string{"apiVersion", "kind", "metadata", "spec"}
		return s, nil
	}
	return nil, fmt.Errorf("there is no version %s", version)
}

// strict is tidy for a CustomResourceDefinition, in which what is not said to be
// a property is dropped by the API server. Schemas below anyOf and its like only
// add conditions: they stay as they are.
func strict(s schema) {
	open := s["x-kubernetes-preserve-unknown-fields"] == true
	either := s["x-kubernetes-int-or-string"] == true
	for key := range s {
		if key == "description" || key == "format" || key == "default" || strings.HasPrefix(key, "x-") {
			delete(s, key)
		}
	}
	if either {
		delete(s, "type")
	}
	if s["nullable"] == true {
		s["type"] = []any{s["type"], "null"}
	}
	delete(s, "nullable")
	properties, _ := s["properties"].(schema)
	for _, p := range properties {
		strict(p.(schema))
	}
	if properties != nil && !open {
		s["additionalProperties"] = false
	}
	for _, key := range []string{"items", "additionalProperties"} {
		if inner, ok := s[key].(schema); ok {
			strict(inner)
		}
	}
}
