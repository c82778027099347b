// SPDX-License-Identifier: Apache-2.0

package sysdump

import (
	"fmt"
	"net/netip"
	"regexp"
	"strings"
)

// Redactor puts other words for names and addresses, for the same the same.
type Redactor struct {
	names map[string]string
	// instead are words for addresses and hosts, by what they are; put are those words.
	instead map[string]string
	put     map[string]bool
}

// NewRedactor knows names that must not be seen, and what to put for each.
func NewRedactor(names map[string]string) *Redactor {
	return &Redactor{names: names, instead: map[string]string{}, put: map[string]bool{}}
}

var (
	// word is what a name is, with the names of domains behind it.
	word = regexp.MustCompile(`[A-Za-z0-9](?:[A-Za-z0-9_.-]*[A-Za-z0-9])?`)
	// address is what may be one; netip says whether it is.
	address = regexp.MustCompile(`[0-9]{1,3}(?:\.[0-9]{1,3}){3}|[0-9A-Fa-f]{0,4}(?::[0-9A-Fa-f]{0,4}){2,7}(?:%[A-Za-z0-9]+)?`)
	// host is that of a URL.
	host = regexp.MustCompile(`([a-z][a-z0-9+.-]*://)([^/\s"'\\@,:\]]+)`)
	// password is what stands before the host of a URL, token what follows its word.
	password = regexp.MustCompile(`([a-z][a-z0-9+.-]*://)[^/\s"'@]+@`)
	token    = regexp.MustCompile(`(?i)(bearer |authorization: |whsec_|xox[a-z]-)[A-Za-z0-9._~+/=-]+`)
)

// Text returns text without names and addresses. Those of the machine itself stay:
// they are nobody's.
func (r *Redactor) Text(text string) string {
	text = word.ReplaceAllStringFunc(text, r.name)
	text = host.ReplaceAllStringFunc(text, func(found string) string {
		parts := host.FindStringSubmatch(found)
		if _, err := netip.ParseAddr(parts[2]); err == nil || parts[2] == "localhost" {
			return found // an address is next
		}
		return parts[1] + r.other("host", parts[2])
	})
	return address.ReplaceAllStringFunc(text, func(found string) string {
		ip, err := netip.ParseAddr(found)
		if err != nil || ip.IsLoopback() || ip.IsUnspecified() {
			return found
		}
		return r.other("ip", ip.String())
	})
}

// name replaces a word that is a known name, or begins with one and a dot.
func (r *Redactor) name(found string) string {
	for end := len(found); end > 0; end = strings.LastIndexByte(found[:end], '.') {
		if known, ok := r.names[found[:end]]; ok {
			return known + found[end:]
		}
	}
	return found
}

func (r *Redactor) other(kind, of string) string {
	if r.put[of] {
		return of // it was put there before
	}
	if r.instead[of] == "" {
		r.instead[of] = fmt.Sprintf("%s-%d", kind, len(r.instead)+1)
		r.put[r.instead[of]] = true
	}
	return r.instead[of]
}

// withoutSecrets removes what lets anybody in.
func withoutSecrets(text string) string {
	return token.ReplaceAllString(password.ReplaceAllString(text, "${1}"), "${1}…")
}
