// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/rs/zerolog"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/renat-project/renat/internal/view/nodeview"
	"github.com/renat-project/renat/internal/view/render"
	"github.com/renat-project/renat/internal/view/usage"
)

// version is set by the linker for releases.
var version string

func buildVersion() string { return nodeview.BuildVersion(version) }

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
		newStatus(g), newNodes(g), newAdvise(g), newTop(g), newAtRisk(g), newTrace(g), newLab(g), nodeview.NewVersion("renat", "renat", buildVersion()))
	usage.Complete(root, "log-level", "debug", "info", "warn", "error")
	usage.Complete(root, "color", render.ColorModes...)
	usage.OnStart(root, func() { g.started = true })
	return root, g
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
	return render.CheckColor(g.color)
}

// log returns the logger: readable on a terminal, else JSON.
func (g *globals) log() zerolog.Logger {
	level, _ := zerolog.ParseLevel(g.logLevel) // checked by prepare
	var w = g.err
	if render.IsTerminal(w) {
		w = zerolog.ConsoleWriter{Out: w, TimeFormat: time.TimeOnly, NoColor: !g.colored(w)}
	}
	return zerolog.New(w).Level(level).With().Timestamp().Logger()
}

// colored says whether to colour what is written to w.
func (g *globals) colored(w io.Writer) bool { return render.Colored(w, g.color) }

// screen is where a command shows what agents and NATS told.
func (g *globals) screen() *nodeview.Screen {
	return nodeview.NewScreen(g.out, g.err, g.color)
}
