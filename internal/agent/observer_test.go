// SPDX-License-Identifier: Apache-2.0

package agent_test

import (
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cilium/cilium/api/v1/observer"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/renat-project/renat/hubble/proxy"
	"github.com/renat-project/renat/internal/agent"
)

// TestObserverTellsOfPortsAndIncidents asks the agent for the flows of a
// connection that broke and of one that did not.
func TestObserverTellsOfPortsAndIncidents(t *testing.T) {
	t.Parallel()
	address, serve := observerAt(t, "")
	n := startNode(t, serve)
	n.awaitReady()
	n.breakAll(t.Context(), 0, 1)
	n.awaitForwarded(1)
	n.open(t.Context(), 1)
	n.other(t.Context())

	var got []string
	for _, f := range observe(t, address) {
		got = append(got, strings.TrimSuffix(f.summary, f.incident[:min(8, len(f.incident))]))
	}
	broken := "SNAT 198.51.100.1:1025 (was :1024); renat:"
	want := []string{"", "", "SNAT 198.51.100.1:1024; renat:", "SNAT 198.51.100.1:1024; renat:", "SNAT 198.51.100.1:1024; renat:", "SNAT 198.51.100.1:1024; renat:", broken, "", "", "", "", ""}
	if strings.Join(got, "|") != strings.Join(want, "|") {
		t.Errorf("got  %q\nwant %q", got, want)
	}
	if metrics := n.get("/metrics"); !strings.Contains(metrics, "renat_observer_flows_total 12\n") || !strings.Contains(metrics, "renat_observer_enriched_flows_total 5\n") {
		t.Error("the metrics do not count the flows")
	}
}

// observerAt returns where an Observer is to be served, for a group, and what
// makes an agent do it.
func observerAt(t *testing.T, group string) (address string, serve func(*agent.Config)) {
	t.Helper()
	address = "unix://" + filepath.Join(t.TempDir(), "hubble.sock")
	return address, func(c *agent.Config) {
		var err error
		if c.Observer.Listener, err = proxy.Listen(t.Context(), address, group, nil); err != nil {
			t.Fatal(err)
		}
	}
}

// observed is a flow as an Observer shows it.
type observed struct {
	src, dst                  string // IP:port
	summary                   string
	preNAT, postNAT, incident string // of the extension; the incident's id
}

// observe returns all flows that the Observer has.
func observe(t *testing.T, address string) (all []observed) {
	t.Helper()
	conn, err := grpc.NewClient(address, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	stream, err := observer.NewObserverClient(conn).GetFlows(t.Context(), &observer.GetFlowsRequest{First: true, Number: 1000})
	if err != nil {
		t.Fatal(err)
	}
	for {
		resp, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return all
		}
		if err != nil {
			t.Fatal(err)
		}
		var ext structpb.Struct
		f := resp.GetFlow()
		if f.GetExtensions() != nil {
			if err := f.GetExtensions().UnmarshalTo(&ext); err != nil {
				t.Fatal(err)
			}
		}
		renat, tcp := ext.GetFields()["renat"].GetStructValue().GetFields(), f.GetL4().GetTCP()
		all = append(all, observed{
			src:     fmt.Sprintf("%s:%d", f.GetIP().GetSource(), tcp.GetSourcePort()),
			dst:     fmt.Sprintf("%s:%d", f.GetIP().GetDestination(), tcp.GetDestinationPort()),
			summary: f.GetSummary(), //nolint:staticcheck // it is what the tools show
			preNAT:  renat["pre_nat"].GetStringValue(), postNAT: renat["post_nat"].GetStringValue(),
			incident: renat["incident"].GetStructValue().GetFields()["id"].GetStringValue(),
		})
	}
}
