// SPDX-License-Identifier: Apache-2.0

package hubble

import (
	"errors"

	"github.com/cilium/cilium/api/v1/flow"
	"github.com/cilium/cilium/api/v1/observer"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/renat-project/renat/correlator"
)

var errMalformed = errors.New("the message is not a valid GetFlowsResponse")

// decoder reads encoded GetFlowsResponses into events, without allocating
// once their peers are known. It gives what the generated decoder followed by
// FromResponse gives, for every input: also merged sub-messages, overruled
// oneofs and fields it has no use for, whose content must still be valid.
type decoder struct {
	rec   record
	peers *peerCache
	src   endpoint
	dst   endpoint

	responseShape, flowShape *shape
}

func newDecoder(peers int) *decoder {
	flowType := (&flow.Flow{}).ProtoReflect().Descriptor()
	responseType := (&observer.GetFlowsResponse{}).ProtoReflect().Descriptor()
	return &decoder{
		peers:         newPeerCache(peers),
		responseShape: shapeOf(responseType),
		flowShape:     shapeOf(flowType),
	}
}

// decode reads one message. The event's peers are interned; nothing of msg is
// kept but until the next call.
func (d *decoder) decode(msg []byte, ev *correlator.Event) (ok bool, err error) {
	d.rec = record{}
	d.src.reset()
	d.dst.reset()
	if !d.response(msg) {
		return false, errMalformed
	}
	var src, dst *correlator.Peer
	if d.rec.variant == variantFlow {
		var okSrc, okDst bool
		src, okSrc = d.peers.get(&d.src)
		dst, okDst = d.peers.get(&d.dst)
		if !okSrc || !okDst {
			return false, errMalformed
		}
	}
	if ok, err = d.rec.event(ev); ok && d.rec.variant == variantFlow {
		ev.Flow.Src, ev.Flow.Dst = src, dst
	}
	return ok, err
}

// Tags of observer.GetFlowsResponse.
const (
	tagFlow       = 1<<3 | uint64(protowire.BytesType)
	tagNodeStatus = 2<<3 | uint64(protowire.BytesType)
	tagLostEvents = 3<<3 | uint64(protowire.BytesType)
	tagNodeName   = 1000<<3 | uint64(protowire.BytesType)
	tagOuterTime  = 1001<<3 | uint64(protowire.BytesType)
)

func (d *decoder) response(msg []byte) bool {
	c := cursor{rest: msg}
	for c.next() {
		switch c.tag {
		case tagFlow:
			c.bad = !d.become(variantFlow) || !d.flow(c.data)
		case tagLostEvents:
			c.bad = !d.become(variantLost) || !d.rec.lost.decode(c.data)
		case tagNodeStatus:
			c.bad = !d.become(variantOther) || !d.responseShape.validField(&c)
		case tagNodeName:
			c.text()
		case tagOuterTime:
			c.bad = !d.rec.outer.decode(c.data)
		}
		if c.bad {
			return false
		}
	}
	return !c.bad
}

// become switches to another member of the response's oneof, which discards
// what came before; the same member again is merged. What is discarded must be
// valid, too, and nobody has looked at endpoints yet.
func (d *decoder) become(variant int) bool {
	if d.rec.variant == variant {
		return true
	}
	if !endpointShape.valid(d.src.raw) || !endpointShape.valid(d.dst.raw) {
		return false
	}
	d.rec.variant = variant
	d.rec.flow, d.rec.lost = flowRecord{}, lostRecord{}
	d.src.reset()
	d.dst.reset()
	return true
}

// Tags of flow.Flow.
const (
	tagTime       = 1<<3 | uint64(protowire.BytesType)
	tagIP         = 5<<3 | uint64(protowire.BytesType)
	tagL4         = 6<<3 | uint64(protowire.BytesType)
	tagSource     = 8<<3 | uint64(protowire.BytesType)
	tagDest       = 9<<3 | uint64(protowire.BytesType)
	tagSrcNames   = 13<<3 | uint64(protowire.BytesType)
	tagDestNames  = 14<<3 | uint64(protowire.BytesType)
	tagEventType  = 19<<3 | uint64(protowire.BytesType)
	tagPoint      = 24<<3 | uint64(protowire.VarintType)
	tagDropReason = 25<<3 | uint64(protowire.VarintType)
	tagUUID       = 34<<3 | uint64(protowire.BytesType)
	tagReason     = 36<<3 | uint64(protowire.VarintType)
)

func (d *decoder) flow(msg []byte) bool {
	f := &d.rec.flow
	c := cursor{rest: msg}
	for c.next() {
		switch c.tag {
		case tagTime:
			c.bad = !f.time.decode(c.data)
		case tagIP:
			c.bad = !f.decodeIP(c.data)
		case tagL4:
			c.bad = !f.decodeL4(c.data)
		case tagSource:
			c.bad = !d.src.add(c.data)
		case tagDest:
			c.bad = !d.dst.add(c.data)
		case tagSrcNames:
			d.src.addName(c.text())
		case tagDestNames:
			d.dst.addName(c.text())
		case tagEventType:
			c.bad = !f.decodeEventType(c.data)
		case tagPoint:
			f.point = int32(c.val)
		case tagDropReason:
			f.drop = int32(c.val)
		case tagUUID:
			f.uuid = c.text()
		case tagReason:
			f.reason = int32(c.val)
		default:
			c.bad = !d.flowShape.validField(&c)
		}
		if c.bad {
			return false
		}
	}
	return !c.bad
}
