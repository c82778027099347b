// SPDX-License-Identifier: Apache-2.0

package board_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/renat-project/renat/internal/nodestatus"
	"github.com/renat-project/renat/internal/web/board"
)

// TestFleetRisks has many nodes tell of connections at risk: all that nodes which
// are watched tell of are counted, and those for longest listed.
func TestFleetRisks(t *testing.T) {
	b := board.New(board.Config{})
	now := time.Now()
	for n := range 40 {
		total := 100
		s := nodestatus.Status{Node: fmt.Sprintf("node-%02d", n), Time: now, AtRisk: &total}
		for k := range nodestatus.RisksTold {
			s.Risks = append(s.Risks, nodestatus.Risk{Since: now.Add(-time.Duration(100*n-k) * time.Second)})
		}
		heard := now
		if n == 39 {
			heard = now.Add(-2 * board.SilentAfter)
		}
		b.SetStatus(s, heard)
	}
	_, fleet := b.Worst(now, 24)
	if fleet.AtRisk != 3900 || len(fleet.Risks) != 20 {
		t.Fatalf("%d at risk, %d listed", fleet.AtRisk, len(fleet.Risks))
	}
	for k, r := range fleet.Risks {
		if r.Node != "node-38" || !r.Since.Equal(now.Add(-time.Duration(3800-k)*time.Second)) {
			t.Errorf("%d is of %s, since %v", k, r.Node, r.Since)
		}
	}
	if _, none := board.New(board.Config{}).Worst(now, 24); none.AtRisk != 0 || none.Risks == nil {
		t.Errorf("without nodes: %+v", none)
	}
}
