// SPDX-License-Identifier: Apache-2.0

package render_test

import (
	"errors"
	"net/netip"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/renat-project/renat/correlator/incident"
	"github.com/renat-project/renat/internal/view/render"
)

func sample() *incident.Incident {
	at := time.Date(2026, 11, 22, 22, 51, 26, 123456789, time.UTC)
	return &incident.Incident{
		ID: "0123456789abcdef", Kind: incident.Renat, Cause: incident.LRUEviction, Outcome: incident.Reset,
		Time: at, Node: "node-a", Cluster: "prod", Protocol: "TCP",
		Source: incident.Endpoint{
			IP: netip.MustParseAddr("10.0.1.10"), Port: 40000, Namespace: "shop", Pod: "cart-1", Workload: "Deployment/cart",
		},
		Destination: incident.Endpoint{IP: netip.MustParseAddr("2001:db8::1"), Port: 443, Names: []string{"api.example.com"}},
		NAT: incident.NAT{
			Map: "cilium_snat_v4_external", Before: "192.0.2.1:40000", After: "192.0.2.1:51288",
			RemovedAt: at.Add(-40 * time.Second), RenattedAt: at, Program: "tail_handle_snat_fwd_ipv4",
		},
		Evidence: []incident.Evidence{
			{Time: at.Add(-40 * time.Second), From: incident.Kernel, What: "OUT entry evicted"},
			{Time: at, From: incident.Hubble, What: "packet from the server"},
		},
		Loss: incident.Loss{KernelEvents: 3, Unknown: true},
		Map:  incident.Map{MaxEntries: 512, EvictionsPerSecond: 42.5},
	}
}

