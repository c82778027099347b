// SPDX-License-Identifier: Apache-2.0

package jetstream

import (
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
)

// schemes are those the NATS client dials.
var schemes = []string{"nats", "tls", "ws", "wss"}

// parseURLs splits a comma-separated list of server URLs. dial is for the
// client; shown is the same list without user, password or token, for people.
// No error repeats the input: it may hold a password.
func parseURLs(list string) (dial, shown string, err error) {
	var dials, showns []string
	for n, s := range strings.Split(list, ",") {
		s = strings.TrimSpace(s)
		if !strings.Contains(s, "://") {
			s = "nats://" + s
		}
		u, err := url.Parse(s)
		if err != nil || u.Hostname() == "" {
			return "", "", fmt.Errorf("NATS URL %d is not of the form nats://host:port (special characters of a password are written as %%XX)", n+1)
		}
		if !slices.Contains(schemes, u.Scheme) {
			return "", "", fmt.Errorf("NATS URL %d (%s) begins with none of %s", n+1, u.Host, strings.Join(schemes, ", "))
		}
		dials = append(dials, u.String())
		showns = append(showns, u.Scheme+"://"+u.Host)
	}
	return strings.Join(dials, ","), strings.Join(showns, ","), nil
}

// RedactURL returns a comma-separated list of server URLs without user,
// password and token, so that it can be shown.
func RedactURL(list string) string {
	_, shown, err := parseURLs(list)
	if err != nil {
		return "(not a NATS URL)"
	}
	return shown
}

var errNoURL = errors.New("no NATS URL given")
