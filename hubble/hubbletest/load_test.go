// SPDX-License-Identifier: Apache-2.0

package hubbletest_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/cilium/cilium/api/v1/observer"

	"github.com/renat-project/renat/hubble/hubbletest"
)

func line(uuid, more string) string { return `{"flow":{"uuid":"` + uuid + `"` + more + `}}` }

func TestLoad(t *testing.T) {
	srv, conn := serve(t, hubbletest.Config{})
	err := srv.Load(strings.Join([]string{
		line("1", ""),
		"",
		line("2", `,"unheard_of":{"a":[1]},"verdict":"NEW_VERDICT"`) + "\r",
		`{"flow":{"uuid":"3","nodeName":"camel"},"nodeName":"camel"}`,
		line("long", `,"Summary":"`+strings.Repeat("x", 200<<10)+`"`),
		line("6", `,"extensions":{"@type":"type.example.com/none.Such","a":{"b":1}}`),
		line("7", `,"extensions":{"@type":"type.googleapis.com/google.protobuf.Struct","value":{"a":1}}`),
		`{"node_status":{"state_change":"NODE_CONNECTED"}}`,
		`{"lost_events":{"source":"PERF_EVENT_RING_BUFFER","num_events_lost":"5"}}`,
		line("last", ""),
	}, "\n"))
	if err != nil {
		t.Fatal(err)
	}
	srv.Seal()
	want := []string{"1", "2", "3", "long", "6", "7", "lost 5", "last"}
	if got, err := ask(t, conn, &observer.GetFlowsRequest{First: true}); err != nil || !slices.Equal(got, want) {
		t.Errorf("got %q and %v, want %q", got, err, want)
	}
}

func TestLoadStops(t *testing.T) {
	for _, bad := range []string{`{"flow":{"uuid":"4"`, `{"uuid":"bare flow"}`, `null`} {
		srv, conn := serve(t, hubbletest.Config{})
		if err := srv.Load(line("1", "") + "\n" + bad + "\n" + line("2", "")); err == nil || !strings.Contains(err.Error(), "line 2") {
			t.Errorf("%s gives %v, want an error that names line 2", bad, err)
		}
		srv.Seal()
		if got, err := ask(t, conn, &observer.GetFlowsRequest{First: true}); err != nil || !slices.Equal(got, []string{"1"}) {
			t.Errorf("got %q and %v before %s", got, err, bad)
		}
	}
}
