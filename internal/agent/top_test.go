// SPDX-License-Identifier: Apache-2.0

package agent_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/renat-project/renat/correlator"
	"github.com/renat-project/renat/internal/agent"
	"github.com/renat-project/renat/internal/nodestatus"
)

// natTuples are the connections in the fake kernel's map.
func natTuples() (all []correlator.Tuple) {
	for _, pair := range [][2]string{
		{"10.0.1.10:40000", "192.0.2.1:443"}, {"10.0.1.10:40001", "192.0.2.1:443"}, {"10.0.1.11:40000", "192.0.2.1:443"}, {"10.0.1.11:40001", "192.0.2.2:80"},
	} {
		src, _ := correlator.ParseAddr(pair[0])
		dst, _ := correlator.ParseAddr(pair[1])
		all = append(all, correlator.Tuple{Src: src, Dst: dst, Protocol: correlator.TCP})
	}
	return all
}

func get(t *testing.T, url string, v any) {
	t.Helper()
	res, err := http.Get(url) //nolint:noctx // a test's server
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if err := json.NewDecoder(res.Body).Decode(v); err != nil || res.StatusCode != http.StatusOK {
		t.Fatalf("%s: %s, %v", url, res.Status, err)
	}
}

func TestTop(t *testing.T) {
	n := startNode(t, nil)
	for i := range 5 {
		n.changes(correlator.Event{Kind: correlator.KindNAT, Time: time.Now().UnixNano(), Tuple: natTuples()[2+i%2],
			NAT: correlator.NATChange{Op: correlator.Evict, Dir: correlator.Dir(i / 4), Map: natMap}})
	}
	var top nodestatus.Top
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(100 * time.Millisecond) {
		get(t, n.http+"/v1/top", &top)
		if len(top.Maps) == 1 && len(top.Maps[0].EvictedSources) == 1 && top.Maps[0].EvictedSources[0].Count == 4 {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("the evictions are not counted: %+v", top)
		}
	}
	m := top.Maps[0]
	if top.Node != "node-a" || m.Entries != 8 || m.Live == nil || *m.Live != 0.5 {
		t.Errorf("%+v", top)
	}
	if want := []nodestatus.Holder{{Address: "192.0.2.1:443", Count: 3}, {Address: "192.0.2.2:80", Count: 1}}; !slices.Equal(m.Destinations, want) {
		t.Errorf("destinations %+v", m.Destinations)
	}
	if len(m.Sources) != 2 || m.Sources[0].Count != 2 {
		t.Errorf("sources %+v", m.Sources)
	}
	if want := (nodestatus.Holder{Address: "10.0.1.11", Count: 4}); m.EvictedSources[0] != want {
		t.Errorf("evicted %+v", m.EvictedSources)
	}
}

// TestPeaksOfBefore starts an agent where another has left its peaks.
func TestPeaksOfBefore(t *testing.T) {
	dir := t.TempDir()
	left := fmt.Sprintf(`{%q:{"max_entries":%d,"since":"2026-11-01T00:00:00Z","entries":500,"inserts_per_second":90,"evictions_per_second":7}}`, natMap.Name, natMap.MaxEntries)
	path := filepath.Join(dir, "peaks.json")
	if err := os.WriteFile(path, []byte(left), 0o600); err != nil {
		t.Fatal(err)
	}
	n := startNode(t, func(c *agent.Config) { c.StateDir = dir })
	var s nodestatus.Status
	get(t, n.http+"/v1/status", &s)
	want := nodestatus.Peaks{Since: time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC), Entries: 500, Inserts: 90, Evictions: 7}
	if len(s.Maps) != 2 || s.Maps[0].Peaks == nil || *s.Maps[0].Peaks != want {
		t.Errorf("%+v", s.Maps)
	}
}
