// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"crypto/sha256"
	"debug/buildinfo"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"

	"github.com/CycloneDX/cyclonedx-go"
	"github.com/google/uuid"
)

// sboms writes a bill of materials for each command and platform: what is in the
// binary, which tells by itself.
func (r *release) sboms(ctx context.Context) error {
	for _, p := range r.platforms {
		dir, err := r.build(ctx, p, p.commands()...)
		if err != nil {
			return err
		}
		for _, command := range p.commands() {
			bom, err := r.bom(filepath.Join(dir, p.exe(command)), command)
			if err != nil {
				return err
			}
			out, err := os.Create(filepath.Join(r.out, r.artefact(command, p)+".cdx.json"))
			if err != nil {
				return err
			}
			defer out.Close()
			if err := cyclonedx.NewBOMEncoder(out, cyclonedx.BOMFileFormatJSON).SetPretty(true).Encode(bom); err != nil {
				return err
			}
			if err := out.Close(); err != nil {
				return err
			}
		}
	}
	return nil
}

// bom is the bill of materials of a binary.
func (r *release) bom(binary, command string) (*cyclonedx.BOM, error) {
	content, err := os.ReadFile(binary)
	if err != nil {
		return nil, err
	}
	info, err := buildinfo.ReadFile(binary)
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(content)
	purl := fmt.Sprintf("pkg:golang/%s@%s#cmd/%s", info.Main.Path, r.version, command)
	bom := cyclonedx.NewBOM()
	bom.SerialNumber = uuid.NewSHA1(uuid.NameSpaceURL, append([]byte(purl), sum[:]...)).URN()
	bom.Metadata = &cyclonedx.Metadata{
		Timestamp: r.time.Format("2006-01-02T15:04:05Z"),
		Component: &cyclonedx.Component{
			BOMRef: purl, Type: cyclonedx.ComponentTypeApplication, Name: command, Version: r.version, PackageURL: purl,
			Hashes:   &[]cyclonedx.Hash{{Algorithm: cyclonedx.HashAlgoSHA256, Value: hex.EncodeToString(sum[:])}},
			Licenses: &cyclonedx.Licenses{{Expression: license(command)}},
			ExternalReferences: &[]cyclonedx.ExternalReference{
				{Type: cyclonedx.ERTypeVCS, URL: "https://github.com/renat-project/renat", Comment: "commit " + r.commit},
			},
		},
	}
	components := []cyclonedx.Component{library("std", strings.TrimPrefix(info.GoVersion, "go"), "")}
	for _, m := range info.Deps {
		if m.Replace != nil {
			m = m.Replace
		}
		components = append(components, module(m))
	}
	var refs []string
	for _, c := range components {
		refs = append(refs, c.BOMRef)
	}
	bom.Components = &components
	bom.Dependencies = &[]cyclonedx.Dependency{{Ref: purl, Dependencies: &refs}}
	return bom, nil
}

// license is that of our part of a command: renat has the programs for the
// kernel in it.
func license(command string) string {
	if command == "renat" {
		return "Apache-2.0 AND (GPL-2.0-only OR BSD-2-Clause)"
	}
	return "Apache-2.0"
}

func module(m *debug.Module) cyclonedx.Component {
	sum, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(m.Sum, "h1:"))
	if err != nil {
		sum = nil
	}
	return library(m.Path, m.Version, hex.EncodeToString(sum))
}

// library is a Go module; its hash is that of go.sum.
func library(path, version, sum string) cyclonedx.Component {
	purl := fmt.Sprintf("pkg:golang/%s@%s", path, strings.ReplaceAll(version, "+", "%2B"))
	c := cyclonedx.Component{BOMRef: purl, Type: cyclonedx.ComponentTypeLibrary, Name: path, Version: version, PackageURL: purl}
	if sum != "" {
		c.Hashes = &[]cyclonedx.Hash{{Algorithm: cyclonedx.HashAlgoSHA256, Value: sum}}
	}
	return c
}
