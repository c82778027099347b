// SPDX-License-Identifier: Apache-2.0

package enrich_test

import (
	"bytes"
	"encoding/json"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/cilium/cilium/api/v1/flow"
	"github.com/cilium/cilium/api/v1/observer"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/renat-project/renat/correlator"
	"github.com/renat-project/renat/hubble/enrich"
)

// asked is a source that keeps what it was asked last and knows everything.
type asked struct{ flow *enrich.Flow }

func addr(s string) correlator.Addr {
	a, err := correlator.ParseAddr(s)
	if err != nil {
		panic(err)
	}
	return a
}

var addition = enrich.Addition{
	PreNAT: addr("10.0.1.10:40000"), PostNAT: addr("192.168.50.1:41234"), Was: addr("192.168.50.1:40000"),
	Incident: &enrich.Incident{ID: "142cbfffeea5011c", Kind: "renat", Cause: "lru_eviction", Outcome: "reset"},
}

const (
	words     = "SNAT 192.168.50.1:41234 (was :40000); renat:142cbfff"
	extension = `{"renat":{"pre_nat":"10.0.1.10:40000","post_nat":"192.168.50.1:41234","incident":{"id":"142cbfffeea5011c","kind":"renat","cause":"lru_eviction","outcome":"reset"}}}`
)

func (a *asked) Find(f *enrich.Flow) (enrich.Addition, bool) {
	a.flow = f
	return addition, true
}

func lines(t testing.TB) (all [][]byte) {
	t.Helper()
	for _, name := range []string{"cilium-1.15.19", "cilium-1.20.2"} {
		b, err := os.ReadFile("../testdata/" + name + ".jsonl")
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, slices.Collect(bytes.Lines(b))...)
	}
	return all
}

func parse(t testing.TB, line []byte) *observer.GetFlowsResponse {
	t.Helper()
	resp := &observer.GetFlowsResponse{}
	if err := protojson.Unmarshal(line, resp); err != nil {
		t.Fatalf("%v: %s", err, line)
	}
	return resp
}

func alloc(size int) []byte { return make([]byte, size) }

// plain does with the generated types what Response does with bytes.
func plain(t testing.TB, resp *observer.GetFlowsResponse, parts enrich.Parts) *observer.GetFlowsResponse {
	t.Helper()
	resp = proto.CloneOf(resp)
	f := resp.GetFlow()
	if parts.Summary {
		if f.Summary != "" { //nolint:staticcheck // it is what the tools show
			f.Summary += "; " //nolint:staticcheck // as above
		}
		f.Summary += words //nolint:staticcheck // as above
	}
	if parts.Extensions && f.GetExtensions() == nil {
		s := &structpb.Struct{}
		if err := protojson.Unmarshal([]byte(extension), s); err != nil {
			t.Fatal(err)
		}
		var err error
		if f.Extensions, err = anypb.New(s); err != nil {
			t.Fatal(err)
		}
	}
	return resp
}

// same compares extensions by what they hold: a map has no order on the wire.
func same(a, b *observer.GetFlowsResponse) bool {
	a, b = proto.CloneOf(a), proto.CloneOf(b)
	var ext [2]structpb.Struct
	for n, f := range []*flow.Flow{a.GetFlow(), b.GetFlow()} {
		if f.GetExtensions().MessageIs(&ext[n]) && f.GetExtensions().UnmarshalTo(&ext[n]) == nil {
			f.Extensions = nil
		}
	}
	return proto.Equal(a, b) && proto.Equal(&ext[0], &ext[1])
}

func TestResponseAndLineAddTheSame(t *testing.T) {
	for _, line := range lines(t) {
		resp := parse(t, line)
		if resp.GetFlow().GetL4().GetTCP() == nil {
			if got := enrich.Line(&asked{}, line); !bytes.Equal(got, line) {
				t.Errorf("%s became %s", line, got)
			}
			continue
		}
		b, err := proto.Marshal(resp)
		if err != nil {
			t.Fatal(err)
		}
		for _, parts := range []enrich.Parts{{Summary: true}, {Extensions: true}, {Summary: true, Extensions: true}} {
			var wire, text asked
			out, ok := enrich.Response(&wire, parts, b, alloc)
			var got observer.GetFlowsResponse
			if err := proto.Unmarshal(out, &got); err != nil || !ok {
				t.Fatalf("%v, %v for %s", ok, err, line)
			}
			if want := plain(t, resp, parts); !same(&got, want) {
				t.Fatalf("got %v\nwant %v", &got, want)
			}
			if parts != (enrich.Parts{Summary: true, Extensions: true}) {
				continue
			}
			if fromLine := parse(t, enrich.Line(&text, line)); !same(fromLine, &got) {
				t.Fatalf("the line gives %v\nthe message %v", fromLine, &got)
			}
			if *wire.flow != *text.flow {
				t.Fatalf("asked for %+v and %+v", wire.flow, text.flow)
			}
		}
	}
}

