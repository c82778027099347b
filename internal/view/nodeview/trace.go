// SPDX-License-Identifier: Apache-2.0

package nodeview

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/fatih/color"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/renat-project/renat/internal/nodestatus"
	"github.com/renat-project/renat/internal/view/fleet"
	"github.com/renat-project/renat/internal/view/render"
	"github.com/renat-project/renat/internal/view/usage"
)

// Trace shows what chosen connections go through, as it happens.
type Trace struct {
	output string
	query  url.Values
	last   int
	Pod    string   // namespace/name
	IPs    []string // of it, if they are known
}

const outCompact = "compact"

// Register makes flags of the options.
func (o *Trace) Register(cmd *cobra.Command) {
	o.query = url.Values{}
	f := cmd.Flags()
	f.StringVarP(&o.output, "output", "o", outCompact, "output format: compact, json")
	usage.Complete(cmd, "output", outCompact, outJSON)
	f.Var(param{o.query, "to"}, "to", "only connections to this server: IP, IP:PORT or [IP]:PORT")
	f.Var(param{o.query, "protocol"}, "protocol", "only this protocol: TCP, UDP, …, or its number")
	f.Var(param{o.query, "map"}, "map", "only operations on these maps: nat, ct")
	usage.Complete(cmd, "map", "nat", "ct")
	f.IntVar(&o.last, "last", 0, "begin with this many of the packets that Hubble showed before")
}

// RegisterPod makes flags of whom to trace.
func (o *Trace) RegisterPod(f *pflag.FlagSet) {
	f.StringVar(&o.Pod, "pod", "", "a pod, as NAMESPACE/NAME; Hubble knows its address")
	f.StringSliceVar(&o.IPs, "ip", nil, "address of a pod, or of the node's own: IP, IP:PORT or [IP]:PORT; one of IPv4 and one of IPv6 may be given")
}

// param is a flag that the agent reads.
type param struct {
	of   url.Values
	name string
}

func (p param) String() string     { return p.of.Get(p.name) }
func (p param) Set(v string) error { p.of.Set(p.name, v); return nil }
func (p param) Type() string       { return "string" }

// check finds wrong options, as far as the agent need not be asked.
func (o *Trace) check() error {
	switch {
	case o.output != outCompact && o.output != outJSON:
		return usage.Errorf("output format %q is not one of compact, json", o.output)
	case o.Pod == "" && len(o.IPs) == 0 && o.query.Get("to") == "":
		return usage.Errorf("say what to trace: --pod, --ip or --to")
	case o.last < 0:
		return usage.Errorf("--last %d is negative", o.last)
	}
	return nil
}

// Run shows what the agent tells until ctx ends, or the agent does.
func (o *Trace) Run(ctx context.Context, agent fleet.Agent, s *Screen) error {
	if err := o.check(); err != nil {
		return err
	}
	if o.Pod != "" {
		o.query.Set("pod", o.Pod)
	}
	if len(o.IPs) > 0 {
		o.query["ip"] = o.IPs
	}
	if o.last > 0 {
		o.query.Set("last", strconv.Itoa(o.last))
	}
	body, err := agent.Stream(ctx, "/v1/trace", o.query)
	var status *fleet.StatusError
	switch {
	case errors.As(err, &status) && status.Code == http.StatusNotFound:
		return fmt.Errorf("the agent of %s is older and cannot trace: update it", agent.Node())
	case errors.As(err, &status) && status.Code == http.StatusBadRequest:
		return usage.Errorf("%s", status.Body)
	case err != nil:
		return fmt.Errorf("tracing on %s: %w", agent.Node(), err)
	}
	defer body.Close()
	if err := o.show(body, s); err != nil && ctx.Err() == nil {
		return fmt.Errorf("tracing on %s: %w", agent.Node(), err)
	}
	if ctx.Err() == nil {
		return fmt.Errorf("the agent of %s ended the trace: it may be restarting", agent.Node())
	}
	return nil
}

