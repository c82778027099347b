// SPDX-License-Identifier: Apache-2.0

package docs

import (
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

const (
	root   = "../../.."
	module = "github.com/renat-project/renat/"
)

// house is what docs/architecture.md says.
type house struct {
	line    map[string]int      // of a room in the drawing, from the top
	imports map[string][]string // sorted; nil: any
}

var (
	tableRow = regexp.MustCompile("(?m)^\\| `([a-z/-]+)` \\| [^|]+ \\| ([^|]+) \\|$")
	quoted   = regexp.MustCompile("`([a-z/-]+)`")
)

func readHouse(t *testing.T) house {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, "docs/architecture.md"))
	if err != nil {
		t.Fatal(err)
	}
	h := house{map[string]int{}, map[string][]string{}}
	for _, row := range tableRow.FindAllStringSubmatch(string(text), -1) {
		rooms := []string{}
		for _, name := range quoted.FindAllStringSubmatch(row[2], -1) {
			rooms = append(rooms, name[1])
		}
		slices.Sort(rooms)
		if row[2] == "any" {
			rooms = nil
		}
		h.imports[row[1]] = rooms
	}
	_, drawing, _ := strings.Cut(string(text), "```text\n")
	drawing, _, _ = strings.Cut(drawing, "```")
	n := 0
	for line := range strings.Lines(drawing) {
		for _, word := range strings.Fields(line) {
			if _, room := h.imports[word]; room {
				h.line[word] = n
			}
		}
		n++
	}
	return h
}

// roomOf is the innermost room that has a package of this module, "" for none.
func (h house) roomOf(pkg string) (room string) {
	name, ours := strings.CutPrefix(pkg, module)
	if !ours {
		return ""
	}
	for r := range h.imports {
		if (name == r || strings.HasPrefix(name, r+"/")) && len(r) > len(room) {
			room = r
		}
	}
	return room
}

// realImports are those between rooms, without tests.
func (h house) realImports(t *testing.T) map[string][]string {
	t.Helper()
	list := exec.Command("go", "list", "-f", "{{.ImportPath}} {{join .Imports \" \"}}", "./...")
	list.Dir = root
	out, err := list.Output()
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]map[string]bool{}
	for line := range strings.Lines(string(out)) {
		packages := strings.Fields(line)
		from := h.roomOf(packages[0])
		if from == "" {
			t.Errorf("%s is in no room of docs/architecture.md", packages[0])
		}
		if found[from] == nil {
			found[from] = map[string]bool{}
		}
		for _, pkg := range packages[1:] {
			if to := h.roomOf(pkg); to != "" && to != from {
				found[from][to] = true
			}
		}
	}
	imports := map[string][]string{}
	for from, to := range found {
		imports[from] = slices.Sorted(maps.Keys(to))
	}
	return imports
}

// TestArchitecture holds the page against the imports.
func TestArchitecture(t *testing.T) {
	h := readHouse(t)
	imports := h.realImports(t)
	for room := range h.imports {
		if _, ok := h.line[room]; !ok {
			t.Errorf("docs/architecture.md draws no %s", room)
		}
		if _, ok := imports[room]; !ok {
			t.Errorf("docs/architecture.md has a room %s, the code has not", room)
		}
	}
	for from, to := range imports {
		if want := h.imports[from]; want != nil && !slices.Equal(to, want) {
			t.Errorf("%s imports %v; docs/architecture.md says %v", from, to, want)
		}
		for _, room := range to {
			if h.line[room] <= h.line[from] {
				t.Errorf("%s imports %s, which docs/architecture.md does not draw below it", from, room)
			}
		}
	}
	folders, err := os.ReadDir(filepath.Join(root, "internal"))
	if err != nil {
		t.Fatal(err)
	}
	if len(folders) > 10 {
		t.Errorf("internal has %d rooms; ten are enough", len(folders))
	}
}

// TestImportRules holds .golangci.yml against the page: a rule for each room,
// which refuses what the page does not say.
func TestImportRules(t *testing.T) {
	h := readHouse(t)
	text, err := os.ReadFile(filepath.Join(root, ".golangci.yml"))
	if err != nil {
		t.Fatal(err)
	}
	var config struct {
		Linters struct {
			Settings struct {
				Depguard struct {
					Rules map[string]struct {
						Files, Allow []string
						Deny         []struct{ Pkg string }
					}
				}
			}
		}
	}
	if err := yaml.Unmarshal(text, &config); err != nil {
		t.Fatal(err)
	}
	for room, want := range h.imports {
		rule, ok := config.Linters.Settings.Depguard.Rules[room]
		if want == nil {
			continue
		}
		if !ok || len(rule.Deny) == 0 || rule.Deny[0].Pkg != module || !strings.HasPrefix(rule.Files[0], "**/"+room+"/*") {
			t.Errorf(".golangci.yml has no rule %s that denies %s", room, module)
			continue
		}
		var allowed []string
		for _, pkg := range rule.Allow {
			if name := strings.TrimSuffix(strings.TrimPrefix(pkg, module), "$"); name != room {
				allowed = append(allowed, name)
			}
		}
		slices.Sort(allowed)
		if !slices.Equal(allowed, want) {
			t.Errorf("rule %s of .golangci.yml allows %v; docs/architecture.md says %v", room, allowed, want)
		}
	}
}
