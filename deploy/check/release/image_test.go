// SPDX-License-Identifier: Apache-2.0

package main

import (
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/validate"
)

// imageOf makes the image with binaries that are none, and returns its file.
func imageOf(t *testing.T, platforms ...platform) string {
	t.Helper()
	r := &release{
		root: "../../..", out: t.TempDir(), work: t.TempDir(), name: "registry.example.com/renat", version: version, commit: "0123", platforms: platforms,
		time: time.Date(2026, 7, 1, 12, 0, 0, 0, time.UTC), certificates: "image_test.go",
	}
	for _, p := range platforms {
		dir := filepath.Join(r.work, p.os+"_"+p.arch)
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{"renat", "renat.licenses"} {
			if err := os.WriteFile(filepath.Join(dir, name), []byte(name+p.arch), 0o755); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := r.image(t.Context()); err != nil {
		t.Fatal(err)
	}
	return filepath.Join(r.out, "renat_"+version+"_image.tar")
}

// unpackLayout puts the image layout of a tar file into a folder.
func unpackLayout(t *testing.T, name string) layout.Path {
	t.Helper()
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	dir := t.TempDir()
	for name, file := range untar(t, f) {
		to := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(to, file.content, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	path, err := layout.FromPath(dir)
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// The image of two platforms is an index of both; made again it is the same.
func TestImageIndex(t *testing.T) {
	both := []platform{{"linux", "amd64"}, {"linux", "arm64"}}
	name := imageOf(t, both...)
	sum, err := checksum(name)
	if err != nil {
		t.Fatal(err)
	}
	if again, err := checksum(imageOf(t, both...)); again != sum || err != nil {
		t.Errorf("made twice: %s and %s (%v)", sum, again, err)
	}
	top, err := unpackLayout(t, name).ImageIndex()
	if err != nil {
		t.Fatal(err)
	}
	manifest, err := top.IndexManifest()
	if err != nil {
		t.Fatal(err)
	}
	if len(manifest.Manifests) != 1 || manifest.Manifests[0].Annotations["org.opencontainers.image.ref.name"] != version {
		t.Fatalf("the layout has %+v", manifest.Manifests)
	}
	index, err := top.ImageIndex(manifest.Manifests[0].Digest)
	if err != nil {
		t.Fatal(err)
	}
	if err := validate.Index(index); err != nil {
		t.Errorf("the index: %v", err)
	}
	manifest, err = index.IndexManifest()
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range both {
		d := manifest.Manifests[i]
		if d.Platform == nil || d.Platform.OS != want.os || d.Platform.Architecture != want.arch {
			t.Errorf("image %d is of %v, want %v", i, d.Platform, want)
		}
		img, err := index.Image(d.Digest)
		if err != nil {
			t.Fatal(err)
		}
		checkImage(t, img, want)
	}
}

// The image of one platform can be read as docker load does, too.
func TestImageOne(t *testing.T) {
	name := imageOf(t, platform{"linux", "arm64"})
	img, err := tarball.ImageFromPath(name, nil)
	if err != nil {
		t.Fatal(err)
	}
	checkImage(t, img, platform{"linux", "arm64"})
	tag, err := tarball.LoadManifest(func() (io.ReadCloser, error) { return os.Open(name) })
	if err != nil || !slices.Equal(tag[0].RepoTags, []string{"registry.example.com/renat:" + version}) {
		t.Errorf("docker load would call it %v (%v)", tag, err)
	}
	top, err := unpackLayout(t, name).ImageIndex()
	if err != nil {
		t.Fatal(err)
	}
	if err := validate.Index(top); err != nil {
		t.Errorf("the layout: %v", err)
	}
}

// checkImage holds an image against deploy/Dockerfile.
func checkImage(t *testing.T, img v1.Image, p platform) {
	t.Helper()
	config, err := img.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	if config.OS != p.os || config.Architecture != p.arch {
		t.Errorf("the image is for %s/%s, want %v", config.OS, config.Architecture, p)
	}
	want := readDockerfile(t, map[string]string{"VERSION": version, "REVISION": "0123", "CREATED": "2026-07-01T12:00:00Z"})
	got := config.Config
	if got.User != want.user || !slices.Equal(got.Entrypoint, want.entrypoint) || !maps.Equal(got.Labels, want.labels) {
		t.Errorf("user %q, entrypoint %q, labels %v; the Dockerfile says %+v", got.User, got.Entrypoint, got.Labels, want)
	}
	layers, err := img.Layers()
	if err != nil {
		t.Fatal(err)
	}
	content, err := layers[0].Uncompressed()
	if err != nil {
		t.Fatal(err)
	}
	defer content.Close()
	files := untar(t, content)
	if names := slices.Sorted(maps.Keys(files)); !slices.Equal(names, want.files) || len(layers) != 1 {
		t.Errorf("%d layers with %v; the Dockerfile copies %v", len(layers), names, want.files)
	}
	if f := files["usr/bin/renat"]; f == nil || f.mode != 0o755 || string(f.content) != "renat"+p.arch {
		t.Errorf("the binary is %+v", f)
	}
}
