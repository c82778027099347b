// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"text/template"
)

// krewPlatform is what the manifest says of one archive of the plugin.
type krewPlatform struct{ OS, Arch, Archive, Folder, Bin, SHA256 string }

// krew writes the manifest by which krew installs the plugin.
func (r *release) krew(context.Context) error {
	const command = "kubectl-renat"
	t, err := template.ParseFiles(filepath.Join(r.root, "deploy/krew/renat.yaml.tmpl"))
	if err != nil {
		return err
	}
	var data struct {
		Version   string
		Platforms []krewPlatform
	}
	data.Version = r.version
	for _, p := range r.platforms {
		folder := r.artefact(command, p)
		sum, err := checksum(filepath.Join(r.out, folder+".tar.gz"))
		if err != nil {
			return err
		}
		data.Platforms = append(data.Platforms, krewPlatform{p.os, p.arch, folder + ".tar.gz", folder, p.exe(command), sum})
	}
	var manifest bytes.Buffer
	if err := t.Execute(&manifest, data); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(r.out, "renat.yaml"), manifest.Bytes(), 0o644)
}

// checksums writes the checksums of all that was made, for sha256sum --check.
func (r *release) checksums(context.Context) error {
	made, err := os.ReadDir(r.out) // sorted
	if err != nil {
		return err
	}
	var sums bytes.Buffer
	for _, file := range made {
		sum, err := checksum(filepath.Join(r.out, file.Name()))
		if err != nil {
			return err
		}
		fmt.Fprintf(&sums, "%s  %s\n", sum, file.Name())
	}
	return os.WriteFile(filepath.Join(r.out, "checksums.txt"), sums.Bytes(), 0o644)
}

func checksum(name string) (string, error) {
	content, err := os.ReadFile(name)
	return fmt.Sprintf("%x", sha256.Sum256(content)), err
}
