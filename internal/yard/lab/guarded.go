// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"context"
	"encoding/json"
	"fmt"
	"net"

	"github.com/renat-project/renat/internal/view/fleet"
)

// Guarded is what the agent's guard says of itself at the end of the traffic.
type Guarded struct {
	Limit   int     `json:"limit"` // connections to be guarded at most
	Runs    uint64  `json:"runs"`
	Lost    uint64  `json:"lost"` // entries evicted although guarded
	Kept    uint64  `json:"kept"` // an estimate of the connections that it saved
	Seconds float64 `json:"cpu_seconds"`
	Problem string  `json:"problem"` // why fewer were guarded than the share allows
}

// listenHTTP lets the agent be asked how its guard does.
func (l *Lab) listenHTTP() (err error) {
	if l.cfg.Guard == nil {
		return nil
	}
	if l.http, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
		return fmt.Errorf("listening for the agent: %w", err)
	}
	l.later(func() error { l.http.Close(); return nil }) // the agent has closed it, if it ran
	return nil
}

// askGuard notes what the guard did.
func (l *Lab) askGuard(ctx context.Context) error {
	if l.http == nil {
		return nil
	}
	agent, err := fleet.NewHTTPAgent("http://" + l.http.Addr().String())
	if err != nil {
		return err
	}
	raw, err := agent.Get(ctx, "/v1/status", nil)
	if err != nil {
		return fmt.Errorf("asking the agent for its guard: %w", err)
	}
	var status struct {
		Guard *Guarded `json:"guard"`
	}
	if err := json.Unmarshal(raw, &status); err != nil {
		return fmt.Errorf("reading the agent's status: %w", err)
	}
	l.guarded = status.Guard
	return nil
}
