// SPDX-License-Identifier: Apache-2.0

package main

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// Every sentence that docs/troubleshooting.md quotes is one that the programs
// can print. "…" in a quotation stands for what differs.
func TestTroubleshootingQuotesTheCode(t *testing.T) {
	raw, err := os.ReadFile("../../docs/troubleshooting.md")
	if err != nil {
		t.Fatal(err)
	}
	said := strings.Join(append(literals(t, "../.."), syscall.ENOENT.Error(), syscall.EACCES.Error()), "\n")
	said = strings.ReplaceAll(said, "%q", `"…"`)
	// A sentence is put together where one of these is.
	joint := regexp.MustCompile(`…|: |RENAT_(INCIDENTS|DEAD)|1\.5s|9969`)
	code := regexp.MustCompile("(?s)```.*?```").ReplaceAllString(string(raw), "")
	command := regexp.MustCompile(`^(kubectl|renat|curl|cilium-dbg|--[a-z-]+) ?`)
	quoted := 0
	for _, m := range regexp.MustCompile("`([^`\n]+)`").FindAllStringSubmatch(code, -1) {
		quote := m[1]
		if strings.Count(quote, " ") < 2 || command.MatchString(quote) {
			continue // a name, or what to type
		}
		quoted++
		for _, part := range joint.Split(quote, -1) {
			if !strings.Contains(said, strings.TrimSpace(part)) {
				t.Errorf("nothing says %q, of %q", part, quote)
			}
		}
	}
	if quoted < 50 {
		t.Errorf("only %d quotations were found", quoted)
	}
}

// literals returns the strings in the source of all programs.
func literals(t *testing.T, root string) (all []string) {
	t.Helper()
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && (strings.HasPrefix(d.Name(), ".") && d.Name() != ".." || d.Name() == "node_modules" || d.Name() == "deploy") {
			return filepath.SkipDir
		}
		if filepath.Ext(path) != ".go" || strings.HasSuffix(path, "_test.go") {
			return nil
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		ast.Inspect(file, func(n ast.Node) bool {
			if l, ok := n.(*ast.BasicLit); ok && l.Kind == token.STRING {
				if s, err := strconv.Unquote(l.Value); err == nil {
					all = append(all, s)
				}
			}
			return true
		})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}
