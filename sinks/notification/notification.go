// SPDX-License-Identifier: Apache-2.0

package notification

import (
	"context"
	"fmt"
	"time"

	"github.com/renat-project/renat/correlator/incident"
	"github.com/renat-project/renat/correlator/incident/verdict"
)

// Type names the format of a notification; a change that breaks its readers
// gets a new one.
const Type = "dev.renat.notification.v1"

// Reason is why a notification is sent.
type Reason string

// The reasons.
const (
	// New: the group is notified for the first time.
	New Reason = "new"
	// Update: the group has more incidents.
	Update Reason = "update"
	// Repeat: the group goes on, and was announced long ago.
	Repeat Reason = "repeat"
	// Refresh: nothing is new; for destinations that forget (Refresher).
	Refresh Reason = "refresh"
	// Test: a sample, asked for by a person.
	Test Reason = "test"
)

// Notification is one message about one group of incidents.
type Notification struct {
	// ID is the same however often the notification is sent.
	ID       string `json:"id"`
	Reason   Reason `json:"reason"`
	Receiver string `json:"receiver"`
	// At is when it was made; the same however often it is sent.
	At    time.Time `json:"at"`
	Group Group     `json:"group"`
	// Title, Text and Link are what to show, from the receiver's templates.
	Title   string          `json:"title"`
	Text    string          `json:"text"`
	Link    string          `json:"link,omitempty"`
	Verdict verdict.Verdict `json:"verdict"`
	// Count is how many incidents this notification is about. The first of
	// them are in Incidents, More were left out; Fetch finds all.
	Count     int    `json:"count"`
	Incidents []Item `json:"incidents"`
	More      int    `json:"more"`
	Fetch     Fetch  `json:"fetch"`
	// Kinds, Causes and Outcomes count the incidents of this notification.
	Kinds    map[incident.Kind]int    `json:"kinds"`
	Causes   map[incident.Cause]int   `json:"causes"`
	Outcomes map[incident.Outcome]int `json:"outcomes"`

	// Memo is what the destination noted when it was sent the group's last
	// notification; Send may change it.
	Memo string `json:"-"`
	// Untaken says which of the destination's servers did not take it, and why,
	// though another did. Send sets it.
	Untaken error `json:"-"`
}

// Since says since when the group's connections break, how many, and which
// incident is one of them, in one line with dates and zone.
func (n *Notification) Since() string {
	line := "Since " + Date(n.Group.First)
	if !n.Group.Last.Equal(n.Group.First) {
		line += ", last " + Date(n.Group.Last)
	}
	line += fmt.Sprintf("; %d in all", n.Group.Total)
	if n.Group.Incident != "" {
		line += ", one is incident " + Line(n.Group.Incident)
	}
	return line + "."
}

// Next is how to go on: what to run, and the runbook.
func (n *Notification) Next() string {
	if n.Verdict.Action == "" {
		return ""
	}
	return "Run: " + n.Verdict.Action + "\nRunbook: " + n.Verdict.Runbook
}

// Date is a time as messages have it.
func Date(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05 UTC") }

// Group is what the incidents have in common.
type Group struct {
	// ID names the group of this receiver in few letters.
	ID string `json:"id"`
	// Names and Labels are what the receiver groups by, in its order.
	Names  []string          `json:"names"`
	Labels map[string]string `json:"labels"`
	// Total is how many incidents the group has had since Began.
	Total int       `json:"total"`
	Began time.Time `json:"began"`
	// First and Last are when the earliest and latest incident happened.
	First time.Time `json:"first"`
	Last  time.Time `json:"last"`
	// Incident is the id of one of them; empty if none is listed.
	Incident string `json:"incident,omitempty"`
}

// Item is an incident with where it is stored.
type Item struct {
	ID       string             `json:"id"`
	Sequence uint64             `json:"sequence"`
	Incident *incident.Incident `json:"incident"`
}

// Fetch says where the incidents of a notification are: between the sequences
// First and Last of a JetStream stream, among others.
type Fetch struct {
	Stream  string `json:"stream"`
	Subject string `json:"subject"`
	First   uint64 `json:"first_sequence"`
	Last    uint64 `json:"last_sequence"`
}

// Destination takes notifications.
type Destination interface {
	// Send returns nil when n was taken. It may be called again with the same
	// n, by another process too.
	Send(ctx context.Context, n *Notification) error
}

// Refresher is a Destination that forgets a group which it is not told of again.
type Refresher interface {
	// RefreshEvery is how often to send a Refresh while a group is alive.
	RefreshEvery() time.Duration
}
