// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"
)

// manifest is krew's Plugin, as krew's developer guide describes it.
type manifest struct {
	APIVersion string `json:"apiVersion"`
	Kind       string
	Metadata   struct{ Name string }
	Spec       struct {
		Version, Homepage, ShortDescription, Description, Caveats string
		Platforms                                                 []struct {
			Selector struct{ MatchLabels map[string]string }
			URI      string
			SHA256   string
			Files    []struct{ From, To string }
			Bin      string
		}
	}
}

// problems holds a manifest to the rules that krew and its index have for them.
func (m *manifest) problems() (found []string) {
	hold := func(ok bool, format string, args ...any) {
		if !ok {
			found = append(found, fmt.Sprintf(format, args...))
		}
	}
	hold(m.APIVersion == "krew.googlecontainertools.github.com/v1alpha2" && m.Kind == "Plugin", "is a %s %s", m.APIVersion, m.Kind)
	hold(regexp.MustCompile(`^[a-z][a-z0-9-]*$`).MatchString(m.Metadata.Name), "the name is %q", m.Metadata.Name)
	hold(semantic.MatchString(m.Spec.Version), "the version is %q", m.Spec.Version)
	short := m.Spec.ShortDescription
	hold(short != "" && len(short) <= 50 && !strings.HasSuffix(short, "."), "the short description has %d letters: %q", len(short), short)
	hold(m.Spec.Description != "" && m.Spec.Homepage != "", "no description or homepage")
	hold(len(m.Spec.Platforms) > 0, "no platforms")
	var seen []string
	for _, p := range m.Spec.Platforms {
		on := p.Selector.MatchLabels["os"] + "/" + p.Selector.MatchLabels["arch"]
		hold(len(p.Selector.MatchLabels) == 2 && !slices.Contains(seen, on), "the platform %s is wrong or there twice", on)
		seen = append(seen, on)
		u, err := url.Parse(p.URI)
		hold(err == nil && u.Scheme == "https" && strings.HasSuffix(u.Path, ".tar.gz"), "%s: the URI is %q", on, p.URI)
		hold(strings.HasPrefix(p.URI, "https://github.com/renat-project/renat/releases/download/"+m.Spec.Version+"/"), "%s: the URI is %q", on, p.URI)
		hold(regexp.MustCompile(`^[0-9a-f]{64}$`).MatchString(p.SHA256), "%s: the checksum is %q", on, p.SHA256)
		var installed []string
		for _, f := range p.Files {
			hold(f.To == "." && !strings.Contains(f.From, ".."), "%s: %q to %q", on, f.From, f.To)
			installed = append(installed, path.Base(f.From))
		}
		hold(slices.Contains(installed, "LICENSE"), "%s: no licence is installed", on)
		hold(p.Bin != "" && slices.Contains(installed, p.Bin), "%s: %q is not installed", on, p.Bin)
	}
	return found
}

// checkKrew holds the manifest of a release against krew's rules and the archives.
func checkKrew(t *testing.T, dir string) {
	t.Helper()
	content, err := os.ReadFile(filepath.Join(dir, "renat.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var m manifest
	if err := yaml.UnmarshalStrict(content, &m); err != nil {
		t.Fatal(err)
	}
	for _, problem := range m.problems() {
		t.Error(problem)
	}
	for _, p := range m.Spec.Platforms {
		archive := filepath.Join(dir, path.Base(p.URI))
		if sum, err := checksum(archive); err != nil || sum != p.SHA256 {
			t.Errorf("%s: checksum %s, the manifest says %s (%v)", archive, sum, p.SHA256, err)
		}
		folder := strings.TrimSuffix(path.Base(p.URI), ".tar.gz")
		files := unpack(t, archive, folder)
		for _, f := range p.Files {
			if files[strings.TrimPrefix(f.From, folder+"/")] == nil {
				t.Errorf("%s has no %s", archive, f.From)
			}
		}
	}
}

// The manifest for all platforms is right, and a wrong one is seen.
func TestKrew(t *testing.T) {
	r := &release{root: "../../..", out: t.TempDir(), version: version}
	for _, p := range []platform{{"linux", "amd64"}, {"linux", "arm64"}, {"darwin", "amd64"}, {"darwin", "arm64"}, {"windows", "amd64"}} {
		r.platforms = append(r.platforms, p)
		if err := os.WriteFile(filepath.Join(r.out, r.artefact("kubectl-renat", p)+".tar.gz"), []byte(p.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := r.krew(t.Context()); err != nil {
		t.Fatal(err)
	}
	content, err := os.ReadFile(filepath.Join(r.out, "renat.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ old, new, want string }{
		{"", "", ""},
		{"version: v9.9.9", "version: 9.9.9", `the version is "9.9.9"`},
		{"arch: arm64", "arch: amd64", "is wrong or there twice"},
		{"uri: https:", "uri: http:", "the URI is"},
		{"download/v9.9.9/", "download/v9.9.8/", "the URI is"},
		{"bin: kubectl-renat.exe", "bin: kubectl-renat", "is not installed"},
		{"/LICENSE", "/LICENCE", "no licence is installed"},
		{"sha256: ", "sha256: x", "the checksum is"},
		{"shortDescription: ", "shortDescription: In short, this plugin is there to ", "the short description has"},
		{"bin:", "binary:", "unknown field"},
	} {
		var m manifest
		err := yaml.UnmarshalStrict([]byte(strings.Replace(string(content), c.old, c.new, 1)), &m)
		got := strings.Join(m.problems(), "\n")
		if err != nil {
			got = err.Error()
		}
		if c.want == "" && got != "" || !strings.Contains(got, c.want) {
			t.Errorf("%s for %s: got %q, want %q", c.new, c.old, got, c.want)
		}
	}
}
