// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"

	"github.com/cilium/ebpf"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Restore says which half of a mapping is rebuilt from the other.
type Restore int

// The kinds of restore.
const (
	RestoreNothing Restore = 0
	RestoreOut     Restore = 1                      // a reply that finds IN rebuilds OUT: Cilium since 1.18
	RestoreIn      Restore = 2                      // egress that finds OUT rebuilds IN: Cilium since 1.17
	RestoreBoth            = RestoreOut | RestoreIn // symmetric
)

// ScarcePorts is how many source ports there are towards servers on Config.Scarce.
const ScarcePorts = 64

// Config is what the datapath translates. A family without addresses passes.
type Config struct {
	Pods4 netip.Prefix // sources that are masqueraded
	Pods6 netip.Prefix // its first 64 bits count
	SNAT4 netip.Addr   // what they become: addresses of the uplink
	SNAT6 netip.Addr
	// Other4 and Other6 are further addresses of the uplink; see SetEgress.
	Other4, Other6 netip.Addr
	// Scarce is a port of servers towards which there are only ScarcePorts source
	// ports; 0: there is none.
	Scarce uint16
	// Filtered is a port of servers whose resets the node's firewall drops, and
	// what nothing translates, so that the node does not reset that; 0: there is none.
	Filtered uint16
	// NATEntries is the size of each NAT map, 512 if 0, and CTEntries of each
	// connection tracking map, 65536 if 0.
	NATEntries, CTEntries uint32
	// Policed has TCP packets to pods dropped whose connection is not tracked, as
	// where policy lets nobody come to them.
	Policed bool
	Restore Restore
	// ProbeByLookup looks a port up before taking it, as Cilium did before
	// 1.16; else a collision shows as a failed insert.
	ProbeByLookup bool
	// Report has the datapath report what it sees and does: see Reports.
	Report bool
	// PinDir has the maps pinned there by their names, as Cilium's are below
	// /sys/fs/bpf/tc/globals; "" pins nothing.
	PinDir string
}

// Datapath is the loaded programs and maps.
type Datapath struct {
	config  Config
	objects datapathObjects
	former  []datapathObjects // before ReplaceNAT
	uplinks []netlink.Link
	pins    []string
}

// New loads the datapath; it needs the right to load TC programs (root, or the
// capabilities BPF and NET_ADMIN).
func New(c Config) (*Datapath, error) {
	d := &Datapath{config: c}
	if err := d.load(nil); err != nil {
		return nil, err
	}
	if c.PinDir != "" {
		if err := d.pin(c.PinDir); err != nil {
			return nil, errors.Join(err, d.Close())
		}
	}
	return d, nil
}

// load makes the objects anew, but for maps that are there already.
func (d *Datapath) load(there map[string]*ebpf.Map) error {
	spec, err := loadDatapath()
	if err != nil {
		return fmt.Errorf("reading the datapath: %w", err)
	}
	constants, err := d.config.constants()
	if err != nil {
		return fmt.Errorf("configuring the datapath: %w", err)
	}
	for name, value := range constants {
		if err := spec.Variables[name].Set(value); err != nil {
			return fmt.Errorf("setting %s: %w", name, err)
		}
	}
	d.config.size(spec)
	var fresh datapathObjects
	if err := spec.LoadAndAssign(&fresh, &ebpf.CollectionOptions{MapReplacements: there}); err != nil {
		return fmt.Errorf("loading the datapath (needs root): %w", err)
	}
	d.objects = fresh
	return nil
}

func (c Config) size(spec *ebpf.CollectionSpec) {
	if c.NATEntries != 0 {
		spec.Maps[datapathMapCiliumSnatV4External].MaxEntries = c.NATEntries
		spec.Maps[datapathMapCiliumSnatV6External].MaxEntries = c.NATEntries
	}
	if c.CTEntries != 0 {
		for _, name := range []string{
			datapathMapCiliumCt4Global, datapathMapCiliumCt6Global, datapathMapCiliumCtAny4Global, datapathMapCiliumCtAny6Global,
		} {
			spec.Maps[name].MaxEntries = c.CTEntries
		}
	}
}

