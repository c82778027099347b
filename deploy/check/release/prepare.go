// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// A release is what is made, of what.
type release struct {
	root, out, work string // absolute; work is removed in the end
	version         string
	certificates    string
	name            string // of the image
	dirty           bool
	platforms       []platform

	commit string
	time   time.Time // of the commit: the time of all that is made
}

type platform struct{ os, arch string }

func (p platform) String() string { return p.os + "/" + p.arch }

// commands are those that are built for a platform: the agent is for Linux.
func (p platform) commands() []string {
	if p.os == "linux" {
		return []string{"renat", "kubectl-renat"}
	}
	return []string{"kubectl-renat"}
}

func (p platform) exe(command string) string {
	if p.os == "windows" {
		return command + ".exe"
	}
	return command
}

// semantic is a version as Go and krew write it.
var semantic = regexp.MustCompile(`^v(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)(-[0-9A-Za-z.-]+)?$`)

// prepare finds out version, commit and time. A release that others get (strict)
// must be of a commit, and its version must not be that of another.
func (r *release) prepare(ctx context.Context, strict bool) error {
	var err error
	if r.root, err = filepath.Abs(r.root); err != nil {
		return err
	}
	if r.commit, err = r.git(ctx, "rev-parse", "HEAD"); err != nil {
		return err
	}
	seconds, err := r.git(ctx, "log", "-1", "--format=%ct")
	if err != nil {
		return err
	}
	unix, err := strconv.ParseInt(seconds, 10, 64)
	if err != nil {
		return fmt.Errorf("the commit's time: %w", err)
	}
	r.time = time.Unix(unix, 0).UTC()
	if strict {
		err = r.releasable(ctx)
	} else if r.version == "" {
		r.version, err = r.git(ctx, "describe", "--tags", "--always", "--dirty")
	}
	if err != nil {
		return err
	}
	if r.out == "" {
		r.out = filepath.Join(r.root, "dist", r.version)
	}
	if r.out, err = filepath.Abs(r.out); err != nil {
		return err
	}
	return os.MkdirAll(r.out, 0o755)
}

func (r *release) releasable(ctx context.Context) error {
	changes, err := r.git(ctx, "status", "--porcelain")
	if err != nil {
		return err
	}
	if changes != "" && !r.dirty {
		return fmt.Errorf("the checkout has changes that are not committed; commit or stash them, or say -dirty:\n%s", changes)
	}
	if r.version == "" {
		if r.version, err = r.git(ctx, "describe", "--exact-match", "--tags"); err != nil {
			return fmt.Errorf("the commit has no tag: tag it, or say which version with -version (make release VERSION=v1.0.0): %w", err)
		}
	}
	if !semantic.MatchString(r.version) {
		return fmt.Errorf("%q is not a version such as v1.0.0 or v1.0.0-rc.1", r.version)
	}
	tagged, err := r.git(ctx, "rev-parse", "--verify", "--quiet", "refs/tags/"+r.version+"^{commit}")
	if err == nil && tagged != r.commit {
		return fmt.Errorf("the tag %s is of another commit, %.12s: check that out, or choose another version", r.version, tagged)
	}
	return nil
}

func (r *release) git(ctx context.Context, args ...string) (string, error) {
	out, err := r.command(ctx, "git", args...)
	return strings.TrimSpace(string(out)), err
}

// command runs a program in the checkout and returns what it wrote to stdout.
// What it makes is to carry the commit's time.
func (r *release) command(ctx context.Context, name string, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = r.root
	cmd.Env = append(os.Environ(), "VERSION="+r.version, fmt.Sprintf("SOURCE_DATE_EPOCH=%d", r.time.Unix()), "TZ=UTC", "LC_ALL=C")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("%s %s: %w: %s", name, strings.Join(args, " "), err, bytes.TrimSpace(append(out, stderr.Bytes()...)))
	}
	return out, nil
}

// build builds the commands for a platform, unless they are built, and returns
// the folder they are in.
func (r *release) build(ctx context.Context, p platform, commands ...string) (string, error) {
	dir := filepath.Join(r.work, p.os+"_"+p.arch)
	for _, command := range commands {
		if _, err := os.Stat(filepath.Join(dir, p.exe(command))); err == nil {
			continue
		}
		if _, err := r.command(ctx, "deploy/build.sh", p.os, p.arch, dir, command); err != nil {
			return "", err
		}
	}
	return dir, nil
}
