// SPDX-License-Identifier: Apache-2.0

package verdict

import (
	"fmt"
	"strings"
	"time"

	"github.com/renat-project/renat/correlator/incident"
)

// refused says what became of the connections that found no port. It is of the
// incidents that are known one by one: at least so many.
func refused(f Facts) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d %s", f.Refused, plural(int(min(f.Refused, 2)), "connection", "connections"))
	b.WriteString(parties(f))
	b.WriteString(" could not be opened")
	if f.Node != "" {
		b.WriteString(" on node " + f.Node)
	}
	b.WriteString(": no source port was free")
	if f.PortsInUse > 0 {
		fmt.Fprintf(&b, ", %d of %s being in use to that server", f.PortsInUse, f.PortAddress)
	}
	if !f.RefusedFrom.IsZero() {
		b.WriteString(", since " + f.RefusedFrom.UTC().Format(time.DateTime) + " UTC")
	}
	b.WriteString(".")
	if len(f.PortHolders) > 0 {
		b.WriteString(" Most of them are held by " + pods(f.PortHolders) + ".")
	}
	return b.String()
}

func pods(all []incident.PodCount) string {
	var names []string
	for _, p := range all {
		names = append(names, fmt.Sprintf("%s (%d)", p.Name, p.Count))
	}
	return strings.Join(names, ", ")
}

// morePorts says what helps against that, and that no map size does.
const morePorts = "A larger NAT map does not help: what ran out are the source ports that one address has towards one server. " +
	"Connections that are used again (keep-alive, a pool), more addresses (an egress gateway policy, another server address) or more nodes do."
