// SPDX-License-Identifier: Apache-2.0

package docs

import (
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"
)

// A Set is all pages of a repository, and what they can name in it.
type Set struct {
	Pages []*Page
	root  *os.Root
	// What the repository's own files define.
	targets map[string]bool // of make
	tests   []string        // functions that go test runs
	words   map[string]bool // RENAT_…, renat_… and /v1/… in Go files and the Makefile
}

// skipped are the folders that are no part of the repository or hold data of tests.
var skipped = map[string]bool{".git": true, ".cache": true, "bin": true, "dist": true, "node_modules": true, "testdata": true}

// Load reads the repository at root: all its pages, and the names it defines.
func Load(root string) (*Set, error) {
	dir, err := os.OpenRoot(root)
	if err != nil {
		return nil, fmt.Errorf("reading the documents: %w", err)
	}
	s := &Set{root: dir, targets: map[string]bool{}, words: map[string]bool{}}
	err = fs.WalkDir(dir.FS(), ".", func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && skipped[d.Name()]:
			return fs.SkipDir
		case d.IsDir():
			return nil
		}
		return s.read(name)
	})
	if err != nil {
		return nil, fmt.Errorf("reading the documents of %s: %w", root, err)
	}
	return s, nil
}

var (
	makeTarget = regexp.MustCompile(`(?m)^([a-z][a-z-]*):`)
	goTest     = regexp.MustCompile(`(?m)^func ((?:Test|Benchmark|Fuzz)\w+)\(`)
	ourWord    = regexp.MustCompile(`(?:\b(?:RENAT|renat)_|/v1/)[A-Za-z0-9_]*[A-Za-z0-9]`)
)

// read takes from a file what it adds to the set.
func (s *Set) read(name string) error {
	ext := filepath.Ext(name)
	if ext != ".md" && ext != ".go" && name != "Makefile" {
		return nil
	}
	source, err := s.root.ReadFile(filepath.FromSlash(name))
	if err != nil {
		return err
	}
	switch {
	case ext == ".md":
		s.Pages = append(s.Pages, NewPage(name, source))
		return nil
	case name == "Makefile":
		for _, m := range makeTarget.FindAllSubmatch(source, -1) {
			s.targets[string(m[1])] = true
		}
	case strings.HasSuffix(name, "_test.go"):
		for _, m := range goTest.FindAllSubmatch(source, -1) {
			s.tests = append(s.tests, string(m[1]))
		}
	}
	if path.Dir(name) != "internal/upkeep/docs" { // whose tests name what does not exist
		for _, w := range ourWord.FindAll(source, -1) {
			s.words[string(w)] = true
		}
	}
	return nil
}

// exists says whether the repository has a file or folder of this path.
func (s *Set) exists(name string) bool {
	_, err := s.root.Stat(filepath.FromSlash(name))
	return err == nil
}

// page returns the page of this path.
func (s *Set) page(name string) *Page {
	for _, p := range s.Pages {
		if p.Path == name {
			return p
		}
	}
	return nil
}
