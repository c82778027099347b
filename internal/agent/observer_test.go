// SPDX-License-Identifier: Apache-2.0

package agent_test

import (
	"errors"
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
	address := "unix://" + filepath.Join(t.TempDir(), "hubble.sock")
	n := startNode(t, func(c *agent.Config) {
		var err error
		if c.Observer.Listener, err = proxy.Listen(t.Context(), address, "", nil); err != nil {
			t.Fatal(err)
		}
	})
	n.awaitReady()
	n.breakAll(t.Context(), 0, 1)
	n.awaitForwarded(1)
	n.open(t.Context(), 1)
	n.other(t.Context())

	conn, err := grpc.NewClient(address, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	stream, err := observer.NewObserverClient(conn).GetFlows(t.Context(), &observer.GetFlowsRequest{First: true, Number: 100})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for {
		resp, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			break
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
		id := ext.GetFields()["renat"].GetStructValue().GetFields()["incident"].GetStructValue().GetFields()["id"].GetStringValue()
		got = append(got, strings.TrimSuffix(f.GetSummary(), id[:min(8, len(id))])) //nolint:staticcheck // it is what the tools show
	}
	broken := "SNAT 198.51.100.1:1025 (was :1024) "
	want := []string{"", "", "SNAT 198.51.100.1:1024 ", "SNAT 198.51.100.1:1024 ", "SNAT 198.51.100.1:1024 ", "SNAT 198.51.100.1:1024 ", broken, "", "", "", "", ""}
	if strings.Join(got, "|") != strings.Join(want, "|") {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}
