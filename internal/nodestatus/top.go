// SPDX-License-Identifier: Apache-2.0

package nodestatus

import "time"

// Top is who fills the NAT maps of a node: the JSON of the agent's /v1/top.
type Top struct {
	Version int       `json:"version"` // as Status has it
	Time    time.Time `json:"time"`
	Node    string    `json:"node"`
	Cluster string    `json:"cluster,omitempty"`
	Maps    []TopMap  `json:"maps"`
}

// TopMap is one NAT map.
type TopMap struct {
	Name       string `json:"name"`
	MaxEntries uint32 `json:"max_entries"`
	// Entries there were when the map was read, to which Sources and
	// Destinations belong.
	Entries uint64 `json:"entries"`
	// Live is the share of them that belongs to open connections, as far as
	// connection tracking knows, from a sample; nil: not known.
	Live *float64 `json:"live_share,omitempty"`
	// Sources and Destinations with the most entries, and with the most
	// evicted since the agent started, the most first.
	Sources             []Holder `json:"sources"`
	Destinations        []Holder `json:"destinations"`
	EvictedSources      []Holder `json:"evicted_sources"`
	EvictedDestinations []Holder `json:"evicted_destinations"`
}

// Holder has entries: a pod by its address, or a server by address and port.
type Holder struct {
	Address string `json:"address"`
	Count   uint64 `json:"count"`
	// Over is by how much Count may be too high: what is counted in a bounded
	// table may have taken the place of another.
	Over uint64 `json:"over,omitempty"`
}
