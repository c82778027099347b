// SPDX-License-Identifier: Apache-2.0

package fleet

import (
	"errors"
	"time"

	"github.com/rs/zerolog"
)

// Config says how large the fleet is, and what it goes through.
type Config struct {
	// Nodes tell their status every Every, spread over Clusters clusters, in each
	// of which they have the same names.
	Nodes, Clusters int
	Every           time.Duration
	// Calm is how long there are statuses only; then Incidents happen within Storm,
	// on one node of a hundred times Share.
	Calm, Storm time.Duration
	Incidents   int
	Share       float64
	// Readers look at the page from the end of the fleet's start on.
	Readers int
	// Replicas are how many of the three servers store each message.
	Replicas int
	// GroupInterval of the receiver: at most so often it is told of a group.
	GroupInterval time.Duration
	// Lease is after how long a hub that was killed is replaced.
	Lease time.Duration
	// Dir takes what servers store, and logs; Profiles, if not empty, CPU profiles.
	Dir, Profiles string
	Log           zerolog.Logger
}

func (c *Config) check() error {
	switch {
	case c.Nodes < 1 || c.Clusters < 1 || c.Nodes < c.Clusters:
		return errors.New("each cluster needs a node")
	case c.Share <= 0 || c.Share > 1:
		return errors.New("the share of nodes with incidents must be more than 0 and at most 1")
	case c.Incidents < 1:
		return errors.New("there must be an incident")
	case c.Every <= 0 || c.Storm <= 0 || c.Calm < 0 || c.GroupInterval <= 0:
		return errors.New("times must be positive")
	case c.Replicas < 1 || c.Replicas > servers:
		return errors.New("there are three servers to store messages")
	}
	return nil
}

// stormy is how many nodes have incidents.
func (c *Config) stormy() int { return max(int(float64(c.Nodes)*c.Share), 1) }
