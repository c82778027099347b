// SPDX-License-Identifier: Apache-2.0

package nodeview

import (
	"context"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/renat-project/renat/correlator/incident"
	"github.com/renat-project/renat/correlator/incident/verdict"
	"github.com/renat-project/renat/internal/view/fleet"
	"github.com/renat-project/renat/internal/view/render"
	"github.com/renat-project/renat/internal/view/usage"
)

// Describe shows one incident with its evidence.
type Describe struct{ output string }

const (
	wholeID = 32 // characters of an id
	leastID = 6  // that may be given instead
)

// Register makes flags of the options.
func (o *Describe) Register(cmd *cobra.Command) {
	registerOutput(cmd, &o.output, "text", outJSON, outYAML)
}

// Run asks src for an incident by its id, or how that begins, and shows it.
func (o *Describe) Run(ctx context.Context, src fleet.Source, s *Screen, id string) error {
	if err := checkOutput(o.output, outJSON, outYAML); err != nil {
		return err
	}
	id = strings.ToLower(strings.TrimPrefix(strings.TrimPrefix(id, "incident/"), "renat:"))
	if len(id) < leastID {
		return usage.Errorf("id %q is too short: give at least %d characters of it", id, leastID)
	}
	if len(id) < wholeID {
		var err error
		if id, err = complete(ctx, src, id); err != nil {
			return err
		}
	}
	i, err := src.Incident(ctx, id)
	if err != nil {
		return fmt.Errorf("incident %s: %w", id, err)
	}
	if o.output != outTable {
		return encode(s.Out, cloudEvent{i}, o.output)
	}
	if err := render.New(s.Out, render.Dict, s.Colored, time.Local).Write(i); err != nil {
		return err
	}
	drawing := render.New(s.Out, render.Compact, s.Colored, time.Local)
	if err := drawing.Draw(i); err != nil {
		return err
	}
	v := verdict.OfIncident(i)
	for _, sentence := range []string{v.What, v.Restore, v.Size} {
		if sentence != "" {
			if _, err := fmt.Fprintf(s.Out, "\n%s\n", render.Clean(sentence)); err != nil {
				return err
			}
		}
	}
	return nil
}

// cloudEvent is an incident's JSON.
type cloudEvent struct{ *incident.Incident }

// MarshalJSON returns the CloudEvent.
func (c cloudEvent) MarshalJSON() ([]byte, error) { return c.MarshalCloudEvent() }

// complete finds the id that begins so.
func complete(ctx context.Context, src fleet.Source, beginning string) (string, error) {
	all, err := src.Incidents(ctx, url.Values{}, 0)
	if err != nil {
		return "", err
	}
	found := ""
	for _, i := range all.Incidents {
		if !strings.HasPrefix(i.ID, beginning) {
			continue
		}
		if found != "" {
			return "", fmt.Errorf("incident %s: several ids begin so, %s and %s: give more of it", beginning, found, i.ID)
		}
		found = i.ID
	}
	switch {
	case found == "" && len(all.Silent) > 0:
		return "", fmt.Errorf("incident %s: %w; %d did not answer", beginning, fleet.ErrUnknown, len(all.Silent))
	case found == "":
		return "", fmt.Errorf("incident %s: %w", beginning, fleet.ErrUnknown)
	}
	return found, nil
}
