// SPDX-License-Identifier: Apache-2.0

package nodeview

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/renat-project/renat/internal/nodestatus"
	"github.com/renat-project/renat/internal/view/fleet"
	"github.com/renat-project/renat/internal/view/render"
	"github.com/renat-project/renat/internal/view/usage"
)

// Top shows who fills the NAT maps.
type Top struct {
	output string
	nodes  []string
	limit  int
	// Names returns the names of pods by address, as far as they are known;
	// may be nil.
	Names func(ctx context.Context, addresses []string) map[string]string
}

// Register makes flags of the options.
func (o *Top) Register(cmd *cobra.Command) {
	registerOutput(cmd, &o.output, "tables", outJSON, outYAML)
	f := cmd.Flags()
	f.StringSliceVar(&o.nodes, "node-name", nil, "only this node")
	f.IntVar(&o.limit, "limit", 10, "so many of each kind")
}

// topOut is the sum over the nodes in JSON and YAML.
type topOut struct {
	Maps   []topMapOut     `json:"maps"`
	Silent []fleet.Silence `json:"silent"`
}

type topMapOut struct {
	Name         string      `json:"name"`
	Nodes        int         `json:"nodes"`
	Entries      uint64      `json:"entries"`
	Sources      []holderOut `json:"sources"`
	Destinations []holderOut `json:"destinations"`
}

type holderOut struct {
	Address string `json:"address"`
	Name    string `json:"name,omitempty"`
	Entries uint64 `json:"entries"`
	Evicted uint64 `json:"evicted"`
}

// Run asks src and shows the sums over the nodes.
func (o *Top) Run(ctx context.Context, src fleet.Source, s *Screen) error {
	if err := checkOutput(o.output, outJSON, outYAML); err != nil {
		return err
	}
	if o.limit < 1 {
		return usage.Errorf("--limit %d is not positive", o.limit)
	}
	var choose func(string) bool
	if len(o.nodes) > 0 {
		choose = func(node string) bool { return slices.Contains(o.nodes, node) }
	}
	tops, err := src.Tops(ctx, choose)
	if err != nil {
		return err
	}
	if choose != nil && len(tops.Tops)+len(tops.Silent) == 0 {
		return fmt.Errorf("no agent runs on node %s", strings.Join(o.nodes, ", "))
	}
	out := topOut{Maps: []topMapOut{}, Silent: append([]fleet.Silence{}, tops.Silent...)}
	var sums sums
	for _, t := range tops.Tops {
		sums.add(t)
	}
	for _, m := range sums.maps {
		out.Maps = append(out.Maps, m.out(o.limit))
	}
	o.name(ctx, &out)
	if o.output == outTable {
		err = out.tables(s)
	} else {
		err = encode(s.Out, out, o.output)
	}
	if err != nil {
		return err
	}
	return s.tell(tops.Silent, len(tops.Tops))
}

// sums adds up the nodes' answers by map.
type sums struct{ maps []*mapSum }

type mapSum struct {
	name    string
	nodes   int
	entries uint64
	sources, destinations,
	evictedSources, evictedDestinations map[string]uint64
}

func (s *sums) add(t *nodestatus.Top) {
	for _, m := range t.Maps {
		n := slices.IndexFunc(s.maps, func(sum *mapSum) bool { return sum.name == m.Name })
		if n < 0 {
			n = len(s.maps)
			s.maps = append(s.maps, &mapSum{
				name: m.Name, sources: map[string]uint64{}, destinations: map[string]uint64{},
				evictedSources: map[string]uint64{}, evictedDestinations: map[string]uint64{},
			})
		}
		sum := s.maps[n]
		sum.nodes++
		sum.entries += m.Entries
		for into, holders := range map[*map[string]uint64][]nodestatus.Holder{
			&sum.sources: m.Sources, &sum.destinations: m.Destinations,
			&sum.evictedSources: m.EvictedSources, &sum.evictedDestinations: m.EvictedDestinations,
		} {
			for _, h := range holders {
				(*into)[h.Address] += h.Count
			}
		}
	}
}

func (m *mapSum) out(limit int) topMapOut {
	return topMapOut{
		Name: m.name, Nodes: m.nodes, Entries: m.entries,
		Sources: holders(m.sources, m.evictedSources, limit), Destinations: holders(m.destinations, m.evictedDestinations, limit),
	}
}

// name gives the sources their pods' names.
func (o *Top) name(ctx context.Context, out *topOut) {
	if o.Names == nil {
		return
	}
	var addresses []string
	for _, m := range out.Maps {
		for _, h := range m.Sources {
			addresses = append(addresses, h.Address)
		}
	}
	names := o.Names(ctx, addresses)
	for _, m := range out.Maps {
		for i := range m.Sources {
			m.Sources[i].Name = names[m.Sources[i].Address]
		}
	}
}

// holders are those with the most entries, and with the most evicted.
func holders(entries, evicted map[string]uint64, limit int) []holderOut {
	chosen := map[string]uint64{}
	for _, counts := range []map[string]uint64{entries, evicted} {
		keys := sorted(counts)
		for _, k := range keys[:min(limit, len(keys))] {
			chosen[k] = entries[k]
		}
	}
	out := []holderOut{}
	for _, address := range sorted(chosen) {
		out = append(out, holderOut{Address: address, Entries: entries[address], Evicted: evicted[address]})
	}
	return out
}

func (t *topOut) tables(s *Screen) error {
	for i, m := range t.Maps {
		if i > 0 {
			fmt.Fprintln(s.Out)
		}
		if _, err := fmt.Fprintf(s.Out, "%s: %d entries, nodes: %d\n", render.Clean(shortMap(m.Name)), m.Entries, m.Nodes); err != nil {
			return err
		}
		for _, part := range []struct {
			title   string
			holders []holderOut
		}{{"POD", m.Sources}, {"DESTINATION", m.Destinations}} {
			table := render.Table{Columns: []render.Column{
				{Title: part.title, Name: true}, {Title: "ENTRIES", Right: true}, {Title: "SHARE", Right: true}, {Title: "EVICTED", Right: true},
			}, Width: s.Width}
			for _, h := range part.holders {
				name := h.Address
				if h.Name != "" {
					name = h.Name + " (" + h.Address + ")"
				}
				table.Add(name, strconv.FormatUint(h.Entries, 10), share(float64(h.Entries), float64(m.Entries)), strconv.FormatUint(h.Evicted, 10))
			}
			fmt.Fprintln(s.Out)
			if err := table.Flush(s.Out); err != nil {
				return err
			}
		}
	}
	return nil
}
