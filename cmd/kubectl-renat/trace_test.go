// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/renat-project/renat/internal/view/usage"
)

// TestTrace finds the pod's node and addresses, asks that node's agent, and
// shows its lines; every way that fails says what to do.
func TestTrace(t *testing.T) {
	time.Local = time.UTC
	s := threeNodes(t)
	var asked string
	mux := http.NewServeMux()
	mux.HandleFunc("GET /v1/trace", func(w http.ResponseWriter, r *http.Request) {
		asked = r.URL.RawQuery
		if r.URL.Query().Get("protocol") == "pigeon" {
			w.Header().Set("Content-Type", "application/problem+json")
			w.WriteHeader(http.StatusBadRequest)
			fmt.Fprint(w, `{"title":"wrong parameter","status":400,"detail":"unknown protocol"}`)
			return
		}
		for _, line := range traceLines {
			fmt.Fprintln(w, line)
		}
	})
	for i := range s.pods {
		if s.pods[i].node == "node-c" {
			s.pods[i].agent = access("10.0.0.0/24").Wrap(mux)
		}
	}
	code, out, errs := s.renat(t, "trace", "cart-1", "-n", "shop", "--to", "192.0.2.1:443", "--last", "3")
	if code != usage.Failed || !strings.Contains(errs, "the agent of node-c ended the trace") || !strings.Contains(errs, "tracing shop/cart-1 10.0.1.10 to 192.0.2.1:443; Ctrl-C ends it") {
		t.Errorf("exit %d: %s", code, errs)
	}
	if want := "ip=10.0.1.10&ip=fd00%3A%3A10&last=3&pod=shop%2Fcart-1&to=192.0.2.1%3A443"; asked != want {
		t.Errorf("asked %s, want %s", asked, want)
	}
	want := `Nov 29 16:00:00.100 hubble TCP 10.0.1.10:40000 -> 192.0.2.1:443: to-stack ACK established (shop/cart-1 -> example.com)
Nov 29 16:00:00.200 kernel TCP 10.0.1.10:40000 -> 192.0.2.1:443: snat_v4 OUT evict to 10.0.0.1:40000, 1m30s old, CPU 1
Nov 29 16:00:00.300 kernel TCP 192.0.2.1:443 -> 10.0.0.1:40000: snat_v4 IN insert to 10.0.1.10:40000 refused: the key is taken (EEXIST), by tail_handle_snat_fwd_ipv4, CPU 0
Nov 29 16:00:00.400 kernel TCP 10.0.1.10:40000 -> 192.0.2.1:443: ct4_global OUT delete missed: there was no entry, by process "cilium-agent", CPU 0
Nov 29 16:00:00.500 renat  7 events are missing here (kernel_ring)
`
	if out != want {
		t.Errorf("got\n%s\nwant\n%s", out, want)
	}
	if _, out, _ = s.renat(t, "trace", "shop/cart-1", "-o", "json"); out != strings.Join(traceLines, "\n")+"\n" {
		t.Errorf("JSON:\n%s", out)
	}
	for _, c := range []struct {
		args string
		code int
		want string
	}{
		{"trace shop/gone", usage.Failed, "namespace shop has no pod gone"},
		{"trace shop/pending", usage.Failed, "pod shop/pending has no node or no address yet: it is Pending"},
		{"trace shop/elsewhere", usage.Failed, "no agent runs on node node-z, where the pod is"},
		{"trace shop/old", usage.Failed, "is older and cannot trace"},
		{"trace shop/cart-1 -o table", usage.Wrong, `output format "table" is not one of compact, json`},
		{"trace shop/cart-1 --protocol pigeon", usage.Wrong, "unknown protocol"},
		{"trace", usage.Wrong, "POD"},
	} {
		if code, _, errs := s.renat(t, strings.Fields(c.args)...); code != c.code || !strings.Contains(errs, c.want) {
			t.Errorf("%s: exit %d: %s", c.args, code, errs)
		}
	}
	s.forbidden["get pods"] = true
	if code, _, errs := s.renat(t, "trace", "shop/cart-1"); code != usage.Failed || !strings.Contains(errs, "-n shop create role renat-get-pods --verb=get --resource=pods") {
		t.Errorf("exit %d: %s", code, errs)
	}
}

var traceLines = []string{
	`{"time":"2026-11-29T16:00:00Z","node":"node-c","from":"renat","what":"tracing","note":"shop/cart-1 10.0.1.10 to 192.0.2.1:443"}`,
	`{"time":"2026-11-29T16:00:00.1Z","node":"node-c","from":"hubble","what":"to-stack","protocol":"TCP","source":"10.0.1.10:40000","destination":"192.0.2.1:443","flags":"ACK","reason":"established","source_name":"shop/cart-1","destination_name":"example.com"}`,
	`{"time":"2026-11-29T16:00:00.2Z","node":"node-c","from":"kernel","what":"evict","protocol":"TCP","source":"10.0.1.10:40000","destination":"192.0.2.1:443","map":"cilium_snat_v4_external","direction":"OUT","to":"10.0.0.1:40000","age_seconds":90.2,"cpu":1}`,
	`{"time":"2026-11-29T16:00:00.3Z","node":"node-c","from":"kernel","what":"insert","protocol":"TCP","source":"192.0.2.1:443","destination":"10.0.0.1:40000","map":"cilium_snat_v4_external","direction":"IN","to":"10.0.1.10:40000","errno":17,"error":"EEXIST","program":"tail_handle_snat_fwd_ipv4","cpu":0}`,
	`{"time":"2026-11-29T16:00:00.4Z","node":"node-c","from":"kernel","what":"delete","protocol":"TCP","source":"10.0.1.10:40000","destination":"192.0.2.1:443","map":"cilium_ct4_global","direction":"OUT","errno":2,"error":"ENOENT","program":"syscall","process":"cilium-agent","cpu":0}`,
	`{"time":"2026-11-29T16:00:00.5Z","node":"node-c","from":"renat","what":"lost","count":7,"note":"kernel_ring"}`,
}
