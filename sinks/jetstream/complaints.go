// SPDX-License-Identifier: Apache-2.0

package jetstream

import (
	"maps"
	"sync"
	"time"
)

// complainAgain is how long what was logged is not logged again.
const complainAgain = time.Minute

// Complaints keeps trouble that lasts from being logged with each attempt: the
// same text comes once, and a minute later again. The zero value is ready to use,
// and safe for concurrent use.
type Complaints struct {
	mu   sync.Mutex
	made map[string]time.Time
}

// Due reports whether the text is to be logged now.
func (c *Complaints) Due(text string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now()
	maps.DeleteFunc(c.made, func(_ string, at time.Time) bool { return now.Sub(at) >= complainAgain })
	if _, made := c.made[text]; made {
		return false
	}
	if c.made == nil {
		c.made = map[string]time.Time{}
	}
	c.made[text] = now
	return true
}
