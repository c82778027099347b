// SPDX-License-Identifier: Apache-2.0

package incident

import (
	"fmt"
	"strconv"
	"strings"
)

const (
	// SubjectPrefix begins the subject of every incident; kind, cluster and
	// node follow, each one token.
	SubjectPrefix = "renat.incidents.v1"
	// AllSubjects matches every incident.
	AllSubjects = SubjectPrefix + ".>"

	// ContentType is the NATS header value of CloudEvents' structured mode.
	ContentType = "application/cloudevents+json"
)

// Subject returns the NATS subject of i.
func (i *Incident) Subject() string {
	return SubjectPrefix + "." + EncodeToken(string(i.Kind)) + "." + EncodeToken(i.Cluster) + "." + EncodeToken(i.Node)
}

// Headers returns the NATS headers of i: the id JetStream deduplicates by and
// the content type.
func (i *Incident) Headers() map[string][]string {
	return map[string][]string{"Nats-Msg-Id": {i.ID}, "Content-Type": {ContentType}}
}

// EncodeToken makes any name one subject token that is also a valid key of a
// NATS key-value bucket: letters, digits, "-" and "_" stay, every other byte
// becomes "=" and two hex digits; the empty name becomes "=".
func EncodeToken(name string) string {
	if name == "" {
		return "="
	}
	var b strings.Builder
	for _, c := range []byte(name) {
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '-', c == '_':
			b.WriteByte(c)
		default:
			fmt.Fprintf(&b, "=%02X", c)
		}
	}
	return b.String()
}

// DecodeToken is the inverse of EncodeToken. A token that EncodeToken does not
// write gives an error.
func DecodeToken(token string) (string, error) {
	if token == "=" {
		return "", nil
	}
	var b strings.Builder
	for i := 0; i < len(token); i++ {
		if token[i] != '=' {
			b.WriteByte(token[i])
			continue
		}
		if i+2 >= len(token) {
			return "", fmt.Errorf("decoding token %q: cut off", token)
		}
		c, err := strconv.ParseUint(token[i+1:i+3], 16, 8)
		if err != nil {
			return "", fmt.Errorf("decoding token %q: %w", token, err)
		}
		b.WriteByte(byte(c))
		i += 2
	}
	if name := b.String(); EncodeToken(name) == token {
		return name, nil
	}
	return "", fmt.Errorf("decoding token %q: not written by renat", token)
}
