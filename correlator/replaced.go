// SPDX-License-Identifier: Apache-2.0

package correlator

import (
	"slices"
	"time"

	"github.com/renat-project/renat/correlator/incident"
)

// map_replaced: connections broke because Cilium made the NAT map anew, empty.
//
//   - Each is found and judged as renat or orphanedReply is; the loss to blame is
//     that of the whole map.
//   - Of connections that had lost nothing a live agent knows nothing: the look at
//     the new map tells what they lack. Within a minute, that went with the old one.
//   - The first is told of at once, as what it is. All others are one incident with
//     how many broke by it, the first included, whose, and both sizes. It is
//     published when a minute has passed without another, at the latest ten minutes
//     after the first. What breaks later, by its next packet, begins anew.
//
// The scenarios are testdata/replaced*.txtar and testdata/cause_map_replaced.txtar.
type replacement struct {
	of     ending
	second *incident.Incident // nil: the first stayed alone
	stamp  uint64
	begun  int64
	last   int64
	broken uint64
	reset  uint64
	was    uint32 // size of the map before; 0 if unknown
	pods   map[string]uint64
}

// ending is a map's, when it was replaced.
type ending struct {
	at int64
	v6 bool
}

const (
	replacedQuiet = int64(time.Minute)
	replacedLong  = int64(10 * time.Minute)
	// maxReplacements is of how many the size before is remembered.
	maxReplacements = 256
	// maxReplacedPods is how many pods are counted for one incident.
	maxReplacedPods = 1 << 12
)

// brokeByReplacement counts a connection that broke because its map was replaced.
func (c *Correlator) brokeByReplacement(s *suspect, i *incident.Incident) {
	of := ending{s.removedAt, i.Source.IP.Is6()}
	var p *replacement
	for _, r := range c.replacements {
		if r.of == of {
			p = r
		}
	}
	if p == nil {
		p = &replacement{of: of, begun: s.at, was: c.was[of], pods: map[string]uint64{}}
		c.replacements = append(c.replacements, p)
		c.hand(i)
	} else if p.second == nil {
		p.second, p.stamp = i, s.stamp
	}
	p.last = max(p.last, s.at)
	p.broken++
	if i.Outcome == incident.Reset {
		p.reset++
	}
	name := i.Source.PodName()
	if _, known := p.pods[name]; known || len(p.pods) < maxReplacedPods {
		p.pods[name]++
	}
}

// replacementsBefore publishes those that have been quiet, or went on, for long
// enough.
func (c *Correlator) replacementsBefore(now int64) {
	for n := 0; n < len(c.replacements); {
		p := c.replacements[n]
		if c.replacementDue(p) >= now {
			n++
			continue
		}
		c.replacements = slices.Delete(c.replacements, n, n+1)
		c.publishReplacement(p)
	}
}

// replacementDue is when one is published; a verdict may be as late as suspects settle.
func (c *Correlator) replacementDue(p *replacement) int64 {
	return min(p.last+replacedQuiet, p.begun+replacedLong) + c.settling()
}

func (c *Correlator) publishReplacement(p *replacement) {
	i := p.second
	if i == nil {
		return
	}
	i.Kind, i.NAT.Before, i.NAT.After, i.NAT.RenattedAt = incident.MapReplacement, "", "", time.Time{}
	if p.reset > 0 {
		i.Outcome = incident.Reset
	}
	i.Replaced = &incident.Replacement{Broken: p.broken, Reset: p.reset, MaxEntriesBefore: p.was, Pods: mostOf(p.pods)}
	i.ID = i.NewID(p.stamp)
	c.hand(i)
}
