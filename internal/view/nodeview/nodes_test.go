// SPDX-License-Identifier: Apache-2.0

package nodeview_test

import (
	"bytes"
	"context"
	"errors"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"

	"github.com/renat-project/renat/correlator/incident"
	"github.com/renat-project/renat/internal/nodestatus"
	"github.com/renat-project/renat/internal/view/fleet"
	"github.com/renat-project/renat/internal/view/nodeview"
)

// source answers what it holds, and counts.
type source struct {
	nodes  fleet.Nodes
	risks  fleet.AtRisk
	asked  int
	fails  int    // at this time of asking
	enough func() // called for the third time of asking
}

func (s *source) Nodes(context.Context) (fleet.Nodes, error) {
	if s.asked++; s.asked == 3 {
		s.enough()
	}
	if s.asked == s.fails {
		return fleet.Nodes{}, errors.New("the API server is away")
	}
	return s.nodes, nil
}

func (s *source) Incidents(context.Context, url.Values, int) (fleet.Incidents, error) {
	return fleet.Incidents{}, nil
}

func (s *source) Incident(context.Context, string) (*incident.Incident, error) {
	return nil, fleet.ErrUnknown
}

func (s *source) Tops(context.Context, func(string) bool) (fleet.Tops, error) {
	return fleet.Tops{}, nil
}

func (s *source) AtRisk(context.Context) (fleet.AtRisk, error) {
	return s.risks, nil
}

// TestWatch looks three times, in place on a terminal, one after the other in
// a pipe.
func TestWatch(t *testing.T) {
	for _, terminal := range []bool{true, false} {
		ctx, cancel := context.WithCancel(t.Context())
		src := &source{nodes: fleet.Nodes{
			Statuses: []*nodestatus.Status{{Node: "node-a\x1b[2J"}}, Silent: []fleet.Silence{{Node: "node-b", Why: "no answer within 1s"}},
		}, enough: cancel}
		var nodes nodeview.Nodes
		cmd := &cobra.Command{}
		nodes.Register(cmd)
		if err := cmd.ParseFlags([]string{"--watch", "--every", "100ms"}); err != nil {
			t.Fatal(err)
		}
		var out, errs bytes.Buffer
		start := time.Now()
		if err := nodes.Run(ctx, src, &nodeview.Screen{Out: &out, Err: &errs, Terminal: terminal}); err != nil {
			t.Errorf("terminal %t: %v", terminal, err)
		}
		if src.asked != 3 || time.Since(start) < 200*time.Millisecond {
			t.Errorf("terminal %t: asked %d times in %v", terminal, src.asked, time.Since(start))
		}
		redrawn := strings.Count(out.String(), "\x1b[H")
		if strings.Contains(out.String(), "\x1b[2J") || terminal != (redrawn > 0) || terminal == strings.Contains(errs.String(), "node-b") {
			t.Errorf("terminal %t: %q, %q", terminal, &out, &errs)
		}
	}
}

// What fails later may be well again at the next look; what fails at first is
// wrong, and what was looked for ends it.
func TestWatchGoesOn(t *testing.T) {
	for fails, want := range map[int]string{2: "", 1: "the API server is away"} {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		src := &source{nodes: fleet.Nodes{Statuses: []*nodestatus.Status{{Node: "node-a"}}}, enough: cancel, fails: fails}
		var nodes nodeview.Nodes
		cmd := &cobra.Command{}
		nodes.Register(cmd)
		if err := cmd.ParseFlags([]string{"--watch", "--every", "100ms"}); err != nil {
			t.Fatal(err)
		}
		var out, errs bytes.Buffer
		err := nodes.Run(ctx, src, &nodeview.Screen{Out: &out, Err: &errs})
		if want != "" && (err == nil || err.Error() != want) || want == "" && (err != nil || src.asked != 3 || errs.String() != "the API server is away\n") {
			t.Errorf("fails at look %d: %v after %d, %s", fails, err, src.asked, &errs)
		}
	}
}
