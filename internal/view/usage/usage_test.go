// SPDX-License-Identifier: Apache-2.0

package usage_test

import (
	"io"
	"testing"
	"time"

	"github.com/spf13/cobra"

	"github.com/renat-project/renat/internal/view/usage"
)

func root() *cobra.Command {
	root := &cobra.Command{Use: "tool", SilenceErrors: true, SilenceUsage: true}
	root.SetOut(io.Discard)
	replay := &cobra.Command{Use: "replay DIR", Args: usage.One("DIR"), RunE: func(*cobra.Command, []string) error { return nil }}
	f := replay.Flags()
	f.Int("last", 0, "")
	f.Uint16("port", 0, "")
	f.Bool("follow", false, "")
	f.Float64("share", 0, "")
	f.Duration("settle", time.Second, "")
	root.AddCommand(replay)
	return root
}

func TestText(t *testing.T) {
	const help = "Run 'tool replay --help' for its flags and examples.\n"
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"replay"}, "tool: DIR is missing: tool replay DIR\n" + help},
		{[]string{"replay", "a", "b"}, "tool: \"b\" is too much: tool replay takes one DIR\n" + help},
		{[]string{"replay", "--last", "few"}, "tool: invalid argument \"few\" for \"--last\" flag: it is no whole number\n" + help},
		{[]string{"replay", "--port", "70000"}, "tool: invalid argument \"70000\" for \"--port\" flag: it is too large\n" + help},
		{[]string{"replay", "--follow=maybe"}, "tool: invalid argument \"maybe\" for \"--follow\" flag: it is neither true nor false\n" + help},
		{[]string{"replay", "--share", "x"}, "tool: invalid argument \"x\" for \"--share\" flag: it is no number\n" + help},
		{[]string{"replay", "--settle", "5"}, "tool: invalid argument \"5\" for \"--settle\" flag: it is no duration like 90s or 5m\n" + help},
		{[]string{"replay", "--settle", "5x"}, "tool: invalid argument \"5x\" for \"--settle\" flag: it is no duration like 90s or 5m\n" + help},
		{[]string{"replai"}, "tool: unknown command \"replai\" for \"tool\"\n\nDid you mean this?\n\treplay\nRun 'tool --help' for the commands.\n"},
	} {
		r := root()
		r.SetArgs(c.args)
		called, err := r.ExecuteC()
		if err == nil {
			t.Errorf("%v is right", c.args)
			continue
		}
		if got := usage.Text("tool", called, err, nil); got != c.want {
			t.Errorf("%v: got\n%s\nwant\n%s", c.args, got, c.want)
		}
	}
}

func TestTextNamesTheEnvironment(t *testing.T) {
	r := root()
	r.SetArgs([]string{"replay"})
	called, err := r.ExecuteC()
	want := "tool: DIR is missing: tool replay DIR\nThe environment sets TOOL_LAST, TOOL_PORT.\nRun 'tool replay --help' for its flags and examples.\n"
	if got := usage.Text("tool", called, err, []string{"TOOL_LAST", "TOOL_PORT"}); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}
