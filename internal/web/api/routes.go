// SPDX-License-Identifier: Apache-2.0

package api

import (
	"net/http"

	"github.com/renat-project/renat/correlator/incident/filter"
)

// Route is one path of the API. The OpenAPI document is made from Routes, so
// it cannot tell of others.
type Route struct {
	Path, Summary, Description string
	Params                     []Param
	// Answer is a value of the type whose JSON the route answers with; nil:
	// server-sent events.
	Answer any

	serve func(*API, http.ResponseWriter, *http.Request) error
}

// Param is a parameter in the query of a route, or in its path.
type Param struct {
	Name, Help string
	In         string // query or path
	Values     []string
	Many       bool // may be given several times
	Low, High  int  // bounds of a number; 0, 0: it is text
}

const (
	defaultLimit = 100
	maxLimit     = 1000
	maxSkip      = 10_000_000
	maxGroups    = 1000
	maxNodes     = 1000
)

// filters are the parameters that choose incidents, and others.
func filters(others ...Param) (all []Param) {
	for _, p := range filter.Params() {
		all = append(all, Param{Name: p.Name, Help: p.Help, In: "query", Values: p.Values, Many: !p.Single})
	}
	return append(all, others...)
}

// Routes are all paths, besides /v1/session, which Access serves.
var Routes = []Route{
	{
		Path: "/v1/incidents", Summary: "List incidents, the newest first",
		Description: "Incidents in lists have no evidence and no labels: ask for one to see them. Of parameters of different names all must match, of those of one name, one.",
		Params: filters(
			Param{Name: "cursor", In: "query", Help: "where to begin, from cursor or next of an earlier answer"},
			Param{Name: "skip", In: "query", Help: "so many from there (0)", High: maxSkip},
			Param{Name: "limit", In: "query", Help: "at most so many (100)", Low: 1, High: maxLimit},
		),
		Answer: IncidentList{}, serve: (*API).incidents,
	},
	{
		Path: "/v1/incidents/{id}", Summary: "Show an incident with its evidence",
		Params: []Param{{Name: "id", In: "path", Help: "the CloudEvent's id, or its beginning (4 characters or more)"}},
		Answer: IncidentDetail{}, serve: (*API).incident,
	},
	{
		Path: "/v1/summary", Summary: "Count incidents",
		Params: filters(Param{Name: "groups", In: "query", Help: "so many groups of like incidents, those with the most (0)", High: maxGroups}),
		Answer: Summary{}, serve: (*API).summary,
	},
	{
		Path: "/v1/nodes", Summary: "Show how the nodes are",
		Description: "All nodes, by cluster and name; with a limit those in the worst state, and of these those that evict most. fleet tells of all either way.",
		Params:      []Param{{Name: "limit", In: "query", Help: "at most so many, the worst first (all, by name)", Low: 1, High: maxNodes}},
		Answer:      NodeList{}, serve: (*API).nodes,
	},
	{
		Path: "/v1/advice", Summary: "Advise on the size of the NAT maps",
		Description: "From the nodes' statuses alone: renat advise also reads Cilium's settings, and asks the agents how much of a full map belongs to open connections.",
		Params:      []Param{{Name: "limit", In: "query", Help: "name at most so many nodes in each list of the plan, those with maps that are too small first (all)", Low: 1, High: maxNodes}},
		Answer:      SizeAdvice{}, serve: (*API).advice,
	},
	{
		Path: "/v1/events", Summary: "Follow what changes",
		Description: "Server-sent events: incident (as in lists), node (as in /v1/nodes), problem (why nothing new may come, and since when; empty: nothing is wrong), " +
			"restart (ask for everything again) and dropped (the reader was too slow; connect again). " +
			"The Last-Event-ID header resumes after an incident. A comment comes every 15 seconds. " +
			"With tell=changes, instead of incident and node comes changed, at most once a second: how many there were of each.",
		Params: filters(Param{Name: "tell", In: "query", Help: "each change, or only that there were some (all)", Values: []string{tellAll, tellChanges}}), serve: (*API).events,
	},
	{
		Path: "/v1/about", Summary: "Show what serves this",
		Answer: About{}, serve: (*API).about,
	},
	{
		Path: "/v1/openapi.json", Summary: "Show this document",
		Answer: map[string]any{}, serve: (*API).document,
	},
}
