// SPDX-License-Identifier: Apache-2.0

package jetstream

import (
	"context"
	"time"
)

// claim makes the server deliver again what an earlier reader, which may have
// been killed, did not acknowledge: a change of the wait takes effect on those
// too. Until all have come, no message may be pending but those, so that none
// overtakes them (nats-server, consumer.go: updateConfig, checkPending and
// getNextMsg, which looks at the limit only for messages not delivered before).
func (o *Consumer) claim(ctx context.Context) error {
	if err := o.update(ctx, claimWait, 1); err != nil {
		return err
	}
	info := o.consumer.CachedInfo()
	if o.alone {
		o.reading.sent(info.Delivered.Stream)
	}
	o.owed, o.owedTo, o.claimed = info.NumAckPending, info.Delivered.Stream, map[uint64]struct{}{}
	o.grew, o.limit, o.calm = time.Now(), time.Now().Add(claimLimit), time.Now().Add(claimHaste)
	if o.owed == 0 {
		o.calm = time.Time{}
		return o.update(ctx, ackWait, o.config.MaxPending)
	}
	return nil
}

// endClaim returns to normal when all that was left has come. When that fails,
// the next call tries again.
func (o *Consumer) endClaim(ctx context.Context, each func(Delivery) error) error {
	if o.owed == 0 || len(o.claimed) < o.owed && time.Now().Before(o.limit) || o.update(ctx, ackWait, o.config.MaxPending) != nil {
		return nil
	}
	o.owed, o.claimed, o.calm = 0, nil, time.Time{}
	return o.mark(ctx, each)
}

// mark tells the present one.
func (o *Consumer) mark(ctx context.Context, each func(Delivery) error) error {
	d := Delivery{Mark: Claiming}
	if o.owed == 0 {
		var err error
		if d.Missed, err = o.lost(ctx, true); err != nil {
			return err
		}
		d.Mark = Settled
	}
	if err := each(d); err != nil {
		return stop{err}
	}
	return nil
}

// lost returns what never comes.
func (o *Consumer) lost(ctx context.Context, claimed bool) (Spans, error) {
	info, err := streamInfo(ctx, o.js)
	if err != nil {
		return nil, err
	}
	return o.reading.lost(info.State.FirstSeq, claimed), nil
}

// astray reports whether something was sent to an earlier reader after the
// claim. What is on its way to this one looks the same at first.
func (o *Consumer) astray(ctx context.Context) (bool, error) {
	if !o.alone {
		o.reclaim = time.Time{}
		return true, nil
	}
	if o.asked == 0 {
		info, err := o.consumer.Info(ctx)
		if err != nil {
			return false, err
		}
		o.reading.sent(info.Delivered.Stream)
		o.asked, o.reclaim = info.Delivered.Stream, time.Now().Add(claimQuiet)
		return false, nil
	}
	misses := o.reading.misses(o.asked)
	o.asked, o.reclaim = 0, time.Time{}
	return misses, nil
}
