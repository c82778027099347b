// SPDX-License-Identifier: Apache-2.0

package main

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/renat-project/renat/internal/upkeep/docs"
	"github.com/renat-project/renat/internal/view/usage"
)

// fleetOfDocs are the nodes of docs/kubectl.md; one of them does not answer.
func fleetOfDocs(t *testing.T) *apiServer {
	s := threeNodes(t)
	s.pods[2] = node("node-c", breaking, found("node-c", 1), found("node-c", 2), found("node-c", 7))
	s.pods = append(s.pods, testPod{name: "renat-agent-node-d", node: "node-d", phase: "Running", delay: -1})
	return s
}

// fleets are those of the sessions, by their command line; docs/kubectl.md names them.
func fleets(t *testing.T) func(command string) *apiServer {
	all, status := fleetOfDocs(t), wellFleet(t)
	answering := fleetOfDocs(t)
	answering.pods = answering.pods[:3]
	return func(command string) *apiServer {
		switch {
		case strings.Contains(command, "renat status"):
			return status
		case command == "kubectl renat nodes":
			return all
		}
		return answering
	}
}

// words stand for others in the documents and the help.
var words = map[string]string{
	"NODE": "node-c", "KIND": "renat", "worker-3": "node-c", "ID": found("node-c", 1).ID, "3f2a9c1b77e0": found("node-c", 1).ID,
	"1h": "87600h", "15m": "87600h", // ago: the incidents are of a day
}

// goesOn are command lines that do not end by themselves.
var goesOn = regexp.MustCompile(` (-w|--watch|trace)\b`)

// Every command line of kubectl renat in the documents and in the help is run, and
// does what is shown.
func TestSessions(t *testing.T) {
	time.Local = time.UTC
	here, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	t.Chdir(t.TempDir()) // where a bundle is written
	set, err := docs.Load(here)
	if err != nil {
		t.Fatal(err)
	}
	pages, err := set.Sessions()
	if err != nil {
		t.Fatal(err)
	}
	help, err := docs.Examples(commands())
	if err != nil {
		t.Fatal(err)
	}
	fleet := fleets(t)
	ran, compared := 0, 0
	for _, s := range slices.Concat(pages, help) {
		args, ours := s.Args("kubectl renat")
		if !ours || goesOn.MatchString(s.Command) {
			continue
		}
		for i, a := range args {
			if word, ok := words[a]; ok {
				args[i] = word
			}
		}
		_ = os.Remove("report.tar.gz") // the last one's, if there was one
		code, out, errs := fleet(s.Command).renat(t, args...)
		if code != usage.Done && (code != usage.Found || !strings.Contains(s.Command, "--fail-on")) {
			t.Errorf("%s: %s: exit %d\n%s%s", s.Where, s.Command, code, out, errs)
			continue
		}
		if err := s.Compare(out + errs); err != nil {
			t.Errorf("%s: %s: %v", s.Where, s.Command, err)
		}
		if ran++; s.Output != "" {
			compared++
		}
	}
	if ran < 30 || compared < 6 {
		t.Errorf("%d were run, %d compared", ran, compared)
	}
}
