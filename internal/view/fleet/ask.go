// SPDX-License-Identifier: Apache-2.0

package fleet

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"sync"
	"time"
)

const (
	// atOnce is how many agents are asked at a time: 1,000 agents that answer
	// in 100 ms take a second, also when 50 of them let their time run out.
	// API servers allow 250 streams to a connection and 400 requests at once.
	atOnce = 200
	// DefaultTimeout is how long an agent may take.
	DefaultTimeout = 1500 * time.Millisecond
	// readTimes is how much longer it may take to read its maps.
	readTimes = 10
	// maxAnswer bounds what is read of an answer, in bytes.
	maxAnswer = 16 << 20
)

// Agent is one node's agent.
type Agent interface {
	// Node names the node, or the agent where its node is not known.
	Node() string
	// Get asks for a path with a query, and returns the body of an answer of
	// status 200. Another status is a *StatusError.
	Get(ctx context.Context, path string, query url.Values) ([]byte, error)
	// Stream is Get for an answer that goes on until ctx ends.
	Stream(ctx context.Context, path string, query url.Values) (io.ReadCloser, error)
}

// StatusError is an answer that is no 200.
type StatusError struct {
	Code int
	// Body begins with what the answer said; empty if nothing.
	Body string
}

// Error returns the status and what was said.
func (e *StatusError) Error() string {
	s := fmt.Sprintf("it answered %d %s", e.Code, http.StatusText(e.Code))
	if e.Body != "" {
		s += ": " + e.Body
	}
	return s
}

// Refusal is an error that every agent would give: there is no point in a list.
type Refusal struct{ Err error }

// Error returns what was refused.
func (r *Refusal) Error() string { return r.Err.Error() }

// Unwrap returns what was refused.
func (r *Refusal) Unwrap() error { return r.Err }

// ErrNone says that there is no agent to ask.
var ErrNone = errors.New("no agent was found")

// answer is what one agent said.
type answer[T any] struct {
	node  string
	value T
	err   error
}

// ask asks all agents the same and reads their answers with decode, many at a
// time. The answers are in the agents' order.
func ask[T any](ctx context.Context, agents []Agent, timeout time.Duration, path string, query url.Values, decode func([]byte) (T, error)) []answer[T] {
	answers := make([]answer[T], len(agents))
	places := make(chan struct{}, atOnce)
	var all sync.WaitGroup
	for i, a := range agents {
		places <- struct{}{}
		all.Go(func() {
			defer func() { <-places }()
			answers[i] = askOne(ctx, a, cmp.Or(timeout, DefaultTimeout), path, query, decode)
		})
	}
	all.Wait()
	return answers
}

func askOne[T any](ctx context.Context, a Agent, timeout time.Duration, path string, query url.Values, decode func([]byte) (T, error)) answer[T] {
	out := answer[T]{node: a.Node()}
	limited, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	body, err := a.Get(limited, path, query)
	switch {
	case err != nil && ctx.Err() == nil && limited.Err() != nil:
		out.err = fmt.Errorf("no answer within %v", timeout)
	case err != nil:
		out.err = err
	default:
		out.value, out.err = decode(body)
	}
	return out
}

// split separates the answers from those who gave none. It fails with a Refusal.
func split[T any](answers []answer[T]) (values []T, silent []Silence, err error) {
	for _, a := range answers {
		if r := (*Refusal)(nil); errors.As(a.err, &r) {
			return nil, nil, r
		}
		if a.err != nil {
			silent = append(silent, Silence{Node: a.node, Why: a.err.Error()})
		} else {
			values = append(values, a.value)
		}
	}
	slices.SortFunc(silent, func(a, b Silence) int { return cmp.Compare(a.Node, b.Node) })
	return values, silent, nil
}
