// SPDX-License-Identifier: Apache-2.0

package jetstream

import (
	"context"
	"errors"
	"fmt"

	"github.com/nats-io/nats.go"
	natsjs "github.com/nats-io/nats.go/jetstream"
)

// ErrNoStream says that nothing has been published to this NATS yet.
var ErrNoStream = errors.New("stream " + Stream + " does not exist: nothing has been published here yet")

// ErrTooLarge says that a message is larger than the server or the stream takes.
var ErrTooLarge = errors.New("larger than max_payload of the NATS server or max_msg_size of the stream")

// permanentError is the failure of one incident that no retry mends.
type permanentError struct{ error }

func (e permanentError) Unwrap() error { return e.error }

// Permanent reports whether err comes from the incident itself, so that
// sending it again cannot succeed. Every other error may pass with time.
func Permanent(err error) bool {
	var p permanentError
	return errors.As(err, &p)
}

// Server error codes (nats-server, server/errors.json) without a name in nats.go.
const (
	codeAccountResources      natsjs.ErrorCode = 10002
	codeInsufficientResources natsjs.ErrorCode = 10023
	codeStorageResources      natsjs.ErrorCode = 10047
	codeCreateFailed          natsjs.ErrorCode = 10049
	codeSubjectOverlap        natsjs.ErrorCode = 10065
	codeStoreFailed           natsjs.ErrorCode = 10077
	codeHeaderTooLarge        natsjs.ErrorCode = 10097
	codeMaxBytesRequired      natsjs.ErrorCode = 10113
)

// explain puts what the user can do before an error of JetStream.
func explain(err error) error {
	var api *natsjs.APIError
	code := natsjs.ErrorCode(0)
	if errors.As(err, &api) {
		code = api.ErrorCode
	}
	switch {
	case errors.Is(err, natsjs.ErrJetStreamNotEnabled), errors.Is(err, natsjs.ErrJetStreamNotEnabledForAccount):
		return fmt.Errorf("turn JetStream on in the NATS server and for this account: %w", err)
	case errors.Is(err, natsjs.ErrNoStreamResponse), errors.Is(err, nats.ErrNoResponders):
		return fmt.Errorf("see that the NATS server has JetStream on, with free storage, and stream %s: %w", Stream, err)
	case code == codeStorageResources, code == codeInsufficientResources,
		code == codeAccountResources, code == codeStoreFailed:
		return fmt.Errorf("give JetStream more storage, or stream %s a smaller limit: %w", Stream, err)
	case code == codeMaxBytesRequired:
		return fmt.Errorf("set a size limit for stream %s: %w", Stream, err)
	case errors.Is(err, nats.ErrTimeout), errors.Is(err, context.DeadlineExceeded), errors.Is(err, natsjs.ErrAsyncPublishTimeout):
		return fmt.Errorf("JetStream did not answer in time: see that NATS is up, has JetStream on, and lets this user use stream %s: %w", Stream, err)
	}
	return err
}

// sendError explains why the incident id was not stored, and marks what is
// permanent.
func sendError(id string, err error) error {
	if isTooLarge(err) {
		return permanentError{fmt.Errorf("storing incident %s: raise max_payload of the NATS server or max_msg_size of stream %s: %w", id, Stream, err)}
	}
	return fmt.Errorf("storing incident %s: %w", id, explain(err))
}

func isTooLarge(err error) bool {
	var api *natsjs.APIError
	return errors.Is(err, nats.ErrMaxPayload) || errors.Is(err, natsjs.ErrStreamMessageExceedsMaximum) ||
		errors.As(err, &api) && api.ErrorCode == codeHeaderTooLarge
}

// isGone reports whether nothing took a message, as when its stream was
// removed, or the server lost its store. A server that is starting says so too.
func isGone(err error) bool {
	return errors.Is(err, natsjs.ErrNoStreamResponse) || errors.Is(err, nats.ErrNoResponders)
}

// isConflict reports whether a write was refused because the key has another
// revision than the writer thought.
func isConflict(err error) bool {
	var api *natsjs.APIError
	return errors.Is(err, natsjs.ErrKeyExists) || errors.As(err, &api) &&
		(api.ErrorCode == natsjs.JSErrCodeStreamWrongLastSequence || api.ErrorCode == natsjs.JSErrCodeStreamWrongLastSequenceConstant)
}