func TestSummary(t *testing.T) {
	moved := addition
	moved.Was = addr("192.168.50.9:40000")
	for _, c := range []struct {
		a    enrich.Addition
		want string
	}{
		{addition, "TCP Flags: ACK; " + words},
		{enrich.Addition{PostNAT: addr("[2001:db8::1]:443")}, "TCP Flags: ACK; SNAT [2001:db8::1]:443"},
		{moved, "TCP Flags: ACK; SNAT 192.168.50.1:41234 (was 192.168.50.9:40000); renat:142cbfff"},
		{enrich.Addition{Incident: &enrich.Incident{ID: "short"}}, "TCP Flags: ACK; renat:short"},
		{enrich.Addition{}, "TCP Flags: ACK"},
	} {
		if got := string(c.a.AppendSummary([]byte("TCP Flags: ACK"))); got != c.want {
			t.Errorf("got %q, want %q", got, c.want)
		}
	}
}

func udp(change func(*flow.Flow)) *observer.GetFlowsResponse {
	f := &flow.Flow{
		IP: &flow.IP{Source: "10.0.1.10", Destination: "2001:db8::1"},
		L4: &flow.Layer4{Protocol: &flow.Layer4_UDP{UDP: &flow.UDP{SourcePort: 1, DestinationPort: 65535}}},
	}
	change(f)
	return &observer.GetFlowsResponse{ResponseTypes: &observer.GetFlowsResponse_Flow{Flow: f}}
}

// TestWhatIsAsked goes through flows as both forms have them.
func TestWhatIsAsked(t *testing.T) {
	tuple := correlator.Tuple{Protocol: correlator.UDP, Src: addr("10.0.1.10:1"), Dst: addr("[2001:db8::1]:65535")}
	translated := tuple
	translated.Src = addr("192.0.2.1:1")
	for name, c := range map[string]struct {
		change func(*flow.Flow)
		want   enrich.Flow
	}{
		"nothing known":  {func(*flow.Flow) {}, enrich.Flow{Tuple: tuple}},
		"to the stack":   {func(f *flow.Flow) { f.TraceObservationPoint = flow.TraceObservationPoint_TO_STACK }, enrich.Flow{Tuple: tuple, Direction: enrich.FromPod}},
		"no reply":       {func(f *flow.Flow) { f.IsReply = wrapperspb.Bool(false) }, enrich.Flow{Tuple: tuple, Direction: enrich.FromPod}},
		"reply":          {func(f *flow.Flow) { f.IsReply = wrapperspb.Bool(true) }, enrich.Flow{Tuple: tuple, Direction: enrich.Reply}},
		"to the network": {func(f *flow.Flow) { f.TraceObservationPoint = flow.TraceObservationPoint_TO_NETWORK }, enrich.Flow{Tuple: tuple, Network: true}},
		"after NAT":      {func(f *flow.Flow) { f.IP.SourceXlated = "192.0.2.1" }, enrich.Flow{Tuple: translated, Network: true}},
	} {
		resp := udp(c.change)
		b, err := proto.Marshal(resp)
		if err != nil {
			t.Fatal(err)
		}
		camel, err := protojson.Marshal(resp)
		if err != nil {
			t.Fatal(err)
		}
		snake, err := protojson.MarshalOptions{UseProtoNames: true}.Marshal(resp)
		if err != nil {
			t.Fatal(err)
		}
		var a asked
		if _, ok := enrich.Response(&a, enrich.Parts{Summary: true}, b, alloc); !ok || *a.flow != c.want {
			t.Errorf("%s: the message asks for %+v", name, a.flow)
		}
		for _, line := range [][]byte{camel, snake} {
			a.flow = nil
			if out := enrich.Line(&a, line); a.flow == nil || *a.flow != c.want || !same(parse(t, out), plain(t, resp, enrich.Parts{Summary: true, Extensions: true})) {
				t.Errorf("%s: %s asks for %+v and becomes %s", name, line, a.flow, out)
			}
		}
	}
}

