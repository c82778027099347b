// SPDX-License-Identifier: Apache-2.0

package main

import (
	"debug/buildinfo"
	"debug/elf"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/moby/patternmatcher"
	"github.com/moby/patternmatcher/ignorefile"
)

// What the Dockerfile runs, run: with only the files that it would be given, for
// both architectures, it makes static binaries of the version, and the same bytes
// as the build script makes in another folder.
func TestDockerfileBuild(t *testing.T) {
	root := checkout(t, t.TempDir())
	given := buildContext(t, root)
	for arch, machine := range map[string]elf.Machine{"amd64": elf.EM_X86_64, "arm64": elf.EM_AARCH64} {
		for _, script := range readDockerfile(t, nil).runs {
			run := exec.Command("/bin/sh", "-c", script)
			run.Dir = given
			run.Env = append(os.Environ(), "TARGETARCH="+arch, "VERSION="+version)
			if out, err := run.CombinedOutput(); err != nil {
				t.Fatalf("%s: %v: %s", script, err, out)
			}
		}
		binary := filepath.Join(given, "out/renat")
		checkBinary(t, binary, arch, machine)

		again := exec.Command(filepath.Join(root, "deploy/build.sh"), "linux", arch, filepath.Join(root, "dist"), "renat")
		again.Dir = root
		again.Env = append(os.Environ(), "VERSION="+version)
		if out, err := again.CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		for _, name := range []string{"renat", "renat.licenses"} {
			a, errA := checksum(filepath.Join(given, "out", name))
			b, errB := checksum(filepath.Join(root, "dist", name))
			if a != b || errA != nil || errB != nil {
				t.Errorf("%s, %s: %s in one folder, %s in another (%v, %v)", arch, name, a, b, errA, errB)
			}
		}
	}
}

func checkBinary(t *testing.T, name, arch string, machine elf.Machine) {
	t.Helper()
	f, err := elf.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if f.Machine != machine {
		t.Errorf("%s is for %v", arch, f.Machine)
	}
	for _, p := range f.Progs {
		if p.Type == elf.PT_INTERP || p.Type == elf.PT_DYNAMIC {
			t.Errorf("%s is not static: it has %v", arch, p.Type)
		}
	}
	info, err := buildinfo.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range info.Settings {
		if s.Key == "-ldflags" || strings.HasPrefix(s.Key, "vcs") { // would differ in a folder without .git
			t.Errorf("%s has %s in it", arch, s.Key)
		}
	}
	content, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(content), version) {
		t.Errorf("%s: no version in the binary", arch)
	}
}

// buildContext copies what Docker would send to the build: all but what
// Dockerfile.dockerignore names.
func buildContext(t *testing.T, root string) string {
	t.Helper()
	f, err := os.Open(dockerfile + ".dockerignore")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	patterns, err := ignorefile.ReadAll(f)
	if err != nil {
		t.Fatal(err)
	}
	ignored, err := patternmatcher.New(patterns)
	if err != nil {
		t.Fatal(err)
	}
	given := t.TempDir()
	err = filepath.WalkDir(root, func(name string, d fs.DirEntry, err error) error {
		if err != nil || name == root {
			return err
		}
		inside, err := filepath.Rel(root, name)
		if err != nil {
			return err
		}
		skip, err := ignored.MatchesOrParentMatches(inside)
		switch {
		case err != nil:
			return err
		case skip && d.IsDir():
			return fs.SkipDir
		case !skip && !d.IsDir():
			copyFile(t, name, filepath.Join(given, inside))
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return given
}
