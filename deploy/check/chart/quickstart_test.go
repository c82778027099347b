// SPDX-License-Identifier: Apache-2.0

package chart

import (
	"os"
	"strings"
	"testing"
)

// The values that docs/quickstart.md adds up are right together, with each of
// the ways to a NATS, and the hub finds Slack's secret where they say.
func TestQuickStart(t *testing.T) {
	page, err := os.ReadFile("../../../docs/quickstart.md")
	if err != nil {
		t.Fatal(err)
	}
	blocks := block.FindAllStringSubmatch(string(page), -1)
	if len(blocks) != 2 {
		t.Fatalf("%d blocks of values, want those of the installation and those of Slack", len(blocks))
	}
	agents, slack := blocks[0][1], blocks[1][1]
	if _, err := render(standard, agents); err != nil {
		t.Error(err)
	}
	for _, nats := range []string{
		`natsClient: {url: "nats://nats.example:4222", credentials: {secretName: renat-agents}}`,
		"nats: {enabled: true}\nnetworkPolicy: {enabled: true}",
	} {
		r, err := render(standard, agents+slack+nats)
		if err != nil {
			t.Errorf("%s: %v", nats, err)
			continue
		}
		var all strings.Builder
		for _, content := range r.files {
			all.WriteString(content)
		}
		for _, want := range []string{"file: /etc/renat/secrets/slack/url", "mountPath: /etc/renat/secrets/slack", `secretName: "renat-slack"`} {
			if !strings.Contains(all.String(), want) {
				t.Errorf("%s: the manifests lack %q", nats, want)
			}
		}
	}
}