// TestLeftAlone goes through what cannot, or must not, be added to.
func TestLeftAlone(t *testing.T) {
	ports := `"IP":{"source":"10.0.1.10","destination":"192.0.2.1"},"l4":{"TCP":{"source_port":1,"destination_port":2}}`
	for _, line := range []string{
		"", "\n", "{", "{}", "null", "[]", "text", `{"flow":null}`, `{"flow":[]}`, `{"flow":{}}`, `{"flow":{"IP":{}}}`,
		`{"lost_events":{"num_events_lost":"4"}}`, `{"node_status":{}}`,
		`{"flow":{"IP":{"source":"10.0.1.10","destination":"192.0.2.1"},"l4":{"ICMPv4":{"type":8}}}}`,
		`{"flow":{"IP":{"source":"x","destination":"192.0.2.1"},"l4":{"TCP":{}}}}`,
		`{"flow":{"IP":{"source":"10.0.1.10","destination":"192.0.2.1"},"l4":{"TCP":{"source_port":65536}}}}`,
		`{"flow":{"IP":{"source":"10.0.1.10","destination":"192.0.2.1","source_xlated":"x"},"l4":{"TCP":{}}}}`,
		`{"flow":{` + ports + `},"flow":{` + ports + `}}`, `{"flow":{` + ports + `,"Summary":"a","Summary":"b"}}`,
		`{"flow":{` + ports + `}} trailing`, `{"flow":{` + ports,
	} {
		if got := enrich.Line(&asked{}, []byte(line)); string(got) != line {
			t.Errorf("%s became %s", line, got)
		}
	}
	// What is in use stays, unknown fields too, and so does their form.
	in := `{"flow": { ` + ports + `, "later": [1e400], "extensions":{"@type":"x"} , "Summary" : "\u003cA" } , "more":{}}` + "\r\n"
	want := strings.Replace(in, `\u003cA"`, `\u003cA; `+words+`"`, 1)
	if got := string(enrich.Line(&asked{}, []byte(in))); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	// A mask, or an extension that is there, leaves nothing to be added.
	b, _ := proto.Marshal(udp(func(f *flow.Flow) { f.Extensions = &anypb.Any{TypeUrl: "x"} }))
	if _, ok := enrich.Response(&asked{}, enrich.Parts{Extensions: true}, b, alloc); ok {
		t.Error("an extension was overwritten")
	}
	lost, _ := proto.Marshal(&observer.GetFlowsResponse{ResponseTypes: &observer.GetFlowsResponse_LostEvents{LostEvents: &flow.LostEvent{NumEventsLost: 4}}})
	if _, ok := enrich.Response(&asked{}, enrich.Parts{Summary: true}, lost, alloc); ok {
		t.Error("lost events were added to")
	}
}

// FuzzLine wants every line back as it was, but for the additions.
func FuzzLine(f *testing.F) {
	for _, l := range lines(f) {
		f.Add(l)
	}
	f.Add([]byte(`{"flow":{"IP":{"source":"::","destination":"::"},"l4":{"SCTP":{"sourcePort":"7"}},"Summary":null}}`))
	f.Fuzz(func(t *testing.T, line []byte) {
		var a asked
		out := enrich.Line(&a, line)
		if a.flow == nil {
			if !bytes.Equal(out, line) {
				t.Fatalf("%q became %q", line, out)
			}
			return
		}
		var before, after map[string]json.RawMessage
		if json.Unmarshal(line, &before) != nil || json.Unmarshal(out, &after) != nil {
			t.Fatalf("%q became %q", line, out)
		}
		var was, is map[string]json.RawMessage
		if json.Unmarshal(before["flow"], &was) != nil || json.Unmarshal(after["flow"], &is) != nil {
			t.Fatalf("%q became %q", line, out)
		}
		for name, v := range was {
			if name != "Summary" && !bytes.Equal(is[name], v) {
				t.Fatalf("%s of %q became %q", name, line, out)
			}
		}
		if !bytes.Contains(is["Summary"], []byte(words)) || len(is["extensions"]) == 0 {
			t.Fatalf("%q became %q", line, out)
		}
	})
}

// FuzzResponse compares with the generated types.
func FuzzResponse(f *testing.F) {
	for _, l := range lines(f) {
		b, err := proto.Marshal(parse(f, l))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	both := enrich.Parts{Summary: true, Extensions: true}
	f.Fuzz(func(t *testing.T, b []byte) {
		out, ok := enrich.Response(&asked{}, both, b, alloc)
		var before, after observer.GetFlowsResponse
		if !ok || proto.Unmarshal(b, &before) != nil {
			return // it passes as it is
		}
		if err := proto.Unmarshal(out, &after); err != nil {
			t.Fatalf("%v: %x became %x", err, b, out)
		}
		if want := plain(t, &before, both); !same(&after, want) {
			t.Fatalf("%v became %v, want %v", &before, &after, want)
		}
	})
}
