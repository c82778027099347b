// SPDX-License-Identifier: Apache-2.0

package usage

import (
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/renat-project/renat/correlator/incident"
	"github.com/renat-project/renat/correlator/incident/filter"
)

// Filters are the parameters of a filter as flags, and --not, which turns the one
// after it around.
type Filters struct {
	not    bool // the next one is turned around
	wanted url.Values
	denied url.Values
}

// flagNames are those of hubble observe, where they differ from the parameter's.
var flagNames = map[string]string{"node": "node-name"}

// Register makes the flags, but for --not.
func (v *Filters) Register(cmd *cobra.Command) {
	v.wanted, v.denied = url.Values{}, url.Values{}
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
		cmd.Flags().VarP(&filterValue{v, p}, flagName(p.Name), short, help)
		if len(p.Values) > 0 {
			Complete(cmd, flagName(p.Name), p.Values...)
		}
	}
}

// RegisterNot makes the flag --not.
func (v *Filters) RegisterNot(f *pflag.FlagSet) {
	f.BoolVar(&v.not, "not", false, "turn the next filter around: what it matches is left out")
}

func flagName(param string) string {
	if name, ok := flagNames[param]; ok {
		return name
	}
	return param
}

// filterValue is the value of one parameter's flag.
type filterValue struct {
	flags *Filters
	param filter.Param
}

// String implements pflag.Value.
func (v *filterValue) String() string {
	if v.flags == nil {
		return "" // pflag asks a zero value for its default
	}
	return strings.Join(v.flags.wanted[v.param.Name], ",")
}

// Type implements pflag.Value: how help names the value.
func (v *filterValue) Type() string {
	if v.param.Single {
		return "string"
	}
	return "strings"
}

// Set implements pflag.Value.
func (v *filterValue) Set(s string) error {
	into, values := v.flags.wanted, []string{s}
	if !v.param.Single {
		values = strings.Split(s, ",")
	}
	if v.flags.not {
		if v.param.Single {
			return errors.New("--not is not for times")
		}
		into, v.flags.not = v.flags.denied, false
	}
	into[v.param.Name] = append(into[v.param.Name], values...)
	return nil
}

var _ pflag.Value = (*filterValue)(nil)

// Chosen is what the flags choose.
type Chosen struct {
	filter.Filter
	denied []filter.Filter // one a name
}

// Match reports whether i is chosen: nothing that --not names matches it.
func (c *Chosen) Match(i *incident.Incident) bool {
	return c.Filter.Match(i) && !slices.ContainsFunc(c.denied, func(f filter.Filter) bool { return f.Match(i) })
}

// Query returns what the flags but --not choose, as parameters, checked.
func (v *Filters) Query(now time.Time) (url.Values, error) {
	if _, err := parseFilter(v.wanted, now); err != nil {
		return nil, Error{err}
	}
	return v.wanted, nil
}

// Parse returns what the flags choose; an error names the flag.
func (v *Filters) Parse(now time.Time) (Chosen, error) {
	var c Chosen
	if v.not {
		return c, errors.New("--not needs a filter after it")
	}
	var err error
	if c.Filter, err = parseFilter(v.wanted, now); err != nil {
		return c, err
	}
	for name, values := range v.denied {
		f, err := parseFilter(url.Values{name: values}, now)
		if err != nil {
			return c, fmt.Errorf("--not %w", err)
		}
		if !f.Empty() {
			c.denied = append(c.denied, f)
		}
	}
	return c, nil
}

func parseFilter(q url.Values, now time.Time) (filter.Filter, error) {
	f, err := filter.Parse(q, now)
	var wrong *filter.Error
	if errors.As(err, &wrong) {
		wrong.Param = "--" + flagName(wrong.Param)
	}
	return f, err
}
