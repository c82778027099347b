// SPDX-License-Identifier: Apache-2.0

package nodeview

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/fatih/color"
	"go.yaml.in/yaml/v3"

	"github.com/renat-project/renat/internal/view/fleet"
	"github.com/renat-project/renat/internal/view/render"
)

// Screen is where a verb writes.
type Screen struct {
	Out, Err io.Writer
	Colored  bool
	Terminal bool // Out is one: what is watched is redrawn in place
}

// UsageError is a wrong option.
type UsageError struct{ error }

// Unwrap returns what is wrong.
func (e UsageError) Unwrap() error { return e.error }

// The output formats.
const (
	outTable = ""
	outWide  = "wide"
	outJSON  = "json"
	outYAML  = "yaml"
	outName  = "name"
)

// Outputs are all output formats, for completion.
func Outputs() []string { return []string{outWide, outJSON, outYAML, outName} }

const outputHelp = "output format: wide, json, yaml, name; a table if empty"

func checkOutput(s string) error {
	if s != outTable && !slices.Contains(Outputs(), s) {
		return UsageError{fmt.Errorf("output format %q is not one of %s", s, strings.Join(Outputs(), ", "))}
	}
	return nil
}

// encode writes v as JSON or YAML, with the same names.
func encode(w io.Writer, v any, format string) error {
	b, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return fmt.Errorf("encoding the answer: %w", err)
	}
	if format == outYAML {
		var plain any // JSON is YAML
		if err := yaml.Unmarshal(b, &plain); err != nil {
			return fmt.Errorf("encoding the answer: %w", err)
		}
		if b, err = yaml.Marshal(plain); err != nil {
			return fmt.Errorf("encoding the answer: %w", err)
		}
	}
	_, err = fmt.Fprintln(w, strings.TrimSpace(string(b)))
	return err
}

// maxNamed is how many of the nodes that did not answer for one reason are
// named.
const maxNamed = 10

// ErrSilent says that nobody answered.
var ErrSilent = errors.New("no node answered")

// tell names who did not answer, by the reason, and fails if nobody did.
func (s *Screen) tell(silent []fleet.Silence, answered int) error {
	if len(silent) == 0 {
		return nil
	}
	fmt.Fprintf(s.Err, "%d of %d nodes did not answer:\n", len(silent), len(silent)+answered)
	nodes := map[string][]string{}
	var reasons []string // by their first node
	for _, n := range silent {
		if nodes[n.Why] == nil {
			reasons = append(reasons, n.Why)
		}
		nodes[n.Why] = append(nodes[n.Why], n.Node)
	}
	for _, why := range reasons {
		named := strings.Join(nodes[why][:min(maxNamed, len(nodes[why]))], ", ")
		if more := len(nodes[why]) - maxNamed; more > 0 {
			named += fmt.Sprintf(" and %d more", more)
		}
		fmt.Fprintf(s.Err, "  %s: %s\n", render.Clean(named), render.Clean(why))
	}
	if answered == 0 {
		return ErrSilent
	}
	return nil
}

func (s *Screen) paint(a color.Attribute, text string) string {
	if !s.Colored {
		return text
	}
	c := color.New(a)
	c.EnableColor()
	return c.Sprint(text)
}

// share writes part of whole in per cent; "?" where that is not known.
func share(part, whole float64) string {
	if whole <= 0 {
		return "?"
	}
	return fmt.Sprintf("%.0f%%", 100*part/whole)
}

// rate writes a number per second with at most three digits that matter.
func rate(r float64) string {
	switch {
	case r == 0:
		return "0"
	case r < 0.05:
		return "<0.1"
	case r < 99.95:
		return fmt.Sprintf("%.1f", r)
	}
	return fmt.Sprintf("%.0f", r)
}

// shortMap leaves out what all names of maps share.
func shortMap(name string) string {
	return strings.TrimSuffix(strings.TrimPrefix(name, "cilium_"), "_external")
}

// sorted returns the keys of a map, those with the most first.
func sorted[N cmp.Ordered](counts map[string]N) []string {
	keys := make([]string, 0, len(counts))
	for k := range counts {
		keys = append(keys, k)
	}
	slices.SortFunc(keys, func(a, b string) int {
		return cmp.Or(cmp.Compare(counts[b], counts[a]), cmp.Compare(a, b))
	})
	return keys
}
