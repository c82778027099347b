// SPDX-License-Identifier: Apache-2.0

package fleet

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"time"

	"github.com/renat-project/renat/correlator/incident"
)

const (
	// patience is how long an answer to All and Mapping may take.
	patience = 10 * time.Second
	// pause is how long Follow waits before it asks again.
	pause = time.Second
)

// All yields all incidents that the agent keeps, the newest first, without
// evidence and labels.
func (a *HTTPAgent) All(ctx context.Context, yield func(*incident.Incident)) error {
	for cursor := ""; ; {
		body, err := a.getSoon(ctx, "/v1/incidents", url.Values{"limit": {strconv.Itoa(maxPage)}, "cursor": {cursor}})
		if err != nil {
			return err
		}
		p, err := decodePage(body)
		if err != nil {
			return fmt.Errorf("asking %s: %w", a.Node(), err)
		}
		for _, i := range p.incidents {
			yield(i)
		}
		if cursor = p.next; cursor == "" {
			return nil
		}
	}
}

func (a *HTTPAgent) getSoon(ctx context.Context, path string, query url.Values) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	body, err := a.Get(ctx, path, query)
	if err != nil {
		return nil, fmt.Errorf("asking %s: %w", a.Node(), err)
	}
	return body, nil
}

// Follow yields new incidents, and again those that the agent keeps whenever
// it had to connect anew, until ctx ends. What goes wrong it tells failed, and
// tries again.
func (a *HTTPAgent) Follow(ctx context.Context, yield func(*incident.Incident), failed func(error)) {
	for ctx.Err() == nil {
		if err := a.follow(ctx, yield); ctx.Err() == nil {
			failed(fmt.Errorf("following %s: %w", a.Node(), err))
		}
		select {
		case <-ctx.Done():
		case <-time.After(pause):
		}
	}
}

func (a *HTTPAgent) follow(ctx context.Context, yield func(*incident.Incident)) error {
	body, err := a.Stream(ctx, "/v1/events", nil)
	if err != nil {
		return err
	}
	defer body.Close()
	if err := a.All(ctx, yield); err != nil { // since it was asked last
		return err
	}
	lines := bufio.NewScanner(body)
	lines.Buffer(nil, maxAnswer)
	var name []byte
	for lines.Scan() {
		line := lines.Bytes()
		if n, ok := bytes.CutPrefix(line, []byte("event: ")); ok {
			name = bytes.Clone(n)
		}
		if string(name) == "restart" || string(name) == "dropped" {
			return errors.New("it has more news than it could tell")
		}
		if data, ok := bytes.CutPrefix(line, []byte("data: ")); ok && string(name) == "incident" {
			i, err := incident.UnmarshalCloudEvent(data)
			if err != nil {
				return err
			}
			yield(i)
		}
	}
	return cmp.Or(lines.Err(), errors.New("it ended the connection"))
}

// Mapping asks where an entry of the node's NAT maps translates a tuple to now;
// false if there is none.
func (a *HTTPAgent) Mapping(ctx context.Context, protocol, source, destination, direction string) (netip.AddrPort, bool, error) {
	body, err := a.getSoon(ctx, "/v1/mapping", url.Values{
		"protocol": {protocol}, "source": {source}, "destination": {destination}, "direction": {direction},
	})
	if status := (*StatusError)(nil); errors.As(err, &status) && status.Code == http.StatusNotFound {
		return netip.AddrPort{}, false, nil
	}
	if err != nil {
		return netip.AddrPort{}, false, err
	}
	var answer struct{ To netip.AddrPort }
	if err := json.Unmarshal(body, &answer); err != nil {
		return netip.AddrPort{}, false, fmt.Errorf("asking %s: %w", a.Node(), err)
	}
	return answer.To, answer.To.IsValid(), nil
}
