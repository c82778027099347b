// SPDX-License-Identifier: Apache-2.0

package main

import (
	"archive/tar"
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"
)

// A file of an archive: its name there, and where it is.
type file struct {
	name, from string
	mode       int64
}

// archives makes one archive for each command and platform.
func (r *release) archives(ctx context.Context) error {
	pages, err := r.pages(ctx)
	if err != nil {
		return err
	}
	for _, p := range r.platforms {
		dir, err := r.build(ctx, p, p.commands()...)
		if err != nil {
			return err
		}
		for _, command := range p.commands() {
			files := append(r.contents(command, p, dir), pages[command]...)
			if err := r.archive(r.artefact(command, p), files); err != nil {
				return err
			}
		}
	}
	return nil
}

// artefact is the name of an archive, without its ending, and of the folder in it.
func (r *release) artefact(command string, p platform) string {
	return fmt.Sprintf("%s_%s_%s_%s", command, r.version, p.os, p.arch)
}

// contents are a command, what goes with it, and the licences.
func (r *release) contents(command string, p platform, dir string) []file {
	files := []file{
		{p.exe(command), filepath.Join(dir, p.exe(command)), 0o755},
		{command + ".licenses", filepath.Join(dir, command+".licenses"), 0o644},
		{"LICENSE", filepath.Join(r.root, "LICENSE"), 0o644},
	}
	switch {
	case command == "renat": // it has the programs for the kernel in it
		for _, license := range []string{"LICENSE.BSD-2-Clause", "LICENSE.GPL-2.0"} {
			files = append(files, file{license, filepath.Join(r.root, "bpf", license), 0o644})
		}
	case p.os != "windows":
		files = append(files, file{"kubectl_complete-renat", filepath.Join(r.root, "deploy/krew/kubectl_complete-renat"), 0o755})
	}
	return files
}

// pages makes the man pages and the completions of each command, with a command
// that runs here.
func (r *release) pages(ctx context.Context) (map[string][]file, error) {
	here := platform{runtime.GOOS, runtime.GOARCH}
	dir, err := r.build(ctx, here, here.commands()...)
	if err != nil {
		return nil, err
	}
	pages := map[string][]file{}
	for _, command := range here.commands() {
		man := filepath.Join(r.work, "man", command)
		if err := os.MkdirAll(man, 0o755); err != nil {
			return nil, err
		}
		// Compiled as the commands are, so that most of it is compiled already.
		if _, err := r.command(ctx, "env", "CGO_ENABLED=0", "go", "test", "-vet=off", "-trimpath", "-buildvcs=false", "-run", "^TestManPages$", "./cmd/"+command, "-man", man); err != nil {
			return nil, err
		}
		made, err := os.ReadDir(man)
		if err != nil {
			return nil, err
		}
		for _, page := range made {
			pages[command] = append(pages[command], file{"man/man1/" + page.Name(), filepath.Join(man, page.Name()), 0o644})
		}
		for shell, name := range map[string]string{"bash": command + ".bash", "zsh": "_" + command, "fish": command + ".fish", "powershell": command + ".ps1"} {
			script, err := r.command(ctx, filepath.Join(dir, here.exe(command)), "completion", shell)
			if err != nil {
				return nil, err
			}
			to := filepath.Join(r.work, name)
			if err := os.WriteFile(to, script, 0o644); err != nil {
				return nil, err
			}
			pages[command] = append(pages[command], file{"completions/" + name, to, 0o644})
		}
	}
	return pages, nil
}

// archive writes files into an archive in which all are in a folder of its name.
func (r *release) archive(name string, files []file) error {
	for i := range files {
		files[i].name = path.Join(name, files[i].name)
	}
	out, err := os.Create(filepath.Join(r.out, name+".tar.gz"))
	if err != nil {
		return err
	}
	defer out.Close()
	zip, _ := gzip.NewWriterLevel(out, gzip.BestCompression) // the level is right
	if err := writeTar(zip, files, r.time); err != nil {
		return fmt.Errorf("%s: %w", out.Name(), err)
	}
	if err := zip.Close(); err != nil {
		return fmt.Errorf("%s: %w", out.Name(), err)
	}
	return out.Close()
}

// writeTar writes files, ordered by name, each with the same time and owner.
func writeTar(w io.Writer, files []file, at time.Time) error {
	slices.SortFunc(files, func(a, b file) int { return strings.Compare(a.name, b.name) })
	archive := tar.NewWriter(w)
	for _, f := range files {
		content, err := os.ReadFile(f.from)
		if err != nil {
			return err
		}
		header := &tar.Header{Typeflag: tar.TypeReg, Name: f.name, Size: int64(len(content)), Mode: f.mode, ModTime: at, Format: tar.FormatPAX}
		if err := archive.WriteHeader(header); err != nil {
			return err
		}
		if _, err := archive.Write(content); err != nil {
			return err
		}
	}
	return archive.Close()
}
