// SPDX-License-Identifier: Apache-2.0

package jetstream

import (
	"context"
	"errors"

	natsjs "github.com/nats-io/nats.go/jetstream"
)

// storedIDs are the ids of the incidents that the stream held when a subject
// was first asked about, and what was stored since, by subject.
type storedIDs map[string]map[string]struct{}

// has reports whether the stream held id. An id has only one subject: kind,
// cluster and node are part of it.
func (s *storedIDs) has(ctx context.Context, js natsjs.JetStream, subject, id string) (bool, error) {
	ids, ok := (*s)[subject]
	if !ok {
		var err error
		if ids, err = readIDs(ctx, js, subject); err != nil {
			return false, err
		}
		if *s == nil {
			*s = make(storedIDs)
		}
		(*s)[subject] = ids
	}
	_, ok = ids[id]
	return ok, nil
}

// add notes that the stream holds id, if the subject was asked about.
func (s storedIDs) add(subject, id string) {
	if ids, ok := s[subject]; ok {
		ids[id] = struct{}{}
	}
}

func readIDs(ctx context.Context, js natsjs.JetStream, subject string) (map[string]struct{}, error) {
	ids := make(map[string]struct{})
	info, err := streamInfo(ctx, js)
	if errors.Is(err, ErrNoStream) {
		return ids, nil // removed since it was ensured: Send makes it anew
	}
	if err != nil {
		return nil, err
	}
	s := scanner{js: js, subjects: []string{subject}, headersOnly: true}
	err = s.scan(ctx, start{}, info.State.LastSeq, func(m natsjs.Msg, _ *natsjs.MsgMetadata) error {
		if id := m.Headers().Get(natsjs.MsgIDHeader); id != "" {
			ids[id] = struct{}{}
		}
		return nil
	})
	return ids, err
}
