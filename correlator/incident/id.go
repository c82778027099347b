// SPDX-License-Identifier: Apache-2.0

package incident

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
)

// idBytes of the hash are kept: 128 bits, so that even 10^12 incidents
// collide with a chance below 10^-14.
const idBytes = 16

// NewID derives the ID of i from its connection and from when it failed: at is
// the kernel's monotonic clock in nanoseconds when it stamped the deciding
// event, else the event's Unix time. The wall clock of i.Time is left out,
// because two runs of an agent may anchor it differently.
func (i *Incident) NewID(at uint64) string {
	h := sha256.New()
	// %q keeps hostile names from imitating another field.
	fmt.Fprintf(h, "%q %q %q %q %s %s %d", i.Cluster, i.Node, i.Kind, i.Protocol,
		i.Source.AddrPort(), i.Destination.AddrPort(), at)
	return hex.EncodeToString(h.Sum(nil)[:idBytes])
}

// ShortIDLength is how much of an id people are shown: 32 bits, of which 1,000
// incidents share the same with a chance of 1 in 10,000. Wherever an id is
// asked for, its beginning will do.
const ShortIDLength = 8

// ShortID is how i's ID begins.
func (i *Incident) ShortID() string { return i.ID[:min(ShortIDLength, len(i.ID))] }
