// SPDX-License-Identifier: Apache-2.0

package hub

import (
	"context"
	"encoding/json"
	"errors"

	"github.com/renat-project/renat/sinks/jetstream"
)

// progressKey is that of the consumer's progress among the states of groups,
// whose keys are hexadecimal.
const progressKey = "progress"

// restoreProgress takes how far the lanes before got from what they stored. One
// that cannot be read says nothing.
func (l *lane) restoreProgress(states map[string]jetstream.State) (p jetstream.Progress) {
	stored := states[progressKey]
	delete(states, progressKey)
	l.progress = stored.Revision
	if stored.Revision == 0 {
		return p
	}
	if err := json.Unmarshal(stored.Value, &p); err != nil {
		l.log.Warn().Err(err).Msg("what the stream dropped while no hub ran is not counted")
		return jetstream.Progress{}
	}
	return p
}

// storeProgress stores how far the lane is once it has acknowledged what it is
// to acknowledge.
func (l *lane) storeProgress(ctx context.Context) error {
	p := l.consumer.Progress(l.acks)
	for {
		value, err := json.Marshal(p)
		if err != nil {
			return err
		}
		revision, err := l.states.Put(ctx, l.receiver.Name, progressKey, value, l.progress)
		if errors.Is(err, jetstream.ErrTooLarge) && p.Shorten() {
			continue
		}
		if err == nil {
			l.progress = revision
		}
		return err
	}
}

// told is how many of the sequences notifications have told of, or will: the
// hub that was killed had stored them.
func (l *lane) told(s jetstream.Spans) (n uint64) {
	if len(s) > 0 {
		for seq := range l.groups.Told() {
			if s.Has(seq) {
				n++
			}
		}
	}
	return n
}
