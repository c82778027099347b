// SPDX-License-Identifier: Apache-2.0

package docs

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"regexp"
	"strings"

	"github.com/spf13/cobra"
	"mvdan.cc/sh/v3/syntax"
)

// A Session is a command line that a page or a help shows, and what it shows of the
// output.
type Session struct {
	Where   string // page and line, or the command whose help it is
	Command string
	Output  string // empty: none is shown
}

// Sessions are the command lines in the shell blocks and consoles of the pages.
func (s *Set) Sessions() ([]Session, error) {
	var all []Session
	for _, page := range s.Pages {
		for _, b := range page.blocks {
			where := fmt.Sprintf("%s:%d", page.Path, b.line)
			switch b.lang {
			case "sh", "bash", "shell":
				lines, err := statements(where, b.text)
				if err != nil {
					return nil, err
				}
				all = append(all, lines...)
			case "console":
				all = append(all, shown(page.Path, b)...)
			}
		}
	}
	return all, nil
}

// Examples are the command lines in the help of a program.
func Examples(root *cobra.Command) ([]Session, error) {
	var all []Session
	for _, cmd := range Tree(root) {
		lines, err := statements(cmd.CommandPath()+" --help", cmd.Example)
		if err != nil {
			return nil, err
		}
		all = append(all, lines...)
	}
	return all, nil
}

// statements are the command lines of a script.
func statements(where, script string) ([]Session, error) {
	file, err := syntax.NewParser().Parse(strings.NewReader(script), "")
	if err != nil {
		return nil, fmt.Errorf("%s: %w", where, err)
	}
	var all []Session
	for _, line := range file.Stmts {
		all = append(all, Session{Where: where, Command: script[line.Pos().Offset():line.End().Offset()]})
	}
	return all, nil
}

// shown are the command lines of a console, each with what follows it.
func shown(path string, b fragment) []Session {
	var all []Session
	lines := strings.Split(b.text, "\n")
	for _, typed := range prompted(b) {
		first := typed.line - b.line
		rest := lines[first+1+strings.Count(typed.text, "\n"):]
		for i, line := range rest {
			if strings.HasPrefix(line, "$ ") {
				rest = rest[:i]
				break
			}
		}
		all = append(all, Session{
			Where: fmt.Sprintf("%s:%d", path, typed.line), Command: typed.text, Output: strings.Join(rest, "\n"),
		})
	}
	return all
}

// Args are what it gives to a program ("renat" or "kubectl renat"), at the first
// call of it; false: it does not call it.
func (s Session) Args(program string) ([]string, bool) {
	calls, err := parse(fragment{text: s.Command})
	if err != nil {
		return nil, false
	}
	for _, c := range calls {
		if args, ok := c.of(program); ok {
			return args, true
		}
	}
	return nil, false
}

// Run has sh run it in a folder, and returns all that it wrote.
func (s Session) Run(ctx context.Context, dir string, env []string) (string, error) {
	cmd := exec.CommandContext(ctx, "sh", "-c", s.Command)
	cmd.Dir, cmd.Env = dir, env
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// took is a time that a command says it took.
var took = regexp.MustCompile(`\bin [0-9.]+(µs|ms|s|m[0-9.]+s)\b`)

// Compare holds what was written against what is shown: all lines, but for the
// spaces at their ends and the times that something took; a line [...] is any number
// of them.
func (s Session) Compare(got string) error {
	if s.Output == "" {
		return nil
	}
	want := clean(s.Output)
	have := clean(got)
	for i, part := range strings.Split(want, "\n[...]\n") {
		at := strings.Index(have, part)
		if at < 0 || i == 0 && at > 0 {
			return errors.New("shown:\n" + want + "\nwritten:\n" + clean(got))
		}
		have = have[at+len(part):]
	}
	if strings.TrimSpace(have) != "" && !strings.HasSuffix(want, "\n[...]") {
		return errors.New("shown:\n" + want + "\nwritten:\n" + clean(got))
	}
	return nil
}

func clean(text string) string {
	lines := strings.Split(strings.Trim(text, "\n"), "\n")
	for i := range lines {
		lines[i] = took.ReplaceAllString(strings.TrimRight(lines[i], " "), "in …")
	}
	return strings.Join(lines, "\n")
}
