// SPDX-License-Identifier: Apache-2.0

package hubbletest

import (
	"fmt"
	"strings"

	"github.com/renat-project/renat/hubble/jsonpb"
)

// Load feeds JSON lines, one GetFlowsResponse each, as hubble observe -o jsonpb
// prints them, and stops with an error at the first that cannot be read. Node
// status, which relays put between flows, is left out. Load does not seal the
// server.
func (s *Server) Load(lines string) error {
	n := 0
	for line := range strings.Lines(lines) {
		n++
		if line = strings.TrimSpace(line); line == "" {
			continue
		}
		resp, err := jsonpb.Parse([]byte(line))
		if err == nil && resp != nil {
			err = s.Feed(resp)
		}
		if err != nil {
			return fmt.Errorf("line %d: %w", n, err)
		}
	}
	return nil
}
