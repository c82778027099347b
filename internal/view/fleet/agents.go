// SPDX-License-Identifier: Apache-2.0

package fleet

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"time"

	"github.com/renat-project/renat/correlator/incident"
	"github.com/renat-project/renat/internal/nodestatus"
)

// maxPage is the most incidents that an agent gives at once (internal/web/api), and
// as many as it keeps.
const maxPage = 1000

// ErrUnknown says that nobody has the incident.
var ErrUnknown = errors.New("no node that answered has this incident")

// Agents is a Source that asks agents over HTTP.
type Agents struct {
	// List returns the agents there are.
	List func(context.Context) ([]Agent, error)
	// Timeout of each agent, DefaultTimeout if 0; ten times that to read maps.
	Timeout time.Duration
	// ByNode says that the agents' names are their nodes' names, so that only
	// those of the nodes in question need to be asked.
	ByNode bool
	// Machines returns the names of all nodes that an agent should watch, or
	// fails where nobody tells; may be nil.
	Machines func(context.Context) ([]string, error)
}

func (s *Agents) agents(ctx context.Context, choose func(node string) bool) ([]Agent, error) {
	all, err := s.List(ctx)
	if err != nil {
		return nil, err
	}
	if len(all) == 0 {
		return nil, ErrNone
	}
	if choose != nil && s.ByNode {
		all = slices.DeleteFunc(slices.Clone(all), func(a Agent) bool { return !choose(a.Node()) })
	}
	return all, nil
}

// Nodes implements Source.
func (s *Agents) Nodes(ctx context.Context) (Nodes, error) {
	agents, err := s.agents(ctx, nil)
	if err != nil {
		return Nodes{}, err
	}
	var n Nodes
	n.Statuses, n.Silent, err = split(ask(ctx, agents, s.Timeout, "/v1/status", nil, decodeStatus))
	if s.Machines != nil {
		n.Unlisted = s.addUnwatched(ctx, &n, agents)
	}
	slices.SortFunc(n.Statuses, byNode)
	return n, cmp.Or(ctx.Err(), err)
}

// addUnwatched adds the machines without an agent.
func (s *Agents) addUnwatched(ctx context.Context, n *Nodes, agents []Agent) error {
	machines, err := s.Machines(ctx)
	for _, name := range machines {
		if !slices.ContainsFunc(agents, func(a Agent) bool { return a.Node() == name }) {
			n.Statuses = append(n.Statuses, nodestatus.Unwatched(name))
		}
	}
	return err
}

func decodeStatus(body []byte) (*nodestatus.Status, error) {
	st, err := decode[nodestatus.Status](body)
	if err != nil {
		return nil, err
	}
	return st, known(st.Version, "agent")
}

// known fails for the status of another version.
func known(version int, of string) error {
	if version != nodestatus.Version {
		return fmt.Errorf("its status has version %d, this renat knows %d: use the version of the %s", version, nodestatus.Version, of)
	}
	return nil
}

// Incidents implements Source.
func (s *Agents) Incidents(ctx context.Context, q url.Values, limit int) (Incidents, error) {
	choose := func(node string) bool { return len(q["node"]) == 0 || slices.Contains(q["node"], node) }
	q = maps.Clone(q)
	q.Set("limit", strconv.Itoa(min(cmp.Or(limit, maxPage), maxPage)))
	pages, silent, err := askAll(ctx, s, choose, s.Timeout, "/v1/incidents", q, decodePage)
	out := Incidents{Answered: len(pages), Silent: silent}
	for _, p := range pages {
		out.Incidents = append(out.Incidents, p.incidents...)
		out.More += p.more
	}
	out.newest(limit)
	return out, err
}

// page is what is read of /v1/incidents.
type page struct {
	incidents []*incident.Incident
	more      int
	next      string // cursor of the page after it; "": there is none
}

func decodePage(body []byte) (page, error) {
	l, err := decode[struct {
		Incidents []json.RawMessage
		Total     int
		Next      string
	}](body)
	if err != nil {
		return page{}, err
	}
	p := page{next: l.Next}
	for _, raw := range l.Incidents {
		i, err := incident.UnmarshalCloudEvent(raw)
		if err != nil {
			return p, fmt.Errorf("its incidents cannot be read: %w", err)
		}
		p.incidents = append(p.incidents, i)
	}
	p.more = max(0, l.Total-len(p.incidents))
	return p, nil
}

// Incident implements Source.
func (s *Agents) Incident(ctx context.Context, id string) (*incident.Incident, error) {
	agents, err := s.agents(ctx, nil)
	if err != nil {
		return nil, err
	}
	answers := ask(ctx, agents, s.Timeout, "/v1/incidents/"+url.PathEscape(id), nil, func(body []byte) (*incident.Incident, error) {
		detail, err := decode[struct{ Incident json.RawMessage }](body)
		if err != nil {
			return nil, err
		}
		return incident.UnmarshalCloudEvent(detail.Incident)
	})
	var silent []Silence
	for _, a := range answers {
		var status *StatusError
		var refused *Refusal
		switch {
		case a.err == nil:
			return a.value, nil
		case errors.As(a.err, &refused):
			return nil, refused
		case !errors.As(a.err, &status) || status.Code != http.StatusNotFound:
			silent = append(silent, Silence{Node: a.node, Why: a.err.Error()})
		}
	}
	if len(silent) > 0 {
		return nil, fmt.Errorf("%w (%d of %d nodes did not answer, the first: %s: %s)", ErrUnknown, len(silent), len(answers), silent[0].Node, silent[0].Why)
	}
	return nil, ErrUnknown
}

// Tops implements Source.
func (s *Agents) Tops(ctx context.Context, choose func(node string) bool) (out Tops, err error) {
	out.Tops, out.Silent, err = askAll(ctx, s, choose, readTimes*cmp.Or(s.Timeout, DefaultTimeout), "/v1/top", nil, decode[nodestatus.Top])
	if choose != nil {
		out.Tops = slices.DeleteFunc(out.Tops, func(t *nodestatus.Top) bool { return !choose(t.Node) })
	}
	return out, err
}

// AtRisk implements Source.
func (s *Agents) AtRisk(ctx context.Context) (out AtRisk, err error) {
	out.Nodes, out.Silent, err = askAll(ctx, s, nil, s.Timeout, "/v1/at-risk", nil, decode[nodestatus.AtRisk])
	return out, err
}

// askAll asks all agents, or those that choose may have chosen, the same.
func askAll[T any](ctx context.Context, s *Agents, choose func(node string) bool, timeout time.Duration, path string, query url.Values, decode func([]byte) (T, error)) ([]T, []Silence, error) {
	agents, err := s.agents(ctx, choose)
	if err != nil {
		return nil, nil, err
	}
	values, silent, err := split(ask(ctx, agents, timeout, path, query, decode))
	return values, silent, cmp.Or(ctx.Err(), err)
}

func decode[T any](body []byte) (*T, error) {
	v := new(T)
	if err := json.Unmarshal(body, v); err != nil {
		return nil, fmt.Errorf("its answer cannot be read: %w", err)
	}
	return v, nil
}
