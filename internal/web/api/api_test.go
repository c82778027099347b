// SPDX-License-Identifier: Apache-2.0

package api_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/renat-project/renat/correlator/incident"
	"github.com/renat-project/renat/internal/nodestatus"
	"github.com/renat-project/renat/internal/web/api"
	"github.com/renat-project/renat/internal/web/board"
)

func sample(n int) *incident.Incident {
	at := time.Date(2026, 11, 22, 22, 0, n, 0, time.UTC)
	i := &incident.Incident{
		Kind: incident.Renat, Cause: incident.LRUEviction, Outcome: incident.Reset,
		Time: at, Node: "node-a", Cluster: "prod", Protocol: "TCP",
		Source:      incident.Endpoint{IP: netip.MustParseAddr("10.0.0.1"), Port: 40000, Namespace: "shop", Pod: "cart-1", Workload: "Deployment/cart"},
		Destination: incident.Endpoint{IP: netip.MustParseAddr("192.0.2.1"), Port: 443},
		NAT:         incident.NAT{Map: "cilium_snat_v4_external", Before: "198.51.100.1:41000", After: "198.51.100.1:51111"},
		Evidence:    []incident.Evidence{{Time: at.Add(-10 * time.Second), From: incident.Kernel, What: "evicted"}, {Time: at.Add(time.Second), From: incident.Hubble, What: "RST"}},
		Map:         incident.Map{MaxEntries: 512, EvictionsPerSecond: 3},
	}
	i.ID = i.NewID(uint64(n))
	return i
}

func newBoard() *board.Board {
	b := board.New(board.Config{})
	for n := range 5 {
		b.Add(sample(n), 0)
	}
	b.SetStatus(nodestatus.Status{
		Node: "node-a", Cluster: "prod", Time: time.Now(), Parts: []nodestatus.Part{{Name: nodestatus.PartKernel, Ready: true}},
		Maps: []nodestatus.Map{{Name: "cilium_snat_v4_external", MaxEntries: 512}}, Losses: map[string]uint64{"kernel_ring": 1},
	}, time.Now())
	return b
}

func serve(t *testing.T, b *board.Board) *httptest.Server {
	t.Helper()
	s := httptest.NewServer(api.New(api.Config{Board: b, Version: "v1.2.3", Title: "hub"}))
	t.Cleanup(s.Close)
	return s
}

func get(t *testing.T, url string) (status int, body []byte) {
	t.Helper()
	r, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	if body, err = io.ReadAll(r.Body); err != nil {
		t.Fatal(err)
	}
	return r.StatusCode, body
}

