// SPDX-License-Identifier: Apache-2.0

package api

import (
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	"github.com/renat-project/renat/internal/web/board"
)

const (
	// heartbeat is how often a quiet stream says that it lives.
	heartbeat = 15 * time.Second
	// patience is how long a reader may take to take what is written.
	patience = 10 * time.Second
	// changesEvery is how often who wants no more hears that something changed.
	changesEvery = time.Second

	// The values of tell.
	tellAll     = "all"
	tellChanges = "changes"
)

// events serves the board's changes until the reader goes or is too slow.
func (a *API) events(w http.ResponseWriter, r *http.Request) error {
	f, err := chosen(r)
	if err != nil {
		return err
	}
	tell := r.URL.Query().Get("tell")
	if tell != "" && tell != tellAll && tell != tellChanges {
		return wrong("tell", "tell %q is neither %s nor %s", tell, tellAll, tellChanges)
	}
	select {
	case a.hearing <- struct{}{}:
		defer func() { <-a.hearing }()
	default:
		return &Problem{Status: http.StatusServiceUnavailable, Title: "too many listeners", Detail: fmt.Sprintf("%d are connected, no more are allowed", maxListeners)}
	}
	s := a.config.Board.Subscribe(r.Header.Get("Last-Event-ID"))
	defer s.Close()
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("X-Accel-Buffering", "no") // nginx would hold events back
	out := stream{w, http.NewResponseController(w)}
	if out.write("retry: 1000\n\n") != nil {
		return nil
	}
	beat := time.NewTicker(heartbeat)
	defer beat.Stop()
	var changes changes
	for {
		var err error
		select {
		case <-changes.due:
			err = changes.tell(out)
		case <-r.Context().Done():
			return nil
		case <-beat.C:
			err = out.write(":\n\n")
		case e, ok := <-s.Events:
			switch {
			case !ok:
				_ = out.event("", "dropped", map[string]string{"detail": "the reader was too slow"}) // it may not even take this
				return nil
			case e.Incident != nil && !f.Match(e.Incident):
			case tell == tellChanges && (e.Incident != nil || e.Node != nil):
				changes.add(e)
			default:
				err = out.tell(e)
			}
		}
		if err != nil {
			return nil // the reader has gone, and knows no more of it
		}
	}
}

// changes are those that have not been told yet.
type changes struct {
	Incidents int `json:"incidents"`
	Nodes     int `json:"nodes"`

	id   string // of the last incident
	told time.Time
	due  <-chan time.Time // when to tell; nil: there are none
}

func (c *changes) add(e board.Event) {
	if e.Incident != nil {
		c.Incidents, c.id = c.Incidents+1, e.ID
	} else {
		c.Nodes++
	}
	if c.due == nil {
		c.due = time.After(time.Until(c.told.Add(changesEvery)))
	}
}

func (c *changes) tell(out stream) error {
	err := out.event(c.id, "changed", c)
	*c = changes{id: c.id, told: time.Now()}
	return err
}

// stream writes server-sent events.
type stream struct {
	w       http.ResponseWriter
	control *http.ResponseController
}

func (s stream) tell(e board.Event) error {
	switch {
	case e.Incident != nil:
		event, err := e.Incident.MarshalCloudEvent()
		if err != nil {
			return err
		}
		return s.event(e.ID, "incident", CloudEvent(event))
	case e.Node != nil:
		return s.event(e.ID, "node", e.Node)
	case e.Problem != nil:
		return s.event(e.ID, "problem", struct {
			Problem string    `json:"problem"` // "" is told, too
			Since   time.Time `json:"problem_since,omitzero"`
		}{e.Problem.Text, e.Problem.Since})
	}
	return s.event(e.ID, "restart", map[string]string{})
}

// event writes one; its JSON has no line breaks.
func (s stream) event(id, name string, data any) error {
	body, err := json.Marshal(data)
	if err != nil {
		return fmt.Errorf("encoding event %s: %w", name, err)
	}
	if id != "" {
		id = "id: " + id + "\n"
	}
	return s.write(fmt.Sprintf("%sevent: %s\ndata: %s\n\n", id, name, body))
}

func (s stream) write(text string) error {
	if err := s.control.SetWriteDeadline(time.Now().Add(patience)); err != nil {
		return err
	}
	if _, err := s.w.Write([]byte(text)); err != nil {
		return err
	}
	return s.control.Flush()
}
