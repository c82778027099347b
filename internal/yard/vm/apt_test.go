// SPDX-License-Identifier: Apache-2.0

package vm_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/renat-project/renat/internal/yard/vm"
)

// machine puts tools of a machine into PATH that are told what apt has: a line
// for each package that it can download, once its lists are there. Those that are
// listed and gone have a "!" before their name.
func machine(t *testing.T, lists bool, packages ...string) (log func() string) {
	t.Helper()
	dir := t.TempDir()
	script := func(name, text string) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("#!/bin/sh\necho "+name+" \"$@\" >> "+dir+"/log\n"+text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if lists {
		if err := os.WriteFile(filepath.Join(dir, "lists"), nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	have := dir + "/have"
	if err := os.WriteFile(have, []byte(strings.Join(packages, "\n")+"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	script("apt-cache", `[ -e `+dir+`/lists ] || exit 100; while read -r p; do echo "${p#!}"; done < `+have)
	script("apt-get", `case $1 in
update) touch `+dir+`/lists;;
download) shift; for p; do grep -qxF -- "${p%:*}" `+have+` || exit 100; touch "${p%:*}.deb"; done;;
install) [ -e `+dir+`/lists ] || exit 100; for c in qemu-system-x86_64 xz; do echo true > `+dir+`/$c; chmod +x `+dir+`/$c; done;;
esac`)
	script("dpkg", `f=$(basename "$2" .deb); case $f in
linux-image-*) mkdir -p "$3/boot" "$3/lib/modules/${f#linux-image-}"; echo > "$3/boot/vmlinuz-${f#linux-image-}";;
linux-binary-*) mkdir -p "$3/usr/lib/modules/${f#linux-binary-}"; echo > "$3/usr/lib/modules/${f#linux-binary-}/vmlinuz";;
linux-modules-*) mkdir -p "$3/usr/lib/modules/${f#linux-modules-}/kernel";;
esac`)
	for _, tool := range []string{"grep", "touch", "basename", "mkdir", "chmod"} { // no other of this machine's
		path, err := exec.LookPath(tool)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(path, filepath.Join(dir, tool)); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("PATH", dir)
	return func() string {
		text, err := os.ReadFile(filepath.Join(dir, "log"))
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
}

// TestFetch fetches kernels on machines of all kinds.
func TestFetch(t *testing.T) {
	for _, test := range []struct {
		name    string
		lists   bool
		want    string // package without its first words
		updates int
		linux   vm.Linux
		has     []string
	}{
		{"lists are there", true, "6.12.117+deb12-cloud-amd64", 0, linux6_12,
			[]string{"linux-image-6.12.117+deb12-cloud-amd64"}},
		{"no lists yet", false, "6.12.117+deb12-cloud-amd64", 1, linux6_12,
			[]string{"linux-image-6.12.117+deb12-cloud-amd64"}},
		{"the newest of the series", true, "6.12.100+deb12-cloud-amd64", 0, linux6_12,
			[]string{"linux-image-6.12-cloud-amd64", "linux-image-6.12.9+deb12-cloud-amd64", "linux-image-6.12.100+deb12-cloud-amd64", "linux-image-6.12.100+deb12-cloud-amd64-dbg",
				"linux-image-6.12.101+deb12-cloud-arm64", "linux-image-6.1.0-50-cloud-amd64"}},
		{"the newest is gone", true, "5.10.0-32-cloud-arm64", 0, vm.Linux{Series: "5.10", Arch: "arm64"},
			[]string{"!linux-image-5.10.0-46-cloud-arm64", "linux-image-5.10.0-32-cloud-arm64", "linux-image-5.10.0-30-cloud-arm64", "linux-image-5.10.0-46-cloud-amd64"}},
		{"unsigned only", true, "6.12.107+deb12-cloud-amd64-unsigned", 0, linux6_12,
			[]string{"linux-image-6.12.107+deb12-cloud-amd64-unsigned"}},
		{"in two packages", true, "7.3.4+deb13-cloud-amd64", 0, vm.Linux{Series: "7", Arch: "amd64"},
			[]string{"linux-image-7.3.4+deb13-cloud-amd64", "linux-binary-7.3.4+deb13-cloud-amd64", "linux-modules-7.3.4+deb13-cloud-amd64", "linux-image-6.17.8+deb13-cloud-amd64"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			log := machine(t, test.lists, test.has...)
			dir := t.TempDir()
			kernel, err := vm.Fetch(t.Context(), dir, test.linux)
			if err != nil || kernel.Release != test.want {
				t.Fatalf("linux %q, %v; want %q\n%s", kernel.Release, err, test.want, log())
			}
			if n := strings.Count(log(), "apt-get update"); n != test.updates {
				t.Errorf("%d updates of the lists, want %d\n%s", n, test.updates, log())
			}
			before := log()
			if again, err := vm.Fetch(t.Context(), dir, test.linux); err != nil || again != kernel || log() != before {
				t.Errorf("the second time %v, %v\n%s", again, err, log())
			}
		})
	}
}

// TestFetchAtOnce has several fetch a kernel at once: one does, the others wait.
func TestFetchAtOnce(t *testing.T) {
	log := machine(t, true, "linux-image-6.12.117+deb12-cloud-amd64")
	dir := t.TempDir()
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			if _, err := vm.Fetch(t.Context(), dir, linux6_12); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if n := strings.Count(log(), "apt-get download"); n != 1 {
		t.Errorf("%d downloads, want 1\n%s", n, log())
	}
}

// TestFetchSaysWhat names the series where apt has none of it.
func TestFetchSaysWhat(t *testing.T) {
	machine(t, true, "linux-image-6.1.0-50-cloud-amd64")
	_, err := vm.Fetch(t.Context(), t.TempDir(), linux6_12)
	if err == nil || !strings.Contains(err.Error(), "6.12-amd64") {
		t.Errorf("%v", err)
	}
}

// TestRequireQEMU installs it where apt's lists are empty.
func TestRequireQEMU(t *testing.T) {
	log := machine(t, false)
	err := vm.RequireQEMU(t.Context(), "amd64")
	if os.Geteuid() != 0 {
		if err == nil || !strings.Contains(err.Error(), "apt-get install qemu-system-x86 xz-utils") {
			t.Errorf("not as root: %v", err)
		}
		return
	}
	if err != nil || !strings.Contains(log(), "install -y --no-install-recommends qemu-system-x86 xz-utils") {
		t.Errorf("%v\n%s", err, log())
	}
}
