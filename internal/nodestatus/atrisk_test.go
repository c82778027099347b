// SPDX-License-Identifier: Apache-2.0

package nodestatus_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/renat-project/renat/internal/nodestatus"
)

// TestTold wants a status to stay small, whatever is at risk and however it is
// called.
func TestTold(t *testing.T) {
	long := strings.Repeat("ä", 5000)
	var all nodestatus.AtRisk
	for n := range 1000 {
		peer := nodestatus.RiskPeer{Address: fmt.Sprintf("10.0.0.1:%d", n), Namespace: long, Pod: long, Workload: long, Names: []string{long, long}}
		all.Connections = append(all.Connections, nodestatus.Risk{Source: peer, Destination: peer})
	}
	told := all.Told()
	if len(told) != nodestatus.RisksTold || told[0].Source.Address != "10.0.0.1:0" || told[19].Source.Address != "10.0.0.1:19" {
		t.Errorf("%d are told, not the first %d", len(told), nodestatus.RisksTold)
	}
	raw, err := json.Marshal(told)
	if err != nil || len(raw) > 64<<10 {
		t.Errorf("they are %d bytes: %v", len(raw), err)
	}
	if pod := told[0].Source.Pod; !utf8.ValidString(pod) || !strings.HasPrefix(long, pod) {
		t.Errorf("a pod is called %q", pod)
	}
	if len(all.Connections[0].Source.Names) != 2 || all.Connections[0].Source.Pod != long {
		t.Error("what was listed has become shorter")
	}
	if told := new(nodestatus.AtRisk).Told(); len(told) != 0 {
		t.Errorf("%d of none", len(told))
	}
}
