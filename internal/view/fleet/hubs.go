// SPDX-License-Identifier: Apache-2.0

package fleet

import (
	"context"
	"errors"

	"github.com/renat-project/renat/internal/nodestatus"
)

// Hubs are the hubs that answered, and those that did not.
type Hubs struct {
	Hubs   []*nodestatus.Hub
	Silent []Silence
}

// Hubs asks hubs instead of agents. That List finds none is no error.
func (s *Agents) Hubs(ctx context.Context) (out Hubs, err error) {
	out.Hubs, out.Silent, err = askAll(ctx, s, nil, s.Timeout, "/status", nil, func(body []byte) (*nodestatus.Hub, error) {
		h, err := decode[nodestatus.Hub](body)
		if err != nil {
			return nil, err
		}
		return h, known(h.Version, "hub")
	})
	if errors.Is(err, ErrNone) {
		return Hubs{}, nil
	}
	return out, err
}
