// SPDX-License-Identifier: Apache-2.0

// Package peaks remembers the most that maps had to bear, in a file, so that
// it survives restarts of the agent: advice on sizes goes by the worst hour,
// not by the last.
//
//	Open ──▶ See, every few seconds ──▶ Of
//	            └──▶ the file, at most once a minute, and at the end: Save
//
// The methods may be called from any goroutine.
package peaks

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/renat-project/renat/internal/nodestatus"
)

// saveEvery is how long what is new may wait to be saved: a crash forgets that
// much.
const saveEvery = time.Minute

// Peaks are those of a node's maps.
type Peaks struct {
	path string

	mu     sync.Mutex // guards what follows
	maps   map[string]*peak
	unsent bool // there is something to save
	saved  time.Time
}

// peak is that of a map of one size: another size is another map.
type peak struct {
	MaxEntries uint32 `json:"max_entries"`
	nodestatus.Peaks
}

// Open reads the file, if there is one. A file that cannot be understood is an
// error beside Peaks that begin anew, and overwrite it.
func Open(path string) (*Peaks, error) {
	p := &Peaks{path: path, maps: map[string]*peak{}}
	b, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return p, nil
	}
	maps := map[string]*peak{}
	if err == nil {
		err = json.Unmarshal(b, &maps)
	}
	if err != nil {
		return p, fmt.Errorf("reading what the maps had to bear: %w", err)
	}
	for name, m := range maps {
		if m != nil {
			p.maps[name] = m
		}
	}
	return p, nil
}

// See takes how a map is now: its entries, nil if they are not known, and its
// rates over a minute, nil if the minute is not over. It saves now and then;
// an error is the file's.
func (p *Peaks) See(m *nodestatus.Map, entries *uint64, minute *nodestatus.Rates, now time.Time) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	k := p.maps[m.Name]
	if k == nil || k.MaxEntries != m.MaxEntries {
		k = &peak{MaxEntries: m.MaxEntries, Peaks: nodestatus.Peaks{Since: now.UTC()}}
		p.maps[m.Name], p.unsent = k, true
	}
	before := k.Peaks
	if entries != nil {
		k.Entries = max(k.Entries, *entries)
	}
	if minute != nil {
		k.Inserts, k.Evictions = max(k.Inserts, minute.Inserts), max(k.Evictions, minute.Evictions)
	}
	p.unsent = p.unsent || k.Peaks != before
	if !p.unsent || now.Sub(p.saved) < saveEvery {
		return nil
	}
	p.saved = now
	return p.save()
}

// Of returns the peaks of a map; nil if it was not seen in this size.
func (p *Peaks) Of(name string, maxEntries uint32) *nodestatus.Peaks {
	p.mu.Lock()
	defer p.mu.Unlock()
	k := p.maps[name]
	if k == nil || k.MaxEntries != maxEntries {
		return nil
	}
	out := k.Peaks
	return &out
}

// Save saves what is new.
func (p *Peaks) Save() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.unsent {
		return nil
	}
	return p.save()
}

// save replaces the file; p.mu is held.
func (p *Peaks) save() error {
	b, err := json.Marshal(p.maps)
	if err != nil {
		return fmt.Errorf("saving what the maps had to bear: %w", err)
	}
	next := p.path + ".new"
	if err = os.WriteFile(next, b, 0o600); err == nil {
		err = os.Rename(next, p.path)
	}
	if err != nil {
		return fmt.Errorf("saving what the maps had to bear in %s: %w", filepath.Dir(p.path), err)
	}
	p.unsent = false
	return nil
}
