// SPDX-License-Identifier: Apache-2.0

package main

import (
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/renat-project/renat/internal/metrics"
	"github.com/renat-project/renat/internal/upkeep/docs"
)

func commands() *cobra.Command {
	root, _ := newRoot(streams{in: strings.NewReader(""), out: io.Discard, err: io.Discard})
	return root
}

// What the documents say of renat is so: command lines, flags, variables of the
// environment, metrics, make targets, tests, files.
func TestDocuments(t *testing.T) {
	set, err := docs.Load("../..")
	if err != nil {
		t.Fatal(err)
	}
	var flags, names []string
	for _, cmd := range docs.Tree(commands()) {
		cmd.Flags().VisitAll(func(f *pflag.Flag) { flags = append(flags, f.Name) })
	}
	for _, m := range metrics.All() {
		names = append(names, m.Name)
	}
	for _, p := range slices.Concat(set.Commands("renat", commands), set.Flags(commands()), set.Names(flags, names)) {
		t.Error(p)
	}
	for _, p := range docs.Help("renat", commands) {
		t.Error(p)
	}
}

// The check of the documents sees command lines that are wrong.
func TestDocumentsStale(t *testing.T) {
	for _, c := range []struct{ page, want string }{
		{"```sh\nsudo bin/renat agnet\n```\n", `unknown command "agnet"`},
		{"```sh\ntrue | renat observe --folow\n```\n", "unknown flag: --folow"},
		{"```sh\nx=$(renat observe --last few)\n```\n", `invalid argument "few"`},
		{"```sh\nrenat replay\n```\n", "is missing"},
		{"```console\n$ renat observe \\\n  --until-then 5\n```\n", "unknown flag: --until-then"},
		{"`renat hub --nats-utl`\n", "unknown flag: --nats-utl"},
		{"```sh\nkubectl -n renat exec ds/renat-agent -- renat nodes --al\n```\n", "unknown flag: --al"},
		{"```sh\nmake lab ARGS='--restor both'\n```\n", "unknown flag: --restor"},
		{"With `--settel` it waits.\n", "no command has a flag --settel"},
		{"All of `--natz-…`.\n", "no command has a flag --natz-…"},
	} {
		set := &docs.Set{Pages: []*docs.Page{docs.NewPage("x.md", []byte(c.page))}}
		got := slices.Concat(set.Commands("renat", commands), set.Flags(commands()))
		if len(got) != 1 || !strings.Contains(got[0].Text, c.want) {
			t.Errorf("%s: got %v, want %q", c.page, got, c.want)
		}
	}
	set := &docs.Set{Pages: []*docs.Page{docs.NewPage("x.md", []byte(
		"`renat COMMAND --help` `renat observe --help` `renat help top` `renat completion bash` `kubectl renat bogus`, `--nats-…`\n"))}}
	if got := slices.Concat(set.Commands("renat", commands), set.Flags(commands())); len(got) > 0 {
		t.Errorf("nothing is wrong here: %v", got)
	}
}
