// SPDX-License-Identifier: Apache-2.0

// Command release makes what a release of renat consists of, on this machine and
// from this checkout only: archives of the commands with man pages, completions
// and licences, a bill of materials for each, the image, the chart, the manifest
// for krew, and the checksums of all. It publishes nothing. The same commit and
// the same Go give the same bytes.
//
//	release [flags]           a release, of a clean checkout
//	release [flags] image     only the image, of any checkout; sbom likewise
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:])
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "release:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	r := &release{}
	flags := flag.NewFlagSet("release", flag.ExitOnError)
	flags.StringVar(&r.root, "root", "../..", "the checkout")
	flags.StringVar(&r.out, "out", "", "folder to write to (default dist/VERSION in the checkout)")
	flags.StringVar(&r.version, "version", "", "the version, e.g. v1.0.0 (default: the tag of the commit)")
	flags.StringVar(&r.certificates, "certificates", "/etc/ssl/certs/ca-certificates.crt", "certificate authorities that the image trusts")
	flags.StringVar(&r.name, "name", "renat", "name of the image without its tag, with your registry's if it is to be loaded by that")
	flags.BoolVar(&r.dirty, "dirty", false, "release a checkout with changes that are not committed, too")
	platforms := flags.String("platforms", "linux/amd64,linux/arm64,darwin/amd64,darwin/arm64,windows/amd64",
		"operating systems and architectures; all have kubectl-renat, Linux has renat and the image")
	_ = flags.Parse(args) // it ends the process on an error

	for _, p := range strings.Split(*platforms, ",") {
		os, arch, ok := strings.Cut(p, "/")
		if !ok {
			return fmt.Errorf("-platforms: %q is not of the form linux/amd64", p)
		}
		r.platforms = append(r.platforms, platform{os, arch})
	}
	if err := r.prepare(ctx, flags.NArg() == 0); err != nil {
		return err
	}
	work, err := os.MkdirTemp("", "renat-release-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(work)
	r.work = work

	steps := map[string]func(context.Context) error{"image": r.image, "sbom": r.sboms}
	if flags.NArg() == 0 {
		return r.all(ctx)
	}
	for _, name := range flags.Args() {
		step, ok := steps[name]
		if !ok {
			return fmt.Errorf("%q is not one of image, sbom", name)
		}
		if err := step(ctx); err != nil {
			return fmt.Errorf("making the %s: %w", name, err)
		}
	}
	return r.list()
}

// all makes a release. The checksums come last: they are of all the rest.
func (r *release) all(ctx context.Context) error {
	if entries, err := os.ReadDir(r.out); err == nil && len(entries) > 0 {
		return fmt.Errorf("%s has files already: remove it, or choose another folder with -out", r.out)
	}
	for _, step := range []struct {
		name string
		run  func(context.Context) error
	}{
		{"archives", r.archives}, {"SBOMs", r.sboms}, {"image", r.image},
		{"chart", r.chart}, {"krew manifest", r.krew}, {"checksums", r.checksums},
	} {
		if err := step.run(ctx); err != nil {
			return fmt.Errorf("making the %s: %w", step.name, err)
		}
	}
	return r.list()
}

// list prints what was made.
func (r *release) list() error {
	made, err := os.ReadDir(r.out)
	for _, file := range made {
		fmt.Println(filepath.Join(r.out, file.Name()))
	}
	return err
}
