// SPDX-License-Identifier: Apache-2.0

// Command schemagen writes the JSON Schema of an incident, derived from the Go
// type and its comments, and a page for people with the same content, to the
// files named by its arguments. It must run in the package's folder, as go
// generate does.
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
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: schemagen SCHEMA PAGE")
		os.Exit(2)
	}
	if err := write(os.Args[1], os.Args[2]); err != nil {
		fmt.Fprintln(os.Stderr, "schemagen:", err)
		os.Exit(1)
	}
}

func write(schemaFile, pageFile string) error {
	schema, page, err := documents(".")
	if err != nil {
		return err
	}
	if err := os.WriteFile(schemaFile, schema, 0o644); err != nil {
		return err
	}
	return os.WriteFile(pageFile, page, 0o644)
}

// documents returns the JSON Schema and the page; dir is the folder of package
// incident.
func documents(dir string) (schema, page []byte, err error) {
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
		return nil, nil, fmt.Errorf("reading comments: %w", err)
	}
	s := r.Reflect(&incident.Incident{})
	s.ID = jsonschema.ID(incident.SchemaURL)
	s.Title = incident.Type
	if schema, err = json.MarshalIndent(s, "", "  "); err != nil {
		return nil, nil, err
	}
	page, err = reference(s, dir)
	return append(schema, '\n'), page, err
}
