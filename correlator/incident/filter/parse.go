// SPDX-License-Identifier: Apache-2.0

package filter

import (
	"fmt"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/renat-project/renat/correlator/incident"
)

// Param is a parameter of a filter, as it is named in a URL's query.
type Param struct {
	Name string
	// Help says in a few words what an incident must have.
	Help string
	// Values are all that are allowed, if they are few.
	Values []string
	// Single: it may be given once; else several times.
	Single bool

	set func(f *Filter, value string, now time.Time) error
}

// params are all parameters, in the order in which help shows them.
var params = []Param{
	{Name: "id", Help: "id, or how it begins", set: (*Filter).addID},
	oneOfThese("kind", "kind of failure", func(f *Filter) *[]incident.Kind { return &f.Kinds }, incident.Kinds),
	oneOfThese("cause", "cause of the entry's removal", func(f *Filter) *[]incident.Cause { return &f.Causes }, incident.Causes),
	oneOfThese("outcome", "outcome for the connection", func(f *Filter) *[]incident.Outcome { return &f.Outcomes }, incident.Outcomes),
	anyText("cluster", "cluster of the node", func(f *Filter) *[]string { return &f.Clusters }),
	anyText("node", "node whose NAT map it was", func(f *Filter) *[]string { return &f.Nodes }),
	anyText("namespace", "namespace of the pod", func(f *Filter) *[]string { return &f.Namespaces }),
	anyText("pod", "beginning of the pod's name, as [namespace/]pod", func(f *Filter) *[]string { return &f.Pods }),
	anyText("workload", "workload of the pod, as [[namespace/]kind/]name", func(f *Filter) *[]string { return &f.Workloads }),
	{Name: "destination", Help: "server, by DNS name or address, with or without :port", set: (*Filter).addDestination},
	{Name: "ip", Help: "address or network of either side, before or after translation", set: (*Filter).addNetwork},
	{Name: "port", Help: "port of either side, before or after translation", set: (*Filter).addPort},
	{Name: "since", Help: "earliest time (RFC 3339, 2026-01-02, 15:04), or how long ago that is (5m, 7d)", Single: true,
		set: func(f *Filter, v string, now time.Time) (err error) { f.Since, err = parseTime(v, now); return err }},
	{Name: "until", Help: "latest time, in the same forms", Single: true,
		set: func(f *Filter, v string, now time.Time) (err error) { f.Until, err = parseTime(v, now); return err }},
}

// Params returns all parameters.
func Params() []Param { return slices.Clone(params) }

// Error says which parameter is wrong.
type Error struct {
	Param, Value string
	Err          error // what is wrong with the value
}

// Error names the parameter and its value.
func (e *Error) Error() string { return fmt.Sprintf("%s %q %v", e.Param, e.Value, e.Err) }

// Unwrap returns what is wrong with the value.
func (e *Error) Unwrap() error { return e.Err }

// Parse reads a filter. Empty values do not filter, and names that are no
// parameter are left to the caller. Durations count back from now. An error
// is an *Error.
func Parse(q url.Values, now time.Time) (Filter, error) {
	var f Filter
	for _, p := range params {
		values := slices.DeleteFunc(slices.Clone(q[p.Name]), func(v string) bool { return v == "" })
		if p.Single && len(values) > 1 {
			return f, &Error{p.Name, values[1], fmt.Errorf("is the second: give it once")}
		}
		for _, v := range values {
			if err := p.set(&f, v, now); err != nil {
				return f, &Error{p.Name, v, err}
			}
		}
	}
	return f, nil
}

func oneOfThese[T ~string](name, help string, field func(*Filter) *[]T, allowed []incident.Value[T]) Param {
	p := Param{Name: name, Help: help, Values: incident.Names(allowed)}
	p.set = func(f *Filter, v string, _ time.Time) error {
		if !slices.Contains(p.Values, v) {
			return fmt.Errorf("is not one of %s", strings.Join(p.Values, ", "))
		}
		*field(f) = append(*field(f), T(v))
		return nil
	}
	return p
}

func anyText(name, help string, field func(*Filter) *[]string) Param {
	return Param{Name: name, Help: help, set: func(f *Filter, v string, _ time.Time) error {
		*field(f) = append(*field(f), v)
		return nil
	}}
}

func (f *Filter) addID(v string, _ time.Time) error {
	id := strings.TrimPrefix(strings.TrimPrefix(strings.ToLower(v), "incident/"), "renat:")
	if id == "" || strings.Trim(id, "0123456789abcdef") != "" {
		return fmt.Errorf("is no beginning of an id: those are of 0 to 9 and a to f")
	}
	f.IDs = append(f.IDs, id)
	return nil
}

func (f *Filter) addDestination(v string, _ time.Time) error {
	d := Destination{Host: strings.ToLower(v)}
	if addr, err := parseAddr(v); err == nil {
		d.Host = addr.String()
	} else if host, port, ok := cutPort(v); ok {
		n, err := strconv.ParseUint(port, 10, 16)
		if err != nil || n == 0 {
			return fmt.Errorf("does not end in a port from 1 to 65535")
		}
		d.Host, d.Port = strings.ToLower(host), uint16(n)
		if addr, err := parseAddr(host); err == nil {
			d.Host = addr.String()
		}
	}
	f.Destinations = append(f.Destinations, d)
	return nil
}

func cutPort(v string) (host, port string, ok bool) {
	colon := strings.LastIndexByte(v, ':')
	if colon < 0 {
		return "", "", false
	}
	return v[:colon], v[colon+1:], true
}

func (f *Filter) addNetwork(v string, _ time.Time) error {
	p, err := netip.ParsePrefix(v)
	if addr, e := parseAddr(v); e == nil {
		p, err = netip.PrefixFrom(addr, addr.BitLen()), nil
	}
	if err != nil {
		return fmt.Errorf("is neither an address nor a network")
	}
	f.Networks = append(f.Networks, p)
	return nil
}

// parseAddr reads an address, in brackets or not.
func parseAddr(s string) (netip.Addr, error) {
	return netip.ParseAddr(strings.TrimSuffix(strings.TrimPrefix(s, "["), "]"))
}

func (f *Filter) addPort(v string, _ time.Time) error {
	n, err := strconv.ParseUint(v, 10, 16)
	if err != nil || n == 0 {
		return fmt.Errorf("is not a port from 1 to 65535")
	}
	f.Ports = append(f.Ports, uint16(n))
	return nil
}
