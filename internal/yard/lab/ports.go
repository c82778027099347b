// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"net/netip"
	"time"

	"github.com/renat-project/renat/correlator/incident"
	"github.com/renat-project/renat/sinks/jetstream"
)

// shortage is what one incident of no_port is to tell: the connections to a server
// that were refused a port within a minute, and that nobody let in after all.
type shortage struct {
	server  netip.AddrPort
	at      time.Time // the first refusal
	clients map[netip.AddrPort]Class
}

// shortages makes them of the refusals. a.mu is held.
func (a *account) shortages() (all []*shortage) {
	last := map[netip.AddrPort]*shortage{}
	for _, r := range a.refusals {
		s := last[r.server]
		if s == nil || r.at.Sub(s.at) >= time.Minute {
			s = &shortage{r.server, r.at, map[netip.AddrPort]Class{}}
			last[r.server] = s
			all = append(all, s)
		}
		if class, ok := a.givenUp[r.key]; ok {
			s.clients[r.client] = class
		}
	}
	return all
}

// judgePorts scores who was refused a port, and the incidents that say so; it
// returns the others. A connection counts in each minute that refused it.
func (s *score) judgePorts(a *account, stored []jetstream.Stored) (others []jetstream.Stored) {
	var told []*incident.Incident
	for _, i := range stored {
		if i.Incident.Kind == incident.NoPort {
			told = append(told, i.Incident)
		} else {
			others = append(others, i)
		}
	}
	refused := map[key]bool{}
	for _, short := range a.shortages() {
		rows := map[*Row]int{}
		for client, class := range short.clients {
			refused[key{client, short.server}] = true
			rows[s.rows[class]]++
		}
		named := false
		for n := 0; n < len(told); n++ {
			if named = short.is(told[n]); named {
				told = append(told[:n:n], told[n+1:]...)
				break
			}
		}
		if !named && len(short.clients) > 0 {
			s.fault("%d connections to %s were refused a port from %s on: no incident", len(short.clients), short.server, short.at.Format(clock))
		}
		for row, n := range rows {
			row.Connections += n
			row.Broken += n
			if named {
				row.Named += n
			} else {
				row.Missed += n
			}
		}
	}
	s.unopened = a.unopened - len(refused)
	for _, i := range told {
		s.rows[Churn].False++
		s.fault("an incident says that %+v were refused a port to %s: %s", *i.Ports, i.Destination.AddrPort(), describe(i))
	}
	return others
}

// is reports whether an incident tells of it, rightly in all.
func (short *shortage) is(i *incident.Incident) bool {
	pods := map[string]uint64{}
	for _, class := range short.clients {
		pods[namespace+"/"+podName(class)]++
	}
	for _, p := range i.Ports.Pods {
		if pods[p.Name] != p.Count {
			return false
		}
		delete(pods, p.Name)
	}
	return len(pods) == 0 && i.Cause == incident.PortsExhausted && i.Outcome == incident.Dropped &&
		i.Destination.AddrPort() == short.server && i.Time.Equal(short.at) && i.Ports.Refused == uint64(len(short.clients))
}
