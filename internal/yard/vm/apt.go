// SPDX-License-Identifier: Apache-2.0

package vm

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// sources are the suites that have the kernels: 5.10, 6.1 and 6.12, and 7.x. The
// security updates list kernels of 5.10 for arm64 that are not there any more.
const sources = `deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] http://deb.debian.org/debian bullseye main
deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] http://deb.debian.org/debian-security bullseye-security main
deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] http://deb.debian.org/debian-security bookworm-security main
deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] http://deb.debian.org/debian trixie-backports main
`

// config is of an apt that knows nothing of the machine it runs on and needs no
// root; its folder is to be filled in.
const config = `APT::Architectures { "amd64"; "arm64"; };
APT::Sandbox::User "root";
Acquire::Languages "none";
Acquire::IndexTargets::deb::DEP-11::DefaultEnabled "false";
Dir::State %[1]q;
Dir::State::status "/dev/null";
Dir::Cache %[1]q;
Dir::Etc::SourceList "%[1]s/sources.list";
Dir::Etc::SourceParts "/dev/null";
`

// apt is an apt with a configuration, sources and lists of its own.
type apt struct{ dir string }

// newApt needs the folder's absolute path.
func newApt(dir string) (apt, error) {
	for _, d := range []string{"lists/partial", "archives/partial"} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o755); err != nil {
			return apt{}, err
		}
	}
	for name, text := range map[string]string{"sources.list": sources, "apt.conf": fmt.Sprintf(config, dir)} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			return apt{}, err
		}
	}
	return apt{dir}, nil
}

// run runs one of apt's commands in a folder and returns what it printed.
func (a apt) run(ctx context.Context, in string, command ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, command[0], command[1:]...)
	cmd.Dir = in
	cmd.Env = append(os.Environ(), "APT_CONFIG="+filepath.Join(a.dir, "apt.conf"))
	out, err := cmd.CombinedOutput()
	if err != nil {
		return nil, fmt.Errorf("%s: %w: %s", strings.Join(command, " "), err, lastLines(out, 3))
	}
	return out, nil
}

// unpack puts a kernel of the series below root: the newest that there is. New
// lists are fetched only where that fails; an incomplete update is no error if it
// brought what is needed.
func (a apt) unpack(ctx context.Context, l Linux, root string) error {
	err := a.unpackAny(ctx, l, root)
	if err == nil || ctx.Err() != nil {
		return err
	}
	_, updateErr := a.run(ctx, a.dir, "apt-get", "update", "-q")
	if err = a.unpackAny(ctx, l, root); err != nil {
		return errors.Join(err, updateErr)
	}
	return nil
}

func (a apt) unpackAny(ctx context.Context, l Linux, root string) error {
	choices := a.kernels(ctx, l)
	if choices == nil {
		return fmt.Errorf("asking apt for linux %s: Debian's lists have none of that series", l)
	}
	var failed error
	for _, packages := range choices {
		err := a.unpackOne(ctx, packages, root)
		if err == nil || ctx.Err() != nil {
			return err
		}
		failed = cmp.Or(failed, err)
	}
	return failed
}

// unpackOne leaves nothing behind where it fails.
func (a apt) unpackOne(ctx context.Context, packages []string, root string) (err error) {
	work, err := os.MkdirTemp(a.dir, "download")
	if err != nil {
		return err
	}
	defer os.RemoveAll(work)
	if _, err := a.run(ctx, work, append([]string{"apt-get", "download"}, packages...)...); err != nil {
		return err
	}
	debs, err := filepath.Glob(filepath.Join(work, "*.deb"))
	if err != nil || len(debs) != len(packages) {
		return fmt.Errorf("downloading %s: %d packages arrived", strings.Join(packages, " "), len(debs))
	}
	for _, deb := range debs {
		if _, err := a.run(ctx, work, "dpkg", "-x", deb, root); err != nil {
			return errors.Join(err, os.RemoveAll(root))
		}
	}
	return nil
}

// kernels are the packages of each kernel of a series, newest first: one, or the
// two that later kernels come in. Signed or not, they are the same. apt fails only
// where it has no lists.
func (a apt) kernels(ctx context.Context, l Linux) (all [][]string) {
	out, _ := a.run(ctx, a.dir, "apt-cache", "pkgnames", "linux-")
	names := strings.Fields(string(out))
	known := map[string]bool{}
	for _, name := range names {
		known[name] = true
	}
	series := regexp.MustCompile(`^linux-image-(` + regexp.QuoteMeta(l.Series) + `\.[^/]*[0-9][^/]*-cloud-` + l.Arch + `)(-unsigned)?$`)
	slices.SortFunc(names, newestFirst)
	for _, name := range names {
		m := series.FindStringSubmatch(name)
		if m == nil {
			continue
		}
		packages := []string{name + ":" + l.Arch}
		if binary := "linux-binary-" + m[1]; known[binary] {
			packages = []string{binary + ":" + l.Arch, "linux-modules-" + m[1] + ":" + l.Arch}
		}
		all = append(all, packages)
	}
	return all
}

// newestFirst orders names of packages by the numbers in them, the highest
// first, and signed kernels before others of the same numbers.
func newestFirst(a, b string) int {
	return cmp.Or(slices.Compare(numbers(b), numbers(a)), cmp.Compare(len(a), len(b)))
}

var digits = regexp.MustCompile(`[0-9]+`)

func numbers(name string) (all []int) {
	for _, s := range digits.FindAllString(name, -1) {
		n, _ := strconv.Atoi(s) // digits, and few
		all = append(all, n)
	}
	return all
}
