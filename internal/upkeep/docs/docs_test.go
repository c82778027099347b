// SPDX-License-Identifier: Apache-2.0

package docs

import (
	"slices"
	"strings"
	"sync"
	"testing"
)

// repository is the set of this repository.
var repository = sync.OnceValues(func() (*Set, error) { return Load("../../..") })

// problemsOf returns what is wrong with a page if the repository had it.
func problemsOf(t *testing.T, page string) []Problem {
	t.Helper()
	base, err := repository()
	if err != nil {
		t.Fatal(err)
	}
	s := *base
	added := NewPage("docs/x.md", []byte(page))
	s.Pages = append(slices.Clip(base.Pages), added)
	_, problems := added.calls()
	for _, p := range slices.Concat(s.Names([]string{"nats-url"}, []string{"renat_losses_total"}), s.Links(), s.Index()) {
		if p.Path == added.Path {
			problems = append(problems, p)
		}
	}
	return problems
}

// What the pages link to is there. What they say of the commands is held in the
// tests of the commands.
func TestLinks(t *testing.T) {
	s, err := repository()
	if err != nil {
		t.Fatal(err)
	}
	if len(s.Pages) < 10 {
		t.Errorf("%d pages", len(s.Pages))
	}
	for _, p := range slices.Concat(s.Links(), s.Index()) {
		t.Error(p)
	}
}

// The checks would see what is stale: each case is a page that says one thing
// too many, and what must be said of it.
func TestStale(t *testing.T) {
	for _, c := range []struct{ name, page, want string }{
		{"target", "```sh\nmake build tset\n```\n", "docs/x.md:2: the Makefile has no target tset"},
		{"target in the text", "See `make tset`.\n", "no target tset"},
		{"metric", "`renat_map_evicted_total` counts\n", "docs/x.md:1: neither a metric, a variable, a path nor a name in the code: renat_map_evicted_total"},
		{"metric in a query", "```promql\nrate(renat_losss_total[5m])\n```\n", "renat_losss_total"},
		{"metrics", "`renat_mapp_…`\n", "renat_mapp_…"},
		{"variable", "```sh\nRENAT_NAST_URL=x renat agent\n```\n", "RENAT_NAST_URL"},
		{"stream", "the stream `RENAT_INCIDENT`\n", "RENAT_INCIDENT"},
		{"path", "```sh\ncurl -s localhost:9969/v1/stauts\n```\n", "/v1/stauts"},
		{"path in the text", "`/v1/stauts` says\n", "/v1/stauts"},
		{"test", "`TestNothingOfTheKind`\n", "no test TestNothingOfTheKind"},
		{"benchmark", "`go test ./cmd/renat -run '^$' -bench Milllion`\n", "-bench Milllion matches no test"},
		{"package", "```sh\ngo test ./internal/sizzing\n```\n", "no file or folder ./internal/sizzing"},
		{"file", "`cmd/renat/mian.go`\n", "no file or folder cmd/renat/mian.go"},
		{"link", "\n[a](kubeclt.md)\n", "docs/x.md:2: link to kubeclt.md, which does not exist"},
		{"link out", "[a](../../main.md)\n", "does not exist"},
		{"own link", "[a](https://github.com/renat-project/renat/blob/main/docs/kubeclt.md)\n", "does not exist"},
		{"anchor", "[a](kubectl.md#which-node)\n", "kubectl.md has no heading #which-node"},
		{"own anchor", "# Well\n[a](#wel)\n", "no heading #wel"},
		{"picture", "![a](img/now-drak.png)\n", "img/now-drak.png, which does not exist"},
		{"picture in HTML", "<img\n  src=\"img/now-drak.png\">\n", "img/now-drak.png, which does not exist"},
		{"no command line", "```sh\nrenat agent 'x\n```\n", "not a command line"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := problemsOf(t, c.page)
			if !slices.ContainsFunc(got, func(p Problem) bool { return strings.Contains(p.String(), c.want) }) {
				t.Errorf("got %v, want %q", got, c.want)
			}
		})
	}
}

// What is right is not complained of.
func TestFresh(t *testing.T) {
	got := problemsOf(t, "# A page: `with` *all*\n"+
		"`renat_losses_total`, `renat_losses_total_bucket` and `renat_los…`; `RENAT_NATS_URL`, `bin/renat`, `make lab`\n"+
		"[a](kubectl.md#which-nodes) [b](#a-page-with-all) [c](https://example.com/x) [d](../README.md) <a href=\"img\">e</a>\n"+
		"```console\n$ make build \\\n    lab ARGS='--restore both'\nno command\n```\n`make fleet ARGS='-nodes 5'`\n"+
		"`/v1/status` `kubectl get --raw /api/v1/nodez` `kubectl logs deploy/renat-hub` `go test ./kprobes -run '^$' -bench Overhead/instructions`\n")
	if want := []Problem{{"docs/x.md", 1, "no README.md links to this page"}}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

// What a page shows is held against what is written, to the letter.
func TestSessions(t *testing.T) {
	page := NewPage("x.md", []byte("```console\n$ printf 'a\\nb  \\nin 17ms\\n'\na\nb\nin 3s\n\n$ echo one; \\\n  echo two; echo three\none\n[...]\nthree\n```\n\n```sh\ntrue   # it is\necho a |\n  cat\n```\n"))
	all, err := (&Set{Pages: []*Page{page}}).Sessions()
	if err != nil || len(all) != 4 || all[2].Command != "true" || all[3].Command != "echo a |\n  cat" || all[1].Where != "x.md:7" {
		t.Fatalf("%v: %q", err, all)
	}
	for _, s := range all[:2] {
		out, err := s.Run(t.Context(), t.TempDir(), nil)
		if err != nil || s.Compare(out) != nil {
			t.Errorf("%v, %v", err, s.Compare(out))
		}
		for _, wrong := range []string{"", out + "more\n", "before\n" + out, strings.Replace(out, "e", "x", 1), strings.Replace(out, "a", "x", 1)} {
			if wrong != out && s.Compare(wrong) == nil {
				t.Errorf("%q passes for %q", wrong, s.Output)
			}
		}
	}
	if args, ok := (Session{Command: "kubectl renat nodes -w || true"}).Args("kubectl renat"); !ok || !slices.Equal(args, []string{"nodes", "-w"}) {
		t.Errorf("got %q", args)
	}
}
