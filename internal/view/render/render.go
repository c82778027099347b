// SPDX-License-Identifier: Apache-2.0

package render

import (
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/fatih/color"

	"github.com/renat-project/renat/correlator/incident"
)

// Format is an output format.
type Format string

// The formats.
const (
	Compact Format = "compact" // one readable line each
	Dict    Format = "dict"    // one field a line, with the evidence
	Columns Format = "table"   // one line of columns each
	JSON    Format = "json"    // one CloudEvent a line
	JSONPB  Format = "jsonpb"  // the same: hubble's name of it
	YAML    Format = "yaml"    // one document each
)

// Formats are all, the default first.
var Formats = []Format{Compact, Dict, Columns, JSON, JSONPB, YAML}

// ParseFormat reads the name of a format.
func ParseFormat(s string) (Format, error) {
	if slices.Contains(Formats, Format(s)) {
		return Format(s), nil
	}
	return "", fmt.Errorf("output format %q is not one of %s", s, strings.Join(FormatNames(), ", "))
}

// FormatNames are the names of all formats.
func FormatNames() []string {
	names := make([]string, len(Formats))
	for i, f := range Formats {
		names[i] = string(f)
	}
	return names
}

// Writer writes incidents in one format.
type Writer struct {
	w       io.Writer
	format  Format
	zone    *time.Location
	written int
	// Drawings follows each compact line with the incident's timeline.
	Drawings bool
	// TimeFormat of compact lines and tables, one of TimeFormats; empty: the first.
	TimeFormat string
	// Live writes each row of a table at once, as wide as those before needed;
	// else Flush writes all, aligned.
	Live bool

	rows     *Table
	outcomes []incident.Outcome // of the rows

	red, yellow, cyan, faint func(string, ...any) string
}

// New returns a Writer. Times are written in zone.
func New(w io.Writer, f Format, colored bool, zone *time.Location) *Writer {
	paint := func(a color.Attribute) func(string, ...any) string {
		c := color.New(a)
		if colored {
			c.EnableColor()
		} else {
			c.DisableColor()
		}
		return c.Sprintf
	}
	return &Writer{
		w: w, format: f, zone: zone, rows: newTable(),
		red: paint(color.FgRed), yellow: paint(color.FgYellow), cyan: paint(color.FgCyan), faint: paint(color.Faint),
	}
}

// Write writes one incident; the error is the underlying writer's.
func (w *Writer) Write(i *incident.Incident) error {
	var out string
	switch w.format {
	case JSON, JSONPB:
		b, err := i.MarshalCloudEvent()
		if err != nil {
			return err
		}
		out = string(CleanJSON(b)) + "\n"
	case YAML:
		b, err := yamlOf(i)
		if err != nil {
			return err
		}
		if out = string(b); w.written > 0 {
			out = "---\n" + out
		}
	case Dict:
		out = w.dict(i)
	case Columns:
		if w.row(i); w.Live {
			return w.flush()
		}
		return nil
	default:
		out = w.compact(i)
		if w.Drawings {
			out += w.drawing(i)
		}
	}
	w.written++
	_, err := io.WriteString(w.w, out)
	return err
}

// Flush writes the rows of a table that wait for others to be aligned with.
func (w *Writer) Flush() error {
	if w.rows.Len() == 0 {
		return nil
	}
	return w.flush()
}

// compact is one line: when, which, where, who to whom, what happened to the port, why, and
// how it ended.
func (w *Writer) compact(i *incident.Incident) string {
	what := "re-NATted " + i.NAT.Before + " -> " + i.NAT.After
	switch i.Kind {
	case incident.OrphanedReply:
		what = "orphaned reply to " + i.NAT.Before
	case incident.MapReplacement:
		what = "map made anew: " + replacedWords(i)
	case incident.EgressChanged:
		what = "sent from another address, " + i.NAT.Before + " -> " + i.NAT.After
	case incident.TrackingLost:
		what = "tracking entry lost"
	case incident.NoPort:
		what = "no source port free: " + portWords(i.Ports)
	}
	cause := causeWords(i)
	if removed := i.NAT.RemovedAt; !removed.IsZero() {
		cause += " " + i.Time.Sub(removed).Round(time.Millisecond).String() + " before"
		if i.NAT.SecondsLeft > 0 {
			cause += " with " + left(i) + " left"
		}
	}
	return fmt.Sprintf("%s %s [%s]: %s -> %s %s %s, %s, %s\n",
		w.faint("%s", w.stamp(i.Time)), Clean(i.ShortID()), Clean(nodeName(i)),
		w.cyan("%s", party(&i.Source)), w.cyan("%s", party(&i.Destination)), Clean(i.Protocol),
		w.yellow("%s", Clean(what)), Clean(cause), w.outcome(i.Outcome))
}

func (w *Writer) outcome(o incident.Outcome) string {
	if o != incident.Unconfirmed {
		return w.red("%s", Clean(string(o)))
	}
	return Clean(string(o))
}

