// SPDX-License-Identifier: Apache-2.0

package config_test

import (
	"fmt"
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
	if n.Title != "1 connection broken of test/Deployment/sample to api.example.com:443" || !strings.Contains(n.Text, "kubectl renat advise works out") {
		t.Errorf("title %q, text %q", n.Title, n.Text)
	}
}

// Everything that is wrong is found, with its line, and no secret is told.
func TestWrong(t *testing.T) {
	t.Setenv("RENAT_TEST_SECRET", "NotAKey-VerySecret")
	for name, c := range map[string]struct{ text, want string }{
		"empty":                {"", "line 1: there is no receiver"},
		"not YAML":             {"receivers: [", "line 1"},
		"unknown key":          {good + "    colour: red\n", `line 6: there is no key "colour" here`},
		"unknown top key":      {good + "routes: []\n", `line 6: there is no key "routes" here`},
		"unknown deep key":     {good + "      urll: x\n", `line 6: there is no key "urll" here; did you mean "url"?`},
		"letters swapped":      {good + "    group_wiat: 1s\n", `there is no key "group_wiat" here; did you mean "group_wait"?`},
		"not a secret":         {"receivers:\n- name: s\n  slack:\n    webhook_url: x\n", `there is no key "webhook_url" here; did you mean "webhook_url_from"?`},
		"Alertmanager's":       {good + "    slack_configs: []\n", `there is no key "slack_configs" here; did you mean "slack"?`},
		"Alertmanager's route": {"route: {}\n" + strings.TrimPrefix(good, "\n"), `line 1: there is no key "route" here: a receiver says itself`},
		"outcome":              {good + "    match: ['outcome=\"rest\"']\n", `line 6: matcher "outcome=\"rest\"": no outcome is like that, only reset, dropped, timeout, unconfirmed are`},
		"cause, negated":       {good + "    match: ['cause!~lru']\n", "no cause is like that, only lru_eviction"},
		"duration":             {good + "    group_wait: soon\n", "line 6: the value is not a duration like 10s"},
		"negative duration":    {good + "    group_wait: -1s\n", "line 6: group_wait is -1s"},
		"list":                 {good + "    match: cluster=x\n", "line 6: the value is not a list"},
		"matcher":              {good + "    match:\n      - cluster=x\n      - colour=red\n", `line 8: matcher "colour=red"`},
		"regexp":               {good + "    match: ['pod=~\"(\"']\n", "line 6: matcher"},
		"label":                {good + "    group_by: [node, zone]\n", `line 6: there is no label "zone"`},
		"template":             {good + "    title: '{{ .Nonsense }}'\n", "line 6: the template fails"},
		"template syntax":      {good + "    text: '{{ if }}'\n", "line 6: the template is wrong"},
		"threshold":            {good + "    threshold: {count: 0, within: 1m}\n", "line 6: a threshold"},
		"repeat":               {good + "    repeat_interval: 1m\n", "line 6: repeat_interval 1m0s is shorter"},
		"rate":                 {good + "    rate: {per_second: -1}\n", "line 6: per_second"},
		"name twice":           {good + strings.TrimPrefix(good, "\nreceivers:\n"), "line 6: there is another receiver"},
		"name":                 {strings.Replace(good, "ops", "'a.b'", 1), "line 3: the name"},
		"no destination":       {"receivers:\n  - name: x\n", "line 2: give a receiver one of"},
		"two destinations":     {good + "    alertmanager: {urls: ['http://a']}\n", "line 3: give a receiver one of"},
		"URL":                  {strings.Replace(good, "https://hooks.example/renat", "VerySecret", 1), "line 5: the URL"},
		"secret missing":       {good + "      secrets_from: [{env: RENAT_TEST_NONE}]\n", "line 6: set the environment variable RENAT_TEST_NONE"},
		"secret file":          {good + "      secrets_from:\n        - file: /nonexistent\n", "line 7: reading the secret"},
		"secret wrong":         {good + "      secrets_from: [{env: RENAT_TEST_SECRET}]\n", "line 6: a webhook secret"},
		"format":               {good + "      format: xml\n", `line 6: there is no format "xml"`},
		"CA":                   {good + "    http: {ca_file: /nonexistent}\n", "line 6: reading the CA file"},
		"slack channel":        {"receivers:\n- name: s\n  slack:\n    token_from: {env: RENAT_TEST_SECRET}\n    channel: '#ops'\n", "line 5: give the channel's id"},
		"slack nothing":        {"receivers:\n- name: s\n  slack: {}\n", "line 3: give slack either"},
		"slack secret URL":     {"receivers:\n- name: s\n  slack: {webhook_url_from: {env: RENAT_TEST_SECRET}}\n", "line 3: the URL"},
		"alertmanager":         {"receivers:\n- name: a\n  alertmanager:\n    urls: []\n    lifetime: 5s\n", "line 5: an alert's lifetime"},
		"events elsewhere":     {"receivers:\n- name: p\n  kubernetes_events: {api_url: 'https://k.example'}\n", "line 3: say where the secret is"},
		"events in no pod":     {"receivers:\n- name: p\n  kubernetes_events: {}\n", "reading the secret: open /var/run/secrets/kubernetes.io/serviceaccount/token"},
		"events of no pod":     {"receivers:\n- name: p\n  group_by: [namespace]\n  max_listed: 0\n  kubernetes_events: {}\n", "line 3: an Event is on one pod"},
		"inline secret":        {"receivers:\n- name: s\n  slack:\n    token_from: VerySecret\n", "line 4: the value is not a mapping"},
		"two documents":        {good + "---\n" + good, "one document"},
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

// Events are made for each pod and where it talked to, unless that is said
// otherwise, and without the files of a pod they can be checked.
func TestKubernetesEvents(t *testing.T) {
	c, err := config.Options{WithoutSecrets: true}.Parse([]byte("receivers:\n- name: pods\n  match: ['cluster=production']\n  kubernetes_events: {}\n"))
	if err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprint(c.Receivers[0].Rule.By); got != "[cluster namespace pod destination]" {
		t.Errorf("grouped by %s", got)
	}
	if p := c.Receivers[0].Policy; p.PerSecond != 2 || p.Burst != 20 {
		t.Errorf("policy %+v", p)
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
	if _, err := (config.Options{}).Load(path); err == nil || !strings.Contains(err.Error(), path) || !strings.Contains(err.Error(), "line 1: the value is not a list") {
		t.Errorf("Load = %v", err)
	}
}

// All that is wrong is told at once: keys, values and what they refer to.
func TestAllMistakesInOnePass(t *testing.T) {
	_, err := config.Parse([]byte(`receivers:
  - name: a.b
    colour: red
    group_wait: soon
    title: '{{ .Nonsense }}'
    webhook: {url: 'https://hooks.example/renat', secrets_from: [{env: RENAT_TEST_NONE}]}
  - name: am
    match: ['outcome=rest']
    alertmanager: {urls: 1}
`))
	if err == nil {
		t.Fatal("it is taken")
	}
	var lines []string
	for _, s := range strings.Split(err.Error(), "\n") {
		number, _, _ := strings.Cut(s, ":")
		lines = append(lines, number)
	}
	if got := strings.Join(lines, ", "); got != "line 2, line 3, line 4, line 5, line 6, line 8, line 9" {
		t.Errorf("%s of\n%v", got, err)
	}
}

// Paths are relative to the file, as Alertmanager has it, and the file can be
// checked where they lead to nothing.
func TestPathsAndSecrets(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "hub.yaml")
	write := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("hub.yaml", "receivers:\n- name: ops\n  http: {ca_file: ca.pem}\n  slack: {webhook_url_from: {file: slack-url}}\n")
	without := config.Options{WithoutSecrets: true}
	if _, err := without.Load(path); err != nil {
		t.Errorf("without secrets: %v", err)
	}
	_, err := config.Options{}.Load(path)
	for _, want := range []string{"line 3: reading the CA file: open " + filepath.Join(dir, "ca.pem"), "line 4: reading the secret: open " + filepath.Join(dir, "slack-url")} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got  %v\nwant %s", err, want)
		}
	}
	write("slack-url", "https://hooks.example/x")
	write("hub.yaml", "receivers:\n- name: ops\n  slack: {webhook_url_from: {file: slack-url}}\n")
	if _, err := (config.Options{}).Load(path); err != nil {
		t.Error(err)
	}
	write("hub.yaml", "receivers:\n- name: ops\n  slack: {webhook_url_from: {file: a, env: B}}\n")
	if _, err := without.Load(path); err == nil || !strings.Contains(err.Error(), "line 3: the secret is both in the file") {
		t.Errorf("without secrets: %v", err)
	}
}

// Where the page is known, a notification leads to its group's incidents.
func TestLink(t *testing.T) {
	for text, want := range map[string]string{
		good: "https://renat.example/x/incidents?cluster=test-cluster&destination=api.example.com%3A443&node=test-node&workload=test%2FDeployment%2Fsample",
		good + "    link: 'https://own.example/{{ .Group.ID }}'\n": "https://own.example/test",
		good + "    link: '{{ .Group.ID }}'\n":                     "https://renat.example/x/incidents?cluster=test-cluster&destination=api.example.com%3A443&node=test-node&workload=test%2FDeployment%2Fsample",
	} {
		c, err := config.Options{ExternalURL: "https://renat.example/x/"}.Parse([]byte(text))
		if err != nil {
			t.Fatal(err)
		}
		n := notification.Sample("ops", time.Now())
		c.Receivers[0].Rule.Render(n)
		if n.Link != want {
			t.Errorf("link %s, want %s", n.Link, want)
		}
	}
}
