// SPDX-License-Identifier: Apache-2.0

package nodeview_test

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"

	"github.com/renat-project/renat/internal/nodestatus"
	"github.com/renat-project/renat/internal/view/fleet"
	"github.com/renat-project/renat/internal/view/nodeview"
)

// TestAtRisk lists connections of two nodes, those for longest first.
func TestAtRisk(t *testing.T) {
	risk := func(pod, gone string, ago time.Duration) nodestatus.Risk {
		return nodestatus.Risk{
			Protocol: "TCP", Gone: gone, Breaks: nodestatus.SpeaksPod, Since: time.Now().Add(-ago), NAT: "198.51.100.1:40000",
			Source:      nodestatus.RiskPeer{Address: "10.0.1.10:40000", Namespace: "shop", Pod: pod},
			Destination: nodestatus.RiskPeer{Address: "192.0.2.1:443", Names: []string{"db.example.com"}},
		}
	}
	other := risk("", nodestatus.GoneBoth, time.Hour)
	other.Source, other.Destination.Names = nodestatus.RiskPeer{Address: "10.0.1.11:40001"}, nil
	own := risk("", nodestatus.GoneOut, 2*time.Hour)
	own.Source, own.HostNetwork = nodestatus.RiskPeer{Address: "192.0.2.9:41000"}, true
	src := &source{risks: fleet.AtRisk{
		Nodes: []*nodestatus.AtRisk{
			{Node: "node-a", Connections: []nodestatus.Risk{risk("cart-1\x1b[2J", nodestatus.GoneOut, time.Minute)}},
			{Node: "node-b", Connections: []nodestatus.Risk{other, own}, More: 7, Unchecked: 900},
		},
		Silent: []fleet.Silence{{Node: "node-c", Why: "no answer"}},
	}}
	for _, c := range []struct {
		args string
		want []string
	}{
		{"", []string{"node-b  192.0.2.9:41000 (node)", "node-b  10.0.1.11:40001", "192.0.2.1:443", "both", "1h0m0s", "pod", "\nnode-a  shop/cart-1", "192.0.2.1:443 (db.example.com)", "7 more", "900 more lost an entry", "node-c"}},
		{"-n shop -o wide", []string{"GUARDED", "198.51.100.1:40000"}},
		{"-n shop -o name", []string{"connection/10.0.1.10:40000"}},
		{"--limit 1", []string{"9 more"}},
		{"-o json", []string{`"node": "node-b"`, `"host_network": true`, `"gone": "both"`, `"more": 7`, `"unchecked": 900`}},
		{"--sort-by .node -o custom-columns=POD:.source.pod", []string{"POD\ncart-1"}},
	} {
		var o nodeview.AtRisk
		cmd := &cobra.Command{}
		o.Register(cmd)
		if err := cmd.ParseFlags(strings.Fields(c.args)); err != nil {
			t.Fatal(err)
		}
		var out, errs bytes.Buffer
		if err := o.Run(t.Context(), src, &nodeview.Screen{Out: &out, Err: &errs}); err != nil {
			t.Errorf("%q: %v", c.args, err)
		}
		rest := out.String() + errs.String()
		for _, want := range c.want {
			_, after, found := strings.Cut(rest, want)
			if !found {
				t.Errorf("%q: no %q in\n%s%s", c.args, want, out.String(), errs.String())
				break
			}
			rest = after
		}
		if strings.Contains(out.String(), "\x1b") || strings.Contains(c.args, "shop") && strings.Contains(out.String(), "10.0.1.11") {
			t.Errorf("%q:\n%s", c.args, out.String())
		}
	}
}
