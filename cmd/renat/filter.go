// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"net/url"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"github.com/renat-project/renat/correlator/incident/filter"
)

// filterFlags are the parameters of a filter as flags.
type filterFlags struct {
	many map[string]*[]string // by parameter
	one  map[string]*string
}

// flagNames are those of hubble observe, where they differ from the parameter's.
var flagNames = map[string]string{"node": "node-name"}

func (v *filterFlags) register(f *pflag.FlagSet) {
	v.many, v.one = map[string]*[]string{}, map[string]*string{}
	for _, p := range filter.Params() {
		help := p.Help
		if !p.Single {
			help = "only this " + help
		}
		if len(p.Values) > 0 {
			help += ": " + strings.Join(p.Values, ", ")
		}
		short := ""
		if p.Name == "namespace" {
			short = "n"
		}
		if p.Single {
			v.one[p.Name] = f.StringP(flagName(p.Name), short, "", help)
		} else {
			v.many[p.Name] = f.StringSliceP(flagName(p.Name), short, nil, help)
		}
	}
}

func flagName(param string) string {
	if name, ok := flagNames[param]; ok {
		return name
	}
	return param
}

// parse returns the filter; an error names the flag.
func (v *filterFlags) parse(now time.Time) (filter.Filter, error) {
	q := url.Values{}
	for name, values := range v.many {
		q[name] = *values
	}
	for name, value := range v.one {
		q.Set(name, *value)
	}
	f, err := filter.Parse(q, now)
	var wrong *filter.Error
	if errors.As(err, &wrong) {
		wrong.Param = "--" + flagName(wrong.Param)
	}
	return f, err
}
