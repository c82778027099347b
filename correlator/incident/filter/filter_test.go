// SPDX-License-Identifier: Apache-2.0

package filter_test

import (
	"errors"
	"net/netip"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/renat-project/renat/correlator/incident"
	"github.com/renat-project/renat/correlator/incident/filter"
)

var now = time.Date(2026, 11, 22, 23, 0, 0, 0, time.UTC)

func sample() *incident.Incident {
	return &incident.Incident{
		ID: "142cbfffeea5011cef4b1ee4f65d5c61", Kind: incident.Renat, Cause: incident.LRUEviction, Outcome: incident.Reset,
		Time: now.Add(-10 * time.Minute), Node: "node-a", Cluster: "prod", Protocol: "TCP",
		Source: incident.Endpoint{
			IP: netip.MustParseAddr("10.0.1.10"), Port: 40000, Namespace: "shop", Pod: "cart-7d4b9", Workload: "Deployment/cart",
		},
		Destination: incident.Endpoint{IP: netip.MustParseAddr("2001:db8::1"), Port: 443, Names: []string{"b.example", "api.example.com"}},
		NAT:         incident.NAT{Map: "cilium_snat_v4_external", Before: "192.0.2.1:40000", After: "192.0.2.1:51111"},
	}
}

func TestMatch(t *testing.T) {
	for query, want := range map[string]bool{
		"":                                     true,
		"kind=":                                true,
		"unknown=x":                            true,
		"id=142cbfff":                          true,
		"id=142CBFFF":                          true,
		"id=renat:142cbfff":                    true,
		"id=incident/142cbfffeea5":             true,
		"id=42cbfff":                           false,
		"id=42cb&id=14":                        true,
		"id=142cbfffeea5011cef4b1ee4f65d5c61":  true,
		"id=142cbfffeea5011cef4b1ee4f65d5c610": false,
		"since=2026-11-22":                     true,
		"since=2026-11-23":                     false,
		"since=22:50":                          true,
		"since=22:50:01":                       false,
		"since=Nov 22 22:50:00.000":            true,
		"since=Nov 22 22:50:01":                false,
		"since=7d":                             true,
		"until=1d":                             false,
		"kind=renat":                           true,
		"kind=orphaned_reply":                  false,
		"kind=orphaned_reply&kind=renat":       true,
		"cause=lru_eviction":                   true,
		"cause=datapath_delete":                false,
		"outcome=reset":                        true,
		"outcome=unconfirmed":                  false,
		"cluster=prod":                         true,
		"cluster=pro":                          false,
		"node=node-a":                          true,
		"node=node":                            false,
		"namespace=shop":                       true,
		"namespace=sho":                        false,
		"namespace=shop&kind=renat":            true,
		"namespace=shop&node=node-b":           false,
		"pod=cart-":                            true,
		"pod=shop/cart-7d":                     true,
		"pod=pay/cart-7d":                      false,
		"workload=cart":                        true,
		"workload=Deployment/cart":             true,
		"workload=shop/Deployment/cart":        true,
		"workload=art":                         false,
		"workload=pay/Deployment/cart":         false,
		"destination=api.example.com":          true,
		"destination=API.example.com:443":      true,
		"destination=b.example:443":            true,
		"destination=api.example.com:80":       false,
		"destination=example.com":              false,
		"destination=2001:db8::1":              true,
		"destination=[2001:DB8:0::1]":          true,
		"destination=[2001:db8::1]:443":        true,
		"destination=[2001:db8::1]:80":         false,
		"destination=10.0.1.10":                false,
		"ip=10.0.1.10":                         true,
		"ip=10.0.0.0/8":                        true,
		"ip=192.0.2.0/24":                      true,
		"ip=[2001:db8::1]":                     true,
		"ip=198.51.100.1":                      false,
		"port=40000":                           true,
		"port=443":                             true,
		"port=51111":                           true,
		"port=1":                               false,
		"port=1&ip=10.0.1.10":                  false,
		"since=15m":                            true,
		"since=5m":                             false,
		"until=5m":                             true,
		"until=15m":                            false,
		"since=2026-11-22T22:50:00Z":           true,
		"since=2026-11-22T22:50:01Z":           false,
		"until=2026-11-22T23:50:00%2B01:00":    true,
	} {
		q, err := url.ParseQuery(query)
		if err != nil {
			t.Fatal(err)
		}
		f, err := filter.Parse(q, now)
		if err != nil {
			t.Errorf("%s: %v", query, err)
			continue
		}
		if got := f.Match(sample()); got != want {
			t.Errorf("%s: matches: %v, want %v", query, got, want)
		}
		if wantEmpty := query == "" || query == "kind=" || query == "unknown=x"; f.Empty() != wantEmpty {
			t.Errorf("%s: empty: %v, want %v", query, f.Empty(), wantEmpty)
		}
	}
}

