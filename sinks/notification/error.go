// SPDX-License-Identifier: Apache-2.0

package notification

import (
	"errors"
	"net/http"
	"strconv"
	"time"
)

// Error is why a destination did not take a notification.
type Error struct {
	// Refused says that sending it again is no use.
	Refused bool
	// Gone says that the destination wants no notification any more.
	Gone bool
	// After is how long the destination wants to be left alone; 0: it did not say.
	After time.Duration
	// Code is the status of its answer; 0: there was none.
	Code int
	Err  error
}

func (e *Error) Error() string { return e.Err.Error() }
func (e *Error) Unwrap() error { return e.Err }

// Refuse returns err as one that no retry mends.
func Refuse(err error) error { return &Error{Refused: true, Err: err} }

// Permanent reports whether sending the notification again is no use. Every
// other error may pass with time.
func Permanent(err error) bool {
	var e *Error
	return errors.As(err, &e) && e.Refused
}

// Gone reports whether the destination wants nothing any more.
func Gone(err error) bool {
	var e *Error
	return errors.As(err, &e) && e.Gone
}

// Code returns the status of the destination's answer; 0: there was none.
func Code(err error) int {
	var e *Error
	if !errors.As(err, &e) {
		return 0
	}
	return e.Code
}

// maxRetryAfter bounds what a destination may ask for.
const maxRetryAfter = time.Hour

// RetryAfter returns how long the destination wants to be left alone, at most
// an hour; 0 if it did not say.
func RetryAfter(err error) time.Duration {
	var e *Error
	if !errors.As(err, &e) {
		return 0
	}
	return min(max(e.After, 0), maxRetryAfter)
}

// retryAfter reads the header, in seconds or as a date (RFC 9110, 10.2.3).
func retryAfter(h http.Header, now time.Time) time.Duration {
	v := h.Get("Retry-After")
	if n, err := strconv.ParseUint(v, 10, 32); err == nil {
		return time.Duration(n) * time.Second
	}
	if at, err := http.ParseTime(v); err == nil {
		return max(at.Sub(now), 0)
	}
	return 0
}
