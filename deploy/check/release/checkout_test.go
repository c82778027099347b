// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

const version = "v9.9.9"

// checkout copies this repository, with what is not committed yet, into a folder
// and commits it there, always as the same commit.
func checkout(t *testing.T, dir string) string {
	t.Helper()
	const here = "../../.."
	list := exec.Command("git", "ls-files", "-co", "--exclude-standard", "-z")
	list.Dir = here
	names, err := list.Output()
	if err != nil {
		t.Fatalf("git ls-files: %v", err)
	}
	for name := range bytes.SplitSeq(bytes.TrimRight(names, "\x00"), []byte{0}) {
		copyFile(t, filepath.Join(here, string(name)), filepath.Join(dir, string(name)))
	}
	git(t, dir, "init", "-q")
	git(t, dir, "add", "-A")
	git(t, dir, "commit", "-q", "-m", "all of it")
	return dir
}

func copyFile(t *testing.T, from, to string) {
	t.Helper()
	info, err := os.Stat(from)
	if os.IsNotExist(err) {
		return // deleted, and that not committed
	}
	if err != nil {
		t.Fatal(err)
	}
	content, err := os.ReadFile(from)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(to, content, info.Mode()); err != nil {
		t.Fatal(err)
	}
}

// git runs git as nobody in particular, in the summer of 2026.
func git(t *testing.T, dir string, args ...string) string {
	t.Helper()
	cmd := exec.Command("git", append([]string{"-c", "core.hooksPath=/dev/null", "-c", "commit.gpgsign=false", "-c", "tag.gpgsign=false"}, args...)...)
	cmd.Dir = dir
	for _, who := range []string{"AUTHOR", "COMMITTER"} {
		cmd.Env = append(cmd.Env, "GIT_"+who+"_NAME=a", "GIT_"+who+"_EMAIL=a@example.com", "GIT_"+who+"_DATE=2026-07-01T12:00:00Z")
	}
	cmd.Env = append(cmd.Env, "PATH="+os.Getenv("PATH"), "HOME="+t.TempDir())
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("git %s: %v: %s", strings.Join(args, " "), err, out)
	}
	return strings.TrimSpace(string(out))
}

// What must not be released is refused, with what to do.
func TestRefuses(t *testing.T) {
	repository := func(t *testing.T) string {
		dir := t.TempDir()
		git(t, dir, "init", "-q")
		git(t, dir, "commit", "-q", "--allow-empty", "-m", "one")
		git(t, dir, "tag", "v1.0.0")
		return dir
	}
	for _, c := range []struct {
		name, version, want string
		change              func(t *testing.T, dir string)
	}{
		{"changes", "", "commit or stash them", func(t *testing.T, dir string) {
			if err := os.WriteFile(filepath.Join(dir, "new"), nil, 0o644); err != nil {
				t.Fatal(err)
			}
		}},
		{"no tag", "", "make release VERSION=", func(t *testing.T, dir string) {
			git(t, dir, "commit", "-q", "--allow-empty", "-m", "two")
		}},
		{"another's tag", "v1.0.0", "is of another commit", func(t *testing.T, dir string) {
			git(t, dir, "commit", "-q", "--allow-empty", "-m", "two")
		}},
		{"no version", "1.0", "is not a version", func(*testing.T, string) {}},
		{"files of another release", "", "has files already", func(t *testing.T, dir string) {
			git(t, dir, "config", "core.excludesFile", filepath.Join(dir, ".git/ignored"))
			if err := os.WriteFile(filepath.Join(dir, ".git/ignored"), []byte("dist\n"), 0o644); err != nil {
				t.Fatal(err)
			}
			if err := os.MkdirAll(filepath.Join(dir, "dist/v1.0.0/old"), 0o755); err != nil {
				t.Fatal(err)
			}
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := repository(t)
			c.change(t, dir)
			err := run(t.Context(), []string{"-root", dir, "-version", c.version})
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
}
