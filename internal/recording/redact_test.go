// SPDX-License-Identifier: Apache-2.0

package recording

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/cilium/cilium/api/v1/flow"
	"github.com/cilium/cilium/api/v1/observer"
	"github.com/cilium/cilium/api/v1/relay"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/renat-project/renat/correlator"
)

func newRedactor(t *testing.T) *Redactor {
	t.Helper()
	r, err := NewRedactor()
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// filler sets every field of a message, text to secrets that differ.
type filler struct{ secrets []string }

func (f *filler) secret() string {
	f.secrets = append(f.secrets, fmt.Sprintf("s3cr3t%dx", len(f.secrets)))
	return f.secrets[len(f.secrets)-1]
}

func (f *filler) fill(m protoreflect.Message, depth int) {
	for i := range m.Descriptor().Fields().Len() {
		fd := m.Descriptor().Fields().Get(i)
		switch {
		case fd.Kind() == protoreflect.MessageKind && depth == 0:
		case fd.IsList() && fd.Kind() == protoreflect.MessageKind:
			f.fill(m.Mutable(fd).List().AppendMutable().Message(), depth-1)
		case fd.IsList():
			m.Mutable(fd).List().Append(f.value(fd))
		case fd.Kind() == protoreflect.MessageKind:
			f.fill(m.Mutable(fd).Message(), depth-1)
		default:
			m.Set(fd, f.value(fd))
		}
	}
	unknown := protowire.AppendTag(nil, 99999, protowire.BytesType)
	m.SetUnknown(protowire.AppendString(unknown, f.secret()))
}

func (f *filler) value(fd protoreflect.FieldDescriptor) protoreflect.Value {
	switch fd.Kind() {
	case protoreflect.StringKind:
		switch s := f.secret(); {
		case fd.Name() == "labels" || fd.Name() == "node_labels":
			return protoreflect.ValueOfString("k8s:" + s + "=" + f.secret())
		case fd.Name() == "node_name":
			return protoreflect.ValueOfString(s + "/" + f.secret())
		default:
			return protoreflect.ValueOfString(s)
		}
	case protoreflect.BytesKind:
		return protoreflect.ValueOfBytes([]byte(f.secret()))
	case protoreflect.EnumKind:
		return protoreflect.ValueOfEnum(1)
	case protoreflect.BoolKind:
		return protoreflect.ValueOfBool(true)
	case protoreflect.Uint64Kind:
		return protoreflect.ValueOfUint64(7)
	case protoreflect.Int64Kind:
		return protoreflect.ValueOfInt64(7)
	case protoreflect.Int32Kind:
		return protoreflect.ValueOfInt32(7)
	}
	return protoreflect.ValueOfUint32(7)
}

// TestRedactsEveryField fills in all that Hubble's API has, and what this
// version of it has not.
func TestRedactsEveryField(t *testing.T) {
	var f filler
	full, dns, http, status, lost := &flow.Flow{}, &flow.DNS{}, &flow.HTTP{}, &relay.NodeStatusEvent{}, &flow.LostEvent{}
	for _, m := range []proto.Message{full, dns, http, status, lost} {
		f.fill(m.ProtoReflect(), 3)
	}
	full.Uuid, full.Emitter, full.File = "", nil, nil // they stay
	r := newRedactor(t)
	for _, resp := range []*observer.GetFlowsResponse{
		{ResponseTypes: &observer.GetFlowsResponse_Flow{Flow: full}},
		{ResponseTypes: &observer.GetFlowsResponse_Flow{Flow: &flow.Flow{L7: &flow.Layer7{Record: &flow.Layer7_Dns{Dns: dns}}}}},
		{ResponseTypes: &observer.GetFlowsResponse_Flow{Flow: &flow.Flow{L7: &flow.Layer7{Record: &flow.Layer7_Http{Http: http}}}}},
		{ResponseTypes: &observer.GetFlowsResponse_NodeStatus{NodeStatus: status}},
		{ResponseTypes: &observer.GetFlowsResponse_LostEvents{LostEvents: lost}},
	} {
		resp.NodeName = f.secret()
		r.Flow(resp)
		b, err := proto.Marshal(resp)
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range f.secrets {
			if strings.Contains(string(b), s) {
				t.Errorf("%s is left: %v", s, resp)
			}
		}
	}
	if n := len(f.secrets); n < 100 {
		t.Errorf("only %d texts were filled in", n)
	}
	if full.Source.PodName == "" || full.Source.Identity != 7 || full.L4.GetProtocol() == nil || full.IsReply == nil || full.SocketCookie != 7 {
		t.Errorf("too much is gone: %v", full)
	}
}

func TestRedactorReplacesConsistently(t *testing.T) {
	make := func() *observer.GetFlowsResponse {
		return &observer.GetFlowsResponse{NodeName: "prod/node-a", ResponseTypes: &observer.GetFlowsResponse_Flow{Flow: &flow.Flow{
			Uuid: "01a20575", NodeName: "prod/node-a",
			Summary: "TCP Flags: SYN, ACK", //nolint:staticcheck // Hubble still sends it
			IP:      &flow.IP{Source: "10.0.1.10", Destination: "2a00:1450::1"},
			Source: &flow.Endpoint{Identity: 1234, Namespace: "shop", PodName: "cart-7d4b9", ClusterName: "prod",
				Labels:    []string{"k8s:app=cart", "k8s:io.kubernetes.pod.namespace=shop", "k8s:io.cilium.k8s.policy.cluster=prod"},
				Workloads: []*flow.Workload{{Name: "cart", Kind: "Deployment"}, {Name: "cart", Kind: "Rollout"}}},
			Destination:      &flow.Endpoint{Identity: 2, Labels: []string{"reserved:world"}},
			DestinationNames: []string{"db.example.com"},
		}}}
	}
	one, two, other := make(), make(), make()
	r := newRedactor(t)
	r.Flow(one)
	r.Flow(two)
	newRedactor(t).Flow(other)
	if !proto.Equal(one, two) {
		t.Errorf("the same became\n%v and\n%v", one, two)
	}
	f, o := one.GetFlow(), other.GetFlow()
	if f.Source.PodName == o.Source.PodName || f.IP.Source == o.IP.Source || f.IP.Destination == o.IP.Destination {
		t.Errorf("another redactor replaced the same way: %v", o)
	}
	meta := Meta{NodeName: "node-a", ClusterName: "prod", SNATIPv4: "10.0.1.10"}
	r.Meta(&meta)
	ev := correlator.Event{Kind: correlator.KindNAT, Tuple: correlator.Tuple{Src: correlator.AddrOf(netip.MustParseAddrPort("10.0.1.10:4444"))}}
	r.Event(&ev)
	hash := func(s string) string { return s[strings.LastIndex(s, "-")+1:] }
	src := f.Source
	for what, ok := range map[string]bool{
		"prefixes":        strings.HasPrefix(src.PodName, "pod-") && strings.HasPrefix(src.Namespace, "namespace-"),
		"namespace label": src.Labels[1] == "k8s:io.kubernetes.pod.namespace="+src.Namespace,
		"cluster label":   src.Labels[2] == "k8s:io.cilium.k8s.policy.cluster="+src.ClusterName,
		"other label":     hash(src.Labels[0]) == hash(src.Workloads[0].Name),
		"workload kinds":  src.Workloads[0].Kind == "Deployment" && strings.HasPrefix(src.Workloads[1].Kind, "kind-"),
		"reserved label":  f.Destination.Labels[0] == "reserved:world",
		"numbers":         src.Identity == 1234,
		"uuid":            f.Uuid == "01a20575",
		"summary":         f.Summary == "TCP Flags: SYN, ACK", //nolint:staticcheck // Hubble still sends it
		"node":            one.NodeName == meta.ClusterName+"/"+meta.NodeName && f.NodeName == one.NodeName && src.ClusterName == meta.ClusterName,
		"address":         f.IP.Source == meta.SNATIPv4 && ev.Tuple.Src.String() == f.IP.Source+":4444" && ev.NAT.To.IsZero(),
		"meta":            meta.Redacted,
	} {
		if !ok {
			t.Errorf("%s: %v %+v", what, one, meta)
		}
	}
}

func TestRedactorCallers(t *testing.T) {
	r := newRedactor(t)
	for given, stays := range map[correlator.Caller]bool{
		{Program: "tail_handle_snat_fwd_ipv4"}:     true,
		{Program: "syscall", Comm: "cilium-agent"}: true,
		{Program: "acme_nat"}:                      false,
		{Program: "syscall", Comm: "acme-tool"}:    false,
	} {
		caller := given
		ev := correlator.Event{Kind: correlator.KindNAT, NAT: correlator.NATChange{Caller: &caller}}
		r.Event(&ev)
		if caller != given {
			t.Errorf("%v was changed for other events", given)
		}
		if got := *ev.NAT.Caller; (got == given) != stays || strings.Contains(got.Program+got.Comm, "acme") {
			t.Errorf("%v became %v", given, got)
		}
	}
}

// TestRedactedAddresses checks that kinds of addresses stay what they are and
// that no two become one: for a range of 2^16 all of them.
func TestRedactedAddresses(t *testing.T) {
	r := newRedactor(t)
	for _, a := range []string{"0.0.0.0", "127.0.0.1", "255.255.255.255", "::", "::1", "not an address", ""} {
		if got := r.address(a); (got != a) != (a == "not an address") {
			t.Errorf("%q became %q", a, got)
		}
	}
	for a, within := range map[string]string{
		"10.0.1.10": "10.0.0.0/8", "100.64.1.1": "100.64.0.0/10", "169.254.1.1": "169.254.0.0/16", "172.31.255.255": "172.16.0.0/12",
		"192.168.50.1": "192.168.0.0/16", "8.8.8.8": "0.0.0.0/0", "224.0.0.251": "224.0.0.0/4", "127.0.0.53": "127.0.0.0/8",
		"fd00::1": "fd00::/8", "fe80::1": "fe80::/64", "ff02::1:ff00:1": "ff02::/16", "2a00:1450::1": "2000::/4", "64:ff9b::808:808": "::/4",
	} {
		got, err := netip.ParseAddr(r.address(a))
		if err != nil || !netip.MustParsePrefix(within).Contains(got) || got.String() == a {
			t.Errorf("%s became %v, want another one in %s", a, got, within)
		}
	}
	for i := range 256 {
		if got := netip.MustParseAddr(r.address(fmt.Sprintf("8.8.8.%d", i))); got.IsPrivate() || !got.IsGlobalUnicast() {
			t.Errorf("the public 8.8.8.%d became %v", i, got)
		}
	}
	seen := map[string]bool{}
	for i := range 1 << 16 {
		seen[r.address(fmt.Sprintf("192.168.%d.%d", i>>8, i&255))] = true
		seen[r.address(fmt.Sprintf("8.%d.%d.1", i>>8, i&255))] = true
		seen[r.address(fmt.Sprintf("2a00::%x", i))] = true
		seen[r.address(fmt.Sprintf("fe80::%x", i))] = true
	}
	if len(seen) != 4<<16 {
		t.Errorf("%d addresses became %d", 4<<16, len(seen))
	}
}

func BenchmarkRedact(b *testing.B) {
	r, err := NewRedactor()
	if err != nil {
		b.Fatal(err)
	}
	b.Run("address", func(b *testing.B) {
		ip := netip.MustParseAddr("8.8.8.8").As16()
		for b.Loop() {
			r.ip(ip)
		}
	})
	b.Run("name", func(b *testing.B) {
		for b.Loop() {
			r.name("pod", "cart-7d4b9")
		}
	})
}
