// SPDX-License-Identifier: Apache-2.0

package hubble

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"testing"

	"github.com/cilium/cilium/api/v1/flow"
	"github.com/cilium/cilium/api/v1/observer"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/renat-project/renat/correlator"
)

// recorded returns the flows of testdata as they came.
func recorded(t testing.TB) (out []*observer.GetFlowsResponse) {
	t.Helper()
	names, err := filepath.Glob("testdata/*.jsonl")
	if err != nil || len(names) == 0 {
		t.Fatalf("no recorded flows: %v", err)
	}
	for _, name := range names {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for line := range bytes.Lines(b) {
			resp := &observer.GetFlowsResponse{}
			if err := (protojson.UnmarshalOptions{DiscardUnknown: true}).Unmarshal(line, resp); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			out = append(out, resp)
		}
	}
	return out
}

func encode(t testing.TB, m proto.Message) []byte {
	t.Helper()
	b, err := proto.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// full returns a flow with every field that the decoder reads.
func full() *observer.GetFlowsResponse {
	return &observer.GetFlowsResponse{
		Time: &timestamppb.Timestamp{Seconds: 7}, NodeName: "node-b",
		ResponseTypes: &observer.GetFlowsResponse_Flow{Flow: &flow.Flow{
			Time: &timestamppb.Timestamp{Seconds: 1795387885, Nanos: 734813010}, Uuid: "01a20575-08a6-7960-9f05-5afb007a45f4",
			IP: &flow.IP{Source: "fd00::1", Destination: "2001:db8::1", SourceXlated: "2001:db8::2", IpVersion: flow.IPVersion_IPv6},
			L4: &flow.Layer4{Protocol: &flow.Layer4_TCP{TCP: &flow.TCP{
				SourcePort: 40000, DestinationPort: 65535, Flags: &flow.TCPFlags{SYN: true, NS: true},
			}}},
			Source: &flow.Endpoint{
				Identity: 4711, Namespace: "shop", PodName: "cart-1", Labels: []string{"k8s:app=cart", "k8s:tier=ü"},
				Workloads: []*flow.Workload{{Name: "cart", Kind: "Deployment"}, {Name: "x", Kind: "y"}},
			},
			Destination:      &flow.Endpoint{Identity: 2, Labels: []string{"reserved:world"}},
			DestinationNames: []string{"db.example.com", "db2.example.com"}, SourceNames: []string{""},
			EventType: &flow.CiliumEventType{Type: 4, SubType: 3}, TraceObservationPoint: flow.TraceObservationPoint_TO_NETWORK,
			TraceReason: flow.TraceReason_ESTABLISHED, IsReply: wrapperspb.Bool(true), NodeName: "node-b",
			L7: &flow.Layer7{Record: &flow.Layer7_Http{Http: &flow.HTTP{Method: "GET", Headers: []*flow.HTTPHeader{{Key: "a", Value: "b"}}}}},
		}},
	}
}

func lostResponse() *observer.GetFlowsResponse {
	return &observer.GetFlowsResponse{
		Time: &timestamppb.Timestamp{Seconds: 1795387885, Nanos: 1}, NodeName: "node-b",
		ResponseTypes: &observer.GetFlowsResponse_LostEvents{LostEvents: &flow.LostEvent{
			Source: flow.LostEventSource_PERF_EVENT_RING_BUFFER, NumEventsLost: 42, Cpu: wrapperspb.Int32(3),
			First: &timestamppb.Timestamp{Seconds: 1795387884}, Last: &timestamppb.Timestamp{Seconds: 1795387885},
		}},
	}
}

// seeds are encodings of all kinds, valid and not.
func seeds(t testing.TB) (out [][]byte) {
	for _, r := range append(recorded(t), full(), lostResponse()) {
		out = append(out, encode(t, r))
	}
	field := func(num protowire.Number, content []byte) []byte {
		return protowire.AppendBytes(protowire.AppendTag(nil, num, protowire.BytesType), content)
	}
	inFlow := func(parts ...[]byte) []byte { return field(1, bytes.Join(parts, nil)) }
	whole, lost := encode(t, full()), encode(t, lostResponse())
	group := protowire.AppendTag(protowire.AppendVarint(protowire.AppendTag(protowire.AppendTag(nil, 77, protowire.StartGroupType),
		3, protowire.VarintType), 1), 77, protowire.EndGroupType)
	return append(out,
		nil, []byte{0}, []byte{0x08}, []byte{0x0c}, group, group[:2], inFlow(group),
		slices.Concat(whole, whole), slices.Concat(whole, lost, whole), // merged, overruled
		slices.Concat(inFlow(field(8, []byte{0x0a, 5, 'a'})), lost), slices.Concat(inFlow(field(9, []byte{0x0a, 5, 'a'})), lost, whole),
		slices.Concat(whole, inFlow(field(8, encode(t, &flow.Endpoint{PodName: "late", Labels: []string{"more"}})))),
		inFlow(field(8, []byte{0x0a, 5, 'a'}), field(8, []byte("bcde"))),                           // two broken halves
		inFlow(field(6, field(1, []byte{8, 1})), field(6, field(2, nil)), field(6, field(1, nil))), // TCP, UDP, TCP
		inFlow(field(6, field(7, field(2, []byte{0xff})))),                                         // IGMP, not UTF-8
		inFlow(field(100000, []byte{0xff})), inFlow(field(15, field(101, field(1, []byte{0xff})))), // summary, L7
		inFlow(field(13, []byte{0xff})), inFlow(field(34, []byte{0xff})), field(1000, []byte{0xff}),
		inFlow(field(24, []byte{3})), // the observation point as if packed
		protowire.AppendVarint(nil, 1<<32|8), protowire.AppendVarint(nil, 1<<29<<3),
	)
}

// agree fails unless the wire decoder says of b what the generated decoder and
// FromResponse say.
func agree(t testing.TB, d *decoder, b []byte) {
	t.Helper()
	var resp observer.GetFlowsResponse
	var want correlator.Event
	var wantOK bool
	wantErr := proto.Unmarshal(b, &resp)
	if wantErr != nil {
		wantErr = errMalformed
	} else {
		want, wantOK, wantErr = FromResponse(&resp)
	}
	m := message{dec: d}
	m.decode(b)
	if m.ok != wantOK || !errors.Is(m.err, wantErr) {
		t.Fatalf("got ok=%v err=%v, want ok=%v err=%v\n%x", m.ok, m.err, wantOK, wantErr, b)
	}
	if !errors.Is(wantErr, errMalformed) && d.rec.flow.uuid != resp.GetFlow().GetUuid() {
		t.Fatalf("got uuid %q, want %q\n%x", d.rec.flow.uuid, resp.GetFlow().GetUuid(), b)
	}
	if wantOK && !reflect.DeepEqual(m.ev, want) {
		t.Fatalf("got  %+v %+v %+v\nwant %+v %+v %+v\n%x", m.ev, m.ev.Flow.Src, m.ev.Flow.Dst, want, want.Flow.Src, want.Flow.Dst, b)
	}
}

func FuzzDecode(f *testing.F) {
	for _, b := range seeds(f) {
		f.Add(b)
	}
	d := newDecoder(64)
	f.Fuzz(func(t *testing.T, b []byte) { agree(t, d, b) })
}

// TestDecodeSplices joins, cuts, repeats and nests parts of valid messages:
// what protobuf says of merging, which blind mutation seldom reaches.
func TestDecodeSplices(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	parts := map[int][][]byte{} // by depth: encoded fields
	var split func(depth int, b []byte)
	split = func(depth int, b []byte) {
		for len(b) > 0 {
			num, typ, n := protowire.ConsumeTag(b)
			if n < 0 {
				return
			}
			size := protowire.ConsumeFieldValue(num, typ, b[n:])
			if size < 0 {
				return
			}
			parts[depth] = append(parts[depth], b[:n+size])
			if content, m := protowire.ConsumeBytes(b[n:]); typ == protowire.BytesType && m > 0 && depth < 4 {
				split(depth+1, content)
			}
			b = b[n+size:]
		}
	}
	for _, b := range seeds(t) {
		split(0, b)
	}
	var build func(depth int) []byte
	build = func(depth int) (out []byte) {
		for range 1 + rng.IntN(4) {
			part := parts[depth][rng.IntN(len(parts[depth]))]
			num, typ, n := protowire.ConsumeTag(part)
			switch {
			case typ == protowire.BytesType && depth < 3 && rng.IntN(3) > 0:
				content, _ := protowire.ConsumeBytes(part[n:])
				if rng.IntN(2) == 0 {
					content = append(bytes.Clone(content), build(depth+1)...)
				} else {
					content = build(depth + 1)
				}
				part = protowire.AppendBytes(protowire.AppendTag(nil, num, typ), content)
			case rng.IntN(30) == 0:
				part = part[:rng.IntN(len(part))]
			}
			out = append(out, part...)
		}
		return out
	}
	d, usable := newDecoder(64), 0
	for range 60000 {
		agree(t, d, build(0))
		if d.rec.variant == variantFlow {
			usable++
		}
	}
	if usable < 10000 {
		t.Errorf("only %d spliced messages were flows", usable)
	}
}

func TestDecodeSeeds(t *testing.T) {
	d := newDecoder(64)
	for range 2 { // the second time with the peers known
		for _, b := range seeds(t) {
			agree(t, d, b)
		}
	}
}

func TestDecodeAllocatesNothing(t *testing.T) {
	d := newDecoder(64)
	b := encode(t, full())
	m := message{dec: d}
	m.decode(b)
	if n := testing.AllocsPerRun(100, func() { m.decode(b) }); n != 0 {
		t.Errorf("%v allocations for a flow whose peers are known, want none", n)
	}
	src := m.ev.Flow.Src
	if m.decode(b); m.ev.Flow.Src != src {
		t.Error("the same peer is another pointer")
	}
}

// BenchmarkConvert is the cost of one flow that has arrived: masked, as
// servers send it on request, and whole.
func BenchmarkConvert(b *testing.B) {
	var whole, masked [][]byte
	size := 0
	for _, r := range recorded(b) {
		whole = append(whole, encode(b, r))
		f := r.GetFlow()
		for _, ep := range []*flow.Endpoint{f.GetSource(), f.GetDestination()} {
			ep.ID, ep.ClusterName = 0, ""
		}
		r.ResponseTypes = &observer.GetFlowsResponse_Flow{Flow: &flow.Flow{
			Time: f.GetTime(), Uuid: f.GetUuid(), IP: f.GetIP(), L4: f.GetL4(),
			Source: f.GetSource(), Destination: f.GetDestination(), EventType: f.GetEventType(),
			TraceObservationPoint: f.GetTraceObservationPoint(), TraceReason: f.GetTraceReason(),
		}}
		masked = append(masked, encode(b, r))
		size += len(masked[len(masked)-1])
	}
	b.Logf("%d bytes per masked flow", size/len(masked))
	wire := func(msgs [][]byte) func(*testing.B) {
		return func(b *testing.B) {
			m := message{dec: newDecoder(1024)}
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				m.decode(msgs[i%len(msgs)])
			}
		}
	}
	generated := func(b *testing.B) {
		b.ReportAllocs()
		for i := 0; b.Loop(); i++ {
			var resp observer.GetFlowsResponse
			if err := proto.Unmarshal(masked[i%len(masked)], &resp); err != nil {
				b.Fatal(err)
			}
			_, _, _ = FromResponse(&resp)
		}
	}
	b.Run("masked", wire(masked))
	b.Run("whole", wire(whole))
	b.Run("masked_generated", generated)
}
