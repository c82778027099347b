// SPDX-License-Identifier: Apache-2.0

package api

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/renat-project/renat/correlator/incident"
)

// around is how much time before the first and after the last line of evidence
// is asked for: Hubble stamps flows up to some 100 ms late.
const around = 5 * time.Second

// hubbleCommand shows the connection's flows in both directions. The pod's
// address and port name the connection: hubble's --ip and --port then mean one
// side of a flow. What the node itself sent to the server bears its own address.
// Nothing of the incident but addresses, times and a known protocol goes in, so
// it is safe to paste into a shell.
func hubbleCommand(i *incident.Incident) string {
	first, last := i.Time, i.Time
	for _, e := range i.Evidence {
		if e.Time.Before(first) {
			first = e.Time
		}
		if e.Time.After(last) {
			last = e.Time
		}
	}
	args := []string{"hubble observe"}
	sides := []netip.AddrPort{i.Source.AddrPort()}
	if before, err := netip.ParseAddrPort(i.NAT.Before); err == nil && i.Kind == incident.OrphanedReply {
		sides = append(sides, before)
	}
	for _, s := range sides {
		for _, arg := range []string{"--ip " + s.Addr().WithZone("").String(), fmt.Sprintf("--port %d", s.Port())} {
			if !slices.Contains(args, arg) {
				args = append(args, arg)
			}
		}
	}
	if slices.Contains([]string{"TCP", "UDP", "SCTP"}, i.Protocol) {
		args = append(args, "--protocol "+strings.ToLower(i.Protocol))
	}
	stamp := func(t time.Time) string { return t.UTC().Format(time.RFC3339) }
	return strings.Join(append(args, "--since "+stamp(first.Add(-around)), "--until "+stamp(last.Add(around))), " ")
}
