// SPDX-License-Identifier: Apache-2.0

package grouping

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/renat-project/renat/correlator/incident"
)

// Matcher selects incidents by one label.
type Matcher struct {
	label   Label
	negated bool
	equal   string
	like    *regexp.Regexp // instead of equal
}

var matcherShape = regexp.MustCompile(`^\s*([a-z_]+)\s*(=~|!~|!=|=)\s*(.*?)\s*$`)

// ParseMatcher reads what Alertmanager's matchers look like: label="value",
// with = != =~ or !~; the quotes may be left out. A regular expression must
// match the whole value.
func ParseMatcher(s string) (Matcher, error) {
	m := matcherShape.FindStringSubmatch(s)
	if m == nil {
		return Matcher{}, fmt.Errorf("matcher %q is not of the form label=value, with = != =~ or !~", s)
	}
	out := Matcher{label: Label(m[1]), negated: m[2][0] == '!', equal: m[3]}
	if !out.label.Known() {
		return out, fmt.Errorf("matcher %q: there is no label %q, only %s", s, m[1], strings.Join(Labels(), ", "))
	}
	if strings.HasPrefix(m[3], `"`) {
		value, err := strconv.Unquote(m[3])
		if err != nil {
			return out, fmt.Errorf("matcher %q: the quotes are wrong", s)
		}
		out.equal = value
	}
	if strings.HasSuffix(m[2], "~") {
		like, err := regexp.Compile("^(?s:" + out.equal + ")$")
		if err != nil {
			return out, fmt.Errorf("matcher %q: %w", s, err)
		}
		out.like = like
	}
	if all, few := values[out.label]; few && !slices.ContainsFunc(all, out.takes) {
		return out, fmt.Errorf("matcher %q: no %s is like that, only %s are", s, m[1], strings.Join(all, ", "))
	}
	return out, nil
}

// takes reports whether the value is the matcher's, negated or not.
func (m Matcher) takes(value string) bool {
	if m.like != nil {
		return m.like.MatchString(value)
	}
	return value == m.equal
}

// Matches reports whether i is selected.
func (m Matcher) Matches(i *incident.Incident) bool {
	return m.takes(m.label.Of(i)) != m.negated
}
