// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"cmp"
	"errors"
	"fmt"
	"time"

	"github.com/rs/zerolog"

	datapath "github.com/renat-project/renat/bpf/lab"
	"github.com/renat-project/renat/correlator/incident"
	"github.com/renat-project/renat/internal/agent/guard"
	"github.com/renat-project/renat/sinks/jetstream"
)

// Config is one run of the laboratory. The zero value of a field means its
// default.
type Config struct {
	// Kind has the run make incidents of one of the kinds that are neither renat nor
	// orphaned_reply, Timeouts or HostOwned, by other classes of connections; default: these two.
	Kind incident.Kind
	// Restore is which half of a mapping the datapath rebuilds from the other:
	// "none" (the default), "reply" (Cilium since 1.18: a reply rebuilds OUT)
	// or "both".
	Restore string
	// MapSize is the size of the NAT map in entries, two a connection; default
	// 512, for some kinds 4096; at least 512: below, most of it waits in the CPUs' free lists.
	MapSize int
	// Connections is how many long-lived connections there are at a time;
	// default 60, of no_port 80; at least one of each class.
	Connections int
	// Churn is how many short connections are made per second; default 60. Less
	// are while the machine cannot show them to Hubble as fast.
	Churn int
	// Duration is how long there is traffic; default a minute.
	Duration time.Duration
	IPv6     bool // instead of IPv4
	// Patience is how long a client waits for an answer before it gives the
	// connection up; default 8 s.
	Patience time.Duration
	// Seed draws how long the long-lived connections are silent: two runs with
	// the same one draw the same.
	Seed uint64
	// HubbleLate is how much later than the kernel saw a packet the Observer shows
	// and stamps its flow: those of the last CPU, the others' less, in equal steps.
	// At most 5 s.
	HubbleLate time.Duration
	// AgentAfter is how long after the traffic the agent begins.
	AgentAfter time.Duration
	// Guard, if not nil, is how the agent keeps living connections' entries.
	Guard *guard.Config

	// StateDir keeps the incidents (a NATS store in "nats") and the agent's
	// state; empty: a temporary folder that is removed.
	StateDir string
	// Record is a folder to write a recording of the run to; empty: none.
	Record string

	Version string // of renat
	Log     zerolog.Logger
	// Ready, if not nil, is called when NATS can be reached at url, before
	// there is traffic.
	Ready func(url string)
	// Incident, if not nil, is called with each incident as it is stored, from
	// one goroutine. Its error ends the run.
	Incident func(jetstream.Stored) error
}

var restores = map[string]datapath.Restore{
	"none": datapath.RestoreNothing, "reply": datapath.RestoreOut, "both": datapath.RestoreBoth,
}

const (
	minMapSize   = 512
	maxMapSize   = 1 << 20
	maxPerSecond = 5000
	minDuration  = 5 * time.Second
	maxLate      = 5 * time.Second // an agent waits no longer for a flow
)

// withDefaults fills in and checks.
func (c Config) withDefaults() (Config, error) {
	c.Restore = cmp.Or(c.Restore, "none")
	c.Churn = cmp.Or(c.Churn, 60)
	c.Duration = cmp.Or(c.Duration, time.Minute)
	c.Patience = cmp.Or(c.Patience, 8*time.Second)
	_, known := restores[c.Restore]
	p, err := planFor(c.Kind)
	c.MapSize = cmp.Or(c.MapSize, p.mapSize, 512)
	c.Connections = cmp.Or(c.Connections, p.connections, 60)
	return c, errors.Join(err,
		unless(known, "restore %q is not one of none, reply, both", c.Restore),
		unless(c.MapSize >= minMapSize && c.MapSize <= maxMapSize, "map size %d is not between %d and %d", c.MapSize, minMapSize, maxMapSize),
		unless(c.Connections >= p.least() && c.Connections <= maxLong, "%d connections are not between %d and %d", c.Connections, p.least(), maxLong),
		unless(c.Churn > 0 && c.Churn <= maxPerSecond, "churn of %d connections per second is not between 1 and %d", c.Churn, maxPerSecond),
		unless(c.Duration >= minDuration, "duration %v is shorter than %v", c.Duration, minDuration),
		unless(c.HubbleLate >= 0 && c.HubbleLate <= maxLate, "Hubble %v late is not between 0s and %v", c.HubbleLate, maxLate),
		unless(c.AgentAfter >= 0 && c.AgentAfter < c.Duration, "an agent after %v does not begin within the %v of traffic", c.AgentAfter, c.Duration),
		unless(c.Patience > 0, "patience %v is not positive", c.Patience),
	)
}

func unless(ok bool, format string, args ...any) error {
	if ok {
		return nil
	}
	return fmt.Errorf(format, args...)
}
