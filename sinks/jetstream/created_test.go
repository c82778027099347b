// SPDX-License-Identifier: Apache-2.0

package jetstream

import (
	"fmt"
	"testing"

	natsjs "github.com/nats-io/nats.go/jetstream"
)

// A store that the server cannot make yet is asked for again, anything else is not.
func TestCreated(t *testing.T) {
	t.Parallel()
	notYet := fmt.Errorf("asking: %w", &natsjs.APIError{Code: 500, ErrorCode: codeCreateFailed})
	full := &natsjs.APIError{Code: 500, ErrorCode: codeStorageResources}
	for name, c := range map[string]struct {
		answers []error // the last for ever
		calls   int
		ok      bool
	}{
		"at once":         {answers: []error{nil}, calls: 1, ok: true},
		"while it clears": {answers: []error{notYet, notYet, nil}, calls: 3, ok: true},
		"never":           {answers: []error{notYet}, calls: 5},
		"full":            {answers: []error{full}, calls: 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			calls := 0
			_, err := created(t.Context(), func() (int, error) {
				calls++
				return calls, c.answers[min(calls, len(c.answers))-1]
			})
			if calls != c.calls || (err == nil) != c.ok {
				t.Errorf("%d calls and %v; want %d, ok %t", calls, err, c.calls, c.ok)
			}
		})
	}
}
