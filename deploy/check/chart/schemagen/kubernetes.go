// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

type schema = map[string]any

const (
	intOrString = "io.k8s.apimachinery.pkg.util.intstr.IntOrString"
	quantity    = "io.k8s.apimachinery.pkg.api.resource.Quantity"
)

// readKubernetes returns the definitions that roots need.
func readKubernetes(dir string, roots []string) (schema, error) {
	b, err := os.ReadFile(filepath.Join(dir, "api/openapi-spec/swagger.json"))
	if err != nil {
		return nil, err
	}
	var swagger struct{ Definitions map[string]schema }
	if err := json.Unmarshal(b, &swagger); err != nil {
		return nil, err
	}
	enums, err := readEnums(filepath.Join(dir, "pkg/generated/openapi/zz_generated.openapi.go"))
	if err != nil {
		return nil, err
	}
	// Swagger says string of what may be a number, too.
	swagger.Definitions[intOrString] = schema{"type": []string{"integer", "string"}}
	swagger.Definitions[quantity] = schema{"type": []string{"number", "string"}, "pattern": `^[+-]?[0-9.]+([numkMGTPE]|[KMGTPE]i|[eE][+-]?[0-9]+)?$`}
	needed := schema{}
	var need func(name string) error
	need = func(name string) error {
		if needed[name] != nil {
			return nil
		}
		d, ok := swagger.Definitions[name]
		if !ok {
			return fmt.Errorf("there is no definition of %s", name)
		}
		needed[name] = d
		for property, values := range enums[name] {
			if p, ok := d["properties"].(schema)[property].(schema); ok {
				if items, ok := p["items"].(schema); ok {
					p = items
				}
				p["enum"] = values
			}
		}
		for _, ref := range tidy(d) {
			if err := need(strings.TrimPrefix(ref, "#/definitions/")); err != nil {
				return err
			}
		}
		return nil
	}
	for _, root := range roots {
		if err := need(root); err != nil {
			return nil, err
		}
	}
	return needed, nil
}

// tidy makes a definition strict, takes out what is for people, and returns the
// references in it.
func tidy(s schema) (refs []string) {
	for key := range s {
		if key == "description" || key == "format" || key == "default" || strings.HasPrefix(key, "x-") {
			delete(s, key)
		}
	}
	if ref, ok := s["$ref"].(string); ok {
		refs = append(refs, ref)
	}
	properties, _ := s["properties"].(schema)
	for _, p := range properties {
		refs = append(refs, tidy(p.(schema))...)
	}
	if properties != nil {
		s["additionalProperties"] = false
	}
	for _, key := range []string{"items", "additionalProperties"} {
		if inner, ok := s[key].(schema); ok {
			refs = append(refs, tidy(inner)...)
		}
	}
	return refs
}

// readEnums returns the values of properties that take only some, by definition
// and property. Swagger leaves them out; Kubernetes' generated code has them.
func readEnums(path string) (map[string]map[string][]string, error) {
	file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
	if err != nil {
		return nil, err
	}
	all := map[string]map[string][]string{}
	for _, d := range file.Decls {
		f, ok := d.(*ast.FuncDecl)
		if !ok || !strings.HasPrefix(f.Name.Name, "schema_k8sio_api_") {
			continue
		}
		name := "io.k8s.api." + strings.ReplaceAll(strings.TrimPrefix(f.Name.Name, "schema_k8sio_api_"), "_", ".")
		all[name] = map[string][]string{}
		property := ""
		ast.Inspect(f, func(n ast.Node) bool {
			kv, ok := n.(*ast.KeyValueExpr)
			if !ok {
				return true
			}
			switch key := kv.Key.(type) {
			case *ast.BasicLit: // only properties have a string for a key
				property, _ = strconv.Unquote(key.Value)
			case *ast.Ident:
				if values, ok := kv.Value.(*ast.CompositeLit); ok && key.Name == "Enum" {
					all[name][property] = texts(values)
				}
			}
			return true
		})
	}
	return all, nil
}

func texts(list *ast.CompositeLit) (out []string) {
	for _, e := range list.Elts {
		if lit, ok := e.(*ast.BasicLit); ok {
			s, _ := strconv.Unquote(lit.Value) // it was parsed
			if !slices.Contains(out, s) {      // some have two names in Go
				out = append(out, s)
			}
		}
	}
	return out
}
