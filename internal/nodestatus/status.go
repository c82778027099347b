// SPDX-License-Identifier: Apache-2.0

package nodestatus

import "time"

// Version is Status.Version of this package. Fields may be added to it; one
// that goes, or means something else, makes another.
const Version = 1

// Status is one node at one time. Counters count since Started.
type Status struct {
	Version int       `json:"version"`
	Time    time.Time `json:"time"`
	Node    string    `json:"node"`
	Cluster string    `json:"cluster,omitempty"`
	Renat   string    `json:"renat"`   // version of the agent
	Started time.Time `json:"started"` // when the agent did
	// ClockSteps is how often the node's clock was set.
	ClockSteps uint64 `json:"clock_steps"`
	// Parts of the agent, each ready or not, in the order data takes.
	Parts     []Part    `json:"parts"`
	Machine   Machine   `json:"machine"`
	Kernel    Kernel    `json:"kernel"`
	Maps      []Map     `json:"maps"`
	Hubble    Hubble    `json:"hubble"`
	Tracking  Tracking  `json:"tracking"`
	Incidents Incidents `json:"incidents"`
	Outbox    Outbox    `json:"outbox"`
	// AtRisk is how many connections break by their next packet; nil: not known.
	AtRisk *int `json:"at_risk,omitempty"`
	// Risks are the first of them, those for longest, at most RisksTold.
	Risks []Risk `json:"risks,omitempty"`
	// Guard keeps connections' entries; nil: it was not asked for.
	Guard *Guard `json:"guard,omitempty"`
	// Losses are events and incidents lost, by place; places without a loss
	// are missing.
	Losses map[string]uint64 `json:"losses"`
}

// Part is something the agent needs.
type Part struct {
	Name    string `json:"name"`
	Ready   bool   `json:"ready"`
	Problem string `json:"problem,omitempty"` // what it waits for, in words
}

// The names of parts.
const (
	PartAgent    = "agent"    // not ready on a node where none runs; others do not tell of it
	PartKernel   = "kernel"   // the tracer, and Cilium's maps
	PartHubble   = "hubble"   // the stream of flows
	PartTracking = "tracking" // what brings both into one order, and keeps up with them
	PartOutbox   = "outbox"   // the store on this node's disk
	PartNATS     = "nats"     // where incidents go
)

// Machine is what the node is made of.
type Machine struct {
	Kernel      string `json:"kernel"`       // release, as uname says
	CPUs        int    `json:"cpus"`         // possible ones, which the LRU's free lists count
	MemoryBytes uint64 `json:"memory_bytes"` // of which Cilium's map sizes are a share
}

// Kernel is the state of the tracer.
type Kernel struct {
	Backend  string   `json:"backend,omitempty"` // fentry or kprobe
	Why      string   `json:"why,omitempty"`     // the backend was chosen
	Degraded []string `json:"degraded,omitempty"`
	Received uint64   `json:"received"` // events
	// Missing are tracked connections that looks at the maps found without a NAT
	// entry; LeftOut those that were too many to look at.
	Missing uint64 `json:"missing,omitempty"`
	LeftOut uint64 `json:"left_out,omitempty"`
}

// Map is one of Cilium's maps.
type Map struct {
	Name       string `json:"name"`
	ID         uint32 `json:"id"`
	MaxEntries uint32 `json:"max_entries"`
	CT         bool   `json:"ct,omitempty"` // connection tracking, else NAT
	// Distributed: made with BPF_F_NO_COMMON_LRU, each CPU has its own list.
	Distributed bool `json:"distributed,omitempty"`
	// Entries now; nil where the kernel does not count them (before 6.8).
	Entries *uint64 `json:"entries,omitempty"`

	Inserts       uint64 `json:"inserts"`
	FailedInserts uint64 `json:"failed_inserts"`
	Collisions    uint64 `json:"collisions"` // inserts that failed because the key existed: a port was taken
	Evictions     uint64 `json:"evictions"`  // forced ones included
	Forced        uint64 `json:"forced"`     // evictions of entries in recent use, none that were looked at being idle
	Deletes       uint64 `json:"deletes"`
	// LostAlive are entries of a connection tracking map that were removed although
	// their TCP connection was established, not closed, and had time left: by
	// cause, causes without one being missing.
	LostAlive map[string]uint64 `json:"lost_alive,omitempty"`

	LastMinute     Rates `json:"last_minute"`
	LastTenMinutes Rates `json:"last_ten_minutes"`
	// LongestGap is the longest time that a connection was silent before it
	// was found broken by an eviction from this map; 0: there was none.
	LongestGap time.Duration `json:"longest_gap_ns,omitempty"`
	// Peaks are the most it had to bear; nil: not known.
	Peaks *Peaks `json:"peaks,omitempty"`
}

