// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"
)

// DeleteOut deletes the OUT entry of a pod's TCP connection through bpf(2), as
// an agent's garbage collector does; existed is false if there was none.
func (d *Datapath) DeleteOut(pod, server netip.AddrPort) (existed bool, err error) {
	return deleted(d.nat(pod), tuple(server, pod, 0))
}

// DeleteMapping deletes likewise the OUT entry, and the IN entry that belongs to it.
func (d *Datapath) DeleteMapping(pod, server netip.AddrPort) (existed bool, err error) {
	nat := d.nat(pod)
	to := make([]byte, nat.ValueSize())
	switch err := nat.Lookup(tuple(server, pod, 0), to); {
	case errors.Is(err, ebpf.ErrKeyNotExist):
		return false, nil
	case err != nil:
		return false, fmt.Errorf("looking up the entry of %s in %s: %w", pod, nat, err)
	}
	to = to[32:] // struct nat4 and nat6: the address begins here
	addr, _ := netip.AddrFromSlice(to[:len(pod.Addr().AsSlice())])
	port := binary.BigEndian.Uint16(to[len(addr.AsSlice()):])
	if _, err := deleted(nat, tuple(netip.AddrPortFrom(addr, port), server, 1)); err != nil {
		return false, err
	}
	return d.DeleteOut(pod, server)
}

// DeleteTracking deletes the connection tracking entry of a pod's TCP connection
// likewise.
func (d *Datapath) DeleteTracking(pod, server netip.AddrPort) (existed bool, err error) {
	ct := d.objects.CiliumCt4Global
	if pod.Addr().Is6() {
		ct = d.objects.CiliumCt6Global
	}
	return deleted(ct, tuple(netip.AddrPortFrom(pod.Addr(), server.Port()), netip.AddrPortFrom(server.Addr(), pod.Port()), 0))
}

func (d *Datapath) nat(pod netip.AddrPort) *ebpf.Map {
	if pod.Addr().Is6() {
		return d.NAT6()
	}
	return d.NAT4()
}

// tuple returns the key of a TCP connection's entry: struct tuple4 or tuple6.
func tuple(dst, src netip.AddrPort, flags byte) []byte {
	key := append(dst.Addr().AsSlice(), src.Addr().AsSlice()...)
	key = binary.BigEndian.AppendUint16(key, dst.Port())
	key = binary.BigEndian.AppendUint16(key, src.Port())
	return append(key, unix.IPPROTO_TCP, flags)
}

// deleted deletes an entry, if it exists.
func deleted(m *ebpf.Map, key []byte) (existed bool, err error) {
	switch err := m.Delete(key); {
	case errors.Is(err, ebpf.ErrKeyNotExist):
		return false, nil
	case err != nil:
		return false, fmt.Errorf("deleting an entry of %s: %w", m, err)
	}
	return true, nil
}

// SetEgress has a pod's packets leave from Config.Other4 or Other6, or again from
// SNAT4 or SNAT6, as an egress gateway's policy does: those of living connections,
// too.
func (d *Datapath) SetEgress(pod netip.Addr, other bool) error {
	policy := d.objects.Policy4
	if pod.Is6() {
		policy = d.objects.Policy6
	}
	var err error
	if other {
		err = policy.Put(pod.AsSlice(), uint8(1))
	} else if err = policy.Delete(pod.AsSlice()); errors.Is(err, ebpf.ErrKeyNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("changing where %s leaves from: %w", pod, err)
	}
	return nil
}

// ReplaceNAT makes the NAT maps anew, empty and of another size, and has the programs
// use them and the pins name them, as Cilium's agent does at a start. It runs in the
// network namespace of the uplinks, and beside no other method but those of Reports.
func (d *Datapath) ReplaceNAT(entries uint32) error {
	d.config.NATEntries = entries
	d.former = append(d.former, d.objects)
	err := d.load(map[string]*ebpf.Map{
		datapathMapCiliumCt4Global:    d.objects.CiliumCt4Global,
		datapathMapCiliumCtAny4Global: d.objects.CiliumCtAny4Global,
		datapathMapCiliumCt6Global:    d.objects.CiliumCt6Global,
		datapathMapCiliumCtAny6Global: d.objects.CiliumCtAny6Global,
		datapathMapPolicy4:            d.objects.Policy4,
		datapathMapPolicy6:            d.objects.Policy6,
		datapathMapReports:            d.objects.Reports,
		datapathMapReportsLost:        d.objects.ReportsLost,
	})
	if err != nil {
		d.former = d.former[:len(d.former)-1]
		return fmt.Errorf("making the NAT maps anew: %w", err)
	}
	for _, link := range d.uplinks {
		if err := d.program(link); err != nil {
			return err
		}
	}
	if d.config.PinDir == "" {
		return nil
	}
	for name, m := range map[string]*ebpf.Map{
		datapathMapCiliumSnatV4External: d.objects.CiliumSnatV4External,
		datapathMapCiliumSnatV6External: d.objects.CiliumSnatV6External,
	} {
		path := filepath.Join(d.config.PinDir, name)
		if err := errors.Join(os.Remove(path), m.Pin(path)); err != nil {
			return fmt.Errorf("replacing the pin %s: %w", path, err)
		}
	}
	return nil
}
