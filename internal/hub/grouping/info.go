// SPDX-License-Identifier: Apache-2.0

package grouping

import (
	"cmp"
	"slices"
	"time"

	"github.com/renat-project/renat/correlator/incident"
	"github.com/renat-project/renat/sinks/notification"
)

// Info is a group as it is now.
type Info struct {
	ID     string            `json:"id"`
	Labels map[string]string `json:"labels"`
	// Total is how many incidents notifications have told of, Waiting how
	// many wait for the next, due at Due.
	Total         int       `json:"total"`
	Notifications int       `json:"notifications"`
	Waiting       int       `json:"waiting"`
	Sending       bool      `json:"sending"`
	Notified      time.Time `json:"notified,omitzero"`
	Due           time.Time `json:"due,omitzero"`
}

// Len is how many groups there are.
func (g *Grouper) Len() int { return len(g.groups) }

// Held is how many incidents wait or are being sent.
func (g *Grouper) Held() int { return g.held }

// Infos returns all groups, by id.
func (g *Grouper) Infos() []Info {
	all := make([]Info, 0, len(g.groups))
	for _, gr := range g.groups {
		info := Info{
			ID: gr.id, Labels: map[string]string{}, Total: gr.state.Total, Notifications: gr.state.Number,
			Waiting: len(gr.pending), Sending: gr.sending != nil, Notified: gr.state.Notified,
		}
		if info.Waiting > 0 {
			info.Due = gr.due
		}
		for n, l := range g.rule.By {
			info.Labels[string(l)] = gr.state.Values[n]
		}
		all = append(all, info)
	}
	slices.SortFunc(all, func(a, b Info) int { return cmp.Compare(a.ID, b.ID) })
	return all
}

// Single returns the notification of one incident alone, nil if the rule does
// not match it or it cannot be told of.
func Single(r Rule, seq uint64, i *incident.Incident, now time.Time) *notification.Notification {
	r.Threshold, r.MaxGroups, r.MaxPending = 0, 1, 1
	g := New(r, time.Time{})
	if fate, err := g.Add(now, Message{Sequence: seq, Incident: i}); err != nil || fate != Held {
		return nil
	}
	w, ok := g.Take(now.Add(r.Wait))
	if !ok || w.Batch == nil {
		return nil
	}
	return &w.Batch.Notification
}