// dict is a block of fields.
func (w *Writer) dict(i *incident.Incident) string {
	var b strings.Builder
	if w.written > 0 {
		b.WriteString("------------\n")
	}
	field := func(name, value string) {
		if value != "" {
			fmt.Fprintf(&b, "%14s: %s\n", name, value)
		}
	}
	field("TIMESTAMP", i.Time.In(w.zone).Format(time.RFC3339Nano))
	field("ID", Clean(i.ID))
	field("KIND", w.yellow("%s", Clean(string(i.Kind))))
	field("CAUSE", Clean(causeWords(i)))
	field("OUTCOME", w.outcome(i.Outcome))
	field("NODE", Clean(nodeName(i)))
	field("PROTOCOL", Clean(i.Protocol))
	field("SOURCE", w.cyan("%s", party(&i.Source)))
	field("WORKLOAD", Clean(i.Source.Workload))
	field("DESTINATION", w.cyan("%s", party(&i.Destination)))
	field("NAT BEFORE", Clean(i.NAT.Before))
	field("NAT AFTER", Clean(i.NAT.After))
	if !i.NAT.RemovedAt.IsZero() {
		field("REMOVED", i.NAT.RemovedAt.In(w.zone).Format(time.RFC3339Nano))
	}
	field("LEFT", left(i))
	if i.Replaced != nil {
		field("BROKEN", Clean(replacedWords(i)))
		field("PODS", Clean(podWords(i.Replaced.Pods)))
	}
	if i.Ports != nil {
		field("PORTS", Clean(portWords(i.Ports)))
		field("SINCE", i.Ports.Since.In(w.zone).Format(time.RFC3339))
		field("REFUSED", Clean(podWords(i.Ports.Pods)))
		field("HOLDERS", Clean(podWords(i.Ports.Holders)))
	}
	field("PROGRAM", Clean(i.NAT.Program))
	field("MAP", Clean(mapWords(i)))
	field("LOST", lossWords(&i.Loss))
	for n, e := range i.Evidence {
		name := ""
		if n == 0 {
			name = "EVIDENCE"
		}
		sep := ":"
		if name == "" {
			sep = " "
		}
		fmt.Fprintf(&b, "%14s%s %s %-6s %s\n", name, sep,
			w.faint("%s", e.Time.In(w.zone).Format("15:04:05.000000")), Clean(string(e.From)), Clean(e.What))
	}
	return b.String()
}

// portWords say how many connections found no port, and how many have one.
func portWords(p *incident.Ports) string {
	if p == nil {
		return ""
	}
	s := fmt.Sprintf("%d refused", p.Refused)
	if p.InUse > 0 {
		s += fmt.Sprintf(", %d ports of %s in use", p.InUse, p.Address)
	}
	return s
}

// replacedWords say what a map that was made anew did.
func replacedWords(i *incident.Incident) string {
	if i.Replaced == nil {
		return ""
	}
	s := fmt.Sprintf("%d connections broke", i.Replaced.Broken)
	if before := i.Replaced.MaxEntriesBefore; before > 0 {
		s += fmt.Sprintf(", %d -> %d entries", before, i.Map.MaxEntries)
	}
	return s
}

func podWords(pods []incident.PodCount) string {
	var all []string
	for _, p := range pods {
		all = append(all, fmt.Sprintf("%s %d", p.Name, p.Count))
	}
	return strings.Join(all, ", ")
}

// left is how long a tracking entry still had.
func left(i *incident.Incident) string {
	if i.NAT.SecondsLeft == 0 {
		return ""
	}
	return (time.Duration(i.NAT.SecondsLeft) * time.Second).String()
}

// party names one side: the pod if it is known, else its address.
func party(e *incident.Endpoint) string {
	port := strconv.Itoa(int(e.Port))
	switch {
	case e.Pod != "":
		return Clean(e.Namespace + "/" + e.Pod + ":" + port)
	case len(e.Names) > 0:
		return Clean(e.AddrPort().String() + " (" + e.Names[0] + ")")
	}
	return e.AddrPort().String()
}

func causeWords(i *incident.Incident) string {
	switch {
	case i.Cause == incident.UserspaceDelete && i.DeletedBy != "":
		return "deleted by " + i.DeletedBy
	case i.Cause == incident.UserspaceDelete:
		return "deleted from user space"
	case i.Cause == incident.DatapathDelete:
		return "deleted by the datapath"
	case i.Cause == incident.LRUEviction && i.NAT.Guarded:
		return "evicted although guarded"
	case i.Cause == incident.LRUEviction && i.NAT.Forced:
		return "evicted although used of late"
	case i.Cause == incident.LRUEviction:
		return "evicted"
	case i.Cause == incident.MapReplaced:
		return "lost with the whole map, which was replaced"
	case i.Cause == incident.PortsExhausted:
		return "all ports taken"
	case i.Cause == incident.UnknownCause:
		return "lost for an unknown cause"
	}
	return string(i.Cause)
}

func nodeName(i *incident.Incident) string {
	if i.Cluster == "" {
		return i.Node
	}
	return i.Cluster + "/" + i.Node
}

func mapWords(i *incident.Incident) string {
	s := i.NAT.Map
	if i.Map.MaxEntries > 0 {
		s += fmt.Sprintf(", %d entries", i.Map.MaxEntries)
	}
	return s + fmt.Sprintf(", %.1f evictions/s", i.Map.EvictionsPerSecond)
}

func lossWords(l *incident.Loss) string {
	var parts []string
	for _, p := range []struct {
		n    uint64
		what string
	}{{l.KernelEvents, "kernel events"}, {l.HubbleFlows, "flows"}, {l.HubbleUnseen, "openings unseen"}} {
		if p.n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", p.n, p.what))
		}
	}
	if l.Unknown {
		parts = append(parts, "an unknown number more")
	}
	return strings.Join(parts, ", ")
}
