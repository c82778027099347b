// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/mattn/go-isatty"
	"github.com/rs/zerolog"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// streams are where a command reads and writes: data on out, logs on err.
type streams struct {
	in       io.Reader
	out, err io.Writer
}

// globals are the flags that every command has.
type globals struct {
	streams
	logLevel string
	color    string
	started  bool     // a command runs: what fails before is wrong usage
	set      []string // variables of the environment that set a flag
}

func newRoot(s streams) (*cobra.Command, *globals) {
	g := &globals{streams: s}
	root := &cobra.Command{
		Use:   "renat",
		Short: "Tell which connections Cilium's NAT map broke, and why",
		Long: `renat finds the connections that Cilium's BPF NAT map broke: when the map
evicts the entry of a living connection, the next packet gets another source
port, the peer resets, and the application sees an error that nothing explains.

Every flag can also be set by an environment variable: RENAT_ and the flag's
name in capitals, with "_" for "-", e.g. RENAT_NATS_URL.`,
		Example: `  renat replay recording/
  renat observe --follow --namespace shop
  renat observe --since 1h -o json`,
		Version:       buildVersion(),
		SilenceUsage:  true,
		SilenceErrors: true,
		PersistentPreRunE: func(cmd *cobra.Command, _ []string) error {
			return g.prepare(cmd)
		},
	}
	root.SetVersionTemplate("renat {{.Version}}\n")
	root.SetOut(s.out)
	root.SetErr(s.err)
	flags := root.PersistentFlags()
	flags.StringVar(&g.logLevel, "log-level", "warn", "least severe messages to log: debug, info, warn, error")
	flags.StringVar(&g.color, "color", "auto", "colour the output: auto, always, never")
	root.AddCommand(newAgent(g), newRecord(g), newReplay(g), newObserve(g), newDescribe(g), newEnrich(g), newHub(g),
		newStatus(g), newNodes(g), newAdvise(g), newTop(g), newAtRisk(g), newTrace(g), newLab(g), newVersion(g))
	complete(root, "log-level", "debug", "info", "warn", "error")
	complete(root, "color", "auto", "always", "never")
	g.watchStart(root)
	return root, g
}

// watchStart makes every command below parent note that it was reached.
func (g *globals) watchStart(parent *cobra.Command) {
	for _, cmd := range parent.Commands() {
		run := cmd.RunE
		cmd.RunE = func(cmd *cobra.Command, args []string) error {
			g.started = true
			return run(cmd, args)
		}
		g.watchStart(cmd)
	}
}

// prepare takes flags from the environment and checks those of every command.
func (g *globals) prepare(cmd *cobra.Command) error {
	var err error
	cmd.Flags().VisitAll(func(f *pflag.Flag) {
		name := "RENAT_" + strings.ToUpper(strings.ReplaceAll(f.Name, "-", "_"))
		value, ok := os.LookupEnv(name)
		if !ok || f.Changed || f.Name == "help" || err != nil {
			return
		}
		if e := cmd.Flags().Set(f.Name, value); e != nil {
			err = fmt.Errorf("environment variable %s: %w", name, e)
			return
		}
		g.set = append(g.set, name)
	})
	if err != nil {
		return err
	}
	if _, err := zerolog.ParseLevel(g.logLevel); err != nil || g.logLevel == "" {
		return fmt.Errorf("--log-level %q is not one of debug, info, warn, error", g.logLevel)
	}
	switch g.color {
	case "auto", "always", "never":
		return nil
	}
	return fmt.Errorf("--color %q is not one of auto, always, never", g.color)
}

// log returns the logger: readable on a terminal, else JSON.
func (g *globals) log() zerolog.Logger {
	level, _ := zerolog.ParseLevel(g.logLevel) // checked by prepare
	var w = g.err
	if isTerminal(w) {
		w = zerolog.ConsoleWriter{Out: w, TimeFormat: time.TimeOnly, NoColor: !g.colored(w)}
	}
	return zerolog.New(w).Level(level).With().Timestamp().Logger()
}

// colored says whether to colour what is written to w.
func (g *globals) colored(w io.Writer) bool {
	if g.color != "auto" {
		return g.color == "always"
	}
	return isTerminal(w) && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb"
}

func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && isatty.IsTerminal(f.Fd())
}
