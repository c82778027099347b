// SPDX-License-Identifier: Apache-2.0

package slack

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	slackapi "github.com/slack-go/slack"

	"github.com/renat-project/renat/correlator/incident"
	"github.com/renat-project/renat/sinks/notification"
)

// Slack's limits in characters (docs.slack.dev/reference/block-kit/blocks).
// They are kept in bytes, of which there are never fewer.
const (
	maxHeader  = 150
	maxSection = 3000
	maxField   = 2000
	maxFields  = 10
	// maxText is what Slack recommends for a message's own text.
	maxText = 4000
	// shown incidents are a line each.
	shown = 5
	// maxShown bounds one such line, maxURL that of a link.
	maxShown = 300
	maxURL   = 1500
)

// blocks is what broke, since when, who, where, how many, from which port to
// which, what to run, and where to look.
func blocks(n *notification.Notification) []slackapi.Block {
	b := []slackapi.Block{
		slackapi.NewHeaderBlock(plain(n.Title, maxHeader)),
		section(n.Text),
		markup("Since " + date(n.Group.First) + ", last " + date(n.Group.Last)),
	}
	if n.Verdict.Action != "" {
		b = append(b, markup("```"+escape(notification.Line(n.Verdict.Action))+"```")) // one line to copy
	}
	var fields []*slackapi.TextBlockObject
	for _, name := range n.Group.Names {
		if v := n.Group.Labels[name]; v != "" && len(fields) < maxFields-1 {
			fields = append(fields, plain(name+"\n"+notification.Line(v), maxField))
		}
	}
	fields = append(fields, plain("incidents\n"+howMany(n), maxField))
	if n.Group.Incident != "" && len(fields) < maxFields {
		fields = append(fields, plain("incident\n"+notification.Line(n.Group.Incident), maxField))
	}
	b = append(b, slackapi.NewSectionBlock(nil, fields, nil))
	if lines := list(n); lines != "" {
		b = append(b, section(lines))
	}
	if links := strings.TrimSpace(link(n.Link, "Show the incidents") + "   " + link(n.Verdict.Runbook, "Runbook")); links != "" {
		b = append(b, markup(links))
	}
	footer := fmt.Sprintf("stream %s, %s, sequences %d–%d · notification %s", n.Fetch.Stream, n.Fetch.Subject, n.Fetch.First, n.Fetch.Last, n.ID)
	return append(b, slackapi.NewContextBlock("", plain(footer, maxField)))
}

// link is one with a text: what would end it is escaped, or it is left out.
func link(target, text string) string {
	target = escape(notification.Line(target))
	if target == "" || len(target) > maxURL || strings.ContainsAny(target, "| ") {
		return ""
	}
	return "<" + target + "|" + text + ">"
}

// date is a time that Slack shows in the reader's zone and language
// (docs.slack.dev/messaging/formatting-message-text, date formatting).
func date(t time.Time) string {
	return fmt.Sprintf("<!date^%d^{date_short_pretty} {time_secs}|%s>", t.Unix(), notification.Date(t))
}

// markup is what of a message is not plain text: dates, links, and the command.
func markup(text string) slackapi.Block {
	return slackapi.NewSectionBlock(slackapi.NewTextBlockObject(slackapi.MarkdownType, text, false, false), nil, nil)
}

func howMany(n *notification.Notification) string {
	if n.Group.Total > n.Count {
		return fmt.Sprintf("%d new, %d since %s", n.Count, n.Group.Total, notification.Date(n.Group.Began))
	}
	return strconv.Itoa(n.Count)
}

// list names the first incidents, a line each.
func list(n *notification.Notification) string {
	var b strings.Builder
	for i, item := range n.Incidents {
		if i == shown {
			break
		}
		b.WriteString(notification.Cut(notification.Line(line(item.Incident)), maxShown) + "\n")
	}
	if more := n.Count - min(len(n.Incidents), shown); more > 0 {
		fmt.Fprintf(&b, "and %d more", more)
	}
	return strings.TrimSpace(b.String())
}

// line is when, who to whom, and the old port and the new.
func line(i *incident.Incident) string {
	who := i.Source.AddrPort().String()
	if i.Source.Pod != "" {
		who = i.Source.Namespace + "/" + i.Source.Pod + ":" + strconv.Itoa(int(i.Source.Port))
	}
	ports := i.NAT.Before + " → " + i.NAT.After
	if i.NAT.After == "" {
		ports = i.NAT.Before + ", reply orphaned"
	}
	return fmt.Sprintf("%s %s → %s  (%s) %s", i.Time.UTC().Format("2006-01-02 15:04:05.000 UTC"), who, i.Destination.AddrPort(), ports, i.Outcome)
}

// reply is what the thread of a message says of an update.
func reply(n *notification.Notification) string {
	return notification.Cut(escape(fmt.Sprintf("%d more, %d in total\n%s", n.Count, n.Group.Total, list(n))), maxText)
}

// fallback is the message's text: what notifications on a screen show.
func fallback(n *notification.Notification) string {
	return notification.Cut(escape(notification.Line(n.Title)), maxText)
}

func section(text string) slackapi.Block {
	return slackapi.NewSectionBlock(plain(text, maxSection), nil, nil)
}

// plain is text that Slack shows as it is: no markup, no emoji, no mentions.
func plain(text string, limit int) *slackapi.TextBlockObject {
	text = strings.TrimSpace(notification.Cut(notification.Lines(text), limit))
	if text == "" {
		text = "–" // Slack refuses an empty text
	}
	return slackapi.NewTextBlockObject(slackapi.PlainTextType, text, false, false)
}

// escape makes text harmless in Slack's mrkdwn: without "<" there is neither
// a link nor a mention (docs.slack.dev/messaging/formatting-message-text).
func escape(text string) string {
	return strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;").Replace(text)
}
