// SPDX-License-Identifier: Apache-2.0

package hubbletest_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/cilium/cilium/api/v1/observer"

	"github.com/renat-project/renat/hubble/hubbletest"
)

func line(uuid, more string) string { return `{"flow":{"uuid":"` + uuid + `"` + more + `}}` }

func TestLoad(t *testing.T) {
	long := line("long", `,"Summary":"`+strings.Repeat("x", 200<<10)+`"`)
	input := strings.Join([]string{
		line("1", ""),
		"",
		line("2", `,"unheard_of":{"a":[1]},"verdict":"NEW_VERDICT"`) + "\r",
		`{"flow":{"uuid":"3","nodeName":"camel"},"nodeName":"camel"}`,
		`{"flow":{"uuid":"4"`,
		long,
		strings.Repeat("y", hubbletest.MaxLine+1),
		line("6", `,"extensions":{"@type":"type.example.com/none.Such","a":{"b":1}}`),
		line("7", `,"extensions":{"@type":"type.googleapis.com/google.protobuf.Struct","value":{"a":1}}`),
		`{"uuid":"bare flow"}`,
		`{"node_status":{"state_change":"NODE_CONNECTED"}}`,
		`{"lost_events":{"source":"PERF_EVENT_RING_BUFFER","num_events_lost":"5"}}`,
		`null`,
		line("last", ""),
	}, "\n")
	srv, conn := serve(t, hubbletest.Config{})
	var bad []int
	n, err := srv.Load(t.Context(), strings.NewReader(input), func(line int, err error) bool {
		if err == nil {
			t.Errorf("line %d is bad without a reason", line)
		}
		bad = append(bad, line)
		return true
	})
	if err != nil || n != 8 || !slices.Equal(bad, []int{5, 7, 10, 13}) {
		t.Errorf("fed %d, bad lines %v, error %v; want 8, [5 7 10 13], none", n, bad, err)
	}
	srv.Seal()
	want := []string{"1", "2", "3", "long", "6", "7", "lost 5", "last"}
	if got, err := ask(t, conn, &observer.GetFlowsRequest{First: true}); err != nil || !slices.Equal(got, want) {
		t.Errorf("got %q and %v, want %q", got, err, want)
	}
}

func TestLoadStops(t *testing.T) {
	srv, _ := serve(t, hubbletest.Config{})
	n, err := srv.Load(t.Context(), strings.NewReader(line("1", "")+"\n{\n"+line("2", "")), func(int, error) bool { return false })
	if n != 1 || err == nil || !strings.Contains(err.Error(), "line 2") {
		t.Errorf("fed %d and %v, want 1 and an error that names line 2", n, err)
	}
	broken := errors.New("broken")
	_, err = srv.Load(t.Context(), iotest.ErrReader(broken), nil)
	if !errors.Is(err, broken) || !strings.Contains(err.Error(), "line 1") {
		t.Errorf("error %v, want the reader's with a line", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	lossless, _ := serve(t, hubbletest.Config{Lossless: true, Capacity: 2})
	if n, err := lossless.Load(ctx, strings.NewReader(strings.Repeat(line("1", "")+"\n", 5)), nil); n != 2 || !errors.Is(err, context.Canceled) {
		t.Errorf("fed %d and %v, want 2 and the context's error", n, err)
	}
}