func TestMatchWhereLittleIsKnown(t *testing.T) {
	bare := &incident.Incident{Source: incident.Endpoint{IP: netip.MustParseAddr("10.0.1.10")}}
	for query, want := range map[string]bool{
		"workload=10.0.1.10": true, "workload=cart": false, "pod=": true, "pod=c": false, "port=443": false, "ip=10.0.1.10": true,
	} {
		q, _ := url.ParseQuery(query)
		f, err := filter.Parse(q, now)
		if err != nil || f.Match(bare) != want {
			t.Errorf("%s: %v, want %v (%v)", query, !want, want, err)
		}
	}
}

func TestParseNamesWhatIsWrong(t *testing.T) {
	for query, want := range map[string]string{
		"kind=reset":                  `kind "reset" is not one of ` + strings.Join(incident.Names(incident.Kinds), ", "),
		"cause=lru":                   `cause "lru" is not one of ` + strings.Join(incident.Names(incident.Causes), ", "),
		"outcome=renat":               `outcome "renat" is not one of ` + strings.Join(incident.Names(incident.Outcomes), ", "),
		"id=shop/cart":                `id "shop/cart" is no beginning of an id: those are of 0 to 9 and a to f`,
		"ip=10.0.0":                   `ip "10.0.0" is neither an address nor a network`,
		"port=0":                      `port "0" is not a port from 1 to 65535`,
		"port=70000":                  `port "70000" is not a port from 1 to 65535`,
		"destination=api.example:x":   `destination "api.example:x" does not end in a port from 1 to 65535`,
		"destination=[fd00::1]:70000": `destination "[fd00::1]:70000" does not end in a port from 1 to 65535`,
		"since=yesterday":             `since "yesterday" is neither a time like 2026-01-02T15:04:05Z, 2026-01-02 or 15:04 nor a duration like 5m or 7d`,
		"until=1":                     `until "1" is neither a time like 2026-01-02T15:04:05Z, 2026-01-02 or 15:04 nor a duration like 5m or 7d`,
		"since=1h&since=2h":           `since "2h" is the second: give it once`,
	} {
		q, _ := url.ParseQuery(query)
		_, err := filter.Parse(q, now)
		var wrong *filter.Error
		if !errors.As(err, &wrong) || err.Error() != want {
			t.Errorf("%s: %v, want %s", query, err, want)
		}
	}
}

// What a time leaves out is of the last such time before now.
func TestTimes(t *testing.T) {
	zone := time.FixedZone("CET", 3600)
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, zone)
	for text, want := range map[string]string{
		"5m":                        "2026-01-02T02:59:05+01:00",
		"-5m":                       "2026-01-02T02:59:05+01:00",
		"1d":                        "2026-01-01T03:04:05+01:00",
		"1w2d3h":                    "2025-12-24T00:04:05+01:00",
		"2026-01-01":                "2026-01-01T00:00:00+01:00",
		"2026-01-01 22:50":          "2026-01-01T22:50:00+01:00",
		"2026-01-01 22:50:07":       "2026-01-01T22:50:07+01:00",
		"2026-01-01T22:50":          "2026-01-01T22:50:00+01:00",
		"2026-01-01T22:50:07.5":     "2026-01-01T22:50:07.5+01:00",
		"2026-01-01T22:50:07Z":      "2026-01-01T22:50:07Z",
		"03:04":                     "2026-01-02T03:04:00+01:00",
		"03:05":                     "2026-01-01T03:05:00+01:00",
		"22:50:07.250":              "2026-01-01T22:50:07.25+01:00",
		"Jan 02 03:00:00.125":       "2026-01-02T03:00:00.125+01:00",
		"Jan  1 22:00:00":           "2026-01-01T22:00:00+01:00",
		"Nov 22 22:52:14.390":       "2025-11-22T22:52:14.39+01:00",
		"2026-01-02T03:04:05+09:00": "2026-01-02T03:04:05+09:00",
	} {
		f, err := filter.Parse(url.Values{"since": {text}}, now)
		if got := f.Since.Format(time.RFC3339Nano); err != nil || got != want {
			t.Errorf("since %q is %s, want %s (%v)", text, got, want, err)
		}
	}
	for _, text := range []string{"1d2w", "d", "7 d", "999999d", "2026-13-01", "25:00", "", "99999w"} {
		if f, err := filter.Parse(url.Values{"until": {text}}, now); err == nil && !f.Until.IsZero() {
			t.Errorf("until %q is %s, want an error", text, f.Until)
		}
	}
}
