// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"github.com/renat-project/renat/correlator/incident"
	"github.com/renat-project/renat/correlator/incident/filter"
	"github.com/renat-project/renat/internal/agent/guard"
)

// guardFlags say which connections' entries to keep, and at what cost.
type guardFlags struct {
	on    bool
	share float64
	cpu   float64
	udp   bool
	host  bool
	match []string
}

func (g *guardFlags) register(f *pflag.FlagSet) {
	f.BoolVar(&g.on, "guard", false, "keep the entries of living connections by looking them up (docs/guard.md)")
	f.Float64Var(&g.share, "guard-share", guard.DefaultShare, "guard at most this share of the entries that a map can hold, up to 0.5")
	f.Float64Var(&g.cpu, "guard-cpu", guard.DefaultCPU, "use at most this much of one core for it")
	f.BoolVar(&g.udp, "guard-udp", false, "guard UDP, too")
	f.BoolVar(&g.host, "guard-host", false, "guard the node's own connections, too: the host's, host-network pods', and those that iptables masquerades")
	f.StringArrayVar(&g.match, "guard-match", nil, "guard only such connections: NAME=VALUE,... as the filters of renat observe ("+strings.Join(guardParams, ", ")+"); may be given several times")
}

// guardParams are the filters that a connection can have which did not break.
var guardParams = []string{"namespace", "pod", "workload", "destination", "ip", "port"}

// config returns nil if the guard is not asked for; an error names the flag.
func (g *guardFlags) config() (*guard.Config, error) {
	switch {
	case !(g.share > 0 && g.share <= guard.MaxShare):
		return nil, fmt.Errorf("--guard-share %g is not above 0 and at most %g", g.share, guard.MaxShare)
	case !(g.cpu > 0 && g.cpu <= 1):
		return nil, fmt.Errorf("--guard-cpu %g is not above 0 and at most 1", g.cpu)
	}
	var any []filter.Filter
	for _, s := range g.match {
		f, err := parseMatch(s)
		if err != nil {
			return nil, fmt.Errorf("--guard-match %q: %w", s, err)
		}
		any = append(any, f)
	}
	if !g.on {
		return nil, nil
	}
	c := &guard.Config{Share: g.share, CPU: g.cpu, UDP: g.udp, Host: g.host}
	if len(any) > 0 {
		c.Match = func(i *incident.Incident) bool {
			return slices.ContainsFunc(any, func(f filter.Filter) bool { return f.Match(i) })
		}
	}
	return c, nil
}

// parseMatch reads NAME=VALUE,...: of one name one value must match, and of
// each name.
func parseMatch(s string) (filter.Filter, error) {
	query := url.Values{}
	for _, one := range strings.Split(s, ",") {
		name, value, _ := strings.Cut(one, "=")
		if !slices.Contains(guardParams, name) || value == "" {
			return filter.Filter{}, fmt.Errorf("%q is not NAME=VALUE with one of the names %s", one, strings.Join(guardParams, ", "))
		}
		query.Add(name, value)
	}
	return filter.Parse(query, time.Time{}) // none of guardParams is relative to now
}
