// SPDX-License-Identifier: Apache-2.0

// Package usage says what is wrong with a command line, in words, and where the
// help for it is. It holds nothing and may be used from any goroutine.
package usage

import (
	"fmt"
	"regexp"
	"strings"

	"github.com/spf13/cobra"
)

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
