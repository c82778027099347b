// SPDX-License-Identifier: Apache-2.0

package nodestatus

import "time"

// Hub is a hub at one time: the JSON of its /status. Whoever can reach
// the hub can read it, so it names no connection and no address.
type Hub struct {
	Version int       `json:"version"` // as Status has it
	Time    time.Time `json:"time"`
	Name    string    `json:"name"`  // of the process, as other hubs see it
	Renat   string    `json:"renat"` // version of the hub
	// Ready, as /readyz says; Problem is why not.
	Ready   bool   `json:"ready"`
	Problem string `json:"problem,omitempty"`
	// Notifies: it has receivers, or could have; else it only serves the page.
	Notifies bool `json:"notifies"`
	Active   bool `json:"active"`
	// Leader names the hub that has the lease; empty: none has.
	Leader string `json:"leader,omitempty"`
	// Receivers of the hub that is active; of others there are none.
	Receivers []Receiver `json:"receivers"`
	NATS      NATS       `json:"nats"`
}

// Receiver is one whom a hub notifies.
type Receiver struct {
	Name string `json:"name"`
	// Circuit is closed while it is in use, open while it is left alone because
	// it failed so often, gone if it said that it wants nothing any more.
	Circuit string `json:"circuit"`
	Queued  int    `json:"queued"` // notifications that wait to be sent
	// Backlog is how many stored incidents it was not told of yet.
	Backlog uint64 `json:"backlog"`
	// Delivered is when it last took a notification; zero: not since this hub
	// is active.
	Delivered time.Time `json:"delivered,omitzero"`
	// Failing: it did not take what was last tried; the hub's log says why.
	Failing bool `json:"failing"`
}

// NATS is what a hub sees of it.
type NATS struct {
	Connected bool   `json:"connected"`
	Server    string `json:"server,omitempty"`  // version
	Cluster   string `json:"cluster,omitempty"` // its name; empty: a server alone
	// Problem is why Stores cannot be read.
	Problem string  `json:"problem,omitempty"`
	Stores  []Store `json:"stores"`
	// DeadLetters are what could not be delivered.
	DeadLetters uint64 `json:"dead_letters"`
}

// Store is a stream or bucket in NATS.
type Store struct {
	Name     string   `json:"name"`
	Messages uint64   `json:"messages"`
	Bytes    uint64   `json:"bytes"`
	Replicas int      `json:"replicas"`       // copies that it should have
	Away     []string `json:"away,omitempty"` // servers whose copy is away, or behind
	Lag      uint64   `json:"lag"`            // changes that the one furthest behind lacks
	// OtherSubjects are what the stream of incidents takes beside them, and Others
	// how many messages it has of that.
	OtherSubjects []string `json:"other_subjects,omitempty"`
	Others        uint64   `json:"others,omitempty"`
}