// constants are the programs' settings, addresses in network order.
func (c Config) constants() (map[string]any, error) {
	all := map[string]any{
		datapathVarRestoreOut: c.Restore&RestoreOut != 0, datapathVarRestoreIn: c.Restore&RestoreIn != 0,
		datapathVarProbeByLookup: c.ProbeByLookup, datapathVarReporting: c.Report, datapathVarScarceServer: hostOrder(c.Scarce), datapathVarPoliced: c.Policed,
		datapathVarFilteredServer: hostOrder(c.Filtered),
	}
	if c.SNAT4.IsValid() {
		if !c.SNAT4.Is4() || !c.Pods4.IsValid() || !c.Pods4.Addr().Is4() || c.Pods4.Bits() == 0 {
			return nil, fmt.Errorf("SNAT address %s needs a network of IPv4 pods, not %q", c.SNAT4, c.Pods4)
		}
		mask := ^uint32(0) << (32 - c.Pods4.Bits())
		all[datapathVarSnat4] = c.SNAT4.As4()
		if c.Other4.IsValid() {
			all[datapathVarOther4] = c.Other4.As4()
		}
		all[datapathVarPods4] = c.Pods4.Masked().Addr().As4()
		all[datapathVarPods4Mask] = [4]byte{byte(mask >> 24), byte(mask >> 16), byte(mask >> 8), byte(mask)}
	}
	if c.SNAT6.IsValid() {
		if !c.SNAT6.Is6() || !c.Pods6.IsValid() || !c.Pods6.Addr().Is6() {
			return nil, fmt.Errorf("SNAT address %s needs a network of IPv6 pods, not %q", c.SNAT6, c.Pods6)
		}
		all[datapathVarSnat6] = c.SNAT6.As16()
		if c.Other6.IsValid() {
			all[datapathVarOther6] = c.Other6.As16()
		}
		all[datapathVarPods6] = c.Pods6.Addr().As16()
	}
	return all, nil
}

func (d *Datapath) pin(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("pinning the maps: %w", err)
	}
	for name, m := range map[string]*ebpf.Map{
		datapathMapCiliumSnatV4External: d.objects.CiliumSnatV4External,
		datapathMapCiliumSnatV6External: d.objects.CiliumSnatV6External,
		datapathMapCiliumCt4Global:      d.objects.CiliumCt4Global,
		datapathMapCiliumCtAny4Global:   d.objects.CiliumCtAny4Global,
		datapathMapCiliumCt6Global:      d.objects.CiliumCt6Global,
		datapathMapCiliumCtAny6Global:   d.objects.CiliumCtAny6Global,
	} {
		path := filepath.Join(dir, name)
		if err := m.Pin(path); err != nil {
			return fmt.Errorf("pinning %s (is another datapath running?): %w", path, err)
		}
		d.pins = append(d.pins, path)
	}
	return nil
}

// NAT4 returns the map cilium_snat_v4_external. It is the Datapath's to close.
func (d *Datapath) NAT4() *ebpf.Map { return d.objects.CiliumSnatV4External }

// NAT6 returns the map cilium_snat_v6_external. It is the Datapath's to close.
func (d *Datapath) NAT6() *ebpf.Map { return d.objects.CiliumSnatV6External }

// Attach puts the datapath on an uplink of the current network namespace.
func (d *Datapath) Attach(uplink string) error {
	link, err := netlink.LinkByName(uplink)
	if err != nil {
		return fmt.Errorf("finding uplink %s: %w", uplink, err)
	}
	qdisc := &netlink.GenericQdisc{QdiscType: "clsact", QdiscAttrs: netlink.QdiscAttrs{
		LinkIndex: link.Attrs().Index, Handle: netlink.MakeHandle(0xffff, 0), Parent: netlink.HANDLE_CLSACT,
	}}
	if err := netlink.QdiscAdd(qdisc); err != nil {
		return fmt.Errorf("adding clsact to %s (needs the kernel module sch_ingress): %w", uplink, err)
	}
	d.uplinks = append(d.uplinks, link)
	return d.program(link)
}

// program has the programs run on an uplink, instead of those that do.
func (d *Datapath) program(link netlink.Link) error {
	for parent, program := range map[uint32]*ebpf.Program{
		netlink.HANDLE_MIN_EGRESS:  d.objects.ToNetdev,
		netlink.HANDLE_MIN_INGRESS: d.objects.FromNetdev,
	} {
		filter := &netlink.BpfFilter{
			FilterAttrs: netlink.FilterAttrs{
				LinkIndex: link.Attrs().Index, Parent: parent, Handle: 1, Protocol: unix.ETH_P_ALL, Priority: 1,
			},
			Fd: program.FD(), Name: program.String(), DirectAction: true,
		}
		if err := netlink.FilterReplace(filter); err != nil {
			return fmt.Errorf("attaching to %s (needs the kernel module cls_bpf): %w", link.Attrs().Name, err)
		}
	}
	return nil
}

// Close takes the datapath off its uplinks, in the network namespace that is
// current, and frees it.
func (d *Datapath) Close() error {
	var errs []error
	for _, link := range d.uplinks {
		qdisc := &netlink.GenericQdisc{QdiscType: "clsact", QdiscAttrs: netlink.QdiscAttrs{
			LinkIndex: link.Attrs().Index, Handle: netlink.MakeHandle(0xffff, 0), Parent: netlink.HANDLE_CLSACT,
		}}
		if err := netlink.QdiscDel(qdisc); err != nil {
			errs = append(errs, fmt.Errorf("leaving uplink %s: %w", link.Attrs().Name, err))
		}
	}
	for _, path := range d.pins {
		errs = append(errs, os.Remove(path))
	}
	for _, o := range append(d.former, d.objects) {
		errs = append(errs, o.Close())
	}
	return errors.Join(errs...)
}
