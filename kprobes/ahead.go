// SPDX-License-Identifier: Apache-2.0

package kprobes

import (
	"errors"
	"fmt"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"
)

// ahead are the maps in which the programs look entries up ahead of their
// deletion, where the kernel lets nobody see what is freed; nil elsewhere.
type ahead map[string]*ebpf.Map

// aheadOf names the one for a map: those in it must be alike.
func aheadOf(m *cilium) string {
	local := m.fd.Flags()&unix.BPF_F_NO_COMMON_LRU != 0
	switch {
	case m.v6 && local:
		return watchMapLook6Local
	case m.v6:
		return watchMapLook6
	case m.CT && local:
		return watchMapLookCt4Local
	case m.CT:
		return watchMapLookCt4
	case local:
		return watchMapLookNat4Local
	}
	return watchMapLookNat4
}

func (a ahead) add(m *cilium) error {
	if a == nil {
		return nil
	}
	if err := a[aheadOf(m)].Put(m.ID, m.fd); err != nil {
		return fmt.Errorf("having entries of map %s looked up before they are deleted: %w", m.Name, explain(err))
	}
	return nil
}

func (a ahead) remove(m *cilium) error {
	if a == nil {
		return nil
	}
	if err := a[aheadOf(m)].Delete(m.ID); err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
		return err
	}
	return nil
}
