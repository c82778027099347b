// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"cmp"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"github.com/renat-project/renat/correlator"
	"github.com/renat-project/renat/correlator/incident"
	reference "github.com/renat-project/renat/internal/metrics"
	"github.com/renat-project/renat/internal/nodestatus"
	"github.com/renat-project/renat/internal/sizing"
	"github.com/renat-project/renat/kprobes"
	"github.com/renat-project/renat/sinks/jetstream"
	"github.com/renat-project/renat/sinks/jetstream/outbox"
)

// status describes the node as it is now.
func (a *agent) status() *nodestatus.Status {
	now := time.Now()
	kernel, flows, box, tracked := a.config.Kernel.Status(), a.flows.Stats(), a.outbox.Status(), a.tracker.stats()
	counted, countErr := a.config.Kernel.Stats()
	s := &nodestatus.Status{
		Version: nodestatus.Version, Time: now.UTC(), Node: a.config.Node, Cluster: a.config.Cluster,
		Renat: a.config.Version, Started: a.started.UTC(), ClockSteps: a.clock.stepCount(), Machine: machine(),
		Kernel: nodestatus.Kernel{
			Backend: string(kernel.Backend), Why: kernel.Why, Degraded: kernel.Degraded, Received: counted.Received,
			Missing: counted.Missing, LeftOut: counted.Unsurveyed,
		},
		Maps: a.maps(counted.Maps, now),
		Hubble: nodestatus.Hubble{
			Address: a.config.Hubble.Address, Connected: flows.Connected, Version: flows.ServerVersion,
			Flows: flows.Flows, Restarts: flows.Restarts, LastError: flows.LastError,
		},
		Tracking: nodestatus.Tracking{
			Connections: tracked.Connections, MaxConnections: a.config.MaxConnections, Suspects: tracked.Suspects, Held: tracked.Held,
			Harmless: tracked.Harmless, ConnectionsForgotten: tracked.ConnectionsForgotten,
		},
		Incidents: a.tally.incidents(now),
		Outbox: nodestatus.Outbox{
			Stored: box.Stored, Forwarded: box.Forwarded, Waiting: box.Waiting, Queued: box.Queued, Dropped: box.Lost(),
		},
		Losses: map[string]uint64{},
	}
	for place, n := range losses(&tracked, &box) {
		if n > 0 {
			s.Losses[place] = n
		}
	}
	s.Parts = []nodestatus.Part{
		part(nodestatus.PartKernel, kernel.State == kprobes.Watching, kernel.Problem, countErr),
		part(nodestatus.PartHubble, flows.Connected, "waiting for flows from "+a.config.Hubble.Address, worded(flows.LastError)),
		part(nodestatus.PartTracking, true, "", a.tracker.behind()),
		part(nodestatus.PartOutbox, box.Problem == nil, "", box.Problem),
		part(nodestatus.PartNATS, a.nats.IsConnected(), "not connected to "+a.natsURL, cmp.Or(jetstream.Supported(a.nats), box.Unsent, a.alone())),
	}
	if risks, err := a.atRisk(); err == nil {
		n := len(risks.Connections) + risks.More
		s.AtRisk, s.Risks = &n, risks.Told()
	}
	if a.guard != nil {
		s.Guard = a.guard.Status()
		if strings.HasPrefix(s.Guard.Problem, nodestatus.GuardTooSmall) {
			s.Guard.Problem += "; " + enough(s.Measured(nil))
		}
	}
	return s
}

// enough says which sizes of Cilium's maps would be, as renat advise does of one
// node where Cilium's settings are not known.
func enough(measured []sizing.Node) string {
	p := sizing.NewPlan(measured, nil)
	if p.Impossible != "" {
		return p.Impossible
	}
	if len(p.Values) == 0 {
		return "which size is enough kubectl renat advise tells when more has been measured"
	}
	return "by what this node measured " + sizing.Written(p.Values, " with ") + " is enough (kubectl renat advise knows the other nodes and Cilium's settings, too)"
}

