// SPDX-License-Identifier: Apache-2.0

package docs

import (
	"regexp"
	"slices"
	"strings"
)

// Names finds what the pages name and the repository does not have: make
// targets, variables of the environment, metrics and other names that begin with
// renat_, paths of HTTP, tests and benchmarks, files. The environment has RENAT_ and the name of
// each of the flags; metrics are those given.
func (s *Set) Names(flags, metrics []string) []Problem {
	known := map[string]bool{}
	for _, f := range flags {
		known["RENAT_"+strings.ToUpper(strings.ReplaceAll(f, "-", "_"))] = true
	}
	for _, m := range metrics {
		for _, series := range []string{"", "_bucket", "_sum", "_count"} { // a histogram's
			known[m+series] = true
		}
	}
	var problems []Problem
	for _, page := range s.Pages {
		if page.Path != "CHANGELOG.md" { // tells of what once was, too
			problems = append(problems, s.ours(page, known)...)
		}
		calls, _ := page.calls() // what is no command line is for Commands to say
		for _, c := range calls {
			problems = append(problems, s.call(page, c)...)
		}
		for _, span := range page.spans {
			if s.missing(span.text) {
				problems = append(problems, page.problem(span, "no file or folder %s", span.text))
			}
			if goTestName.MatchString(span.text) && !s.hasTest(regexp.MustCompile("^"+span.text)) {
				problems = append(problems, page.problem(span, "no test %s", span.text))
			}
		}
	}
	return problems
}

var goTestName = regexp.MustCompile(`^(Test|Benchmark|Fuzz)[A-Z]\w*$`)

// ours holds the names that begin with RENAT_ or renat_, and the paths of HTTP
// that begin with /v1/, in text and in blocks: each must be known, or be in the
// code; `renat_map_…` stands for all it begins.
func (s *Set) ours(page *Page, known map[string]bool) []Problem {
	var problems []Problem
	for _, at := range slices.Concat(page.spans, page.blocks) {
		for _, m := range ourName.FindAllStringSubmatch(at.text, -1) {
			name, many := m[1]+m[2], m[3] != ""
			switch {
			case known[name] || s.words[name] || archive.MatchString(name):
			case many && (hasPrefix(known, name) || hasPrefix(s.words, name)):
			default:
				problems = append(problems, page.problem(at, "neither a metric, a variable, a path nor a name in the code: %s%s", name, m[3]))
			}
		}
	}
	return problems
}

var (
	ourName = regexp.MustCompile(`(?:(?:^|:[0-9]+|[\s"'(])(/v1/\w*)|\b((?:RENAT|renat)_\w*))(…|\*|\.\*)?`)
	archive = regexp.MustCompile(`^renat_(v[0-9]|[A-Z])`) // renat_v1.0.0_linux_amd64.tar.gz
)

// call holds one command line: the targets of make, what go test is to run, the
// files that are named.
func (s *Set) call(page *Page, c call) []Problem {
	if len(c.args) == 0 {
		return nil
	}
	var problems []Problem
	for i, arg := range c.args {
		// deploy/renat-hub is a Deployment for kubectl, but what follows -f is a file.
		if s.missing(arg) && (c.args[0] != "kubectl" || c.args[i-1] == "-f") {
			problems = append(problems, page.problem(c.fragment, "no file or folder %s", arg))
		}
	}
	switch c.args[0] {
	case "make":
		for _, arg := range c.args[1:] {
			if !strings.HasPrefix(arg, "-") && !strings.Contains(arg, "=") && !s.targets[arg] {
				problems = append(problems, page.problem(c.fragment, "the Makefile has no target %s", arg))
			}
		}
	case "go":
		for i, arg := range c.args[:len(c.args)-1] {
			if arg != "-run" && arg != "-bench" && arg != "-fuzz" || c.args[i+1] == "^$" {
				continue
			}
			name, _, _ := strings.Cut(c.args[i+1], "/") // the rest chooses among its parts
			pattern, err := regexp.Compile(name)
			if err != nil || !s.hasTest(pattern) {
				problems = append(problems, page.problem(c.fragment, "%s %s matches no test", arg, c.args[i+1]))
			}
		}
	}
	return problems
}

func (s *Set) hasTest(pattern *regexp.Regexp) bool {
	return slices.ContainsFunc(s.tests, pattern.MatchString)
}

// missing says whether text is a path that begins in the repository and does not
// end there.
func (s *Set) missing(text string) bool {
	text = strings.TrimPrefix(text, "./")
	top, rest, ok := strings.Cut(text, "/")
	if !ok || skipped[top] || !plainPath.MatchString(text) || !s.exists(top) {
		return false
	}
	return rest != "..." && !s.exists(strings.TrimSuffix(text, "/..."))
}

var plainPath = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_./-]*$`)
