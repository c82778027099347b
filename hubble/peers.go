// SPDX-License-Identifier: Apache-2.0

package hubble

import (
	"encoding/binary"

	"github.com/cilium/cilium/api/v1/flow"
	"google.golang.org/protobuf/proto"

	"github.com/renat-project/renat/correlator"
)

// endpoint is one side of a flow, still encoded.
type endpoint struct {
	raw    []byte // a flow.Endpoint: a view of the message, or of merged
	merged []byte // kept for its memory
	names  []byte // DNS names, each after its length as a varint
	key    []byte // kept for its memory
}

func (e *endpoint) reset() { e.raw, e.names = nil, e.names[:0] }

var endpointShape = shapeOf((&flow.Endpoint{}).ProtoReflect().Descriptor())

// add takes in a flow.Endpoint. Two of them merge by joining their encodings,
// but each must be valid alone.
func (e *endpoint) add(raw []byte) bool {
	if e.raw == nil {
		e.raw = raw
		return true
	}
	if !endpointShape.valid(e.raw) || !endpointShape.valid(raw) {
		return false
	}
	if len(e.merged) > 0 && len(e.raw) > 0 && &e.raw[0] == &e.merged[0] {
		e.merged = append(e.merged, raw...)
	} else {
		e.merged = append(append(e.merged[:0], e.raw...), raw...)
	}
	e.raw = e.merged
	return true
}

func (e *endpoint) addName(name string) {
	e.names = binary.AppendUvarint(e.names, uint64(len(name)))
	e.names = append(e.names, name...)
}

// peer decodes the endpoint; not ok if it is malformed.
func (e *endpoint) peer() (p *correlator.Peer, ok bool) {
	var ep flow.Endpoint
	if err := proto.Unmarshal(e.raw, &ep); err != nil {
		return nil, false
	}
	var names []string
	for b := e.names; len(b) > 0; {
		size, n := binary.Uvarint(b)
		names = append(names, string(b[n:n+int(size)]))
		b = b[n+int(size):]
	}
	return newPeer(&ep, names), true
}

// maxPeerKey bounds what one cached peer may weigh. Larger ones, which no
// sound agent sends, are decoded each time.
const maxPeerKey = 16 << 10

// peerCache interns peers by their encoding. It holds two generations: when
// the young one is full the old one goes, so that peers in use stay and memory
// is bounded.
type peerCache struct {
	limit      int // entries in a generation
	young, old generation
}

// A generation keeps endpoints without DNS names apart from those with, whose
// key is the endpoint's length, the endpoint and the names.
type generation struct {
	plain, named map[string]*correlator.Peer
}

func newGeneration() generation {
	return generation{plain: map[string]*correlator.Peer{}, named: map[string]*correlator.Peer{}}
}

func (g generation) len() int { return len(g.plain) + len(g.named) }

// maxPeers is how many peers a client, or each of those who read lines, interns
// at a time.
const maxPeers = 16384

// newPeerCache returns a cache of at most size peers.
func newPeerCache(size int) *peerCache {
	return &peerCache{limit: max(size/2, 1), young: newGeneration(), old: newGeneration()}
}

// get returns the endpoint's peer, nil if Hubble knew nothing of it; not ok
// if the endpoint is malformed.
func (c *peerCache) get(e *endpoint) (p *correlator.Peer, ok bool) {
	young, old, key := c.young.plain, c.old.plain, e.raw
	if len(e.names) > 0 {
		e.key = binary.AppendUvarint(e.key[:0], uint64(len(e.raw)))
		e.key = append(append(e.key, e.raw...), e.names...)
		young, old, key = c.young.named, c.old.named, e.key
	}
	if p, ok = young[string(key)]; ok {
		return p, true
	}
	if p, ok = old[string(key)]; !ok {
		if p, ok = e.peer(); !ok {
			return nil, false
		}
	}
	if len(key) > maxPeerKey {
		return p, true
	}
	if c.young.len() >= c.limit {
		c.young, c.old = newGeneration(), c.young
		young = c.young.plain
		if len(e.names) > 0 {
			young = c.young.named
		}
	}
	young[string(key)] = p
	return p, true
}
