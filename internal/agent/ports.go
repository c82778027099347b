// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"context"

	"github.com/renat-project/renat/correlator"
	"github.com/renat-project/renat/correlator/incident"
	"github.com/renat-project/renat/internal/agent/heavy"
)

// maxCounting is how many incidents wait for a map to be read; more are published
// without.
const maxCounting = 16

// maxPortHolders is how many pods an incident says hold the ports.
const maxPortHolders = 5

// countPorts adds to an incident of no_port which address is out of ports, how
// many it has in use to the server, and which pods hold them. It reads the NAT
// map; where that fails, or ctx has ended, the incident goes without.
func (a *agent) countPorts(ctx context.Context, i *incident.Incident) {
	defer a.counts.Add(-1)
	if a.counts.Add(1) > maxCounting {
		return
	}
	a.tops.reading.Lock()
	defer a.tops.reading.Unlock()
	if ctx.Err() != nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, topTime)
	defer cancel()
	server := tupleOf(i)
	for _, m := range a.config.Kernel.Status().Maps {
		if m.CT || m.PerCluster() || m.IPv6() != i.Destination.IP.Is6() {
			continue
		}
		addresses, pods := heavy.New[correlator.Addr](counted), heavy.New[correlator.Addr](counted)
		err := a.config.Kernel.Keys(ctx, m.ID, func(t correlator.Tuple, d correlator.Dir) {
			switch {
			case t.Protocol != server.Protocol:
			case d == correlator.Out && t.Dst == server.Dst:
				pods.Add(correlator.Addr{IP: t.Src.IP})
			case d == correlator.In && t.Src == server.Dst:
				addresses.Add(correlator.Addr{IP: t.Dst.IP})
			}
		})
		if err != nil {
			a.log.Warn().Err(err).Msg("which ports are in use is not known")
			return
		}
		i.NAT.Map, i.Map.MaxEntries = m.Name, m.MaxEntries
		for _, c := range addresses.Top(1) {
			i.Ports.Address, i.Ports.InUse = c.Key.AddrPort().Addr().String(), c.N
		}
		for _, c := range pods.Top(maxPortHolders) {
			i.Ports.Holders = append(i.Ports.Holders, incident.PodCount{Name: c.Key.AddrPort().Addr().String(), Count: c.N})
		}
	}
}
