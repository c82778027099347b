// SPDX-License-Identifier: Apache-2.0

// Command openapigen writes the OpenAPI document of the HTTP API, derived from
// its routes and Go types, to the file named by its argument. It must run in
// the folder of package api, as go generate does.
package main

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"strings"

	"github.com/invopop/jsonschema"

	"github.com/renat-project/renat/internal/web/api"
	"github.com/renat-project/renat/internal/web/board"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: openapigen FILE")
		os.Exit(2)
	}
	if err := write(os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, "openapigen:", err)
		os.Exit(1)
	}
}

func write(file string) error {
	file, err := filepath.Abs(file)
	if err != nil {
		return err
	}
	if err := os.Chdir("../../.."); err != nil { // where the packages' comments are found
		return err
	}
	b, err := document()
	if err != nil {
		return err
	}
	return os.WriteFile(file, b, 0o644)
}

type object = map[string]any

// document returns the OpenAPI 3.1 document. It must run in the repository's folder.
func document() ([]byte, error) {
	g := generator{schemas: object{}, reflector: jsonschema.Reflector{
		AllowAdditionalProperties: true, // a reader of today must accept the fields of tomorrow
		Anonymous:                 true,
		Mapper:                    mapped,
	}}
	for _, dir := range []string{"internal/web/api", "internal/web/board", "internal/nodestatus", "internal/sizing", "correlator/incident"} {
		if err := g.reflector.AddGoComments("github.com/renat-project/renat", "./"+dir); err != nil {
			return nil, fmt.Errorf("reading comments: %w", err)
		}
	}
	paths := object{"/v1/session": session}
	for _, r := range api.Routes {
		paths[r.Path] = object{"get": g.operation(r)}
	}
	g.schemas["Problem"] = g.schema(api.Problem{})
	g.schemas["CloudEvent"] = cloudEvent
	b, err := json.MarshalIndent(object{
		"openapi": "3.1.0",
		"info": object{
			"title": "renat", "version": "v1", "license": object{"name": "Apache-2.0", "identifier": "Apache-2.0"},
			"description": "Which connections Cilium's NAT map broke. Served by renat hub and renat agent. Fields may be added within v1; readers must ignore those they do not know.",
		},
		"paths": paths,
		"components": object{
			"schemas":         g.schemas,
			"securitySchemes": object{"bearer": object{"type": "http", "scheme": "bearer"}, "session": object{"type": "apiKey", "in": "cookie", "name": "renat-session"}},
		},
		"security": []object{{}, {"bearer": []string{}}, {"session": []string{}}},
	}, "", "  ")
	return append(b, '\n'), err
}

// mapped are the schemas of types that do not say them themselves.
func mapped(t reflect.Type) *jsonschema.Schema {
	switch t {
	case reflect.TypeFor[api.CloudEvent]():
		return &jsonschema.Schema{Ref: "#/components/schemas/CloudEvent"}
	case reflect.TypeFor[netip.Addr]():
		return &jsonschema.Schema{Type: "string"}
	case reflect.TypeFor[board.Rate]():
		return &jsonschema.Schema{OneOf: []*jsonschema.Schema{{Type: "number"}, {Type: "null"}}}
	}
	return nil
}

// cloudEvent is CloudEvents 1.0 in structured JSON mode.
var cloudEvent = object{
	"type":        "object",
	"description": "A CloudEvents 1.0 event, type dev.renat.incident.v1. Its data is described by the JSON Schema that dataschema names.",
	"required":    []string{"specversion", "id", "source", "type", "time", "data"},
	"properties": object{
		"specversion": object{"const": "1.0"}, "id": object{"type": "string"}, "source": object{"type": "string"},
		"type": object{"const": "dev.renat.incident.v1"}, "subject": object{"type": "string"},
		"time": object{"type": "string", "format": "date-time"}, "datacontenttype": object{"const": "application/json"},
		"dataschema": object{"type": "string"}, "data": object{"type": "object"},
	},
}

// session is what Access serves for browsers.
var session = object{
	"post": object{
		"summary": "Exchange the bearer token for a cookie",
		"requestBody": object{"required": true, "content": object{"application/json": object{"schema": object{
			"type": "object", "required": []string{"token"}, "properties": object{"token": object{"type": "string"}},
		}}}},
		"responses": object{"204": object{"description": "signed in"}, "default": problem},
	},
	"delete": object{"summary": "Give the cookie back", "responses": object{"204": object{"description": "signed out"}, "default": problem}},
}

var problem = object{
	"description": "what is wrong (RFC 9457)",
	"content":     object{"application/problem+json": object{"schema": object{"$ref": "#/components/schemas/Problem"}}},
}

type generator struct {
	reflector jsonschema.Reflector
	schemas   object
}

func (g *generator) operation(r api.Route) object {
	params := []object{}
	for _, p := range r.Params {
		params = append(params, parameter(p))
	}
	content := object{"text/event-stream": object{"schema": object{"type": "string"}}}
	if r.Answer != nil {
		name := reflect.TypeOf(r.Answer).Name()
		schema := object{"type": "object"}
		if name != "" {
			g.schemas[name] = g.schema(r.Answer)
			schema = object{"$ref": "#/components/schemas/" + name}
		}
		content = object{"application/json": object{"schema": schema}}
	}
	op := object{
		"summary": r.Summary, "parameters": params,
		"responses": object{"200": object{"description": "the answer", "content": content}, "default": problem},
	}
	if r.Description != "" {
		op["description"] = r.Description
	}
	return op
}

func parameter(p api.Param) object {
	schema := object{"type": "string"}
	if p.Low != p.High {
		schema = object{"type": "integer", "minimum": p.Low, "maximum": p.High}
	}
	if p.Values != nil {
		schema["enum"] = p.Values
	}
	if p.Many {
		schema = object{"type": "array", "items": schema}
	}
	return object{"name": p.Name, "in": p.In, "description": p.Help, "required": p.In == "path", "schema": schema}
}

// schema returns the JSON Schema of v's type, and puts those of the types in it
// among the components.
func (g *generator) schema(v any) any {
	s := g.reflector.Reflect(v)
	s.Version = ""
	own := s.Definitions[reflect.TypeOf(v).Name()]
	for name, def := range s.Definitions {
		if def != own {
			g.schemas[name] = plain(def)
		}
	}
	return plain(own)
}

// plain makes references those of an OpenAPI document.
func plain(s *jsonschema.Schema) (out any) {
	b, err := json.Marshal(s)
	if err != nil {
		panic(err) // it was made by reflection
	}
	if err := json.Unmarshal([]byte(strings.ReplaceAll(string(b), `"#/$defs/`, `"#/components/schemas/`)), &out); err != nil {
		panic(err)
	}
	return out
}
