// SPDX-License-Identifier: Apache-2.0

package docs

import (
	"fmt"
	"path"
	"slices"
	"strings"

	"mvdan.cc/sh/v3/syntax"
)

// A call is one simple command of a command line.
type call struct {
	fragment
	args []string
}

// unknownWord stands for a word that only a shell could tell, such as "$(date)":
// a value that numbers, durations and switches take, too.
const unknownWord = "0"

// calls returns the simple commands of the page's shell blocks, and of a span
// that begins as a command line does.
func (p *Page) calls() ([]call, []Problem) {
	var calls []call
	var problems []Problem
	for _, script := range p.scripts() {
		found, err := parse(script)
		if err != nil {
			problems = append(problems, p.problem(script, "not a command line: %v", err))
		}
		calls = append(calls, found...)
	}
	return calls, problems
}

// scripts are the parts of a page that a shell would run.
func (p *Page) scripts() []fragment {
	var scripts []fragment
	for _, b := range p.blocks {
		switch b.lang {
		case "sh", "bash", "shell":
			scripts = append(scripts, b)
		case "console":
			scripts = append(scripts, prompted(b)...)
		}
	}
	for _, s := range p.spans {
		first, _, _ := strings.Cut(s.text, " ")
		switch path.Base(first) {
		case "renat", "kubectl", "kubectl-renat", "make", "go", "hubble":
			if first != s.text {
				s.text, _, _ = strings.Cut(s.text, "…")
				scripts = append(scripts, s)
			}
		}
	}
	return scripts
}

// prompted returns what was typed after "$ " in a console, each with its
// continuation lines.
func prompted(b fragment) []fragment {
	var typed []fragment
	open := false
	for i, text := range strings.Split(b.text, "\n") {
		if command, ok := strings.CutPrefix(text, "$ "); ok {
			typed = append(typed, fragment{line: b.line + i, text: command})
		} else if open {
			typed[len(typed)-1].text += "\n" + strings.TrimPrefix(text, "> ")
		} else {
			continue
		}
		last := typed[len(typed)-1].text
		_, err := parse(fragment{text: last})
		open = strings.HasSuffix(last, `\`) || syntax.IsIncomplete(err)
	}
	return typed
}

func parse(script fragment) ([]call, error) {
	file, err := syntax.NewParser().Parse(strings.NewReader(script.text), "")
	if err != nil {
		return nil, err
	}
	var calls []call
	syntax.Walk(file, func(n syntax.Node) bool {
		expr, ok := n.(*syntax.CallExpr)
		if !ok {
			return true
		}
		c := call{fragment: fragment{line: script.line + int(expr.Pos().Line()) - 1, text: script.text, span: script.span}}
		for _, w := range expr.Args {
			c.args = append(c.args, word(w))
		}
		calls = append(calls, c)
		return true
	})
	return calls, nil
}

// word is what a shell would make of a word without expansions.
func word(w *syntax.Word) string {
	var b strings.Builder
	for _, part := range w.Parts {
		switch part := part.(type) {
		case *syntax.Lit:
			b.WriteString(strings.ReplaceAll(part.Value, `\`, ""))
		case *syntax.SglQuoted:
			b.WriteString(part.Value)
		case *syntax.DblQuoted:
			b.WriteString(word(&syntax.Word{Parts: part.Parts}))
		default:
			b.WriteString(unknownWord)
		}
	}
	return b.String()
}

// of returns the arguments that a call gives to one of our commands ("renat" or
// "kubectl renat"), however it is started: by its path, as a plugin, by sudo, or
// after the "--" of kubectl exec.
func (c call) of(command string) ([]string, bool) {
	args := c.args
	for len(args) > 0 {
		switch path.Base(args[0]) {
		case "sudo", "exec", "time", "watch":
			args = args[1:]
			continue
		case "renat":
			return args[1:], command == "renat"
		case "kubectl-renat":
			return args[1:], command == "kubectl renat"
		case "kubectl":
			if len(args) > 1 && args[1] == "renat" {
				return args[2:], command == "kubectl renat"
			}
		case "make":
			// make lab ARGS='...' hands its flags to renat lab, make demo as well.
			ours := command == "renat" && (slices.Contains(args, "lab") || slices.Contains(args, "demo"))
			for _, a := range args[1:] {
				if flags, ok := strings.CutPrefix(a, "ARGS="); ok && ours {
					return append([]string{"lab"}, strings.Fields(flags)...), true
				}
			}
		}
		after := args[1:]
		for len(after) > 0 && after[0] != "--" {
			after = after[1:]
		}
		if len(after) == 0 {
			return nil, false
		}
		args = after[1:]
	}
	return nil, false
}

func (c call) String() string { return fmt.Sprintf("%q", strings.Join(c.args, " ")) }
