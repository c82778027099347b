// SPDX-License-Identifier: Apache-2.0

package nodestatus

import (
	"encoding/json"
	"fmt"
)

// Parse reads the JSON of a status. It refuses that of another Version.
func Parse(raw []byte) (*Status, error) {
	s := &Status{}
	if err := json.Unmarshal(raw, s); err != nil {
		return nil, fmt.Errorf("reading a node's status: %w", err)
	}
	if s.Version != Version {
		return nil, fmt.Errorf("reading the status of node %s: it has version %d, this renat knows %d", s.Node, s.Version, Version)
	}
	return s, nil
}
