// SPDX-License-Identifier: Apache-2.0

package nodeview

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/renat-project/renat/internal/view/render"
	"github.com/renat-project/renat/internal/view/usage"
)

const outColumns = "custom-columns="

// listing is how a list of things is written, as kubectl's get writes one.
type listing struct {
	output   string
	noTitles bool
	sortBy   string
}

func (l *listing) register(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVarP(&l.output, "output", "o", "", "output format: wide, json, yaml, name, custom-columns=TITLE:.path,…; a table if empty")
	usage.Complete(cmd, "output", outputs...)
	f.BoolVar(&l.noTitles, "no-headers", false, "leave out the titles of a table")
	f.StringVar(&l.sortBy, "sort-by", "", "order by this field of the JSON, such as .machine.kernel")
}

// check says what is wrong with the options.
func (l *listing) check() error {
	if l.sortBy != "" {
		if _, err := path(l.sortBy); err != nil {
			return usage.Errorf("--sort-by: %w", err)
		}
	}
	if l.custom() {
		_, err := l.columns()
		return err
	}
	return checkOutput(l.output, append(outputs, outColumns+"…")...)
}

// list is what is listed, for each output format.
type list struct {
	whole  any      // JSON and YAML
	things []any    // in JSON what custom columns are of
	names  []string // kind/name
	table  func() *render.Table
}

// show writes a list as it is asked for.
func (l *listing) show(s *Screen, what list) error {
	switch {
	case l.custom():
		return l.customTable(s, what.things)
	case l.output == outJSON || l.output == outYAML:
		return encode(s.Out, what.whole, l.output)
	case l.output == outName:
		return s.lines(what.names)
	}
	return s.flush(what.table(), l.noTitles)
}

func (l *listing) isTable() bool { return l.output == outTable || l.output == outWide }

func (l *listing) custom() bool { return strings.HasPrefix(l.output, outColumns) }

// field is how a value in JSON is reached: keys, and numbers of elements.
type field []string

var step = regexp.MustCompile(`\.?([A-Za-z_][A-Za-z0-9_-]*)|\[([0-9]+)\]`)

// path parses how a field is reached: .a.b, {.a.b}, a.b or .a[0].b, as kubectl takes
// the simple ones.
func path(text string) (field, error) {
	inner := strings.TrimSuffix(strings.TrimPrefix(strings.TrimSpace(text), "{"), "}")
	var f field
	read := 0
	for _, m := range step.FindAllStringSubmatchIndex(inner, -1) {
		if m[0] != read {
			break
		}
		read = m[1]
		if m[2] >= 0 {
			f = append(f, inner[m[2]:m[3]])
		} else {
			f = append(f, inner[m[4]:m[5]])
		}
	}
	if len(f) == 0 || read != len(inner) {
		return nil, fmt.Errorf("%q is no path of a field; one is like .machine.kernel or .maps[0].name", text)
	}
	return f, nil
}

// of returns what the field is in an object of JSON; nil: it has none.
func (f field) of(object any) any {
	for _, key := range f {
		switch inner := object.(type) {
		case map[string]any:
			object = inner[key]
		case []any:
			n, err := strconv.Atoi(key)
			if err != nil || n >= len(inner) {
				return nil
			}
			object = inner[n]
		default:
			return nil
		}
	}
	return object
}

type column struct {
	title string
	field field
}

func (l *listing) columns() ([]column, error) {
	var all []column
	for _, c := range strings.Split(strings.TrimPrefix(l.output, outColumns), ",") {
		title, field, ok := strings.Cut(c, ":")
		if !ok || title == "" {
			return nil, usage.Errorf("%s: %q is not like NODE:.node", strings.TrimSuffix(outColumns, "="), c)
		}
		p, err := path(field)
		if err != nil {
			return nil, usage.Errorf("%s: %w", strings.TrimSuffix(outColumns, "="), err)
		}
		all = append(all, column{title, p})
	}
	return all, nil
}

// asJSON returns what the JSON of a value holds: what paths go through.
func asJSON(v any) (out any, err error) {
	b, err := json.Marshal(v)
	if err == nil {
		d := json.NewDecoder(bytes.NewReader(b))
		d.UseNumber() // a count as it is, not as 1.2e+06
		err = d.Decode(&out)
	}
	if err != nil {
		return nil, fmt.Errorf("encoding the answer: %w", err)
	}
	return out, nil
}

// table writes the columns that were asked for, of the JSON of each thing.
func (l *listing) customTable(s *Screen, things []any) error {
	columns, err := l.columns()
	if err != nil {
		return err
	}
	t := render.Table{}
	for _, c := range columns {
		t.Columns = append(t.Columns, render.Column{Title: c.title})
	}
	for _, thing := range things {
		object, err := asJSON(thing)
		if err != nil {
			return err
		}
		var cells []string
		for _, c := range columns {
			cells = append(cells, shown(c.field.of(object)))
		}
		t.Add(cells...)
	}
	return s.flush(&t, l.noTitles)
}

// shown writes a value as kubectl does.
func shown(v any) string {
	switch v.(type) {
	case nil:
		return "<none>"
	case map[string]any, []any:
		b, _ := json.Marshal(v) // it was decoded from JSON
		return string(b)
	}
	return fmt.Sprint(v)
}

// sortThings orders things by the field of --sort-by, if there is one, in what of
// returns of them. Those without it come first, as kubectl has it.
func sortThings[T any](l *listing, things []T, of func(T) any) error {
	if l.sortBy == "" {
		return nil
	}
	by, err := path(l.sortBy)
	if err != nil {
		return usage.Errorf("--sort-by: %w", err)
	}
	type keyed struct {
		thing T
		key   any
	}
	all := make([]keyed, len(things))
	known := false
	for i, thing := range things {
		object, err := asJSON(of(thing))
		if err != nil {
			return err
		}
		all[i] = keyed{thing, by.of(object)}
		known = known || all[i].key != nil
	}
	if len(things) > 0 && !known {
		return usage.Errorf("--sort-by %s: nothing in the list has it; -o json shows the fields", l.sortBy)
	}
	slices.SortStableFunc(all, func(a, b keyed) int { return compareValues(a.key, b.key) })
	for i := range all {
		things[i] = all[i].thing
	}
	return nil
}

// compareValues orders numbers by size, all else by its text; nothing is first.
func compareValues(a, b any) int {
	if a == nil || b == nil {
		return cmp.Compare(present(a), present(b))
	}
	x, ok := a.(json.Number)
	y, both := b.(json.Number)
	if ok && both {
		f, _ := x.Float64() // JSON's are numbers
		g, _ := y.Float64()
		return cmp.Compare(f, g)
	}
	return cmp.Compare(fmt.Sprint(a), fmt.Sprint(b))
}

func present(v any) int {
	if v == nil {
		return 0
	}
	return 1
}
