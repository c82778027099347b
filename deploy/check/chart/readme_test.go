// SPDX-License-Identifier: Apache-2.0

package chart

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
	"helm.sh/helm/v4/pkg/strvals"
)

var update = flag.Bool("update", false, "write the table of values into the chart's README")

// table stands in the README between these.
const tableBegin, tableEnd = "<!-- values: go test ./chart -run Readme -update, in deploy/check -->\n", "<!-- end of values -->"

// TestReadme wants every value in the README, as values.yaml has it, and in the
// README's examples only values that there are.
func TestReadme(t *testing.T) {
	b, err := os.ReadFile(filepath.Join(chartDir, "values.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var root yaml.Node
	if err := yaml.Unmarshal(b, &root); err != nil {
		t.Fatal(err)
	}
	table := "| value | default | meaning |\n|---|---|---|\n" + rows(t, root.Content[0], "")
	name := filepath.Join(chartDir, "README.md")
	readme, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok := strings.Cut(string(readme), tableBegin)
	old, after, ended := strings.Cut(rest, tableEnd)
	if !ok || !ended {
		t.Fatalf("%s has no place for the table", name)
	}
	if *update {
		if err := os.WriteFile(name, []byte(before+tableBegin+table+tableEnd+after), 0o644); err != nil {
			t.Fatal(err)
		}
	} else if old != table {
		t.Errorf("the table in %s is not that of values.yaml: make it with %s", name, tableBegin)
	}
	examples(t, before+after)
}

// rows returns those of a mapping: each key that has a comment.
func rows(t *testing.T, n *yaml.Node, path string) (out string) {
	for i := 0; i < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		here := path + key.Value
		_, meaning, ok := strings.Cut(key.HeadComment, "# -- ")
		if !ok {
			if value.Kind != yaml.MappingNode || len(value.Content) == 0 {
				t.Errorf("%s has no comment", here)
			}
			out += rows(t, value, here+".")
			continue
		}
		var v any
		if err := value.Decode(&v); err != nil {
			t.Fatal(err)
		}
		standard, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		out += fmt.Sprintf("| `%s` | `%s` | %s |\n", here, standard, strings.ReplaceAll(strings.ReplaceAll(meaning, "\n# ", " "), "|", "\\|"))
	}
	return out
}

var (
	block = regexp.MustCompile("(?s)```yaml\n(.*?)```")
	set   = regexp.MustCompile(`--set ('[^']+'|\S+)`)
)

// examples renders the values that a text shows.
func examples(t *testing.T, text string) {
	seen := 0
	for _, m := range block.FindAllStringSubmatch(text, -1) {
		if !strings.HasPrefix(m[1], "# values\n") {
			continue
		}
		seen++
		if _, err := render(standard, image+m[1]); err != nil {
			t.Errorf("%s: %v", m[1], err)
		}
	}
	for _, m := range set.FindAllStringSubmatch(text, -1) {
		seen++
		given := map[string]any{"image": map[string]any{"registry": "registry.example.com"}}
		if err := strvals.ParseInto(strings.Trim(m[1], "'"), given); err != nil {
			t.Errorf("%s: %v", m[0], err)
			continue
		}
		values, err := yaml.Marshal(given)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := render(standard, string(values)); err != nil {
			t.Errorf("%s: %v", m[0], err)
		}
	}
	if seen < 6 {
		t.Errorf("only %d examples were found", seen)
	}
}
