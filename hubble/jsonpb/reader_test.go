// SPDX-License-Identifier: Apache-2.0

package jsonpb

import (
	"bufio"
	"os"
	"strings"
	"testing"

	"github.com/cilium/cilium/api/v1/flow"
	"github.com/cilium/cilium/api/v1/observer"
	"google.golang.org/protobuf/proto"
)

// samples are what Hubble prints, and what is only almost that.
func samples(t testing.TB) (all []string) {
	t.Helper()
	for _, name := range []string{"../testdata/cilium-1.15.19.jsonl", "../testdata/cilium-1.20.2.jsonl"} {
		f, err := os.Open(name)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		for lines := bufio.NewScanner(f); lines.Scan(); {
			all = append(all, lines.Text())
		}
	}
	return all
}

// oddities are lines that a reader may take wrongly. Each is a flow's content.
var oddities = []string{
	``, `"time":"2026-02-29T00:00:00Z"`, `"time":"2028-02-29T23:59:59.123456789Z"`, `"time":"2026-01-01T00:00:60Z"`,
	`"time":"2026-01-01T00:00:00.1234567890Z"`, `"time":"2026-01-01T00:00:00,5Z"`, `"time":"2026-01-01T00:00:00.Z"`,
	`"time":"2026-01-01T00:00:00+01:00"`, `"time":"0000-01-01T00:00:00Z"`, `"time":null`, `"Summary":5`, `"Summary":"\u00e9"`, `"uuid":"é"`,
	"\"uuid\":\"\xff\"", `"uuid":"a","uuid":"b"`, `"node_name":"a","nodeName":"b"`, `"l4":{"TCP":{},"UDP":{}}`, `"l4":{"TCP":{},"TCP":{}}`, `"l4":{}`,
	`"l4":{"TCP":{"source_port":"1"}}`, `"l4":{"TCP":{"source_port":01}}`, `"l4":{"TCP":{"source_port":1e3}}`, `"l4":{"TCP":{"source_port":-1}}`,
	`"l4":{"TCP":{"source_port":4294967296}}`, `"l4":{"SCTP":{"destinationPort":7}}`, `"l4":{"ICMPv4":{"type":8}}`, `"l4":{"IGMP":{}}`, `"l4":{"VRRP":{}}`,
	`"socket_cookie":"12"`, `"socket_cookie":" 12"`, `"socket_cookie":12`, `"socket_cookie":"012"`, `"socket_cookie":"12`, `"verdict":1`, `"verdict":"NONE"`,
	`"is_reply":true`, `"is_reply":{"value":true}`, `"is_reply":"true"`, `"is_reply":truex`, `"source":{"labels":["a","b"],"workloads":[{"name":"w","kind":"K"},{}]}`,
	`"source":{"labels":[,]}`, `"source":{"labels":["a",]}`, `"source_names":[]`, `"unknown":{"a":[1,{}]}`, `"extensions":{"@type":"x","a":1}`, `"IP":{"source":"1"},`,
	`"l7":{"http":{"code":200,"headers":[{"key":"a","value":"b"}]}}`, `"l7":{"latency_ns":"5","dns":{"ttl":1}}`, `"destination":{"ID":1,"cluster_name":"c"}`,
	`"interface":{"index":3,"name":"lo"}`, `"egress_allowed_by":[{"name":"p","labels":["x"]}]`, ` "Type" : "L3_L4" , "reply" : false `,
}

func TestRecordedLinesAreReadFast(t *testing.T) {
	var r Reader
	for _, line := range samples(t) {
		if !strings.Contains(line, `"flow"`) {
			continue
		}
		if _, ok := r.Flow([]byte(line)); !ok {
			t.Errorf("left to protojson: %s", line)
		}
		compare(t, &r, []byte(line))
	}
	for _, o := range oddities {
		compare(t, &r, []byte(`{"flow":{`+o+`},"node_name":"n","time":"2026-01-01T00:00:00Z"}`))
	}
}

// FuzzReader: what a Reader takes, Parse takes, and finds the same in it.
func FuzzReader(f *testing.F) {
	for _, line := range samples(f) {
		f.Add([]byte(line))
	}
	for _, o := range oddities {
		f.Add([]byte(`{"flow":{` + o + `}}`))
	}
	f.Fuzz(func(t *testing.T, line []byte) { compare(t, &Reader{}, line) })
}

func compare(t *testing.T, r *Reader, line []byte) {
	t.Helper()
	got, ok := r.Flow(line)
	if !ok {
		return
	}
	want, err := Parse(line)
	if err != nil {
		t.Fatalf("%q was taken: %v", line, err)
	}
	if want = only(want); !proto.Equal(got, want) {
		t.Errorf("%q\ngot  %v\nwant %v", line, got, want)
	}
}

// only leaves in a response what a Reader reads.
func only(resp *observer.GetFlowsResponse) *observer.GetFlowsResponse {
	f := resp.GetFlow()
	o := &flow.Flow{
		Time: f.GetTime(), Uuid: f.GetUuid(), Verdict: f.GetVerdict(), NodeName: f.GetNodeName(), IsReply: f.GetIsReply(),
		TraceObservationPoint: f.GetTraceObservationPoint(), TraceReason: f.GetTraceReason(), DropReasonDesc: f.GetDropReasonDesc(),
		SourceNames: f.GetSourceNames(), DestinationNames: f.GetDestinationNames(), EventType: f.GetEventType(),
		Source: onlyEnd(f.GetSource()), Destination: onlyEnd(f.GetDestination()), L4: f.GetL4(),
	}
	if ip := f.GetIP(); ip != nil {
		o.IP = &flow.IP{Source: ip.GetSource(), Destination: ip.GetDestination(), SourceXlated: ip.GetSourceXlated()}
	}
	switch p := f.GetL4().GetProtocol().(type) { // of others it is known only that they are
	case *flow.Layer4_ICMPv4:
		p.ICMPv4.Reset()
	case *flow.Layer4_ICMPv6:
		p.ICMPv6.Reset()
	case *flow.Layer4_VRRP:
		p.VRRP.Reset()
	case *flow.Layer4_IGMP:
		p.IGMP.Reset()
	}
	return &observer.GetFlowsResponse{
		NodeName: resp.GetNodeName(), Time: resp.GetTime(), ResponseTypes: &observer.GetFlowsResponse_Flow{Flow: o},
	}
}

func onlyEnd(ep *flow.Endpoint) *flow.Endpoint {
	if ep == nil {
		return nil
	}
	o := &flow.Endpoint{Identity: ep.GetIdentity(), Namespace: ep.GetNamespace(), PodName: ep.GetPodName(), Labels: ep.GetLabels()}
	for _, w := range ep.GetWorkloads() {
		o.Workloads = append(o.Workloads, &flow.Workload{Name: w.GetName(), Kind: w.GetKind()})
	}
	return o
}

func BenchmarkReader(b *testing.B) {
	all := samples(b)
	for name, read := range map[string]func([]byte){
		"fast":      func() func([]byte) { var r Reader; return func(l []byte) { r.Flow(l) } }(),
		"protojson": func(l []byte) { Parse(l) }, //nolint:errcheck // a benchmark
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				read([]byte(all[i%len(all)]))
			}
		})
	}
}