// alone returns why the node's status in NATS is not only this agent's, or nil.
func (a *agent) alone() error {
	if !a.twin.Load() {
		return nil
	}
	return fmt.Errorf("another agent tells NATS of a node %s in a cluster %s, too: give each cluster a --cluster-name of its own", a.config.Node, a.config.Cluster)
}

// losses counts by place what was lost, places without a loss included.
func losses(tracked *correlator.Stats, box *outbox.Status) map[string]uint64 {
	all := map[string]uint64{
		reference.LossQueue: box.Overflowed, reference.LossFull: box.Dropped, reference.LossRefused: box.Refused,
	}
	for source, n := range tracked.Lost {
		if name := correlator.LossSource(source).String(); n > 0 || source > 0 { //nolint:gosec // a handful
			all[name] += n
		}
	}
	return all
}

// part tells why a part is not ready: err, if there is one, else waiting.
func part(name string, ready bool, waiting string, err error) nodestatus.Part {
	switch {
	case err != nil:
		return nodestatus.Part{Name: name, Problem: err.Error()}
	case !ready:
		return nodestatus.Part{Name: name, Problem: waiting}
	}
	return nodestatus.Part{Name: name, Ready: true}
}

// worded makes an error of its text; "" is none.
func worded(text string) error {
	if text == "" {
		return nil
	}
	return errors.New(text)
}

// maps describes the watched maps.
func (a *agent) maps(counted []kprobes.MapStats, now time.Time) []nodestatus.Map {
	entries := map[uint32]*uint64{}
	// Where this kernel cannot tell, or not now, the number is left out.
	if occupancy, err := a.config.Kernel.Occupancy(); err == nil {
		for _, o := range occupancy {
			entries[o.Map.ID] = &o.Entries
		}
	}
	all := []nodestatus.Map{}
	for _, m := range counted {
		all = append(all, nodestatus.Map{
			Name: m.Map.Name, ID: m.Map.ID, MaxEntries: m.Map.MaxEntries, CT: m.Map.CT, Distributed: m.Map.Distributed,
			Entries: entries[m.Map.ID], Inserts: m.Inserts, Collisions: m.FailedEEXIST,
			FailedInserts: m.FailedEEXIST + m.FailedENOMEM + m.FailedEBUSY + m.FailedOther,
			Evictions:     m.Evictions, Forced: m.Forced, Deletes: m.DeletesSyscall + m.DeletesProgram + m.DeletesUnknown,
			LostAlive:      aliveByCause(m.Counters),
			LastMinute:     a.rates.of(m.Map.ID, minute, now, m.Counters),
			LastTenMinutes: a.rates.of(m.Map.ID, tenMinutes, now, m.Counters),
			LongestGap:     a.tally.longestGap(m.Map.Name),
			Peaks:          a.peaks.Of(m.Map.Name, m.Map.MaxEntries),
		})
	}
	return all
}

// lostAlive counts the tracking entries of living connections that were removed.
func lostAlive(c kprobes.Counters) map[incident.Cause]uint64 {
	return map[incident.Cause]uint64{
		incident.LRUEviction: c.EvictedAlive, incident.UserspaceDelete: c.DeletedAliveSyscall,
		incident.DatapathDelete: c.DeletedAliveProgram, incident.UnknownCause: c.DeletedAliveUnknown,
	}
}

func aliveByCause(c kprobes.Counters) map[string]uint64 {
	var all map[string]uint64
	for cause, n := range lostAlive(c) {
		if n > 0 {
			if all == nil {
				all = map[string]uint64{}
			}
			all[string(cause)] = n
		}
	}
	return all
}

// machine describes the node; what the kernel does not tell stays zero.
func machine() nodestatus.Machine {
	m := nodestatus.Machine{}
	var name unix.Utsname
	if unix.Uname(&name) == nil {
		m.Kernel = unix.ByteSliceToString(name.Release[:])
	}
	if cpus, err := ebpf.PossibleCPU(); err == nil {
		m.CPUs = cpus
	}
	var info unix.Sysinfo_t
	if unix.Sysinfo(&info) == nil {
		m.MemoryBytes = info.Totalram * uint64(info.Unit)
	}
	return m
}