func write(t *testing.T, f render.Format, colored bool, incidents ...*incident.Incident) string {
	t.Helper()
	var b strings.Builder
	w := render.New(&b, f, colored, time.UTC)
	for _, i := range incidents {
		if err := w.Write(i); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestCompact(t *testing.T) {
	orphan := sample()
	orphan.Kind, orphan.Cause, orphan.DeletedBy = incident.OrphanedReply, incident.UserspaceDelete, "cilium-agent"
	orphan.Outcome, orphan.Source.Pod, orphan.NAT.RemovedAt = incident.Unconfirmed, "", time.Time{}
	got := write(t, render.Compact, false, sample(), orphan)
	want := `Nov 22 22:51:26.123 01234567 [prod/node-a]: shop/cart-1:40000 -> [2001:db8::1]:443 (api.example.com) TCP re-NATted 192.0.2.1:40000 -> 192.0.2.1:51288, evicted 40s before, reset
Nov 22 22:51:26.123 01234567 [prod/node-a]: 10.0.1.10:40000 -> [2001:db8::1]:443 (api.example.com) TCP orphaned reply to 192.0.2.1:40000, deleted by cilium-agent, unconfirmed
`
	if got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
}

func TestDict(t *testing.T) {
	got := write(t, render.Dict, false, sample(), sample())
	want := `     TIMESTAMP: 2026-11-22T22:51:26.123456789Z
            ID: 0123456789abcdef
          KIND: renat
         CAUSE: evicted
       OUTCOME: reset
          NODE: prod/node-a
      PROTOCOL: TCP
        SOURCE: shop/cart-1:40000
      WORKLOAD: Deployment/cart
   DESTINATION: [2001:db8::1]:443 (api.example.com)
    NAT BEFORE: 192.0.2.1:40000
     NAT AFTER: 192.0.2.1:51288
       REMOVED: 2026-11-22T22:50:46.123456789Z
       PROGRAM: tail_handle_snat_fwd_ipv4
           MAP: cilium_snat_v4_external, 512 entries, 42.5 evictions/s
          LOST: 3 kernel events, an unknown number more
      EVIDENCE: 22:50:46.123456 kernel OUT entry evicted
                22:51:26.123456 hubble packet from the server
`
	if got != want+"------------\n"+want {
		t.Errorf("got\n%s", got)
	}
}

func long() *incident.Incident {
	i := sample()
	i.Source.Namespace, i.Source.Pod = "payments-production", "checkout-worker-deployment-6f7c9d8b5-x2k4q"
	return i
}

// A table that is not followed is as wide as its widest cells, whatever they are.
func TestTable(t *testing.T) {
	orphan := long()
	orphan.Kind, orphan.NAT.After = incident.OrphanedReply, ""
	got := write(t, render.Columns, false, sample(), orphan)
	want := "" +
		"TIMESTAMP            ID        NODE         SOURCE                                                                DESTINATION                          PROTOCOL  KIND            NAT BEFORE       NAT AFTER        CAUSE    OUTCOME\n" +
		"Nov 22 22:51:26.123  01234567  prod/node-a  shop/cart-1:40000                                                     [2001:db8::1]:443 (api.example.com)  TCP       renat           192.0.2.1:40000  192.0.2.1:51288  evicted  reset\n" +
		"Nov 22 22:51:26.123  01234567  prod/node-a  payments-production/checkout-worker-deployment-6f7c9d8b5-x2k4q:40000  [2001:db8::1]:443 (api.example.com)  TCP       orphaned_reply  192.0.2.1:40000  -                evicted  reset\n"
	if got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

// A table that is followed grows with what comes, and has its titles once.
func TestTableLive(t *testing.T) {
	var b strings.Builder
	w := render.New(&b, render.Columns, false, time.UTC)
	w.Live = true
	for _, i := range []*incident.Incident{sample(), long(), sample()} {
		if err := w.Write(i); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(b.String(), "\n")
	if len(lines) != 5 || strings.Count(b.String(), "TIMESTAMP") != 1 {
		t.Fatalf("got\n%s", b.String())
	}
	column := func(line int) int { return strings.Index(lines[line], "[2001:db8::1]") }
	if strings.Index(lines[0], "DESTINATION") != column(1) || column(2) <= column(1) || column(3) != column(2) {
		t.Errorf("not aligned:\n%s", b.String())
	}
}

func TestTimeFormats(t *testing.T) {
	for name, want := range map[string]string{
		"": "Nov 22 22:51:26.123", "StampMilli": "Nov 22 22:51:26.123", "RFC3339": "2026-11-22T22:51:26Z", "RFC3339Milli": "2026-11-22T22:51:26.123Z",
		"RFC3339Micro": "2026-11-22T22:51:26.123456Z", "RFC3339Nano": "2026-11-22T22:51:26.123456789Z", "RFC1123Z": "Sun, 22 Nov 2026 22:51:26 +0000",
	} {
		if err := render.CheckTimeFormat(name); err != nil {
			t.Error(err)
		}
		if got := render.Stamp(sample().Time, name); got != want {
			t.Errorf("%s: %s, want %s", name, got, want)
		}
	}
	if err := render.CheckTimeFormat("ISO"); err == nil || !strings.Contains(err.Error(), "StampMilli, RFC3339") {
		t.Errorf("error %v", err)
	}
}

func TestYAML(t *testing.T) {
	got := write(t, render.YAML, false, sample(), sample())
	docs := strings.Split(got, "---\n")
	if len(docs) != 2 || docs[0] != docs[1] || !strings.Contains(got, "max_entries: 512\n") || !strings.Contains(got, "id: 0123456789abcdef\n") {
		t.Errorf("got\n%s", got)
	}
}

func TestDrawing(t *testing.T) {
	i := sample()
	i.Evidence[0].Step, i.Evidence[1].Step, i.Evidence[1].Flags = incident.OutRemoved, incident.ServerPacket, "RST"
	i.Evidence = append(i.Evidence, incident.Evidence{Time: i.Time, From: incident.Hubble, What: "of a later version", Step: "later"})
	var b strings.Builder
	w := render.New(&b, render.Compact, false, time.UTC)
	w.Drawings = true
	if err := w.Write(i); err != nil {
		t.Fatal(err)
	}
	_, got, _ := strings.Cut(b.String(), "\n")
	want := `                    pod     NAT    server
    22:50:46.123456 │        ✗        │  OUT entry evicted
    22:51:26.123456 │◀────────────────┤  packet from the server
    22:51:26.123456 │                 │  of a later version
`
	if got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestJSONIsOneCloudEventALine(t *testing.T) {
	got := write(t, render.JSON, true, sample(), sample())
	if lines := strings.Split(got, "\n"); len(lines) != 3 || lines[0] != lines[1] || lines[2] != "" {
		t.Fatalf("got %q", got)
	}
	if i, err := incident.UnmarshalCloudEvent([]byte(strings.Split(got, "\n")[0])); err != nil || i.ID != "0123456789abcdef" {
		t.Errorf("%v, %v", i, err)
	}
}

func TestColour(t *testing.T) {
	for _, f := range []render.Format{render.Compact, render.Dict, render.Columns} {
		if !strings.Contains(write(t, f, true, sample()), "\x1b[31mreset") {
			t.Errorf("%s: the outcome is not red", f)
		}
		if strings.Contains(write(t, f, false, sample()), "\x1b") {
			t.Errorf("%s: coloured although it was not asked for", f)
		}
	}
}

func TestHostileNamesCannotDriveTheTerminal(t *testing.T) {
	const evil = "a\x1b[2J\r\nb\u202e\u0085\u009b2J\x7f"
	i := sample()
	i.Source.Pod, i.Source.Namespace, i.Source.Workload = evil, evil, evil
	i.Destination.Names = []string{evil}
	i.Node, i.Cluster, i.DeletedBy, i.NAT.Program, i.NAT.Map, i.ID, i.Protocol = evil, evil, evil, evil, evil, evil, evil
	i.NAT.Before, i.NAT.After = evil, evil
	i.Cause, i.Kind, i.Outcome = evil, evil, evil
	i.Evidence[0].What, i.Evidence[0].From = evil, evil
	for _, f := range render.Formats {
		got := write(t, f, false, i)
		if f == render.YAML { // which lets it stand as it is
			got = strings.ReplaceAll(got, "\u202e", `\u202e`)
		}
		if strings.ContainsAny(got, "\x1b\r\u202e\u0085\u009b\x7f") || strings.Contains(got, "\nb") {
			t.Errorf("%s: %q", f, got)
		}
		if f != render.JSON && f != render.YAML {
			continue
		}
		var plain struct{ Data struct{ Node string } }
		if err := yaml.Unmarshal([]byte(got), &plain); err != nil || plain.Data.Node != evil {
			t.Errorf("%s: the node is %q, %v", f, plain.Data.Node, err)
		}
	}
}

func TestParseFormat(t *testing.T) {
	if f, err := render.ParseFormat("dict"); err != nil || f != render.Dict {
		t.Errorf("%v, %v", f, err)
	}
	if _, err := render.ParseFormat("xml"); err == nil || !strings.Contains(err.Error(), "compact, dict, table, json, jsonpb, yaml") {
		t.Errorf("error %v", err)
	}
}

type failing struct{}

func (failing) Write([]byte) (int, error) { return 0, errors.New("disk full") }

func TestWriteReportsTheWritersError(t *testing.T) {
	if err := render.New(failing{}, render.JSON, false, time.UTC).Write(sample()); err == nil {
		t.Error("no error")
	}
}
