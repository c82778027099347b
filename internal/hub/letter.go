// SPDX-License-Identifier: Apache-2.0

package hub

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/renat-project/renat/correlator/incident"
	"github.com/renat-project/renat/internal/hub/config"
	"github.com/renat-project/renat/internal/hub/grouping"
	"github.com/renat-project/renat/sinks/jetstream"
	"github.com/renat-project/renat/sinks/notification"
)

// letter is the JSON of a dead letter: a notification, or a message of the
// stream that is no incident.
type letter struct {
	ID       string `json:"id"`
	Receiver string `json:"receiver,omitempty"`
	Reason   string `json:"reason"`

	Notification *notification.Notification `json:"notification,omitempty"`

	Sequence uint64 `json:"sequence,omitempty"`
	Subject  string `json:"subject,omitempty"`
	// Data is the message, Cut says that only its beginning.
	Data []byte `json:"data,omitempty"`
	Cut  bool   `json:"cut,omitempty"`
}

const (
	// garbledOwner owns the letters that are for no receiver.
	garbledOwner = "unreadable"
	// maxData keeps a letter below NATS's limit of a message, 1 MiB.
	maxData   = 512 << 10
	cutData   = 1024 // what is kept of one that is too large
	maxReason = 1000
)

func undelivered(n *notification.Notification, why error) letter {
	return letter{ID: n.ID, Receiver: n.Receiver, Reason: notification.Cut(notification.Line(why.Error()), maxReason), Notification: n}
}

// unreadable has the same id for all receivers: the message is kept once.
func unreadable(stream time.Time, m message) letter {
	d := letter{
		ID: fmt.Sprintf("%d-%d", stream.UnixNano(), m.Sequence), Reason: notification.Cut(notification.Line(m.err.Error()), maxReason),
		Sequence: m.Sequence, Subject: m.Subject, Data: m.Data,
	}
	if len(d.Data) > maxData {
		d.shrink()
	}
	return d
}

func bury(ctx context.Context, dead *jetstream.DeadLetters, d letter) error {
	body, err := json.Marshal(d)
	if err != nil {
		return fmt.Errorf("encoding dead letter %s: %w", d.ID, err)
	}
	err = dead.Put(ctx, cmp.Or(d.Receiver, garbledOwner), d.ID, body)
	if errors.Is(err, jetstream.ErrTooLarge) && d.shrink() {
		return bury(ctx, dead, d)
	}
	return err
}

// shrink makes the letter smaller, if it can be.
func (d *letter) shrink() bool {
	switch {
	case d.Notification != nil && len(d.Notification.Incidents) > 0:
		n := *d.Notification
		n.Incidents, n.More = []notification.Item{}, n.Count
		d.Notification = &n
	case len(d.Data) > cutData:
		d.Data, d.Cut = d.Data[:cutData], true
	default:
		return false
	}
	return true
}

// Redelivered is what became of one dead letter.
type Redelivered struct {
	Sequence uint64
	Receiver string // empty: all that match
	// Title says what it is about, Reason why it was put aside.
	Title, Reason string
	// Err is why it is still there; nil: it was delivered and removed.
	Err error
}

// Redeliver sends the dead letters again, those of one receiver or, if that is
// empty, all, and calls report for each. Letters that cannot be delivered
// stay. The error is NATS's or ctx's.
func Redeliver(ctx context.Context, nc *nats.Conn, c *config.Config, receiver string, report func(Redelivered)) error {
	dead, err := jetstream.OpenDeadLetters(ctx, nc, 0)
	if err != nil {
		return err
	}
	return dead.Each(ctx, func(l jetstream.Letter) error {
		var d letter
		r := Redelivered{Sequence: l.Sequence}
		if r.Err = json.Unmarshal(l.Body, &d); r.Err == nil {
			if receiver != "" && d.Receiver != receiver {
				return nil
			}
			r.Receiver, r.Reason, r.Title = d.Receiver, d.Reason, fmt.Sprintf("message %d", d.Sequence)
			if d.Notification != nil {
				r.Title = d.Notification.Title
			}
			r.Err = d.deliver(ctx, c)
		}
		if r.Err == nil {
			r.Err = dead.Remove(ctx, l.Sequence)
		}
		report(r)
		return ctx.Err()
	})
}

// deliver sends the letter's notification, or those of a message that this
// version can read.
func (d *letter) deliver(ctx context.Context, c *config.Config) error {
	if d.Notification != nil {
		r, err := c.Receiver(d.Receiver)
		if err != nil {
			return err
		}
		return send(ctx, r, d.Notification)
	}
	if d.Cut {
		return fmt.Errorf("the message is too large to be kept here: see sequence %d of stream %s", d.Sequence, jetstream.Stream)
	}
	i, err := incident.UnmarshalCloudEvent(d.Data)
	if err != nil {
		return err
	}
	var errs []error
	for _, r := range c.Receivers {
		if n := grouping.Single(r.Rule, d.Sequence, i, time.Now()); n != nil {
			errs = append(errs, send(ctx, r, n))
		}
	}
	return errors.Join(errs...)
}

func send(ctx context.Context, r *config.Receiver, n *notification.Notification) error {
	ctx, cancel := context.WithTimeout(ctx, r.Timeout)
	defer cancel()
	if err := r.Destination.Send(ctx, n); err != nil {
		return fmt.Errorf("receiver %s: %w", r.Name, err)
	}
	return nil
}
