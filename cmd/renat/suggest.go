// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/rs/zerolog"
	"github.com/spf13/cobra"

	"github.com/renat-project/renat/correlator/incident"
	"github.com/renat-project/renat/sinks/jetstream"
)

const (
	// suggestWait is how long a shell waits for suggestions at most.
	suggestWait = time.Second
	// suggestFrom is how many of the latest incidents they are taken from.
	suggestFrom = 1000
)

// suggested are what an incident has for the filters whose values are names.
var suggested = map[string]func(*incident.Incident) []string{
	"cluster":     func(i *incident.Incident) []string { return []string{i.Cluster} },
	"node-name":   func(i *incident.Incident) []string { return []string{i.Node} },
	"namespace":   func(i *incident.Incident) []string { return []string{i.Source.Namespace} },
	"workload":    func(i *incident.Incident) []string { return []string{i.Source.Owner()} },
	"destination": func(i *incident.Incident) []string { return i.Destination.Names },
	"pod": func(i *incident.Incident) []string {
		if i.Source.Pod == "" {
			return nil
		}
		return []string{i.Source.Namespace + "/" + i.Source.Pod}
	},
}

// suggest lets shells complete names with those of the latest incidents.
func (o *observeFlags) suggest(cmd *cobra.Command) {
	for flag, names := range suggested {
		_ = cmd.RegisterFlagCompletionFunc(flag, func(cmd *cobra.Command, _ []string, typed string) ([]string, cobra.ShellCompDirective) {
			// The environment may name the server. A store is not opened for this.
			if o.prepare(cmd) != nil || o.nats.stateDir != "" {
				return nil, cobra.ShellCompDirectiveNoFileComp
			}
			list := typed[:strings.LastIndexByte(typed, ',')+1] // what comes before the name
			var found []string
			for _, name := range o.latest(cmd.Context(), names) {
				if name = list + name; strings.HasPrefix(name, typed) {
					found = append(found, name)
				}
			}
			return found, cobra.ShellCompDirectiveNoFileComp
		}) // it was registered just before
	}
}

// latest returns the different names in the latest incidents, sorted; none of a
// server that does not answer in time.
func (o *observeFlags) latest(ctx context.Context, names func(*incident.Incident) []string) []string {
	ctx, cancel := context.WithTimeout(ctx, suggestWait)
	defer cancel()
	nc, err := o.nats.connect(ctx, "", zerolog.Nop())
	if err != nil {
		return nil
	}
	defer nc.Close()
	var all []string
	_ = jetstream.Read(ctx, nc.Conn, jetstream.ReadOptions{Tail: suggestFrom, Log: zerolog.Nop()}, func(s jetstream.Stored) error { // what was read until it failed will do
		all = append(all, names(s.Incident)...)
		return nil
	})
	slices.Sort(all)
	all = slices.Compact(all)
	return slices.DeleteFunc(all, func(name string) bool { return name == "" })
}
