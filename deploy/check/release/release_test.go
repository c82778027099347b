// SPDX-License-Identifier: Apache-2.0

package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"debug/buildinfo"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/CycloneDX/cyclonedx-go"
	"helm.sh/helm/v4/pkg/chart/v2/loader"
)

// Two releases of the same commit, in different folders, are the same bytes, and
// have in them what they should.
func TestRelease(t *testing.T) {
	here := runtime.GOOS + "/" + runtime.GOARCH
	first := checkout(t, filepath.Join(t.TempDir(), "a"))
	git(t, first, "tag", version)
	second := filepath.Join(t.TempDir(), "another/folder/with/a/longer/name")
	git(t, first, "clone", "-q", first, second)
	for _, root := range []string{first, second} {
		if err := run(t.Context(), []string{"-root", root, "-platforms", here}); err != nil {
			t.Fatal(err)
		}
	}
	dist := filepath.Join(first, "dist", version)
	if a, b := sums(t, dist), sums(t, filepath.Join(second, "dist", version)); !slices.Equal(a, b) {
		t.Errorf("two releases differ:\n%s\n\n%s", strings.Join(a, "\n"), strings.Join(b, "\n"))
	}
	suffix := strings.Join([]string{"", version, runtime.GOOS, runtime.GOARCH}, "_")
	for _, command := range []string{"renat", "kubectl-renat"} {
		t.Run(command, func(t *testing.T) {
			files := unpack(t, filepath.Join(dist, command+suffix+".tar.gz"), command+suffix)
			checkArchive(t, files, command)
			checkSBOM(t, filepath.Join(dist, command+suffix+".cdx.json"), files)
		})
	}
	t.Run("krew", func(t *testing.T) { checkKrew(t, dist) })
	t.Run("checksums", func(t *testing.T) {
		check := exec.Command("sha256sum", "--check", "--strict", "--quiet", "checksums.txt")
		check.Dir = dist
		if out, err := check.CombinedOutput(); err != nil {
			t.Errorf("%v: %s", err, out)
		}
	})
	t.Run("chart", func(t *testing.T) {
		c, err := loader.LoadFile(filepath.Join(dist, "renat-9.9.9.tgz"))
		if err != nil {
			t.Fatal(err)
		}
		if c.Metadata.Version != "9.9.9" || c.Metadata.AppVersion != version {
			t.Errorf("the chart has the versions %s and %s", c.Metadata.Version, c.Metadata.AppVersion)
		}
	})
}

// sums lists the files of a folder with their checksums.
func sums(t *testing.T, dir string) (all []string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		sum, err := checksum(filepath.Join(dir, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, sum+" "+e.Name())
	}
	return all
}

// unpack returns the files of an archive, which must all be in one folder.
func unpack(t *testing.T, name, folder string) map[string]*tarFile {
	t.Helper()
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	zip, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	files := map[string]*tarFile{}
	for name, file := range untar(t, zip) {
		inside, ok := strings.CutPrefix(name, folder+"/")
		if !ok {
			t.Errorf("%s is not in the folder %s", name, folder)
		}
		files[inside] = file
	}
	return files
}

type tarFile struct {
	mode    int64
	content []byte
}

func untar(t *testing.T, r io.Reader) map[string]*tarFile {
	t.Helper()
	files := map[string]*tarFile{}
	archive := tar.NewReader(r)
	for {
		header, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return files
		}
		if err != nil {
			t.Fatal(err)
		}
		if header.Uid != 0 || header.Gid != 0 || header.Uname != "" || header.ModTime.UTC().Format("2006-01-02T15:04:05") != "2026-07-01T12:00:00" {
			t.Errorf("%s: owner %d:%d %s, time %v", header.Name, header.Uid, header.Gid, header.Uname, header.ModTime)
		}
		content, err := io.ReadAll(archive)
		if err != nil {
			t.Fatal(err)
		}
		files[header.Name] = &tarFile{header.Mode, content}
	}
}

func checkArchive(t *testing.T, files map[string]*tarFile, command string) {
	t.Helper()
	want := []string{
		command, "LICENSE", command + ".licenses", "man/man1/" + command + ".1",
		"completions/" + command + ".bash", "completions/_" + command, "completions/" + command + ".fish", "completions/" + command + ".ps1",
	}
	if command == "renat" {
		want = append(want, "LICENSE.BSD-2-Clause", "LICENSE.GPL-2.0", "man/man1/renat-agent.1", "man/man1/renat-observe.1")
	} else {
		want = append(want, "kubectl_complete-renat", "man/man1/kubectl-renat-nodes.1")
	}
	for _, name := range want {
		if f := files[name]; f == nil || len(f.content) == 0 {
			t.Errorf("%s is missing or empty", name)
		}
	}
	if t.Failed() {
		t.FailNow()
	}
	for name, f := range files {
		executable := name == command || name == "kubectl_complete-renat"
		if executable != (f.mode == 0o755) || !executable && f.mode != 0o644 {
			t.Errorf("%s has the mode %o", name, f.mode)
		}
	}
	for name, says := range map[string]string{
		"man/man1/" + command + ".1": `"Jul 2026"`,
		command + ".licenses":        "= github.com/spf13/cobra@",
		"completions/_" + command:    "#compdef " + command,
	} {
		if !bytes.Contains(files[name].content, []byte(says)) {
			t.Errorf("%s does not say %s", name, says)
		}
	}
	binary := filepath.Join(t.TempDir(), command)
	if err := os.WriteFile(binary, files[command].content, 0o755); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command(binary, "version").CombinedOutput()
	if err != nil || !bytes.Contains(out, []byte(" "+version+" ")) {
		t.Errorf("%s version: %v: %s", command, err, out)
	}
}

// checkSBOM holds a bill of materials against the modules in the binary.
func checkSBOM(t *testing.T, name string, files map[string]*tarFile) {
	t.Helper()
	command := strings.Split(filepath.Base(name), "_")[0]
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var bom cyclonedx.BOM
	if err := cyclonedx.NewBOMDecoder(f, cyclonedx.BOMFileFormatJSON).Decode(&bom); err != nil {
		t.Fatal(err)
	}
	info, err := buildinfo.Read(bytes.NewReader(files[command].content))
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"pkg:golang/std@" + strings.TrimPrefix(info.GoVersion, "go")}
	for _, m := range info.Deps {
		want = append(want, "pkg:golang/"+m.Path+"@"+strings.ReplaceAll(m.Version, "+", "%2B"))
	}
	var got []string
	for _, c := range *bom.Components {
		got = append(got, c.PackageURL)
		if c.Name != "std" && (c.Hashes == nil || len((*c.Hashes)[0].Value) != 64) {
			t.Errorf("%s has no checksum", c.PackageURL)
		}
	}
	if !slices.Equal(got, want) || len(got) < 20 {
		t.Errorf("components %v, want %v", got, want)
	}
	main := bom.Metadata.Component
	if sum := fmt.Sprintf("%x", sha256.Sum256(files[command].content)); (*main.Hashes)[0].Value != sum || main.Version != version {
		t.Errorf("the component is %+v, the binary has the checksum %s", main, sum)
	}
	if deps := *bom.Dependencies; len(deps) != 1 || deps[0].Ref != main.BOMRef || !slices.Equal(*deps[0].Dependencies, want) {
		t.Errorf("dependencies %+v", deps)
	}
}
