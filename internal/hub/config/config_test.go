// SPDX-License-Identifier: Apache-2.0

package config_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/renat-project/renat/internal/hub/config"
	"github.com/renat-project/renat/sinks/notification"
)

const good = `
receivers:
  - name: ops
    webhook:
      url: https://hooks.example/renat
`

func TestDefaults(t *testing.T) {
	c, err := config.Parse([]byte(good))
	if err != nil {
		t.Fatal(err)
	}
	r := c.Receivers[0]
	if r.Rule.Wait != 10*time.Second || r.Rule.Interval != 5*time.Minute || r.Rule.Repeat != 4*time.Hour || len(r.Rule.By) != 4 || r.Rule.Threshold != 0 {
		t.Errorf("rule %+v", r.Rule)
	}
	n := notification.Sample("ops", time.Now())
	n.Reason = notification.New
	r.Rule.Render(n)
	if n.Title != "1 connection broken of test/Deployment/sample to api.example.com:443" || !strings.Contains(n.Text, "bpf-nat-global-max") {
		t.Errorf("title %q, text %q", n.Title, n.Text)
	}
}

// Everything that is wrong is found, with its line, and no secret is told.
func TestWrong(t *testing.T) {
	t.Setenv("RENAT_TEST_SECRET", "NotAKey-VerySecret")
	for name, c := range map[string]struct{ text, want string }{
		"empty":             {"", "line 1: there is no receiver"},
		"not YAML":          {"receivers: [", "line 1"},
		"unknown key":       {good + "    colour: red\n", `line 6: there is no key "colour" here`},
		"unknown top key":   {good + "routes: []\n", `line 6: there is no key "routes" here`},
		"unknown deep key":  {good + "      urll: x\n", `line 6: there is no key "urll" here`},
		"duration":          {good + "    group_wait: soon\n", "line 6: the value is not a duration like 10s"},
		"negative duration": {good + "    group_wait: -1s\n", "line 6: group_wait is -1s"},
		"list":              {good + "    match: cluster=x\n", "line 6: the value is not a list"},
		"matcher":           {good + "    match:\n      - cluster=x\n      - colour=red\n", `line 8: matcher "colour=red"`},
		"regexp":            {good + "    match: ['pod=~\"(\"']\n", "line 6: matcher"},
		"label":             {good + "    group_by: [node, zone]\n", `line 6: there is no label "zone"`},
		"template":          {good + "    title: '{{ .Nonsense }}'\n", "line 6: the template fails"},
		"template syntax":   {good + "    text: '{{ if }}'\n", "line 6: the template is wrong"},
		"threshold":         {good + "    threshold: {count: 0, within: 1m}\n", "line 6: a threshold"},
		"repeat":            {good + "    repeat_interval: 1m\n", "line 6: repeat_interval 1m0s is shorter"},
		"rate":              {good + "    rate: {per_second: -1}\n", "line 6: per_second"},
		"name twice":        {good + strings.TrimPrefix(good, "\nreceivers:\n"), "line 6: there is another receiver"},
		"name":              {strings.Replace(good, "ops", "'a.b'", 1), "line 3: the name"},
		"no destination":    {"receivers:\n  - name: x\n", "line 2: give a receiver one of"},
		"two destinations":  {good + "    alertmanager: {urls: ['http://a']}\n", "line 3: give a receiver one of"},
		"URL":               {strings.Replace(good, "https://hooks.example/renat", "VerySecret", 1), "line 5: the URL"},
		"secret missing":    {good + "      secrets_from: [{env: RENAT_TEST_NONE}]\n", "line 6: set the environment variable RENAT_TEST_NONE"},
		"secret file":       {good + "      secrets_from:\n        - file: /nonexistent\n", "line 7: reading the secret"},
		"secret wrong":      {good + "      secrets_from: [{env: RENAT_TEST_SECRET}]\n", "line 6: a webhook secret"},
		"format":            {good + "      format: xml\n", `line 6: there is no format "xml"`},
		"CA":                {good + "    http: {ca_file: /nonexistent}\n", "line 6: reading the CA file"},
		"slack channel":     {"receivers:\n- name: s\n  slack:\n    token_from: {env: RENAT_TEST_SECRET}\n    channel: '#ops'\n", "line 5: give the channel's id"},
		"slack nothing":     {"receivers:\n- name: s\n  slack: {}\n", "line 3: give slack either"},
		"slack secret URL":  {"receivers:\n- name: s\n  slack: {webhook_url_from: {env: RENAT_TEST_SECRET}}\n", "line 3: the URL"},
		"alertmanager":      {"receivers:\n- name: a\n  alertmanager:\n    urls: []\n    lifetime: 5s\n", "line 5: an alert's lifetime"},
		"inline secret":     {"receivers:\n- name: s\n  slack:\n    token_from: VerySecret\n", "line 4: the value is not a mapping"},
		"two documents":     {good + "---\n" + good, "one document"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := config.Parse([]byte(c.text))
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Fatalf("got  %v\nwant %s", err, c.want)
			}
			if strings.Contains(err.Error(), "VerySecret") {
				t.Errorf("the error tells a secret: %v", err)
			}
		})
	}
}

// A template cannot be broken out of by what an incident holds.
func TestTemplateIsNotInjected(t *testing.T) {
	c, err := config.Parse([]byte(good + "    title: '{{ .Group.Labels.node }}'\n    link: 'https://x.example/{{ .Group.ID }}'\n"))
	if err != nil {
		t.Fatal(err)
	}
	n := notification.Sample("ops", time.Now())
	n.Group.Labels["node"] = "{{ .Receiver }}\r\nX: y"
	c.Receivers[0].Rule.Render(n)
	if n.Title != "{{ .Receiver }}  X: y" || n.Link != "https://x.example/test" {
		t.Errorf("title %q, link %q", n.Title, n.Link)
	}
	n.Group.ID = "a b\nc"
	n.Incidents = nil
	c.Receivers[0].Rule.Render(n)
}

func TestLoadNamesTheFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "hub.yaml")
	if err := os.WriteFile(path, []byte("receivers: 1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := config.Load(path); err == nil || !strings.Contains(err.Error(), path) || !strings.Contains(err.Error(), "line 1: the value is not a list") {
		t.Errorf("Load = %v", err)
	}
}
