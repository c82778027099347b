// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"os"

	"github.com/spf13/pflag"
	"go.yaml.in/yaml/v3"
)

// applyConfig sets the flags that a YAML file names and that neither the
// command line nor the environment has set. Every key is a flag's name; a list
// is for flags that may be given several times.
func applyConfig(flags *pflag.FlagSet, path string) error {
	raw, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("reading the configuration: %w", err)
	}
	var root yaml.Node
	if err := yaml.Unmarshal(raw, &root); err != nil {
		return fmt.Errorf("reading the configuration %s: %w", path, err)
	}
	if len(root.Content) == 0 {
		return nil // an empty file
	}
	body := root.Content[0]
	if body.Kind != yaml.MappingNode {
		return fmt.Errorf("%s:%d: the configuration is not of the form key: value", path, body.Line)
	}
	var errs []error
	seen := map[string]bool{}
	for n := 0; n+1 < len(body.Content); n += 2 {
		key, value := body.Content[n], body.Content[n+1]
		if err := applyKey(flags, key.Value, value, seen[key.Value]); err != nil {
			errs = append(errs, fmt.Errorf("%s:%d: %w", path, key.Line, err))
		}
		seen[key.Value] = true
	}
	return errors.Join(errs...)
}

func applyKey(flags *pflag.FlagSet, key string, value *yaml.Node, again bool) error {
	f := flags.Lookup(key)
	switch {
	case f == nil || key == "config" || key == "help":
		return fmt.Errorf("unknown key %q: keys are the flags' names without the dashes", key)
	case again:
		return fmt.Errorf("key %q is there twice", key)
	case f.Changed:
		return nil
	}
	switch value.Kind {
	case yaml.ScalarNode:
		if err := flags.Set(key, value.Value); err != nil {
			return fmt.Errorf("key %q: %w", key, err)
		}
	case yaml.SequenceNode:
		list, ok := f.Value.(pflag.SliceValue)
		if !ok {
			return fmt.Errorf("key %q takes one value, not a list", key)
		}
		var values []string
		if err := value.Decode(&values); err != nil {
			return fmt.Errorf("key %q: %w", key, err)
		}
		if err := list.Replace(values); err != nil {
			return fmt.Errorf("key %q: %w", key, err)
		}
	default:
		return fmt.Errorf("key %q has neither a value nor a list", key)
	}
	return nil
}
