// SPDX-License-Identifier: Apache-2.0

// Package usage is what the command lines of both programs share: exit codes, how a
// wrong one is told, in words and with where the help for it is, filters and
// completions. Filters belong to one goroutine; nothing else is held.
package usage

import (
	"context"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
)

// The exit codes.
const (
	Done   = 0
	Failed = 1
	Wrong  = 2 // usage
	Found  = 3 // a FoundError
)

// Error is a wrong command line that a command notices itself.
type Error struct{ error }

// Errorf returns an Error that says what is wrong.
func Errorf(format string, args ...any) error { return Error{fmt.Errorf(format, args...)} }

// Unwrap returns what is wrong.
func (e Error) Unwrap() error { return e.error }

// FoundError says that there is what was looked for: nodes as bad as --fail-on
// names, or something that is not in order.
type FoundError struct {
	What  string
	Count int
}

// Error counts it.
func (e *FoundError) Error() string { return fmt.Sprintf("%s: %d", e.What, e.Count) }

// Exit tells on errs how a command of a program ended, and returns the exit code.
// What failed before a command started is wrong usage; environment are the
// variables that set flags.
func Exit(ctx context.Context, errs io.Writer, program string, called *cobra.Command, err error, started bool, environment []string) int {
	var found *FoundError
	var wrong Error
	switch {
	case err == nil || errors.Is(err, syscall.EPIPE): // the reader of our output has seen enough
		return Done
	case errors.As(err, &found):
		fmt.Fprintf(errs, "%s: %v\n", program, found)
		return Found
	case errors.Is(err, context.Canceled) && ctx.Err() != nil:
		fmt.Fprintf(errs, "%s: interrupted\n", program)
		return Failed
	case !started || errors.As(err, &wrong):
		fmt.Fprint(errs, Text(program, called, err, environment))
		return Wrong
	}
	fmt.Fprintf(errs, "%s: %v\n", program, err)
	return Failed
}

// OnStart has note called before any command below parent runs.
func OnStart(parent *cobra.Command, note func()) {
	for _, cmd := range parent.Commands() {
		run := cmd.RunE
		cmd.RunE = func(cmd *cobra.Command, args []string) error {
			note()
			return run(cmd, args)
		}
		OnStart(cmd, note)
	}
}

// Complete lets shells complete a flag with values.
func Complete(cmd *cobra.Command, flag string, values ...string) {
	_ = cmd.RegisterFlagCompletionFunc(flag, cobra.FixedCompletions(values, cobra.ShellCompDirectiveNoFileComp)) // the flag is there
}

// Text is what a program says of a wrong command line: the error, which
// variables of the environment set flags, and whose help has more.
func Text(program string, called *cobra.Command, err error, environment []string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %s\n", program, plain(err))
	if len(environment) > 0 {
		fmt.Fprintf(&b, "The environment sets %s.\n", strings.Join(environment, ", "))
	}
	offers := "the commands"
	if called.HasParent() {
		offers = "its flags and examples"
	}
	fmt.Fprintf(&b, "Run '%s --help' for %s.\n", called.CommandPath(), offers)
	return b.String()
}

// goWords are what Go's parsers say, and what people say.
var goWords = []struct {
	is    *regexp.Regexp
	words string
}{
	{regexp.MustCompile(`strconv\.Parse(?:Int|Uint): parsing "[^"]*": invalid syntax`), "it is no whole number"},
	{regexp.MustCompile(`strconv\.ParseFloat: parsing "[^"]*": invalid syntax`), "it is no number"},
	{regexp.MustCompile(`strconv\.ParseBool: parsing "[^"]*": invalid syntax`), "it is neither true nor false"},
	{regexp.MustCompile(`strconv\.Parse\w+: parsing "[^"]*": value out of range`), "it is too large"},
	{regexp.MustCompile(`time: (?:invalid duration|missing unit in duration|unknown unit "[^"]*" in duration) "[^"]*"`), "it is no duration like 90s or 5m"},
}

func plain(err error) string {
	text := strings.TrimSpace(err.Error())
	for _, w := range goWords {
		text = w.is.ReplaceAllString(text, w.words)
	}
	return text
}

// One is for commands that take one argument, which their Use calls name.
func One(name string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		switch len(args) {
		case 0:
			return fmt.Errorf("%s is missing: %s %s", name, cmd.CommandPath(), name)
		case 1:
			return nil
		}
		return fmt.Errorf("%q is too much: %s takes one %s", args[1], cmd.CommandPath(), name)
	}
}
