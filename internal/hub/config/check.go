// SPDX-License-Identifier: Apache-2.0

package config

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/renat-project/renat/internal/hub/delivery"
	"github.com/renat-project/renat/internal/hub/grouping"
)

// checker collects what is wrong.
type checker struct {
	Options
	root *yaml.Node
	at   []any // keys and indexes that lead to what is checked
	errs []finding
	// unreadable are what YAML could not be read into: what is missing because of
	// it is not wrong, too.
	unreadable []finding
}

// finding is what is wrong in a line.
type finding struct {
	line int
	err  error
}

// err is everything that is wrong, by line; nil if nothing is.
func (c *checker) err() error {
	slices.SortStableFunc(c.errs, func(a, b finding) int { return cmp.Compare(a.line, b.line) })
	var all []error
	for _, f := range c.errs {
		all = append(all, fmt.Errorf("line %d: %w", f.line, f.err))
	}
	return errors.Join(all...)
}

// failTypes takes the YAML library's findings, each with its line, in our words;
// false if err is none of them.
func (c *checker) failTypes(err error) bool {
	var t *yaml.TypeError
	if !errors.As(err, &t) {
		return false
	}
	for _, s := range t.Errors {
		c.errs = append(c.errs, rephrase(s))
	}
	return true
}

// fail notes that something is wrong at the place that path leads to from c.at.
func (c *checker) fail(err error, path ...any) {
	if err == nil {
		return
	}
	line := c.line(path)
	if !slices.ContainsFunc(c.unreadable, func(f finding) bool { return f.line == line }) {
		c.errs = append(c.errs, finding{line, err})
	}
}

// line is that of the node which the path leads to, or of the last one on the
// way that is there.
func (c *checker) line(path []any) int {
	n := c.root
	if n.Kind == yaml.DocumentNode {
		n = n.Content[0]
	}
	line := max(n.Line, 1)
	for _, step := range append(append([]any{}, c.at...), path...) {
		next := child(n, step)
		if next == nil {
			break
		}
		n, line = next, next.Line
	}
	return line
}

func child(n *yaml.Node, step any) *yaml.Node {
	if n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	switch s := step.(type) {
	case int:
		if n.Kind == yaml.SequenceNode && s < len(n.Content) {
			return n.Content[s]
		}
	case string:
		for i := 0; n.Kind == yaml.MappingNode && i+1 < len(n.Content); i += 2 {
			if n.Content[i].Value == s {
				return n.Content[i+1]
			}
		}
	}
	return nil
}

const (
	defaultSince   = time.Hour
	defaultTimeout = 10 * time.Second
	maxListed      = 100
	maxThreshold   = 1000
	maxDuration    = 28 * 24 * time.Hour // states are kept for 31 days
)

var nameShape = regexp.MustCompile(`^[A-Za-z0-9_-]{1,64}$`)

func (c *checker) receiver(r *receiver) *Receiver {
	out := &Receiver{Name: r.Name, Fingerprint: fingerprint(r)}
	if !nameShape.MatchString(r.Name) {
		c.fail(errors.New(`the name of a receiver is 1 to 64 letters, digits, "-" or "_"`), "name")
	}
	out.Since = c.duration(r.Since, defaultSince, 0, "since")
	out.Timeout = c.duration(r.Timeout, defaultTimeout, 100*time.Millisecond, "timeout")
	if out.Timeout > time.Minute {
		c.fail(errors.New("a timeout is at most 1m"), "timeout")
	}
	out.Rule = c.rule(r)
	out.Policy = delivery.Policy{GiveUp: c.duration(r.GiveUpAfter, delivery.DefaultGiveUp, time.Second, "give_up_after"), PerSecond: 10, Burst: 10}
	switch {
	case r.Slack != nil:
		out.Policy.PerSecond, out.Policy.Burst = 1, 1 // what Slack allows a channel
	case r.Events != nil:
		out.Policy.PerSecond, out.Policy.Burst = 2, 20 // the API server has other work
	}
	if r.Rate != nil {
		out.Policy.PerSecond, out.Policy.Burst = r.Rate.PerSecond, cmp.Or(r.Rate.Burst, 1)
		if r.Rate.PerSecond <= 0 || r.Rate.PerSecond > 1000 || r.Rate.Burst < 0 {
			c.fail(errors.New("per_second is a number above 0, at most 1000, and burst is not negative"), "rate")
		}
	}
	out.Destination = c.destination(r, out.Timeout)
	out.Rule.Refresh = refresh(out.Destination)
	return out
}

func (c *checker) rule(r *receiver) grouping.Rule {
	rule := grouping.Rule{
		Receiver:   r.Name,
		By:         grouping.DefaultBy,
		Wait:       c.duration(r.GroupWait, grouping.DefaultWait, 10*time.Millisecond, "group_wait"),
		Interval:   c.duration(r.GroupInterval, grouping.DefaultInterval, 10*time.Millisecond, "group_interval"),
		Repeat:     c.duration(r.RepeatInterval, grouping.DefaultRepeat, 10*time.Millisecond, "repeat_interval"),
		Listed:     grouping.DefaultListed,
		MaxPending: grouping.DefaultMaxPending, MaxGroups: grouping.DefaultMaxGroups,
	}
	if rule.Repeat < rule.Interval {
		c.fail(fmt.Errorf("repeat_interval %s is shorter than group_interval %s", rule.Repeat, rule.Interval), "repeat_interval")
	}
	for n, s := range r.Match {
		m, err := grouping.ParseMatcher(s)
		c.fail(err, "match", n)
		rule.Match = append(rule.Match, m)
	}
	if r.Events != nil {
		rule.By = []grouping.Label{"cluster", "namespace", "pod", "destination"}
	}
	if r.GroupBy != nil {
		rule.By = []grouping.Label{}
	}
	for n, s := range r.GroupBy {
		if l := grouping.Label(s); l.Known() {
			rule.By = append(rule.By, l)
			continue
		}
		c.fail(fmt.Errorf("there is no label %q, only %s", s, grouping.Labels()), "group_by", n)
	}
	if r.MaxListed != nil {
		rule.Listed = *r.MaxListed
		if rule.Listed < 0 || rule.Listed > maxListed {
			c.fail(fmt.Errorf("max_listed is 0 to %d", maxListed), "max_listed")
		}
	}
	if t := r.Threshold; t != nil {
		rule.Threshold, rule.Within = t.Count, t.Within
		if t.Count < 1 || t.Count > maxThreshold || t.Within <= 0 || t.Within > time.Hour {
			c.fail(fmt.Errorf("a threshold has a count of 1 to %d, and within up to 1h", maxThreshold), "threshold")
		}
	}
	rule.Render = c.render(r)
	return rule
}

// duration returns d, or standard if it is zero.
func (c *checker) duration(d, standard, least time.Duration, key string) time.Duration {
	if d == 0 {
		return standard
	}
	if d < least || d > maxDuration {
		c.fail(fmt.Errorf("%s is %s, but must be from %s to %s", key, d, max(least, 0), maxDuration), key)
	}
	return d
}

func fingerprint(r *receiver) string {
	b, _ := json.Marshal(r) // of texts and numbers: cannot fail
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}
