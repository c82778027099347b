// SPDX-License-Identifier: Apache-2.0

package hubble_test

import (
	"compress/gzip"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/renat-project/renat/correlator"
	"github.com/renat-project/renat/hubble"
	"github.com/renat-project/renat/hubble/hubbletest"
)

// oddLines are what recordings seldom hold: what is asked for only under
// conditions, what is not, and what cannot be used.
const oddLines = `
{"flow":{"time":"2026-01-01T00:00:01Z","verdict":"DROPPED","IP":{"source":"10.0.0.1","destination":"10.0.0.2"},"l4":{"TCP":{"source_port":1}},"event_type":{"type":1,"sub_type":167},"drop_reason_desc":"NO_MAPPING_FOR_NAT_MASQUERADE"},"time":"2026-01-01T00:00:01Z"}
{"flow":{"time":"2026-01-01T00:00:02Z","verdict":"DROPPED","IP":{"source":"10.0.0.1","destination":"10.0.0.2"},"l4":{"TCP":{}},"event_type":{"type":1},"drop_reason_desc":"POLICY_DENIED"}}
{"flow":{"time":"2026-01-01T00:00:02.1Z","verdict":"DROPPED","IP":{"source":"10.0.0.1","destination":"10.0.0.2"},"l4":{"TCP":{"source_port":6,"flags":{"ACK":true}}},"event_type":{"type":1},"drop_reason_desc":"POLICY_DENIED"}}
{"flow":{"time":"2026-01-01T00:00:02.2Z","verdict":"DROPPED","IP":{"source":"10.0.0.1","destination":"10.0.0.2"},"l4":{"TCP":{"source_port":6,"flags":{"SYN":true,"ACK":true}}},"event_type":{"type":1},"drop_reason_desc":"POLICY_DENY"}}
{"flow":{"time":"2026-01-01T00:00:02.3Z","verdict":"DROPPED","IP":{"source":"10.0.0.1","destination":"10.0.0.2"},"l4":{"TCP":{"source_port":6,"flags":{"SYN":true}}},"event_type":{"type":1},"drop_reason_desc":"POLICY_DENIED"}}
{"flow":{"time":"2026-01-01T00:00:02.4Z","verdict":"DROPPED","IP":{"source":"10.0.0.1","destination":"10.0.0.2"},"l4":{"UDP":{"source_port":6}},"event_type":{"type":1},"drop_reason_desc":"POLICY_DENIED"}}
{"flow":{"time":"2026-01-01T00:00:02.5Z","verdict":"DROPPED","IP":{"source":"10.0.0.1","destination":"10.0.0.2"},"l4":{"TCP":{"source_port":6,"flags":{"ACK":true}}},"event_type":{"type":1},"drop_reason_desc":"AUTH_REQUIRED"}}
{"flow":{"time":"2026-01-01T00:00:03Z","verdict":"FORWARDED","IP":{"source":"10.0.0.1","destination":"10.0.0.2"},"l4":{"TCP":{}},"event_type":{"type":1},"drop_reason_desc":"SNAT_NO_MAP_FOUND"}}
{"flow":{"time":"2026-01-01T00:00:04Z","IP":{"source":"10.0.0.1","destination":"10.0.0.2"},"l4":{"UDP":{"source_port":5}},"source":{"identity":2,"labels":["reserved:world"],"workloads":[{"name":"w","kind":"K"}]},"source_names":["a.example"],"event_type":{"type":4,"sub_type":4},"is_reply":true,"trace_observation_point":"TO_OVERLAY"}}
{"flow":{"time":"2026-01-01T00:00:05Z","IP":{"source":"10.0.0.1","destination":"10.0.0.2"},"l4":{"UDP":{"source_port":5}},"source":{"labels":["reserved:world"]},"event_type":{"type":4,"sub_type":4},"trace_observation_point":"TO_OVERLAY"}}
{"flow":{"time":"2026-01-01T00:00:06Z","IP":{"source":"10.0.0.1","destination":"10.0.0.2"},"l4":{"UDP":{"source_port":5}},"source":{"labels":["k8s:a=b"]},"event_type":{"type":4,"sub_type":4},"is_reply":true,"trace_observation_point":"TO_OVERLAY"}}
{"flow":{"time":"2026-01-01T00:00:07Z","IP":{"source":"10.0.0.1","destination":"10.0.0.2"},"l4":{"ICMPv4":{"type":8}},"event_type":{"type":4,"sub_type":3},"trace_observation_point":"TO_STACK"}}
{"flow":{"time":"2026-01-01T00:00:08Z","IP":{"source":"10.0.0.1","destination":"ten"},"l4":{"SCTP":{"source_port":5}},"event_type":{"type":4,"sub_type":3},"trace_observation_point":"TO_STACK"}}
{"flow":{"time":"2026-01-01T00:00:09Z","IP":{"source":"fd00::1","destination":"fd00::2"},"l4":{"SCTP":{"source_port":5}},"Summary":"\u00e9","event_type":{"type":4,"sub_type":11},"trace_observation_point":"TO_NETWORK"}}
{"flow":{"time":"2026-01-01T00:00:10Z","IP":{"source":"10.0.0.1","destination":"10.0.0.2"},"l4":{"TCP":{}},"event_type":{"type":129}}}
{"flow":{"time":"2026-01-01T00:00:11Z","IP":{"source":"10.0.0.1","destination":"10.0.0.2"},"l4":{"TCP":{}}}}
{"lost_events":{"source":"PERF_EVENT_RING_BUFFER","num_events_lost":"7"},"time":"2026-01-01T00:00:12Z"}
{"node_status":{"state_change":"NODE_CONNECTED","node_names":["a"]},"time":"2026-01-01T00:00:13Z"}
`

