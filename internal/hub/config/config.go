// SPDX-License-Identifier: Apache-2.0

package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/renat-project/renat/internal/hub/delivery"
	"github.com/renat-project/renat/internal/hub/grouping"
	"github.com/renat-project/renat/sinks/notification"
)

// Config is a checked configuration.
type Config struct{ Receivers []*Receiver }

// Receiver is one destination and what is sent to it.
type Receiver struct {
	Name string
	Rule grouping.Rule
	// Since is how old an incident may be, by when it was stored, that a
	// receiver which is new to this NATS is told of.
	Since       time.Duration
	Policy      delivery.Policy
	Timeout     time.Duration // of one attempt
	Destination notification.Destination
	// Fingerprint is the same for two receivers that are configured alike.
	Fingerprint string
}

// Load reads and checks a file. The error has a line for everything wrong with it.
func Load(path string) (*Config, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("reading the configuration: %w", err)
	}
	c, err := Parse(b)
	if err != nil {
		return nil, fmt.Errorf("configuration %s:\n%w", path, err)
	}
	return c, nil
}

// Parse checks the text of a configuration.
func Parse(text []byte) (*Config, error) {
	var root yaml.Node
	if err := yaml.Unmarshal(text, &root); err != nil {
		return nil, err
	}
	var f file
	d := yaml.NewDecoder(bytes.NewReader(text))
	d.KnownFields(true)
	if err := d.Decode(&f); err != nil && !errors.Is(err, io.EOF) {
		return nil, typeErrors(err)
	}
	if d.Decode(&yaml.Node{}) == nil {
		return nil, errors.New("line 1: one document is enough: remove what is after ---")
	}
	c := &checker{root: &root}
	out := &Config{}
	if len(f.Receivers) == 0 {
		c.fail(errors.New("there is no receiver: give at least one under receivers"), "receivers")
	}
	names := map[string]bool{}
	for n := range f.Receivers {
		r := &f.Receivers[n]
		c.at = []any{"receivers", n}
		if names[r.Name] {
			c.fail(fmt.Errorf("there is another receiver %q: give each its own name", r.Name), "name")
		}
		names[r.Name] = true
		out.Receivers = append(out.Receivers, c.receiver(r))
	}
	return out, errors.Join(c.errs...)
}

// Receiver returns the receiver of that name.
func (c *Config) Receiver(name string) (*Receiver, error) {
	var names []string
	for _, r := range c.Receivers {
		if r.Name == name {
			return r, nil
		}
		names = append(names, r.Name)
	}
	return nil, fmt.Errorf("there is no receiver %q in the configuration, only %q", name, names)
}

// typeErrors returns the YAML library's findings, each with its line, in our words.
func typeErrors(err error) error {
	var t *yaml.TypeError
	if !errors.As(err, &t) {
		return err
	}
	var errs []error
	for _, s := range t.Errors {
		errs = append(errs, errors.New(rephrase(s)))
	}
	return errors.Join(errs...)
}