// show writes line by line.
func (o *Trace) show(body io.Reader, s *Screen) error {
	lines := bufio.NewScanner(body)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		if o.output == outJSON {
			if _, err := fmt.Fprintf(s.Out, "%s\n", lines.Bytes()); err != nil {
				return err
			}
			continue
		}
		var l nodestatus.TraceLine
		if err := json.Unmarshal(lines.Bytes(), &l); err != nil {
			return fmt.Errorf("its line cannot be read: %w", err)
		}
		out := s.Out
		if l.From == nodestatus.FromRenat && l.What != "lost" {
			out = s.Err
		}
		if _, err := fmt.Fprintln(out, s.traceLine(&l)); err != nil {
			return err
		}
	}
	return lines.Err()
}

// traceLine is a compact line: when, who saw it, the connection, what.
func (s *Screen) traceLine(l *nodestatus.TraceLine) string {
	at := s.paint(color.Faint, render.Stamp(l.Time.Local(), ""))
	if l.From == nodestatus.FromRenat {
		return at + " " + render.Clean(traceNote(l))
	}
	tuple := fmt.Sprintf("%s %s -> %s", l.Protocol, l.Source, l.Destination)
	if l.From == nodestatus.FromHubble {
		return fmt.Sprintf("%s %s %s: %s", at, "hubble", s.paint(color.FgCyan, render.Clean(tuple)), render.Clean(traceFlow(l)))
	}
	what := s.paint(traceColor(l), render.Clean(traceOperation(l)))
	return fmt.Sprintf("%s %s %s: %s", at, "kernel", s.paint(color.FgCyan, render.Clean(tuple)), what+render.Clean(traceBy(l)))
}

func traceNote(l *nodestatus.TraceLine) string {
	switch l.What {
	case "lost":
		return fmt.Sprintf("renat  %d events are missing here (%s)", l.Count, l.Note)
	case "waiting":
		return "renat  waiting: " + l.Note
	}
	return "renat  " + l.What + " " + l.Note + "; Ctrl-C ends it"
}

func traceColor(l *nodestatus.TraceLine) color.Attribute {
	if l.What == "insert" && l.Errno == 0 {
		return color.FgGreen
	}
	return color.FgYellow
}

// traceOperation says what was done to which entry.
func traceOperation(l *nodestatus.TraceLine) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s %s", shortMap(l.Map), l.Direction, l.What)
	if l.To != "" {
		b.WriteString(" to " + l.To)
	}
	switch {
	case l.Error == "ENOENT" && l.What == "delete":
		b.WriteString(" missed: there was no entry")
	case l.Error == "EEXIST":
		b.WriteString(" refused: the key is taken (EEXIST)")
	case l.Errno != 0:
		b.WriteString(" failed: " + l.Error)
	}
	if l.Forced {
		b.WriteString(" although in use of late")
	}
	if l.AgeSeconds != nil {
		fmt.Fprintf(&b, ", %v old", time.Duration(*l.AgeSeconds*float64(time.Second)).Round(time.Second))
	}
	if l.LeftSeconds != nil {
		fmt.Fprintf(&b, " although alive, %v left", time.Duration(*l.LeftSeconds*float64(time.Second)).Round(time.Second))
	}
	return b.String()
}

// traceBy says who did it, and where.
func traceBy(l *nodestatus.TraceLine) string {
	by := ""
	switch {
	case l.Process != "":
		by = ", by process " + strconv.Quote(l.Process)
	case l.Program != "":
		by = ", by " + l.Program
	}
	if l.CPU != nil {
		by += fmt.Sprintf(", CPU %d", *l.CPU)
	}
	return by
}

func traceFlow(l *nodestatus.TraceLine) string {
	words := []string{l.What}
	for _, w := range []string{l.Flags, l.Reason} {
		if w != "" {
			words = append(words, w)
		}
	}
	if l.DropReason != 0 {
		words = append(words, fmt.Sprintf("reason %d", l.DropReason))
	}
	if l.SourceName != "" || l.DestinationName != "" {
		words = append(words, "("+cmp.Or(l.SourceName, "?")+" -> "+cmp.Or(l.DestinationName, "?")+")")
	}
	return strings.Join(words, " ")
}
