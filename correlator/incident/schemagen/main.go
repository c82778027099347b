// SPDX-License-Identifier: Apache-2.0

// Command schemagen writes the JSON Schema of an incident, derived from the Go
// type and its comments, to the file named by its argument. It must run in
// the package's folder, as go generate does.
package main

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"reflect"

	"github.com/invopop/jsonschema"

	"github.com/renat-project/renat/correlator/incident"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: schemagen FILE")
		os.Exit(2)
	}
	if err := write(os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, "schemagen:", err)
		os.Exit(1)
	}
}

func write(file string) error {
	b, err := schema(".")
	if err != nil {
		return err
	}
	return os.WriteFile(file, b, 0o644)
}

// schema returns the JSON Schema; dir is the folder of package incident.
func schema(dir string) ([]byte, error) {
	r := jsonschema.Reflector{
		// A reader of today must accept the fields of tomorrow.
		AllowAdditionalProperties: true,
		Anonymous:                 true,
		Mapper: func(t reflect.Type) *jsonschema.Schema {
			if t == reflect.TypeFor[netip.Addr]() {
				return &jsonschema.Schema{Type: "string", AnyOf: []*jsonschema.Schema{{Format: "ipv4"}, {Format: "ipv6"}}}
			}
			return nil
		},
	}
	if err := r.AddGoComments("github.com/renat-project/renat/correlator/incident", dir); err != nil {
		return nil, fmt.Errorf("reading comments: %w", err)
	}
	s := r.Reflect(&incident.Incident{})
	s.ID = jsonschema.ID(incident.SchemaURL)
	s.Title = incident.Type
	b, err := json.MarshalIndent(s, "", "  ")
	return append(b, '\n'), err
}
