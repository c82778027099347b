// SPDX-License-Identifier: Apache-2.0

package config

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// file is the shape of the YAML; docs/notifications.md explains each key.
type file struct {
	Receivers []receiver `yaml:"receivers"`
}

type receiver struct {
	Name           string        `yaml:"name"`
	Match          []string      `yaml:"match"`
	GroupBy        []string      `yaml:"group_by"`
	GroupWait      time.Duration `yaml:"group_wait"`
	GroupInterval  time.Duration `yaml:"group_interval"`
	RepeatInterval time.Duration `yaml:"repeat_interval"`
	Threshold      *threshold    `yaml:"threshold"`
	Since          time.Duration `yaml:"since"`
	MaxListed      *int          `yaml:"max_listed"`
	Title          string        `yaml:"title"`
	Text           string        `yaml:"text"`
	Link           string        `yaml:"link"`
	Timeout        time.Duration `yaml:"timeout"`
	GiveUpAfter    time.Duration `yaml:"give_up_after"`
	Rate           *rateLimit    `yaml:"rate"`
	HTTP           httpClient    `yaml:"http"`

	Webhook      *webhookDest      `yaml:"webhook"`
	Slack        *slackDest        `yaml:"slack"`
	Alertmanager *alertmanagerDest `yaml:"alertmanager"`
	Events       *eventsDest       `yaml:"kubernetes_events"`
}

type threshold struct {
	Count  int           `yaml:"count"`
	Within time.Duration `yaml:"within"`
}

type rateLimit struct {
	PerSecond float64 `yaml:"per_second"`
	Burst     int     `yaml:"burst"`
}

type httpClient struct {
	CAFile    string `yaml:"ca_file"`
	CertFile  string `yaml:"cert_file"`
	KeyFile   string `yaml:"key_file"`
	ProxyURL  string `yaml:"proxy_url"`
	ProxyFrom secret `yaml:"proxy_url_from"`
}

type webhookDest struct {
	URL     string   `yaml:"url"`
	URLFrom secret   `yaml:"url_from"`
	Format  string   `yaml:"format"`
	Secrets []secret `yaml:"secrets_from"`
}

type slackDest struct {
	WebhookFrom secret `yaml:"webhook_url_from"`
	TokenFrom   secret `yaml:"token_from"`
	Channel     string `yaml:"channel"`
	APIURL      string `yaml:"api_url"`
}

type alertmanagerDest struct {
	URLs         []string          `yaml:"urls"`
	Username     string            `yaml:"username"`
	PasswordFrom secret            `yaml:"password_from"`
	BearerFrom   secret            `yaml:"bearer_token_from"`
	Labels       map[string]string `yaml:"labels"`
	Lifetime     time.Duration     `yaml:"lifetime"`
}

type eventsDest struct {
	APIURL    string `yaml:"api_url"`
	TokenFrom secret `yaml:"token_from"`
}

// secret says where a secret is.
type secret struct {
	File string `yaml:"file"`
	Env  string `yaml:"env"`
}

// in returns the secret with its file relative to a folder.
func (s secret) in(dir string) secret {
	s.File = within(dir, s.File)
	return s
}

// within returns a path relative to a folder; one that is not set stays so.
func within(dir, path string) string {
	if path == "" || filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(dir, path)
}

func (s secret) set() bool { return s.File != "" || s.Env != "" }

// maxSecret bounds a secret's file, in bytes.
const maxSecret = 64 << 10

// where says what is wrong with where the secret is said to be; nil if nothing is.
func (s secret) where() error {
	switch {
	case s.File != "" && s.Env != "":
		return fmt.Errorf("the secret is both in the file %s and in the variable %s: give one", s.File, s.Env)
	case !s.set():
		return errors.New("say where the secret is: {file: PATH} or {env: NAME}")
	}
	return nil
}

// value reads the secret. The error names where it is, and never repeats it.
func (s secret) value() (string, error) {
	if err := s.where(); err != nil {
		return "", err
	}
	if s.Env != "" {
		v := strings.TrimSpace(os.Getenv(s.Env))
		if v == "" {
			return "", fmt.Errorf("set the environment variable %s: the secret is to be there", s.Env)
		}
		return v, nil
	}
	b, err := os.ReadFile(s.File)
	if err != nil {
		return "", fmt.Errorf("reading the secret: %w", err)
	}
	v := strings.TrimSpace(string(b))
	if v == "" || len(b) > maxSecret {
		return "", fmt.Errorf("the secret in the file %s is empty or larger than %d bytes", s.File, maxSecret)
	}
	return v, nil
}

var (
	unknownField = regexp.MustCompile(`^line (\d+): field (\S+) not found in type config\.(\S+)$`)
	wrongType    = regexp.MustCompile("^line (\\d+): cannot unmarshal (\\S+) (?:`.*` )?into (\\S+)$")
	otherwise    = regexp.MustCompile(`^line (\d+): (.*)$`)
)

// rephrase turns the YAML library's words, which name Go types and may repeat
// what is secret, into a user's.
func rephrase(s string) finding {
	say := func(line, format string, args ...any) finding {
		n, _ := strconv.Atoi(line) // of digits
		return finding{n, fmt.Errorf(format, args...)}
	}
	if m := unknownField.FindStringSubmatch(s); m != nil {
		return say(m[1], "there is no key %q here%s", m[2], meant(m[2], m[3]))
	}
	if m := wrongType.FindStringSubmatch(s); m != nil {
		return say(m[1], "the value is not %s", kind(m[3]))
	}
	if m := otherwise.FindStringSubmatch(s); m != nil {
		return say(m[1], "%s", m[2])
	}
	return say("1", "%s", s)
}

func kind(goType string) string {
	switch {
	case goType == "time.Duration":
		return "a duration like 10s, 5m or 4h"
	case goType == "int", goType == "float64":
		return "a number"
	case goType == "string":
		return "a text"
	case strings.HasPrefix(goType, "[]"):
		return "a list"
	}
	return "a mapping of keys to values"
}
