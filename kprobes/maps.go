// SPDX-License-Identifier: Apache-2.0

package kprobes

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"github.com/renat-project/renat/correlator"
)

// cilium is one of Cilium's maps. It does not change once it is watched, but
// for absent and left.
type cilium struct {
	*correlator.Map
	v6     bool
	slot   uint32
	fd     *ebpf.Map
	absent int    // looks in a row that did not find it
	left   uint64 // when it was retired, on the monotonic clock
}

// Layouts of Cilium 1.12 to 1.20.
type layout struct {
	v6, ct     bool
	key, value uint32
}

var (
	nat4 = layout{key: key4Size, value: value4Size}
	nat6 = layout{v6: true, key: key6Size, value: value6Size}
	ct4  = layout{ct: true, key: key4Size, value: valueCTSize}
	ct6  = layout{v6: true, ct: true, key: key6Size, value: valueCTSize}
)

// pinned are the maps by the names they are pinned with. The kernel knows them
// by the first 15 characters.
var pinned = []struct {
	name string
	layout
}{
	{"cilium_snat_v4_external", nat4},
	{"cilium_snat_v6_external", nat6},
	{"cilium_ct4_global", ct4},
	{"cilium_ct_any4_global", ct4},
	{"cilium_ct6_global", ct6},
	{"cilium_ct_any6_global", ct6},
}

// perCluster are the names' beginnings of inner maps; a cluster's id follows.
var perCluster = []struct {
	prefix string
	layout
}{
	{"cilium_per_cluster_snat_v4_external_", nat4},
	{"cilium_per_cluster_snat_v6_external_", nat6},
}

const (
	pinFolder = "tc/globals"
	nameMax   = 15 // BPF_OBJ_NAME_LEN without its zero
)

// findMaps opens Cilium's maps: those pinned, or else all there are by id. It
// returns none, and no error, while Cilium has none, or none that is pinned and
// the others are not ours to see. The caller closes them.
func findMaps(bpffs string) ([]*cilium, error) {
	found, err := findPinned(filepath.Join(bpffs, pinFolder))
	if errors.Is(err, os.ErrPermission) {
		err = fmt.Errorf("%w: root may open the pins, as may who has DAC_READ_SEARCH", err)
	}
	if err != nil || len(found) > 0 {
		return found, err
	}
	found, err = findByID()
	if errors.Is(err, os.ErrPermission) && isBPFFS(bpffs) {
		return nil, nil // this is where Cilium will pin them
	}
	return found, err
}

func isBPFFS(dir string) bool {
	var s unix.Statfs_t
	return unix.Statfs(dir, &s) == nil && s.Type == unix.BPF_FS_MAGIC
}

func findPinned(dir string) (found []*cilium, err error) {
	files, err := os.ReadDir(dir)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("looking for Cilium's maps: %w", err)
	}
	defer func() {
		if err != nil {
			closeMaps(found)
			found = nil
		}
	}()
	for _, f := range files {
		l, ok := layoutOf(f.Name())
		if !ok {
			continue
		}
		path := filepath.Join(dir, f.Name())
		fd, err := ebpf.LoadPinnedMap(path, &ebpf.LoadPinOptions{ReadOnly: true})
		if errors.Is(err, os.ErrNotExist) {
			continue // replaced just now: the next look finds its successor
		}
		if err != nil {
			return found, fmt.Errorf("opening %s: %w", path, err)
		}
		m, err := describe(fd, f.Name(), l)
		if err != nil {
			fd.Close()
			return found, err
		}
		found = append(found, m)
	}
	return found, nil
}

// layoutOf tells whether a pin is one of Cilium's maps and its layout.
func layoutOf(name string) (layout, bool) {
	for _, p := range pinned {
		if p.name == name {
			return p.layout, true
		}
	}
	for _, p := range perCluster {
		if cluster, ok := strings.CutPrefix(name, p.prefix); ok && isNumber(cluster) {
			return p.layout, true
		}
	}
	return layout{}, false
}

func isNumber(s string) bool {
	return s != "" && strings.Trim(s, "0123456789") == ""
}

// describe checks an open map against its layout.
func describe(fd *ebpf.Map, name string, l layout) (*cilium, error) {
	has := fmt.Sprintf("type %s, keys of %d and values of %d bytes", fd.Type(), fd.KeySize(), fd.ValueSize())
	want := fmt.Sprintf("type %s, keys of %d and values of %d bytes", ebpf.LRUHash, l.key, l.value)
	if has != want {
		return nil, &LayoutError{What: name, Has: has, Want: want}
	}
	info, err := fd.Info()
	if err != nil {
		return nil, fmt.Errorf("reading about map %s: %w", name, err)
	}
	id, _ := info.ID()
	return &cilium{
		Map: &correlator.Map{
			Name: name, ID: uint32(id), MaxEntries: fd.MaxEntries(), CT: l.ct,
			Distributed: fd.Flags()&unix.BPF_F_NO_COMMON_LRU != 0,
		},
		v6: l.v6, fd: fd,
	}, nil
}

// findByID goes through all maps of the system, which needs CAP_SYS_ADMIN. Of
// maps with one name the newest counts. Names being cut, per-cluster maps
// cannot be told apart there and are left out.
func findByID() ([]*cilium, error) {
	newest := map[string]*cilium{}
	var id ebpf.MapID
	for {
		next, err := ebpf.MapGetNextID(id)
		if errors.Is(err, os.ErrNotExist) {
			break
		}
		if err != nil {
			closeMaps(slices.Collect(maps.Values(newest)))
			return nil, fmt.Errorf("looking for Cilium's maps by id (mount its /sys/fs/bpf, or grant SYS_ADMIN): %w", err)
		}
		id = next
		m, err := openID(id)
		if err != nil {
			closeMaps(slices.Collect(maps.Values(newest)))
			return nil, err
		}
		if m == nil {
			continue
		}
		if old := newest[m.Name]; old != nil {
			old.fd.Close()
		}
		newest[m.Name] = m // ids grow
	}
	return slices.Collect(maps.Values(newest)), nil
}

// openID opens a map if it is one of Cilium's, else returns nil.
func openID(id ebpf.MapID) (*cilium, error) {
	fd, err := ebpf.NewMapFromID(id)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("opening map %d: %w", id, err)
	}
	info, err := fd.Info()
	if err == nil && fd.Type() == ebpf.LRUHash && len(info.Name) == nameMax {
		for _, p := range pinned {
			if strings.HasPrefix(p.name, info.Name) {
				return describe(fd, p.name, p.layout)
			}
		}
	}
	fd.Close()
	return nil, nil
}

func closeMaps(all []*cilium) {
	for _, m := range all {
		m.fd.Close()
	}
}
