// SPDX-License-Identifier: Apache-2.0

package slack_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/renat-project/renat/sinks/notification"
	"github.com/renat-project/renat/sinks/sinktest"
	"github.com/renat-project/renat/sinks/slack"
	"github.com/renat-project/renat/sinks/slack/slacktest"
)

func text(s string) func() (string, error) { return func() (string, error) { return s, nil } }

func bot(url string, client *http.Client) *slack.Slack {
	return slack.New(slack.Config{Token: text(slacktest.Token), Channel: slacktest.Channel, API: url + "/api/", Client: client})
}

func incoming(url string, client *http.Client) *slack.Slack {
	return slack.New(slack.Config{Webhook: text(url + slacktest.WebhookPath), Client: client})
}

func TestConformance(t *testing.T) {
	for name, d := range map[string]func(string, *http.Client) *slack.Slack{"bot": bot, "incoming webhook": incoming} {
		t.Run(name, func(t *testing.T) {
			sinktest.Run(t, func(_ *testing.T, url string, client *http.Client) (notification.Destination, []string) {
				client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
				return d(url, client), []string{slacktest.WebhookPath, "XXXXXXXX", slacktest.Token}
			}, func(w http.ResponseWriter, _ *http.Request) {
				fmt.Fprint(w, `{"ok":true,"channel":"C0123456789","ts":"1.2"}`)
			})
		})
	}
}

// With a bot token a group is one message, updated and with a thread.
func TestUpdateAndThread(t *testing.T) {
	server := slacktest.New()
	defer server.Close()
	s := bot(server.URL, server.Client())
	n := notification.Sample("ops", time.Now())
	n.Reason = notification.New
	if err := s.Send(t.Context(), n); err != nil {
		t.Fatal(err)
	}
	n.Reason, n.Group.Total, n.Title = notification.Update, 8, "8 connections broken"
	if err := s.Send(t.Context(), n); err != nil {
		t.Fatal(err)
	}
	all, _ := server.Messages()
	if len(all) != 2 || all[0].Updates != 1 || all[0].Text != "8 connections broken" || all[1].Thread != all[0].TS {
		t.Fatalf("messages %+v", all)
	}
	if !strings.Contains(all[0].Metadata, n.ID) {
		t.Errorf("metadata %q has no id", all[0].Metadata)
	}
	n.Reason = notification.Repeat
	if err := s.Send(t.Context(), n); err != nil {
		t.Fatal(err)
	}
	if all, _ = server.Messages(); len(all) != 3 || all[2].Thread != "" {
		t.Errorf("a repeated one is not posted anew: %+v", all)
	}
	server.Forget()
	n.Reason = notification.Update
	if err := s.Send(t.Context(), n); err != nil {
		t.Fatal(err)
	}
	if all, _ = server.Messages(); len(all) != 1 || all[0].Thread != "" {
		t.Errorf("one that was removed is not posted anew: %+v", all)
	}
}

// A message says since when in the reader's zone, what to run and where to look.
func TestMessage(t *testing.T) {
	server := slacktest.New()
	defer server.Close()
	n := notification.Sample("ops", time.Date(2026, 11, 22, 22, 51, 29, 777e6, time.UTC))
	n.Link = "https://renat.example/incidents?node=test-node"
	if err := incoming(server.URL, server.Client()).Send(t.Context(), n); err != nil {
		t.Fatal(err)
	}
	all, _ := server.Messages()
	var b strings.Builder
	for _, block := range all[0].Blocks {
		if block.Text != nil {
			b.WriteString(block.Text.Text + "\n")
		}
		for _, f := range block.Fields {
			b.WriteString(f.Text + "\n")
		}
	}
	for _, want := range []string{
		n.Title, n.Text, "Since <!date^1795387889^{date_short_pretty} {time_secs}|2026-11-22 22:51:29 UTC>", "```kubectl renat advise```",
		"<https://renat.example/incidents?node=test-node|Show the incidents>", "RenatEvictionsBreakConnections.md|Runbook>",
		"2026-11-22 22:51:29.777 UTC test/sample-0:40000", "incident\n" + n.Incidents[0].ID,
	} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("it does not say %q:\n%s", want, b.String())
		}
	}
}

// ownDate is markup of ours: a date has no text of others.
var ownDate = regexp.MustCompile(`<!date\^\d+\^\{date_short_pretty\} \{time_secs\}\|[0-9:UTC -]+>`)

// Whatever a cluster's names hold is within the limits and harmless.
func TestHostileNames(t *testing.T) {
	server := slacktest.New()
	defer server.Close()
	evil := strings.Repeat("<!channel> <@U1> <http://evil|click> *b* `c` & :bomb: \r\n\x00\u202e{{.}} \xff ünïcödé ", 200)
	for name, s := range map[string]*slack.Slack{"bot": bot(server.URL, server.Client()), "webhook": incoming(server.URL, server.Client())} {
		server.Forget()
		n := notification.Sample("ops", time.Now())
		n.Reason = notification.New
		n.Title, n.Text, n.Link, n.Fetch.Subject = evil, evil, "https://x.example/?q=<!here>&a=b", evil
		for k := range n.Group.Labels {
			n.Group.Labels[k] = evil
		}
		n.Group.Names = append(n.Group.Names, slices.Repeat([]string{"node"}, 20)...)
		i := n.Incidents[0].Incident
		i.Source.Pod, i.NAT.Before = evil, evil
		n.Incidents = slices.Repeat(n.Incidents, 100)
		n.Count, n.More = 100_000, 99_900
		for _, reason := range []notification.Reason{notification.New, notification.Update} {
			n.Reason = reason
			if err := s.Send(t.Context(), n); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
		}
		all, _ := server.Messages()
		for _, m := range all {
			inMarkup := m.Text
			for _, b := range m.Blocks {
				if b.Text != nil && b.Text.Type == "mrkdwn" {
					inMarkup += b.Text.Text
				}
				for _, f := range slices.Concat(b.Fields, b.Elements) {
					if f.Type == "mrkdwn" {
						inMarkup += f.Text
					}
				}
			}
			inMarkup = ownDate.ReplaceAllString(inMarkup, "")
			if strings.Contains(inMarkup, "<!") || strings.Contains(inMarkup, "<@") || strings.Contains(inMarkup, "<http://") {
				t.Errorf("%s: markup is left in %q", name, inMarkup)
			}
			if b, _ := json.Marshal(m); strings.Contains(string(b), `\u0000`) || strings.Contains(string(b), "\u202e") {
				t.Errorf("%s: control characters are left", name)
			}
		}
	}
}

func TestErrors(t *testing.T) {
	server := slacktest.New()
	defer server.Close()
	for _, c := range []struct {
		token, channel, say string
		permanent           bool
	}{
		{"xoxb-wrong", slacktest.Channel, "chat:write", false},
		{slacktest.Token, "C999", "invite the bot", true},
	} {
		s := slack.New(slack.Config{Token: text(c.token), Channel: c.channel, API: server.URL + "/api/", Client: server.Client()})
		err := s.Send(t.Context(), notification.Sample("ops", time.Now()))
		if err == nil || !strings.Contains(err.Error(), c.say) || notification.Permanent(err) != c.permanent || strings.Contains(err.Error(), c.token) {
			t.Errorf("Send = %v", err)
		}
	}
}
