// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// image writes what deploy/Dockerfile makes as an OCI image layout in a tar file,
// for the platforms of Linux: of one, if there is one, else an index of all.
func (r *release) image(ctx context.Context) error {
	if _, err := os.Stat(r.certificates); err != nil {
		return fmt.Errorf("%w: install ca-certificates, or name another such file with -certificates", err)
	}
	index := mutate.IndexMediaType(empty.Index, types.OCIImageIndex)
	var last v1.Image
	n := 0
	for _, p := range r.platforms {
		if p.os != "linux" {
			continue
		}
		dir, err := r.build(ctx, p, "renat")
		if err != nil {
			return err
		}
		if last, err = r.platformImage(p, dir); err != nil {
			return err
		}
		index = mutate.AppendManifests(index, mutate.IndexAddendum{
			Add: last, Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: p.os, Architecture: p.arch}},
		})
		n++
	}
	if n == 0 {
		return fmt.Errorf("no platform of Linux in %v", r.platforms)
	}
	dir := filepath.Join(r.work, "oci")
	top, err := layout.Write(dir, mutate.IndexMediaType(empty.Index, types.OCIImageIndex))
	if err != nil {
		return err
	}
	tag := layout.WithAnnotations(map[string]string{
		"org.opencontainers.image.ref.name": r.version,                // what skopeo and podman go by
		"io.containerd.image.name":          r.name + ":" + r.version, // what docker and ctr go by
	})
	if n == 1 {
		err = errors.Join(top.AppendImage(last, tag), r.dockerManifest(dir, last))
	} else {
		err = top.AppendIndex(index, tag)
	}
	if err != nil {
		return err
	}
	return r.tarImage(dir)
}

// platformImage has one layer: the certificates, the licences and the binary.
func (r *release) platformImage(p platform, dir string) (v1.Image, error) {
	const doc = "usr/share/doc/renat/"
	var content bytes.Buffer
	if err := writeTar(&content, []file{
		{"etc/ssl/certs/ca-certificates.crt", r.certificates, 0o644},
		{doc + "LICENSE", filepath.Join(r.root, "LICENSE"), 0o644},
		{doc + "LICENSE.BSD-2-Clause", filepath.Join(r.root, "bpf/LICENSE.BSD-2-Clause"), 0o644},
		{doc + "LICENSE.GPL-2.0", filepath.Join(r.root, "bpf/LICENSE.GPL-2.0"), 0o644},
		{doc + "renat.licenses", filepath.Join(dir, "renat.licenses"), 0o644},
		{"usr/bin/renat", filepath.Join(dir, "renat"), 0o755},
	}, r.time); err != nil {
		return nil, err
	}
	layer, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) {
		return io.NopCloser(bytes.NewReader(content.Bytes())), nil
	}, tarball.WithMediaType(types.OCILayer))
	if err != nil {
		return nil, err
	}
	base := mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), types.OCIConfigJSON)
	img, err := mutate.Append(base, mutate.Addendum{
		Layer: layer, History: v1.History{Created: v1.Time{Time: r.time}, CreatedBy: "renat's release command"},
	})
	if err != nil {
		return nil, err
	}
	config, err := img.ConfigFile()
	if err != nil {
		return nil, err
	}
	config = config.DeepCopy()
	config.OS, config.Architecture, config.Created = p.os, p.arch, v1.Time{Time: r.time}
	config.Config = v1.Config{
		User: "65532:65532", Entrypoint: []string{"/usr/bin/renat"}, WorkingDir: "/",
		Env:    []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"},
		Labels: r.labels(),
	}
	return mutate.ConfigFile(img, config)
}

// labels are those of deploy/Dockerfile; a test compares them.
func (r *release) labels() map[string]string {
	const prefix = "org.opencontainers.image."
	return map[string]string{
		prefix + "title":       "renat",
		prefix + "description": "Tells which connections Cilium's NAT map broke, and why",
		prefix + "source":      "https://github.com/renat-project/renat",
		prefix + "licenses":    license("renat"),
		prefix + "version":     r.version,
		prefix + "revision":    r.commit,
		prefix + "created":     r.time.Format(time.RFC3339),
	}
}

// dockerManifest adds what docker load reads where Docker does not keep its images
// in containerd.
func (r *release) dockerManifest(dir string, img v1.Image) error {
	manifest, err := img.Manifest()
	if err != nil {
		return err
	}
	blob := func(d v1.Descriptor) string { return "blobs/" + d.Digest.Algorithm + "/" + d.Digest.Hex }
	content, err := json.Marshal(tarball.Manifest{{
		Config: blob(manifest.Config), RepoTags: []string{r.name + ":" + r.version}, Layers: []string{blob(manifest.Layers[0])},
	}})
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, "manifest.json"), content, 0o644)
}

// tarImage puts an image layout into a tar file.
func (r *release) tarImage(dir string) error {
	var files []file
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		name, err := filepath.Rel(dir, path)
		files = append(files, file{filepath.ToSlash(name), path, 0o644})
		return err
	})
	if err != nil {
		return err
	}
	out, err := os.Create(filepath.Join(r.out, fmt.Sprintf("renat_%s_image.tar", r.version)))
	if err != nil {
		return err
	}
	defer out.Close()
	if err := writeTar(out, files, r.time); err != nil {
		return err
	}
	return out.Close()
}
