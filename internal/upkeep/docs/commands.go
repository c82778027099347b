// SPDX-License-Identifier: Apache-2.0

package docs

import (
	"errors"
	"fmt"
	"io"
	"regexp"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// Commands holds the command lines of the pages against a program, which is
// "renat" or "kubectl renat"; newRoot makes its commands, anew at each call. Each
// line must be one that the program would run: no wrong command, flag, value of
// a flag, or number of arguments. Running text may leave out the arguments.
func (s *Set) Commands(program string, newRoot func() *cobra.Command) []Problem {
	var problems []Problem
	for _, page := range s.Pages {
		calls, bad := page.calls()
		problems = append(problems, bad...)
		for _, c := range calls {
			args, ok := c.of(program)
			if !ok || placeholder(args) {
				continue
			}
			if err := check(newRoot(), args, c.span); err != nil {
				problems = append(problems, page.problem(c.fragment, "%s %s: %v", program, strings.Join(args, " "), err))
			}
		}
	}
	return problems
}

var capitals = regexp.MustCompile(`^[A-Z]+$`)

// placeholder says whether a line stands for many, as renat COMMAND --help does,
// or is a shell's question, which cobra answers.
func placeholder(args []string) bool {
	return len(args) > 0 && (capitals.MatchString(args[0]) || args[0] == cobra.ShellCompRequestCmd)
}

// check says what is wrong with a command line, without running it. In running
// text, a span, a line may end before its arguments, or before a flag's value.
func check(root *cobra.Command, args []string, span bool) error {
	root.SetOut(io.Discard)
	root.SetErr(io.Discard)
	root.InitDefaultHelpCmd()
	root.InitDefaultCompletionCmd(args...)
	cmd, rest, err := root.Find(args)
	if err != nil {
		return err
	}
	cmd.InitDefaultHelpFlag()
	cmd.InitDefaultVersionFlag()
	var valueless *pflag.ValueRequiredError
	if err := cmd.ParseFlags(rest); err != nil && (!span || !errors.As(err, &valueless)) {
		return err
	}
	if help, err := cmd.Flags().GetBool("help"); err == nil && help {
		return nil
	}
	if cmd.Name() == "help" {
		_, _, err := root.Find(cmd.Flags().Args())
		return err
	}
	if arg := cmd.Flags().Arg(0); arg != "" && cmd.HasSubCommands() && !cmd.Runnable() {
		return fmt.Errorf("unknown command %q for %q", arg, cmd.CommandPath())
	}
	if span {
		return nil
	}
	return errors.Join(cmd.ValidateArgs(cmd.Flags().Args()), cmd.ValidateRequiredFlags(), cmd.ValidateFlagGroups())
}

// elsewhere has the flags in the pages' text that are not renat's, and whose they are.
var elsewhere = map[string]string{
	"agent-namespace": kubectlRenat,
	"agent-selector":  kubectlRenat,
	"agent-timeout":   kubectlRenat,
	"agent-tls":       kubectlRenat,
	"hub-selector":    kubectlRenat,
	"build-arg":       "docker buildx build",
	"input-file":      "hubble observe",
	"peer-service":    "hubble-relay",

	"pass-user-headers": "oauth2-proxy",
	"set-xauthrequest":  "oauth2-proxy",
	"upstream":          "oauth2-proxy",
}

const kubectlRenat = "kubectl renat"

// Elsewhere returns the flags that the text of the pages may name though they
// are not renat's but the given program's.
func Elsewhere(program string) []string {
	var flags []string
	for flag, of := range elsewhere {
		if of == program {
			flags = append(flags, flag)
		}
	}
	return flags
}

var flagSpan = regexp.MustCompile(`^--([a-z][a-z0-9-]*)(…?)`)

// Flags holds the flags that stand alone in the text, such as `--settle` or
// `--nats-tls-…`, against the flags of all of renat's commands, and those of
// other programs against a list.
func (s *Set) Flags(root *cobra.Command) []Problem {
	known := map[string]bool{"help": true}
	for _, cmd := range Tree(root) {
		cmd.Flags().VisitAll(func(f *pflag.Flag) { known[f.Name] = true })
		cmd.InheritedFlags().VisitAll(func(f *pflag.Flag) { known[f.Name] = true })
	}
	for flag := range elsewhere {
		known[flag] = true
	}
	var problems []Problem
	for _, page := range s.Pages {
		for _, span := range page.spans {
			m := flagSpan.FindStringSubmatch(span.text)
			if m == nil || known[m[1]] && m[2] == "" {
				continue
			}
			if m[2] == "" || !hasPrefix(known, m[1]) {
				problems = append(problems, page.problem(span, "no command has a flag --%s%s", m[1], m[2]))
			}
		}
	}
	return problems
}

func hasPrefix(known map[string]bool, prefix string) bool {
	for name := range known {
		if strings.HasPrefix(name, prefix) {
			return true
		}
	}
	return false
}

// Tree returns a command and all below it that people see.
func Tree(root *cobra.Command) []*cobra.Command {
	all := []*cobra.Command{root}
	for _, cmd := range root.Commands() {
		if cmd.IsAvailableCommand() {
			all = append(all, Tree(cmd)...)
		}
	}
	return all
}

// Help says what the help of a program lacks: each command needs a summary and
// an example that would run, and each flag a description.
func Help(program string, newRoot func() *cobra.Command) []string {
	var problems []string
	for _, cmd := range Tree(newRoot()) {
		if cmd.Short == "" || cmd.Example == "" {
			problems = append(problems, fmt.Sprintf("%s has no summary or no example", cmd.CommandPath()))
		}
		cmd.LocalFlags().VisitAll(func(f *pflag.Flag) {
			if f.Usage == "" {
				problems = append(problems, fmt.Sprintf("%s: --%s has no description", cmd.CommandPath(), f.Name))
			}
		})
		calls, err := parse(fragment{text: cmd.Example})
		if err != nil {
			problems = append(problems, fmt.Sprintf("%s: the example is no command line: %v", cmd.CommandPath(), err))
		}
		for _, c := range calls {
			args, ok := c.of(program)
			if !ok {
				continue
			}
			if err := check(newRoot(), args, false); err != nil {
				problems = append(problems, fmt.Sprintf("%s: the example %v: %v", cmd.CommandPath(), c, err))
			}
		}
	}
	return problems
}
