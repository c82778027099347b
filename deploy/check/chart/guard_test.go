// SPDX-License-Identifier: Apache-2.0

package chart

import (
	"fmt"
	"testing"
)

// TestChartGuardsOneNode installs it twice in a namespace, as docs/guard.md does:
// no object has the name of another, and each node gets one agent.
func TestChartGuardsOneNode(t *testing.T) {
	const values = image + "natsClient: {url: \"nats://nats.example:4222\"}\n" + monitoring
	all := mustRender(t, standard, values+`
agent: {affinity: {nodeAffinity: {requiredDuringSchedulingIgnoredDuringExecution: {nodeSelectorTerms: [{matchExpressions: [{key: renat-guard, operator: DoesNotExist}]}]}}}}`)
	second := standard
	second.name = "renat-guard"
	one := mustRender(t, second, values+`
hub: {enabled: false}
agent: {guard: {enabled: true}, nodeSelector: {renat-guard: try}}`)
	names := map[string]bool{}
	for _, r := range []*release{all, one} {
		for _, o := range r.objects {
			name := fmt.Sprint(o.kind(), " ", o.at("metadata", "namespace"), "/", o.name())
			if names[name] {
				t.Errorf("both have the %s", name)
			}
			names[name] = true
		}
	}
	spec := one.find("DaemonSet", "agent").at("spec", "template", "spec")
	if got := at(spec, "nodeSelector", "renat-guard"); got != "try" {
		t.Errorf("the second runs where renat-guard is %v", got)
	}
	if at(all.find("DaemonSet", "agent").at("spec", "template", "spec"), "affinity", "nodeAffinity") == nil {
		t.Error("the first runs there, too")
	}
}
