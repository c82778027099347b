// SPDX-License-Identifier: Apache-2.0

package kprobes

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/cilium/ebpf"

	"github.com/renat-project/renat/correlator"
)

// readBatch is how many entries one syscall reads. It must exceed the longest
// chain of a hash bucket.
const readBatch = 4096

// Count counts a watched map's entries by reading them all, in batches: for a
// single question, not for a gauge. Entries that come or go meanwhile may or
// may not be counted.
func (t *Tracer) Count(ctx context.Context, id uint32) (uint64, error) {
	var total uint64
	err := t.read(ctx, id, func(*cilium, []byte, []byte) { total++ })
	return total, err
}

// Keys calls each with the key of every entry of a watched map. It reads them
// all, as Count does; that does not mark them as used.
func (t *Tracer) Keys(ctx context.Context, id uint32, each func(correlator.Tuple, correlator.Dir)) error {
	return t.read(ctx, id, func(m *cilium, key, _ []byte) { each(m.tuple(key)) })
}

// Tracked calls each with every established connection of a watched tracking map
// that lives, by the tuple of the packets that its opener sends. It reads all
// entries, as Count does; that does not mark them as used.
func (t *Tracer) Tracked(ctx context.Context, id uint32, each func(correlator.Tuple)) error {
	clock := newStamps(t.tick)
	return t.read(ctx, id, func(m *cilium, key, value []byte) {
		if tuple, lives := clock.lives(m, key, value); m.CT && lives {
			each(tuple)
		}
	})
}

// read goes through the entries of a watched map.
func (t *Tracer) read(ctx context.Context, id uint32, each func(m *cilium, key, value []byte)) error {
	t.mu.Lock()
	m := t.watching[id]
	t.mu.Unlock()
	if m == nil {
		return fmt.Errorf("reading map %d: it is not watched", id)
	}
	// A descriptor of its own: the map may be replaced meanwhile.
	fd, err := m.fd.Clone()
	if err != nil {
		return fmt.Errorf("reading map %s: %w", m.Name, err)
	}
	defer fd.Close()
	switch {
	case m.v6:
		err = readAll(ctx, fd, func(k *[key6Size]byte, v *[value6Size]byte) { each(m, k[:], v[:]) })
	case m.CT:
		err = readAll(ctx, fd, func(k *[key4Size]byte, v *[valueCTSize]byte) { each(m, k[:], v[:]) })
	default:
		err = readAll(ctx, fd, func(k *[key4Size]byte, v *[value4Size]byte) { each(m, k[:], v[:]) })
	}
	if err != nil {
		return fmt.Errorf("reading map %s: %w", m.Name, err)
	}
	return nil
}

// readAll reads a map with keys K and values V; both v6 values are of one size.
func readAll[K, V any](ctx context.Context, fd *ebpf.Map, each func(*K, *V)) error {
	keys, values := make([]K, readBatch), make([]V, readBatch)
	var cursor ebpf.MapBatchCursor
	for ctx.Err() == nil {
		n, err := fd.BatchLookup(&cursor, keys, values, nil)
		for i := range keys[:n] {
			each(&keys[i], &values[i])
		}
		if errors.Is(err, ebpf.ErrKeyNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
	}
	return ctx.Err()
}

// Where Cilium's CT values have their flags (pkg/maps/ctmap/types.go, 1.12 to
// 1.20), and those of a connection that both sides have closed.
const (
	valueCTFlags = 36
	ctClosed     = 1<<0 | 1<<1 // rx_closing, tx_closing
)

// Open reports whether connection tracking knows a connection, by the tuple of
// the packets that its opener sends, and not as closed by both sides. What has
// expired and was not collected yet counts as open.
func (t *Tracer) Open(tuple correlator.Tuple) (bool, error) {
	v6 := tuple.Src.AddrPort().Addr().Is6()
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, m := range t.watching {
		if !m.CT || m.v6 != v6 {
			continue
		}
		value, err := m.fd.LookupBytes(m.key(tuple, correlator.Out))
		if err != nil {
			return false, fmt.Errorf("looking up %s in %s: %w", tuple, m.Name, err)
		}
		if value != nil {
			return binary.NativeEndian.Uint16(value[valueCTFlags:])&ctClosed != ctClosed, nil
		}
	}
	return false, nil
}
