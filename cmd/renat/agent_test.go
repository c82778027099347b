// SPDX-License-Identifier: Apache-2.0

package main

import (
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/renat-project/renat/internal/view/usage"
)

func TestAgentRefusesWrongUsage(t *testing.T) {
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"--settle", "0s"}, "--settle 0s"},
		{[]string{"--max-connections", "-1"}, "--max-connections -1"},
		{[]string{"--outbox-max-bytes", "5"}, "--outbox-max-bytes 5"},
		{[]string{"--node-name", ""}, "--node-name"},
		{[]string{"--exclude-cidr", "ten"}, `--exclude-cidr "ten"`},
		{[]string{"--hubble-server", "http://x"}, `"http"`},
		{[]string{"--tls-server-name", "x"}, "no effect without --tls"},
		{[]string{"--backend", "magic"}, `"magic"`},
		{[]string{"--config", "missing.yaml"}, "missing.yaml"},
		{[]string{"--guard-share", "0.7"}, "--guard-share 0.7"},
		{[]string{"--guard-cpu", "0"}, "--guard-cpu 0"},
		{[]string{"--guard-match", "kind=renat"}, `--guard-match "kind=renat"`},
		{[]string{"--guard-match", "namespace=shop,ip=ten"}, `ip "ten"`},
		{[]string{"extra"}, "extra"},
	} {
		got := renat(t, append([]string{"agent"}, c.args...)...)
		if got.code != usage.Wrong || !strings.Contains(got.err, c.want) || got.out != "" {
			t.Errorf("%v: exit %d, %q, want %q", c.args, got.code, got.err, c.want)
		}
	}
}

func TestAgentConfigFile(t *testing.T) {
	for name, c := range map[string]struct{ file, want string }{
		"unknown key":   {"settle: 1s\nnats-ulr: x\n", `agent.yaml:2: unknown key "nats-ulr"`},
		"the file":      {"config: other.yaml\n", `unknown key "config"`},
		"twice":         {"settle: 1s\nsettle: 2s\n", `agent.yaml:2: key "settle" is there twice`},
		"wrong value":   {"settle: soon\n", `agent.yaml:1: key "settle"`},
		"list":          {"settle: [1s]\n", `key "settle" takes one value`},
		"mapping":       {"nats-url: {a: b}\n", `key "nats-url" has neither`},
		"no mapping":    {"- settle\n", "not of the form key: value"},
		"no YAML":       {"settle: [\n", "agent.yaml"},
		"several wrong": {"a: 1\nb: 2\n", `unknown key "b"`},
	} {
		got := renat(t, "agent", "--config", configFile(t, c.file))
		if got.code != usage.Wrong || !strings.Contains(got.err, c.want) {
			t.Errorf("%s: exit %d, %q, want %q", name, got.code, got.err, c.want)
		}
	}
}

func TestAgentConfigFileComesLast(t *testing.T) {
	t.Setenv("RENAT_CLUSTER_NAME", "from-environment")
	file := configFile(t, `
node-name: from-file
cluster-name: from-file
settle: 7s
max-connections: 1000
tls: true
exclude-cidr: [10.0.0.0/8, 192.168.0.0/16]
`)
	g := &globals{streams: streams{in: strings.NewReader(""), out: io.Discard, err: io.Discard}}
	cmd := newAgent(g)
	if err := cmd.ParseFlags([]string{"--settle", "5s"}); err != nil {
		t.Fatal(err)
	}
	g.logLevel, g.color = "info", "auto"
	if err := g.prepare(cmd); err != nil {
		t.Fatal(err)
	}
	if err := applyConfig(cmd.Flags(), file); err != nil {
		t.Fatal(err)
	}
	for flag, want := range map[string]string{
		"node-name": "from-file", "cluster-name": "from-environment", "settle": "5s", "max-connections": "1000", "tls": "true",
	} {
		if got := cmd.Flags().Lookup(flag).Value.String(); got != want {
			t.Errorf("%s is %s, want %s", flag, got, want)
		}
	}
	if got, _ := cmd.Flags().GetStringSlice("exclude-cidr"); !slices.Equal(got, []string{"10.0.0.0/8", "192.168.0.0/16"}) {
		t.Errorf("exclude-cidr is %v", got)
	}
}

func configFile(t *testing.T, text string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "agent.yaml")
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}
