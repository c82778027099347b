// SPDX-License-Identifier: Apache-2.0

package api

import (
	"encoding/json"
	"net/http"
	"time"

	"github.com/renat-project/renat/correlator/incident/verdict"
	"github.com/renat-project/renat/internal/web/board"
)

// IncidentList is the answer of /v1/incidents.
type IncidentList struct {
	// The incidents as CloudEvents, the newest first.
	Incidents []CloudEvent `json:"incidents"`
	// How many the filter chooses, from the cursor on.
	Total int `json:"total"`
	// Where this answer began, before skipping: it stays when newer ones come.
	Cursor string `json:"cursor,omitempty"`
	// Where the next page begins; missing on the last.
	Next string `json:"next,omitempty"`
	board.Problem
}

// CloudEvent is an incident's CloudEvents 1.0 JSON.
type CloudEvent json.RawMessage

// MarshalJSON returns it as it is.
func (c CloudEvent) MarshalJSON() ([]byte, error) { return json.RawMessage(c).MarshalJSON() }

// IncidentDetail is the answer of /v1/incidents/{id}.
type IncidentDetail struct {
	// The incident as a CloudEvent.
	Incident CloudEvent `json:"incident"`
	// What it means, in words.
	Verdict verdict.Verdict `json:"verdict"`
	// The command that shows the connection's flows.
	Hubble string `json:"hubble"`
	// Why the incident comes without its evidence and labels.
	Problem string `json:"problem,omitempty"`
}

// Summary is the answer of /v1/summary.
type Summary struct {
	board.Summary
	board.Problem
}

// About is the answer of /v1/about.
type About struct {
	// Version of renat.
	Renat string `json:"renat"`
	// What is served: a node, or the hub.
	Title string `json:"title"`
	// How many incidents are kept here.
	Capacity int `json:"capacity"`
}

func (a *API) incidents(w http.ResponseWriter, r *http.Request) error {
	f, err := chosen(r)
	if err != nil {
		return err
	}
	q := r.URL.Query()
	page := board.Page{Cursor: q.Get("cursor")}
	if page.Skip, err = number(q, "skip", 0, 0, maxSkip); err != nil {
		return err
	}
	if page.Limit, err = number(q, "limit", defaultLimit, 1, maxLimit); err != nil {
		return err
	}
	l, err := a.config.Board.Incidents(r.Context(), &f, page)
	if err != nil {
		return err
	}
	out := IncidentList{Incidents: []CloudEvent{}, Total: l.Total, Cursor: l.Cursor, Next: l.Next, Problem: a.config.Board.Problem()}
	for _, i := range l.Incidents {
		event, err := i.MarshalCloudEvent()
		if err != nil {
			return err
		}
		out.Incidents = append(out.Incidents, event)
	}
	return reply(w, out)
}

func (a *API) incident(w http.ResponseWriter, r *http.Request) error {
	i, missing := a.config.Board.Incident(r.Context(), r.PathValue("id"))
	if i == nil {
		return missing
	}
	event, err := i.MarshalCloudEvent()
	if err != nil {
		return err
	}
	d := IncidentDetail{Incident: event, Verdict: verdict.OfIncident(i), Hubble: hubbleCommand(i)}
	if missing != nil {
		d.Problem = missing.Error()
	}
	return reply(w, d)
}

func (a *API) summary(w http.ResponseWriter, r *http.Request) error {
	f, err := chosen(r)
	if err != nil {
		return err
	}
	groups, err := number(r.URL.Query(), "groups", 0, 0, maxGroups)
	if err != nil {
		return err
	}
	s, err := a.config.Board.Summary(r.Context(), &f, groups, time.Now())
	if err != nil {
		return err
	}
	return reply(w, Summary{Summary: s, Problem: a.config.Board.Problem()})
}

func (a *API) about(w http.ResponseWriter, _ *http.Request) error {
	return reply(w, About{Renat: a.config.Version, Title: a.config.Title, Capacity: a.config.Board.Capacity()})
}

func (a *API) document(w http.ResponseWriter, _ *http.Request) error {
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(openapi) // who asked has gone
	return nil
}
