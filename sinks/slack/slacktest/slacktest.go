// SPDX-License-Identifier: Apache-2.0

// Package slacktest is a stand-in for Slack: incoming webhooks and the two
// methods of the Web API that renat uses, with the limits that Slack documents
// (docs.slack.dev/reference/block-kit/blocks, docs.slack.dev/apis/web-api/rate-limits).
// All of a Server is safe for concurrent use.
package slacktest

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"time"
	"unicode/utf8"
)

// What the stand-in knows.
const (
	WebhookPath = "/services/T00000000/B00000000/XXXXXXXXXXXXXXXXXXXXXXXX"
	Token       = "xoxb-0000-stand-in" //nolint:gosec // of a stand-in
	Channel     = "C0123456789"
)

// Message is one that Slack would show.
type Message struct {
	Channel, TS, Thread, Text string
	Blocks                    []Block
	Metadata                  string
	// Updates is how often it was updated.
	Updates int
}

// Block is what the stand-in looks at in a block.
type Block struct {
	Type     string
	Text     *Text
	Fields   []Text
	Elements []Text
}

// Text is a text object.
type Text struct{ Type, Text string }

// Server is the stand-in.
type Server struct {
	*httptest.Server
	// Every is the least time between two messages to a channel; 0: any.
	Every time.Duration

	mu       sync.Mutex
	messages []*Message
	last     time.Time
	limited  int
}

// New starts a stand-in.
func New() *Server {
	s := &Server{}
	mux := http.NewServeMux()
	mux.HandleFunc("POST "+WebhookPath, s.webhook)
	mux.HandleFunc("POST /api/chat.postMessage", s.api(s.post))
	mux.HandleFunc("POST /api/chat.update", s.api(s.update))
	s.Server = httptest.NewServer(mux)
	return s
}

// Messages returns what was posted, and how many requests were refused for
// coming too fast.
func (s *Server) Messages() (all []Message, limited int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, m := range s.messages {
		all = append(all, *m)
	}
	return all, s.limited
}

// Forget removes the messages, as somebody in the channel may.
func (s *Server) Forget() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.messages = nil
}

// tooFast answers 429 if it is.
func (s *Server) tooFast(w http.ResponseWriter) bool {
	now := time.Now()
	if wait := s.last.Add(s.Every).Sub(now); wait > 0 {
		s.limited++
		w.Header().Set("Retry-After", fmt.Sprint(int(wait.Seconds())+1))
		w.WriteHeader(http.StatusTooManyRequests)
		return true
	}
	s.last = now
	return false
}

func (s *Server) webhook(w http.ResponseWriter, r *http.Request) {
	var m Message
	if err := json.NewDecoder(r.Body).Decode(&m); err != nil {
		http.Error(w, "invalid_payload", http.StatusBadRequest)
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.tooFast(w) {
		return
	}
	if why := check(&m); why != "" {
		http.Error(w, why, http.StatusBadRequest)
		return
	}
	s.messages = append(s.messages, &m)
	fmt.Fprint(w, "ok")
}

func (s *Server) api(method func(Message) map[string]any) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if err := r.ParseForm(); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		m := Message{Channel: r.Form.Get("channel"), TS: r.Form.Get("ts"), Thread: r.Form.Get("thread_ts"), Text: r.Form.Get("text"), Metadata: r.Form.Get("metadata")}
		s.mu.Lock()
		defer s.mu.Unlock()
		answer := map[string]any{"ok": false}
		switch {
		case r.Form.Get("token") != Token && r.Header.Get("Authorization") != "Bearer "+Token:
			answer["error"] = "invalid_auth"
		case m.Channel != Channel:
			answer["error"] = "channel_not_found"
		case r.Form.Get("blocks") != "" && json.Unmarshal([]byte(r.Form.Get("blocks")), &m.Blocks) != nil:
			answer["error"] = "invalid_blocks_format"
		case s.tooFast(w):
			return
		default:
			if why := check(&m); why != "" {
				answer["error"] = why
			} else {
				answer = method(m)
			}
		}
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(answer) // the client has gone
	}
}

func (s *Server) post(m Message) map[string]any {
	m.TS = fmt.Sprintf("%d.%06d", time.Now().Unix(), len(s.messages))
	s.messages = append(s.messages, &m)
	return map[string]any{"ok": true, "channel": m.Channel, "ts": m.TS}
}

func (s *Server) update(m Message) map[string]any {
	for _, old := range s.messages {
		if old.TS == m.TS {
			m.Updates = old.Updates + 1
			*old = m
			return map[string]any{"ok": true, "channel": m.Channel, "ts": m.TS, "text": m.Text}
		}
	}
	return map[string]any{"ok": false, "error": "message_not_found"}
}

// check returns Slack's error code for a message beyond the limits.
func check(m *Message) string {
	if m.Text == "" && len(m.Blocks) == 0 {
		return "no_text"
	}
	if utf8.RuneCountInString(m.Text) > 40_000 {
		return "msg_too_long"
	}
	if len(m.Blocks) > 50 {
		return "invalid_blocks"
	}
	for _, b := range m.Blocks {
		if !b.valid() {
			return "invalid_blocks"
		}
	}
	return ""
}

func (b *Block) valid() bool {
	ok := func(t *Text, limit int, types ...string) bool {
		n := utf8.RuneCountInString(t.Text)
		return n >= 1 && n <= limit && strings.Contains(strings.Join(types, " "), t.Type) && utf8.ValidString(t.Text)
	}
	switch b.Type {
	case "header":
		return b.Text != nil && ok(b.Text, 150, "plain_text")
	case "section":
		if b.Text == nil && len(b.Fields) == 0 || len(b.Fields) > 10 || b.Text != nil && !ok(b.Text, 3000, "plain_text", "mrkdwn") {
			return false
		}
		for n := range b.Fields {
			if !ok(&b.Fields[n], 2000, "plain_text", "mrkdwn") {
				return false
			}
		}
		return true
	case "context":
		for n := range b.Elements {
			if !ok(&b.Elements[n], 2000, "plain_text", "mrkdwn") {
				return false
			}
		}
		return len(b.Elements) >= 1 && len(b.Elements) <= 10
	}
	return b.Type == "divider"
}
