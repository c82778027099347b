// SPDX-License-Identifier: Apache-2.0

package nodeview

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/fatih/color"
	"github.com/spf13/cobra"

	"github.com/renat-project/renat/internal/view/fleet"
	"github.com/renat-project/renat/internal/view/render"
	"github.com/renat-project/renat/internal/view/usage"
)

// Screen is where a verb writes.
type Screen struct {
	Out, Err io.Writer
	Colored  bool
	Terminal bool // Out is one: what is watched is redrawn in place
	Width    int  // of the terminal, in characters; 0: names are never shortened
	unheard  bool // nobody answered: what is not shown may be there
}

// NewScreen returns one that writes to out and errs, coloured by one of
// render.ColorModes.
func NewScreen(out, errs io.Writer, color string) *Screen {
	return &Screen{Out: out, Err: errs, Colored: render.Colored(out, color), Terminal: render.IsTerminal(out), Width: render.Width(out)}
}

// The output formats.
const (
	outTable = ""
	outWide  = "wide"
	outJSON  = "json"
	outYAML  = "yaml"
	outName  = "name"
)

// outputs are the output formats of a list.
var outputs = []string{outWide, outJSON, outYAML, outName}

// registerOutput makes the flag that chooses one of formats; if empty, what empty says.
func registerOutput(cmd *cobra.Command, output *string, empty string, formats ...string) {
	cmd.Flags().StringVarP(output, "output", "o", "", "output format: "+strings.Join(formats, ", ")+"; "+empty+" if empty")
	usage.Complete(cmd, "output", formats...)
}

// checkOutput says whether s is one of formats, or none.
func checkOutput(s string, formats ...string) error {
	if s != outTable && !slices.Contains(formats, s) {
		return usage.Errorf("output format %q is not one of %s", s, strings.Join(formats, ", "))
	}
	return nil
}

// flush writes a table, or to Err, as kubectl does, that there is nothing.
func (s *Screen) flush(t *render.Table, noTitles bool) error {
	if t.Len() == 0 {
		if !s.unheard {
			fmt.Fprintln(s.Err, "No resources found")
		}
		return nil
	}
	t.NoTitles = noTitles
	return t.Flush(s.Out)
}

// lines writes lines.
func (s *Screen) lines(all []string) error {
	for _, line := range all {
		if _, err := fmt.Fprintln(s.Out, line); err != nil {
			return err
		}
	}
	return nil
}

// encode writes v as JSON or YAML, with the same names.
func encode(w io.Writer, v any, format string) error {
	var text bytes.Buffer
	e := json.NewEncoder(&text)
	e.SetEscapeHTML(false) // "->" stays so
	e.SetIndent("", "  ")
	if err := e.Encode(v); err != nil {
		return fmt.Errorf("encoding the answer: %w", err)
	}
	b := render.CleanJSON(text.Bytes())
	if format == outYAML {
		var err error
		if b, err = render.YAMLOf(b); err != nil {
			return err
		}
	}
	_, err := fmt.Fprintln(w, strings.TrimSpace(string(b)))
	return err
}

// maxNamed is how many of the nodes that have one reason are named.
const maxNamed = 10

// ErrSilent says that nobody answered.
var ErrSilent = errors.New("no node answered")

// hearing is the screen for these answers.
func (s *Screen) hearing(silent []fleet.Silence, answered int) *Screen {
	heard := *s
	heard.unheard = answered == 0 && len(silent) > 0
	return &heard
}

// tell names who did not answer, by the reason, and fails if nobody did.
func (s *Screen) tell(silent []fleet.Silence, answered int) error {
	if len(silent) == 0 {
		return nil
	}
	fmt.Fprintf(s.Err, "%d of %d nodes did not answer:\n", len(silent), len(silent)+answered)
	for _, line := range named(silent) {
		fmt.Fprintln(s.Err, "  "+line)
	}
	if answered == 0 {
		return ErrSilent
	}
	return nil
}

// tellUnlisted says why nodes without an agent are not shown.
func (s *Screen) tellUnlisted(why error) {
	if why != nil {
		fmt.Fprintln(s.Err, why)
	}
}

// named are lines that say why of whom: a line for each reason, in the order of
// the first who has it.
func named(silent []fleet.Silence) []string {
	nodes := map[string][]string{}
	var lines []string
	for _, n := range silent {
		if nodes[n.Why] == nil {
			lines = append(lines, n.Why)
		}
		nodes[n.Why] = append(nodes[n.Why], n.Node)
	}
	for i, why := range lines {
		who := strings.Join(nodes[why][:min(maxNamed, len(nodes[why]))], ", ")
		if more := len(nodes[why]) - maxNamed; more > 0 {
			who += fmt.Sprintf(" and %d more", more)
		}
		lines[i] = render.Clean(who) + ": " + render.Clean(why)
	}
	return lines
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
	return slices.SortedFunc(maps.Keys(counts), func(a, b string) int {
		return cmp.Or(cmp.Compare(counts[b], counts[a]), cmp.Compare(a, b))
	})
}
