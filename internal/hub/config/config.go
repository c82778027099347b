// SPDX-License-Identifier: Apache-2.0

package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
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

// Options are what a configuration depends on beside its text.
type Options struct {
	// ExternalURL is where people find the page: notifications without a link of
	// their own lead there. Empty: they have none.
	ExternalURL string
	// WithoutSecrets checks what there is without the secrets and certificates,
	// as where a configuration is kept; it cannot be used then.
	WithoutSecrets bool
	// Dir is the folder that paths in it are relative to; empty: the working one.
	Dir string
}

// Load reads and checks a file, whose paths are relative to its folder. The
// error has a line for everything wrong with it.
func (o Options) Load(path string) (*Config, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("reading the configuration: %w", err)
	}
	o.Dir = filepath.Dir(path)
	c, err := o.Parse(b)
	if err != nil {
		return nil, fmt.Errorf("configuration %s:\n%w", path, err)
	}
	return c, nil
}

// Parse checks the text of a configuration without options.
func Parse(text []byte) (*Config, error) { return Options{}.Parse(text) }

// Parse checks the text of a configuration.
func (o Options) Parse(text []byte) (*Config, error) {
	var root yaml.Node
	if err := yaml.Unmarshal(text, &root); err != nil {
		return nil, err
	}
	var f file
	d := yaml.NewDecoder(bytes.NewReader(text))
	d.KnownFields(true)
	c := &checker{Options: o, root: &root}
	if err := d.Decode(&f); err != nil && !errors.Is(err, io.EOF) && !c.failTypes(err) {
		return nil, err
	}
	if d.Decode(&yaml.Node{}) == nil {
		return nil, errors.New("line 1: one document is enough: remove what is after ---")
	}
	c.unreadable = c.errs
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
	return out, c.err()
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