// document is openapi.json, and the schemas in it compiled.
func document(t *testing.T) (doc map[string]any, schema func(pointer string) *jsonschema.Schema) {
	t.Helper()
	text, err := os.ReadFile("openapi.json")
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	if err := c.AddResource("openapi.json", parsed); err != nil {
		t.Fatal(err)
	}
	return parsed.(map[string]any), func(pointer string) *jsonschema.Schema {
		s, err := c.Compile("openapi.json#" + pointer)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
}

// A list of a few nodes tells of all.
func TestFewNodes(t *testing.T) {
	b := newBoard()
	for n := range 9 {
		b.SetStatus(nodestatus.Status{Node: fmt.Sprintf("node-%d", n), Cluster: "prod", Time: time.Now(), Machine: nodestatus.Machine{CPUs: 4, MemoryBytes: 16 << 30},
			Maps: []nodestatus.Map{{Name: "cilium_snat_v4_external", MaxEntries: 131072, Inserts: 1000, Evictions: 9, LastMinute: nodestatus.Rates{Inserts: 100}}}}, time.Now())
	}
	b.SetStatus(nodestatus.Status{Node: "node-9", Cluster: "prod", Time: time.Now(), Parts: []nodestatus.Part{{Name: nodestatus.PartKernel}}}, time.Now())
	s := serve(t, b)
	var nodes api.NodeList
	for query, want := range map[string]int{"": 11, "?limit=3": 3, "?limit=100": 11} {
		if _, body := get(t, s.URL+"/v1/nodes"+query); json.Unmarshal(body, &nodes) != nil || len(nodes.Nodes) != want || nodes.Fleet.Total != 11 {
			t.Errorf("nodes%s: %d of %d", query, len(nodes.Nodes), nodes.Fleet.Total)
		}
		if first := nodes.Nodes[0].State; (first == nodestatus.Blind) != (query != "") {
			t.Errorf("nodes%s: a node that is %s comes first", query, first)
		}
	}
	whole := b.Plan(time.Now())
	var advice api.SizeAdvice
	if _, body := get(t, s.URL+"/v1/advice?limit=2"); json.Unmarshal(body, &advice) != nil || len(advice.Plan.Nodes) != 2 || advice.Maps != len(whole.Nodes) ||
		advice.Unmeasured != len(whole.Unmeasured) || len(advice.Plan.Unmeasured) > 2 {
		t.Errorf("advice %s", body)
	}
	for _, query := range []string{"?limit=2", ""} { // the short answer leaves the long one as it is
		if _, body := get(t, s.URL+"/v1/advice"+query); json.Unmarshal(body, &advice) != nil || query == "" && !reflect.DeepEqual(advice.Plan.Nodes, whole.Nodes) {
			t.Errorf("advice%s: %+v, not %+v", query, advice.Plan.Nodes, whole.Nodes)
		}
	}
	for _, path := range []string{"/v1/nodes?limit=0", "/v1/nodes?limit=many", "/v1/advice?limit=1001"} {
		if status, _ := get(t, s.URL+path); status != http.StatusBadRequest {
			t.Errorf("%s: status %d", path, status)
		}
	}
}

// Each path of the document answers as it says.
func TestAnswersAreAsDocumented(t *testing.T) {
	doc, schema := document(t)
	s := serve(t, newBoard())
	for path := range doc["paths"].(map[string]any) {
		if path == "/v1/session" || path == "/v1/events" {
			continue // TestSignIn, TestEvents
		}
		at := "/paths/" + strings.ReplaceAll(path, "/", "~1") + "/get/responses/200/content/application~1json/schema"
		status, body := get(t, s.URL+strings.ReplaceAll(path, "{id}", sample(1).ID))
		validate(t, schema(strings.NewReplacer("{", "%7B", "}", "%7D").Replace(at)), body)
		if status != http.StatusOK {
			t.Errorf("%s: %d %s", path, status, body)
		}
		status, body = get(t, s.URL+strings.ReplaceAll(path, "{id}", sample(1).ID)+"?unknown=1")
		if status != http.StatusBadRequest {
			t.Errorf("%s takes an unknown parameter: %d", path, status)
		}
		validate(t, schema("/components/schemas/Problem"), body)
	}
}

func validate(t *testing.T, schema *jsonschema.Schema, body []byte) {
	t.Helper()
	v, err := jsonschema.UnmarshalJSON(bytes.NewReader(body))
	if err == nil {
		err = schema.Validate(v)
	}
	if err != nil {
		t.Errorf("%s: %v", body, err)
	}
}

func TestIncidents(t *testing.T) {
	b := newBoard()
	s := serve(t, b)
	var got struct {
		Incidents     []json.RawMessage
		Total         int
		Next, Problem string
		Since         time.Time `json:"problem_since"`
	}
	b.Loaded()
	b.SetProblem("NATS is away", time.Date(2026, 11, 22, 22, 30, 0, 0, time.UTC))
	_, body := get(t, s.URL+"/v1/incidents?limit=2&kind=renat&namespace=shop")
	if err := json.Unmarshal(body, &got); err != nil {
		t.Fatal(err)
	}
	if len(got.Incidents) != 2 || got.Total != 5 || got.Problem != "NATS is away" || got.Since.Minute() != 30 {
		t.Fatalf("got %s", body)
	}
	if i, err := incident.UnmarshalCloudEvent(got.Incidents[0]); err != nil || i.ID != sample(4).ID {
		t.Errorf("got %+v, %v", i, err)
	}
	_, body = get(t, s.URL+"/v1/incidents?skip=2&cursor="+got.Next)
	got.Next = ""
	if err := json.Unmarshal(body, &got); err != nil || len(got.Incidents) != 1 || got.Total != 3 || got.Next != "" {
		t.Errorf("%v: got %s", err, body)
	}
}

func TestIncident(t *testing.T) {
	s := serve(t, newBoard())
	var got struct {
		Incident json.RawMessage
		Verdict  struct{ What, Size string }
		Hubble   string
	}
	_, body := get(t, s.URL+"/v1/incidents/"+sample(3).ID)
	if err := json.Unmarshal(body, &got); err != nil {
		t.Fatal(err)
	}
	i, err := incident.UnmarshalCloudEvent(got.Incident)
	if err != nil || i.ID != sample(3).ID || len(i.Evidence) != 2 {
		t.Errorf("got %+v, %v", i, err)
	}
	if !strings.HasPrefix(got.Verdict.What, "1 connection of shop/Deployment/cart to 192.0.2.1:443 was broken on node node-a") || got.Verdict.Size == "" {
		t.Errorf("verdict %+v", got.Verdict)
	}
	if want := "hubble observe --ip 10.0.0.1 --port 40000 --protocol tcp --since 2026-11-22T21:59:48Z --until 2026-11-22T22:00:09Z"; got.Hubble != want {
		t.Errorf("got  %s\nwant %s", got.Hubble, want)
	}
}

// What the host sent for an orphaned reply has its address, and hostile fields
// do not reach a shell.
func TestHubbleCommand(t *testing.T) {
	b := board.New(board.Config{})
	i := sample(0)
	i.Kind, i.Protocol, i.Evidence = incident.OrphanedReply, "$(reboot)", nil
	i.Source.IP, i.Source.Pod = netip.MustParseAddr("fd00::1%$(reboot)"), "; reboot"
	b.Add(i, 0)
	_, body := get(t, serve(t, b).URL+"/v1/incidents/"+i.ID)
	want := `"hubble":"hubble observe --ip fd00::1 --port 40000 --ip 198.51.100.1 --port 41000 --since 2026-11-22T21:59:55Z --until 2026-11-22T22:00:05Z"`
	if !strings.Contains(string(body), want) {
		t.Errorf("got %s", body)
	}
}

// What the board holds of an incident is shown while its evidence cannot be read.
func TestIncidentWithoutItsEvidence(t *testing.T) {
	b := board.New(board.Config{Whole: func(context.Context, uint64) (*incident.Incident, error) {
		return nil, errors.New("JetStream does not answer")
	}})
	b.Add(sample(2), 2)
	status, body := get(t, serve(t, b).URL+"/v1/incidents/"+sample(2).ID)
	var got struct {
		Verdict struct{ What string }
		Problem string
	}
	if err := json.Unmarshal(body, &got); err != nil || status != 200 || got.Problem != "JetStream does not answer" || got.Verdict.What == "" {
		t.Errorf("%d %s: %v", status, body, err)
	}
}

func TestProblems(t *testing.T) {
	away := board.New(board.Config{Whole: func(context.Context, uint64) (*incident.Incident, error) { return nil, board.ErrGone }})
	away.Add(sample(1), 1)
	s := serve(t, away)
	_, schema := document(t)
	for path, want := range map[string]struct {
		status int
		says   string
	}{
		"incidents?kind=x":                        {400, `kind \"x\" is not one of renat, orphaned_reply`},
		"incidents?limit=0":                       {400, `limit \"0\" is not a number from 1 to 1000`},
		"incidents?skip=-1":                       {400, `skip \"-1\" is not a number`},
		"incidents?cursor=x":                      {400, "cursor is not a cursor from an earlier answer"},
		"summary?groups=1001":                     {400, "from 0 to 1000"},
		"summary?since=x":                         {400, `since \"x\"`},
		"events?ip=x":                             {400, `ip \"x\" is neither`},
		"incidents/unknown":                       {404, "not among the newest incidents that are kept here"},
		"incidents/" + sample(1).ID:               {410, "NATS has removed it"},
		"nowhere":                                 {404, "no such path"},
		"incidents/%3Cscript%3E?":                 {404, `\u003cscript\u003e`},
		"incidents?namespace=none;x":              {400, "malformed query"},
		"incidents?namespace=no%zz":               {400, "malformed query"},
		"summary?" + strings.Repeat("pod=a&", 65): {400, `\"pod\" is given 65 times; at most 64`},
		"incidents?%3Cscript%3E=1":                {400, "is not one of: id, kind, cause"},
		"incidents?kind=renat&kindd=re":           {400, "kindd"},
	} {
		status, body := get(t, s.URL+"/v1/"+path)
		if status != want.status || !strings.Contains(string(body), want.says) {
			t.Errorf("%s: %d %s, want %d %s", path, status, body, want.status, want.says)
		}
		validate(t, schema("/components/schemas/Problem"), body)
	}
}
