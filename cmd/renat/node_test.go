// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/renat-project/renat/internal/view/usage"
)

// startAgent serves what an agent of a node with a full map tells, to whom has
// the token.
func startAgent(t *testing.T) string {
	t.Helper()
	mux := http.NewServeMux()
	for path, body := range map[string]string{
		"/v1/status": `{"version":1,"node":"node-a","renat":"v1.0.0","machine":{"cpus":8,"memory_bytes":8589934592},
			"maps":[{"name":"cilium_snat_v4_external","max_entries":131072,"entries":130048,"inserts":900000,"evictions":500000,
			"last_minute":{"inserts_per_second":900,"evictions_per_second":870},"last_ten_minutes":{"inserts_per_second":900,"evictions_per_second":870}}],
			"incidents":{"total":3,"reset":3,"last_ten_minutes":1}}`,
		"/v1/at-risk": `{"version":1,"node":"node-a","connections":[{"protocol":"TCP","source":{"address":"10.0.1.10:40000","namespace":"shop","pod":"cart-1"},
			"destination":{"address":"192.0.2.1:443"},"gone":"OUT","breaks":"pod","since":"2026-11-29T10:00:00Z"}]}`,
		"/v1/top": `{"version":1,"node":"node-a","maps":[{"name":"cilium_snat_v4_external","entries":130048,"live_share":0.46,
			"sources":[{"address":"10.0.1.10","count":90000}],"destinations":[{"address":"192.0.2.1:443","count":60000}]}]}`,
	} {
		mux.HandleFunc("GET "+path, func(w http.ResponseWriter, r *http.Request) {
			if r.Header.Get("Authorization") != "Bearer a-long-enough-token" {
				w.WriteHeader(http.StatusUnauthorized)
				fmt.Fprint(w, `{"title":"not signed in","status":401,"detail":"send the token"}`)
				return
			}
			fmt.Fprint(w, body)
		})
	}
	s := httptest.NewServer(mux)
	t.Cleanup(s.Close)
	return s.URL
}

func TestVerbsOfOneNode(t *testing.T) {
	file := func(name, content string) string {
		path := filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	agent := []string{"--agent", startAgent(t), "--token-file", file("token", "a-long-enough-token\n")}
	for _, c := range []struct {
		args []string
		code int
		says string
	}{
		{[]string{"nodes", "--fail-on", "breaking"}, usage.Found, "node-a  breaking  snat_v4  131072   99%"},
		{[]string{"advise"}, usage.Done, "natMax: "},
		{[]string{"advise"}, usage.Done, "Settings: not known, so the sizes of the maps are taken as they are"},
		{[]string{"advise", "--agent", "http://127.0.0.1:1"}, usage.Done, "Incomplete: nothing is known of 127.0.0.1:1, which may need more.\n"},
		{[]string{"advise", "--cilium-config", file("config", "bpf-nat-global-max: \"131072\"\n")}, usage.Done, "In force: bpf-nat-global-max 131072.\n"},
		{[]string{"at-risk"}, usage.Done, "node-a  shop/cart-1  192.0.2.1:443  TCP       OUT"},
		{[]string{"top"}, usage.Done, "192.0.2.1:443    60000    46%"},
		{[]string{"nodes", "-o", "xml"}, usage.Wrong, "not one of wide"},
		{[]string{"advise", "--cilium-config", filepath.Join(t.TempDir(), "none")}, usage.Failed, "no such file"},
		{[]string{"advise", "--cilium-config", file("other", "kind: ConfigMap\nmetadata: {name: kube-root-ca.crt}\ndata: {ca.crt: x}\n")}, usage.Failed, "should be the ConfigMap cilium-config: it is kube-root-ca.crt"},
		{[]string{"advise", "--cilium-config", file("empty", "colour: red\n")}, usage.Failed, "it has none of them"},
		{[]string{"advise", "--cilium-config", file("pod", "kind: Pod\ndata: {}\n")}, usage.Failed, "it is of kind Pod"},
		{[]string{"advise", "--cilium-config", file("ratio", "bpf-map-dynamic-size-ratio: \"2.5\"\n")}, usage.Done, "Refused: bpf-map-dynamic-size-ratio is 2.5, and must be from 0 to 1"},
		{[]string{"advise", "--cilium-config", file("set", "bpf-nat-global-max: \"720896\"\n")}, usage.Done, "No setting needs to change. Restart Cilium's agents on: node-a."},
	} {
		got := renat(t, append(c.args, agent...)...)
		if got.code != c.code || !strings.Contains(got.out+got.err, c.says) {
			t.Errorf("%s: exit %d\n%s%s", c.args, got.code, got.out, got.err)
		}
	}
	if got := renat(t, "nodes", agent[0], agent[1]); got.code != usage.Failed || !strings.Contains(got.err, "not signed in: send the token") {
		t.Errorf("without the token: exit %d, %s", got.code, got.err)
	}
	if got := renat(t, "nodes", "--agent", "http://127.0.0.1:1"); got.code != usage.Failed || !strings.Contains(got.err, "name running agents with --agent") {
		t.Errorf("no agent: exit %d, %s", got.code, got.err)
	}
	if got := renat(t, "advise", "--agent", "http://127.0.0.1:1"); got.code != usage.Failed || got.out != "" {
		t.Errorf("advice without an answer: exit %d, %s", got.code, got.out)
	}
	// What nobody named need not be there.
	if got := renat(t, append([]string{"status"}, agent...)...); got.code != usage.Done || !strings.Contains(got.out, "Agents               1: 1 breaking") || !strings.Contains(got.out, "All in order") {
		t.Errorf("status: exit %d\n%s%s", got.code, got.out, got.err)
	}
	if got := renat(t, append([]string{"status", "--hub", "http://127.0.0.1:1"}, agent...)...); got.code != usage.Found || !strings.Contains(got.out, "hub 127.0.0.1:1: silent: ") {
		t.Errorf("status with a hub that is away: exit %d\n%s%s", got.code, got.out, got.err)
	}
	if got := renat(t, "nodes", "--agent", "127.0.0.1:1"); got.code != usage.Wrong {
		t.Errorf("no URL: exit %d, %s", got.code, got.err)
	}
}