// Peaks are the highest values of a map, also of the time before its agent was
// restarted. Rates are means over a minute.
type Peaks struct {
	Since     time.Time `json:"since"`
	Entries   uint64    `json:"entries,omitempty"` // 0 where the kernel does not count them
	Inserts   float64   `json:"inserts_per_second"`
	Evictions float64   `json:"evictions_per_second"`
}

// Rates are means over a time; over less, while the agent is younger.
type Rates struct {
	Inserts     float64 `json:"inserts_per_second"`
	Evictions   float64 `json:"evictions_per_second"`
	LostAlive   float64 `json:"lost_alive_per_second,omitempty"`
	ForcedShare float64 `json:"forced_share"` // of the evictions, 0 to 1
}

// Hubble is the state of the stream of flows.
type Hubble struct {
	Address   string `json:"address"`
	Connected bool   `json:"connected"`
	Version   string `json:"version,omitempty"` // of the Cilium agent
	Flows     uint64 `json:"flows"`
	Restarts  uint64 `json:"restarts"` // of the Cilium agent
	LastError string `json:"last_error,omitempty"`
}

// Tracking is the state of the correlator.
type Tracking struct {
	Connections          int    `json:"connections"`
	MaxConnections       int    `json:"max_connections"`
	Suspects             int    `json:"suspects"` // wait for their verdict
	Held                 int    `json:"held"`     // events that wait for earlier ones
	Harmless             uint64 `json:"harmless"` // suspects that turned out well
	ConnectionsForgotten uint64 `json:"connections_forgotten"`
}

// Incidents are counted by what they were.
type Incidents struct {
	Total         uint64 `json:"total"`
	Reset         uint64 `json:"reset"`
	Unconfirmed   uint64 `json:"unconfirmed"`
	Renat         uint64 `json:"renat"`
	OrphanedReply uint64 `json:"orphaned_reply"`
	// Kinds and Outcomes count those of all kinds and outcomes.
	Kinds    map[string]uint64 `json:"kinds,omitempty"`
	Outcomes map[string]uint64 `json:"outcomes,omitempty"`
	LastTen  uint64            `json:"last_ten_minutes"`
	LastHour uint64            `json:"last_hour"`
	Last     time.Time         `json:"last,omitzero"`
}

// Add counts an incident of a time in all but LastTen and LastHour, which pass.
func (c *Incidents) Add(kind, outcome string, at time.Time) {
	if c.Kinds == nil {
		c.Kinds, c.Outcomes = map[string]uint64{}, map[string]uint64{}
	}
	c.Total++
	c.Kinds[kind]++
	c.Outcomes[outcome]++
	c.Renat, c.OrphanedReply = c.Kinds["renat"], c.Kinds["orphaned_reply"]
	c.Reset, c.Unconfirmed = c.Outcomes["reset"], c.Outcomes["unconfirmed"]
	if at.After(c.Last) {
		c.Last = at
	}
}

// Outbox is the state of what is on the node's disk.
type Outbox struct {
	Stored    uint64 `json:"stored"`    // put on disk
	Forwarded uint64 `json:"forwarded"` // arrived in NATS
	Waiting   uint64 `json:"waiting"`   // on disk, not in NATS
	Queued    int    `json:"queued"`    // not on disk yet
	Dropped   uint64 `json:"dropped"`   // gone before they arrived: the outbox was full
}

// GuardTooSmall begins a Guard's Problem when entries went although it kept
// them: what lives does not fit into the map.
const GuardTooSmall = "map too small"

// Guard is the state of what keeps the entries of living connections.
type Guard struct {
	Connections int `json:"connections"` // guarded, as of its last run
	Known       int `json:"known"`       // that it remembers, guarded or not
	Limit       int `json:"limit"`       // to be guarded at most
	// Idle: the maps are less than half full, nothing has to be guarded.
	Idle       bool    `json:"idle"`
	Runs       uint64  `json:"runs"`
	CPUSeconds float64 `json:"cpu_seconds"` // spent in runs
	// NanosecondsPerConnection is the CPU time that one takes in a run: a mean.
	NanosecondsPerConnection float64 `json:"ns_per_connection"`
	Lost                     uint64  `json:"lost"`       // entries evicted although guarded
	Overlooked               uint64  `json:"overlooked"` // connections for which it had no room
	// Kept is an estimate: how often a guarded connection spoke after a silence
	// in which its map evicted more entries than it holds.
	Kept    uint64 `json:"kept"`
	Problem string `json:"problem,omitempty"` // why fewer are guarded than asked for
}
