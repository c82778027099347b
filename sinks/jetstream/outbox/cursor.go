// SPDX-License-Identifier: Apache-2.0

package outbox

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"
)

// cursorFile tells, in the outbox's folder, how far it was forwarded. It may
// lag behind: what is sent again, NATS knows.
const cursorFile = "forwarded.json"

// cursor is the sequence to forward next.
type cursor struct {
	path    string
	created time.Time // of the stream it counts in
	next    atomic.Uint64
}

type cursorState struct {
	Stream time.Time `json:"stream_created"`
	Next   uint64    `json:"next"`
}

// open reads the cursor of a stream whose newest sequence is last. The cursor
// of another stream, or of none, is at the beginning.
func (c *cursor) open(dir string, created time.Time, last uint64) error {
	c.path, c.created = filepath.Join(dir, cursorFile), created
	c.next.Store(1)
	raw, err := os.ReadFile(c.path)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("reading how far the outbox was forwarded: %w", err)
	}
	var s cursorState
	// A file that was cut by a full disk is as good as none.
	if json.Unmarshal(raw, &s) == nil && s.Stream.Equal(created) && s.Next > 0 {
		c.next.Store(min(s.Next, last+1))
	}
	return nil
}

// move sets the cursor. An error leaves the file as it was.
func (c *cursor) move(next uint64) error {
	c.next.Store(next)
	raw, err := json.Marshal(cursorState{Stream: c.created, Next: next})
	if err != nil {
		return err
	}
	temporary := c.path + ".new"
	if err := os.WriteFile(temporary, raw, 0o600); err != nil {
		return fmt.Errorf("noting how far the outbox was forwarded: %w", err)
	}
	if err := os.Rename(temporary, c.path); err != nil {
		return fmt.Errorf("noting how far the outbox was forwarded: %w", err)
	}
	return nil
}
