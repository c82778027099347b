// SPDX-License-Identifier: Apache-2.0

// Package notification defines what a destination is sent: a group of
// incidents, once, with what to say about them.
//
// A Destination is one of the packages webhook, slack, alertmanager and kubernetes. Its
// Send is called by one goroutine at a time and obeys the context's deadline;
// whether trying again is of use is a property of the error (Permanent,
// RetryAfter). No error holds a secret: not the path of a URL, nor a token, a
// password or what a server echoed of them. Client and Post are the HTTP that
// the destinations share, safe for concurrent use.
package notification
