// SPDX-License-Identifier: Apache-2.0

package incident_test

import (
	"bytes"
	"errors"
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/renat-project/renat/correlator/incident"
)

func sample() *incident.Incident {
	at := time.Date(2026, 11, 22, 22, 49, 56, 123456789, time.UTC)
	i := &incident.Incident{
		Kind: incident.Renat, Cause: incident.UserspaceDelete, DeletedBy: "cilium-agent", Outcome: incident.Reset,
		Time: at, Node: "node-a.example", Cluster: "prod süd", Protocol: "TCP",
		Source: incident.Endpoint{
			IP: netip.MustParseAddr("fd00::10"), Port: 40000, Namespace: "shop", Pod: "cart-1",
			Workload: "Deployment/cart", Identity: 1234, Labels: []string{"k8s:app=cart"},
		},
		Destination: incident.Endpoint{IP: netip.MustParseAddr("2001:db8::1"), Port: 443, Names: []string{"api.example.com"}},
		NAT: incident.NAT{
			Map: "cilium_snat_v6_external", Before: "[2001:db8::50]:40000", After: "[2001:db8::50]:51111",
			RemovedAt: at.Add(-time.Second), RenattedAt: at, Program: "tail_handle_snat_fwd_ipv6",
		},
		Evidence: []incident.Evidence{{Time: at, From: incident.Kernel, What: "insert"}},
		Map:      incident.Map{MaxEntries: 512, EvictionsPerSecond: 12.5},
	}
	i.ID = i.NewID(42)
	return i
}

func TestCloudEventRoundTrip(t *testing.T) {
	want := sample()
	b, err := want.MarshalCloudEvent()
	if err != nil {
		t.Fatal(err)
	}
	if bytes.ContainsRune(b, '\n') {
		t.Errorf("an event must stay on one line: %s", b)
	}
	got, err := incident.UnmarshalCloudEvent(b)
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v\nwant %+v", got, want)
	}
}

func TestCloudEventMatchesSchema(t *testing.T) {
	schema, err := jsonschema.NewCompiler().Compile("incident.v1.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	minimal := sample()
	minimal.NAT = incident.NAT{Map: "cilium_snat_v4_external"}
	minimal.Evidence = []incident.Evidence{}
	for _, i := range []*incident.Incident{sample(), minimal} {
		if err := schema.Validate(data(t, i)); err != nil {
			t.Errorf("valid incident refused: %v", err)
		}
	}
	bad := sample()
	bad.Outcome = "maybe"
	if schema.Validate(data(t, bad)) == nil {
		t.Error("the schema accepts an unknown outcome")
	}
}

// data returns the data of i's CloudEvent as the schema validator reads it.
func data(t *testing.T, i *incident.Incident) any {
	t.Helper()
	b, err := i.MarshalCloudEvent()
	if err != nil {
		t.Fatal(err)
	}
	v, err := jsonschema.UnmarshalJSON(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	return v.(map[string]any)["data"]
}

func TestUnmarshalCloudEventRefuses(t *testing.T) {
	for name, c := range map[string]struct {
		in          string
		notIncident bool
	}{
		"garbage":         {in: "{"},
		"empty":           {in: ""},
		"other type":      {in: `{"specversion":"1.0","id":"1","type":"com.example.x","data":{}}`, notIncident: true},
		"later version":   {in: `{"specversion":"1.0","id":"1","type":"dev.renat.incident.v2","data":{}}`, notIncident: true},
		"old CloudEvents": {in: `{"specversion":"0.3","id":"1","type":"dev.renat.incident.v1","data":{}}`, notIncident: true},
		"no id":           {in: `{"specversion":"1.0","type":"dev.renat.incident.v1","data":{}}`},
		"no data":         {in: `{"specversion":"1.0","id":"1","type":"dev.renat.incident.v1"}`},
		"null data":       {in: `{"specversion":"1.0","id":"1","type":"dev.renat.incident.v1","data":null}`},
		"no addresses":    {in: `{"specversion":"1.0","id":"1","type":"dev.renat.incident.v1","data":{"kind":"renat"}}`},
		"bad address":     {in: `{"specversion":"1.0","id":"1","type":"dev.renat.incident.v1","data":{"source":{"ip":"x"}}}`},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := incident.UnmarshalCloudEvent([]byte(c.in))
			if err == nil {
				t.Fatal("accepted")
			}
			if errors.Is(err, incident.ErrNotIncident) != c.notIncident {
				t.Errorf("errors.Is(%v, ErrNotIncident) is not %v", err, c.notIncident)
			}
		})
	}
}

func TestNewIDTellsFailuresApart(t *testing.T) {
	base := sample()
	if other := sample(); other.NewID(42) != base.ID {
		t.Error("the same failure got another id")
	}
	laterAnchor := sample()
	laterAnchor.Time = laterAnchor.Time.Add(time.Millisecond)
	laterAnchor.Outcome = incident.Unconfirmed
	if laterAnchor.NewID(42) != base.ID {
		t.Error("the id depends on the wall clock or the outcome")
	}
	for name, change := range map[string]func(*incident.Incident){
		"node":     func(i *incident.Incident) { i.Node = "node-b" },
		"cluster":  func(i *incident.Incident) { i.Cluster = "" },
		"source":   func(i *incident.Incident) { i.Source.Port++ },
		"server":   func(i *incident.Incident) { i.Destination.Port++ },
		"protocol": func(i *incident.Incident) { i.Protocol = "UDP" },
		"split":    func(i *incident.Incident) { i.Cluster, i.Node = i.Cluster+`" "`+i.Node, "" },
	} {
		i := sample()
		change(i)
		if i.NewID(42) == base.ID {
			t.Errorf("another %s has the same id", name)
		}
	}
	if base.NewID(43) == base.ID {
		t.Error("a later failure of the connection has the same id")
	}
}

func TestSubject(t *testing.T) {
	if got, want := sample().Subject(), "renat.incidents.v1.renat.prod=20s=C3=BCd.node-a=2Eexample"; got != want {
		t.Errorf("Subject() = %q, want %q", got, want)
	}
}

func FuzzToken(f *testing.F) {
	for _, s := range []string{"", "node-a", "a.b", "prod süd", "=", "==", "=2E", "*", ">", "\r\n", "日本", "\x00"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, name string) {
		token := incident.EncodeToken(name)
		if token == "" || strings.ContainsAny(token, " .*>\t\r\n") {
			t.Fatalf("EncodeToken(%q) = %q is not one token", name, token)
		}
		got, err := incident.DecodeToken(token)
		if err != nil || got != name {
			t.Fatalf("DecodeToken(EncodeToken(%q)) = %q, %v", name, got, err)
		}
		if back, err := incident.DecodeToken(name); err == nil && incident.EncodeToken(back) != name {
			t.Fatalf("DecodeToken(%q) accepts what EncodeToken does not write", name)
		}
	})
}

func FuzzUnmarshalCloudEvent(f *testing.F) {
	b, err := sample().MarshalCloudEvent()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Add([]byte(`{"specversion":"1.0","id":"1","type":"dev.renat.incident.v1","data":null}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		i, err := incident.UnmarshalCloudEvent(b)
		if err != nil {
			return
		}
		again, err := i.MarshalCloudEvent()
		if err != nil {
			return // a time or address that JSON can carry only one way
		}
		j, err := incident.UnmarshalCloudEvent(again)
		if err != nil || j.ID != i.ID || j.Subject() != i.Subject() {
			t.Fatalf("second round trip of %q: %v", b, err)
		}
	})
}
