// SPDX-License-Identifier: Apache-2.0

package render

import (
	"fmt"
	"io"
	"strings"

	"github.com/renat-project/renat/correlator/incident"
)

// lanes draw each step of an incident between the pod, the node's NAT map and
// the server.
var lanes = map[incident.Step]string{
	incident.Opened:              "│        ●        │",
	incident.OutRemoved:          "│        ✗        │",
	incident.InRemoved:           "│        ✗        │",
	incident.PortRefused:         "│        !        │",
	incident.Renatted:            "│        ●        │",
	incident.Orphaned:            "│        ●        │",
	incident.PodPacket:           "├────────────────▶│",
	incident.ServerPacket:        "│◀────────────────┤",
	incident.HostPacket:          "│        ├───────▶│",
	incident.PacketDropped:       "├───────▶✗        │",
	incident.TrackingRemoved:     "│        ✗        │",
	incident.ServerPacketDropped: "│        ✗◀───────┤",
}

// otherLane is for steps of later versions.
const otherLane = "│                 │"

// Draw writes the incident's timeline as a small drawing, after an empty line.
func (w *Writer) Draw(i *incident.Incident) error {
	_, err := io.WriteString(w.w, "\n"+w.drawing(i))
	return err
}

// drawing is the incident's timeline as a small drawing.
func (w *Writer) drawing(i *incident.Incident) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%19s pod     NAT    server\n", "")
	for _, e := range i.Evidence {
		lane, ok := lanes[e.Step]
		if !ok {
			lane = otherLane
		}
		switch {
		case strings.Contains(e.Flags, "RST"), strings.Contains(lane, "✗"):
			lane = w.red("%s", lane)
		case e.Step == incident.Renatted, e.Step == incident.Orphaned, e.Step == incident.PortRefused:
			lane = w.yellow("%s", lane)
		}
		fmt.Fprintf(&b, "    %s %s  %s\n", w.faint("%s", e.Time.In(w.zone).Format("15:04:05.000000")), lane, Clean(e.What))
	}
	return b.String()
}
