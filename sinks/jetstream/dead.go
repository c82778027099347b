// SPDX-License-Identifier: Apache-2.0

package jetstream

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	natsjs "github.com/nats-io/nats.go/jetstream"

	"github.com/renat-project/renat/correlator/incident"
)

const (
	// DeadStream is the stream of what could not be delivered.
	DeadStream = "RENAT_DEAD"

	deadPrefix = "renat.dead.v1"
	deadMaxAge = 30 * 24 * time.Hour
	deadBytes  = 256 << 20
	// deadWindow is in which a letter of the same id is stored once.
	deadWindow = time.Hour
)

// DeadLetters keeps what could not be delivered, with why. It is safe for
// concurrent use.
type DeadLetters struct {
	js       natsjs.JetStream
	replicas int
	stream   natsjs.Stream
}

// Letter is one thing that could not be delivered.
type Letter struct {
	// Sequence in the stream and when it was stored; set by Each.
	Sequence uint64
	At       time.Time
	// Body is the sender's.
	Body []byte
}

// OpenDeadLetters opens the stream, or creates it.
func OpenDeadLetters(ctx context.Context, nc *nats.Conn, replicas int) (*DeadLetters, error) {
	d := &DeadLetters{js: open(nc), replicas: replicas}
	var err error
	if d.stream, err = d.open(ctx); err != nil {
		return nil, err
	}
	return d, nil
}

func (d *DeadLetters) open(ctx context.Context) (natsjs.Stream, error) {
	s, err := d.js.Stream(ctx, DeadStream)
	if errors.Is(err, natsjs.ErrStreamNotFound) {
		s, err = created(ctx, func() (natsjs.Stream, error) {
			return d.js.CreateStream(ctx, natsjs.StreamConfig{
				Name: DeadStream, Description: "What renat hub could not deliver", Subjects: []string{deadPrefix + ".>"},
				Storage: natsjs.FileStorage, Discard: natsjs.DiscardOld, MaxAge: deadMaxAge, MaxBytes: deadBytes,
				Duplicates: deadWindow, Replicas: max(d.replicas, 1),
			})
		})
		if errors.Is(err, natsjs.ErrStreamNameAlreadyInUse) {
			s, err = d.js.Stream(ctx, DeadStream)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("opening stream %s: %w", DeadStream, explain(err))
	}
	return s, nil
}

// Put stores a letter of owner; one with the same id within the hour is not
// stored again. It returns when the letter is on the server's disk, in a stream
// made anew if somebody removed it. ErrTooLarge: it never can be.
func (d *DeadLetters) Put(ctx context.Context, owner, id string, body []byte) error {
	msg := &nats.Msg{Subject: deadPrefix + "." + incident.EncodeToken(owner), Data: body, Header: nats.Header{"Content-Type": {"application/json"}}}
	_, err := d.js.PublishMsg(ctx, msg, natsjs.WithMsgID(id))
	if isGone(err) {
		if _, err = d.open(ctx); err == nil {
			_, err = d.js.PublishMsg(ctx, msg, natsjs.WithMsgID(id))
		}
	}
	if isTooLarge(err) {
		err = fmt.Errorf("%w: %w", ErrTooLarge, err)
	}
	if err != nil {
		return fmt.Errorf("storing dead letter %s: %w", id, explain(err))
	}
	return nil
}

// Each calls f with the letters that are stored now, the oldest first, until f
// fails, and returns its error.
func (d *DeadLetters) Each(ctx context.Context, f func(Letter) error) error {
	info, err := d.stream.Info(ctx)
	if err != nil {
		return fmt.Errorf("reading stream %s: %w", DeadStream, explain(err))
	}
	for seq := info.State.FirstSeq; seq > 0 && seq <= info.State.LastSeq; seq++ {
		m, err := d.stream.GetMsg(ctx, seq, natsjs.WithGetMsgSubject(deadPrefix+".>"))
		if errors.Is(err, natsjs.ErrMsgNotFound) {
			return nil // of those from seq on, all were removed
		}
		if err != nil {
			return fmt.Errorf("reading stream %s: %w", DeadStream, explain(err))
		}
		seq = m.Sequence
		if seq > info.State.LastSeq {
			return nil
		}
		if err := f(Letter{Sequence: m.Sequence, At: m.Time, Body: m.Data}); err != nil {
			return err
		}
	}
	return nil
}

// Remove removes a letter. One that is not there is no error.
func (d *DeadLetters) Remove(ctx context.Context, sequence uint64) error {
	err := d.stream.DeleteMsg(ctx, sequence)
	if err == nil {
		return nil
	}
	if _, missing := d.stream.GetMsg(ctx, sequence); errors.Is(missing, natsjs.ErrMsgNotFound) {
		return nil
	}
	return fmt.Errorf("removing dead letter %d: %w", sequence, explain(err))
}
