// SPDX-License-Identifier: Apache-2.0

package jetstream

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	natsjs "github.com/nats-io/nats.go/jetstream"

	"github.com/renat-project/renat/correlator/incident"
)

// Stream is the JetStream stream that holds every incident.
const Stream = "RENAT_INCIDENTS"

// What a stream gets that renat creates.
const (
	// DefaultMaxAge is how long incidents are kept.
	DefaultMaxAge = 7 * 24 * time.Hour
	// DefaultMaxBytes bounds the stream on disk; the oldest incident goes first.
	DefaultMaxBytes = 512 << 20
	// DefaultDuplicates is how long the server remembers the id of every
	// incident it stored. It has to outlast the time from a lost
	// acknowledgement to the next attempt. It costs the server some 110 bytes
	// of memory for each incident in the window (BenchmarkWindowMemory), even
	// for those the stream has dropped by then; so it is not longer, and what
	// is sent again later needs PublisherConfig.SkipStored.
	DefaultDuplicates = time.Hour
)

// StreamConfig is how to create the stream. A stream that exists keeps its
// operator's settings; only missing subjects are added to it.
type StreamConfig struct {
	// MaxAge of an incident; 0: DefaultMaxAge.
	MaxAge time.Duration
	// MaxBytes of the stream; 0: DefaultMaxBytes, -1: no limit.
	MaxBytes int64
	// Duplicates is the server's deduplication window; 0: DefaultDuplicates,
	// at most MaxAge.
	Duplicates time.Duration
	// Replicas in a NATS cluster, 1 to 5; 0: 1.
	Replicas int
}

func (c StreamConfig) natsConfig() natsjs.StreamConfig {
	age := cmp.Or(c.MaxAge, DefaultMaxAge)
	return natsjs.StreamConfig{
		Name:        Stream,
		Description: "Connections broken by Cilium's NAT map, found by renat",
		Subjects:    []string{incident.AllSubjects},
		Storage:     natsjs.FileStorage,
		Discard:     natsjs.DiscardOld,
		MaxAge:      age,
		MaxBytes:    cmp.Or(c.MaxBytes, DefaultMaxBytes),
		Duplicates:  cmp.Or(c.Duplicates, min(DefaultDuplicates, age)),
		Replicas:    max(c.Replicas, 1),
	}
}

// open returns JetStream on a connection.
func open(nc *nats.Conn) natsjs.JetStream {
	js, _ := natsjs.New(nc) // only an option can fail
	return js
}

// ensureStream makes sure that a stream takes the subjects of incidents, and
// returns for how long it knows their ids.
func ensureStream(ctx context.Context, js natsjs.JetStream, c StreamConfig) (window time.Duration, err error) {
	s, err := js.Stream(ctx, Stream)
	if errors.Is(err, natsjs.ErrStreamNotFound) {
		s, err = created(ctx, func() (natsjs.Stream, error) { return js.CreateStream(ctx, c.natsConfig()) })
		if errors.Is(err, natsjs.ErrStreamNameAlreadyInUse) {
			// Another renat, with other settings, was faster.
			s, err = js.Stream(ctx, Stream)
		}
	}
	if err != nil {
		return 0, streamError(ctx, js, "creating", err)
	}
	has := s.CachedInfo().Config
	if has.Mirror != nil || has.NoAck || has.Sealed {
		return 0, fmt.Errorf("stream %s is a mirror, sealed or unacknowledged and cannot take incidents: use another NATS account, or remove it", Stream)
	}
	subjects, changed := withIncidents(has.Subjects)
	if !changed {
		return has.Duplicates, nil
	}
	has.Subjects = subjects
	if _, err := js.UpdateStream(ctx, has); err != nil {
		return 0, streamError(ctx, js, "adding subjects to", err)
	}
	return has.Duplicates, nil
}

// created calls create up to five times within a second, while the server cannot
// make the store of the stream: it may still be clearing that of one which had
// the name and was removed.
func created[T any](ctx context.Context, create func() (T, error)) (T, error) {
	for wait := 50 * time.Millisecond; ; wait *= 2 {
		got, err := create()
		var api *natsjs.APIError
		if !errors.As(err, &api) || api.ErrorCode != codeCreateFailed || wait > 400*time.Millisecond {
			return got, err
		}
		if sleep(ctx, wait) != nil {
			return got, err
		}
	}
}

func streamError(ctx context.Context, js natsjs.JetStream, doing string, err error) error {
	var api *natsjs.APIError
	if errors.As(err, &api) && api.ErrorCode == codeSubjectOverlap {
		names := js.StreamNames(ctx, natsjs.WithStreamListSubject(incident.AllSubjects))
		for name := range names.Name() {
			if name != Stream {
				return fmt.Errorf("%s stream %s: remove %s from the subjects of stream %s, which has them: %w", doing, Stream, incident.AllSubjects, name, err)
			}
		}
	}
	return fmt.Errorf("%s stream %s: %w", doing, Stream, explain(err))
}

// otherSubjects are those of the subjects that are not incidents' alone.
func otherSubjects(subjects []string) []string {
	return slices.DeleteFunc(slices.Clone(subjects), func(s string) bool { return covers(incident.AllSubjects, s) })
}

// withIncidents returns subjects so that they cover all incidents, and whether
// that needed a change. What an operator has beside them stays.
func withIncidents(subjects []string) ([]string, bool) {
	for _, s := range subjects {
		if covers(s, incident.AllSubjects) {
			return subjects, false
		}
	}
	narrower := func(s string) bool { return covers(incident.AllSubjects, s) }
	return append(slices.DeleteFunc(slices.Clone(subjects), narrower), incident.AllSubjects), true
}

// covers reports whether the pattern wide matches all that narrow matches.
func covers(wide, narrow string) bool {
	w, n := strings.Split(wide, "."), strings.Split(narrow, ".")
	for i, token := range w {
		switch {
		case token == ">":
			return len(n) > i
		case i >= len(n) || n[i] == ">":
			return false
		case token != "*" && token != n[i]:
			return false
		}
	}
	return len(w) == len(n)
}