// TestLinesAreWhatAServerGives compares what a client makes of recordings that a
// server has with what their lines become without one.
func TestLinesAreWhatAServerGives(t *testing.T) {
	text := oddLines
	files, err := filepath.Glob("../internal/recording/testdata/*/flows.jsonl.gz")
	if err != nil || len(files) < 3 {
		t.Fatalf("recordings %v, %v", files, err)
	}
	for _, name := range files {
		text += unzipped(t, name)
	}
	srv := serve(t, hubbletest.Config{Capacity: strings.Count(text, "\n")})
	if err := srv.Load(text); err != nil {
		t.Fatal(err)
	}
	srv.Seal()
	client, err := hubble.New(hubble.Config{Address: srv.Addr()})
	if err != nil {
		t.Fatal(err)
	}
	var want []correlator.Event
	if err := client.Run(t.Context(), func(ev correlator.Event) { want = append(want, ev) }); err != nil {
		t.Fatal(err)
	}
	d, n := hubble.NewLineDecoder(), 0
	for line := range strings.Lines(text) {
		var ev correlator.Event
		switch ok, err := d.Decode([]byte(line), &ev); {
		case err != nil:
			t.Fatal(err)
		case !ok:
		case n == len(want) || !reflect.DeepEqual(ev, want[n]):
			t.Fatalf("event %d of %s is %+v", n, line, ev)
		default:
			n++
		}
	}
	if n != len(want) || n < 10_000 {
		t.Errorf("%d events, want %d", n, len(want))
	}
}

// TestLinesWithLess takes a server's answer on an egress gateway from a file whose
// exporter left out what a request filters by.
func TestLinesWithLess(t *testing.T) {
	const line = `{"flow":{"time":"2026-01-01T00:00:04Z","IP":{"source":"10.0.0.1","destination":"10.0.0.2"},"l4":{"UDP":{"source_port":5}},"event_type":{"type":4,"sub_type":4},"trace_observation_point":"TO_OVERLAY",%s}}`
	for fields, want := range map[string]bool{
		`"trace_reason":"REPLY","source":{"labels":["reserved:world"]}`:                   true,
		`"trace_reason":"REPLY","source":{"identity":2}`:                                  true,
		`"trace_reason":"REPLY"`:                                                          true,
		`"trace_reason":"NEW"`:                                                            false,
		`"trace_reason":"REPLY","is_reply":false`:                                         false,
		`"trace_reason":"REPLY","is_reply":true,"source":{"namespace":"shop"}`:            false,
		`"trace_reason":"REPLY","is_reply":true,"source":{"labels":["k8s:app=checkout"]}`: false,
	} {
		var ev correlator.Event
		if ok, err := hubble.NewLineDecoder().Decode(fmt.Appendf(nil, line, fields), &ev); ok != want || err != nil {
			t.Errorf("%s: taken: %v, %v", fields, ok, err)
		}
	}
}

func unzipped(t *testing.T, name string) string {
	t.Helper()
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
