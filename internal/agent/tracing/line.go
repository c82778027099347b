// SPDX-License-Identifier: Apache-2.0

package tracing

import (
	"time"

	"golang.org/x/sys/unix"

	"github.com/renat-project/renat/correlator"
	"github.com/renat-project/renat/internal/nodestatus"
)

var points = map[correlator.Point]string{
	correlator.ToStack: "to-stack", correlator.ToOverlay: "to-overlay", correlator.ToEndpoint: "to-endpoint",
	correlator.ToNetwork: "to-network", correlator.Dropped: "dropped",
}

var reasons = map[correlator.Reason]string{
	correlator.ReasonNew: "new", correlator.ReasonEstablished: "established", correlator.ReasonReply: "reply",
	correlator.ReasonRelated: "related", correlator.ReasonReopened: "reopened",
}

// lineOf puts an event into a line.
func lineOf(ev *correlator.Event) nodestatus.TraceLine {
	if ev.Kind == correlator.KindLoss {
		return nodestatus.TraceLine{From: nodestatus.FromRenat, What: "lost", Count: ev.Loss.Count, Note: ev.Loss.From.String()}
	}
	l := nodestatus.TraceLine{
		Protocol: ev.Tuple.Protocol.String(), Source: ev.Tuple.Src.String(), Destination: ev.Tuple.Dst.String(),
	}
	if ev.Kind == correlator.KindNAT {
		addOperation(&l, ev)
	} else {
		addFlow(&l, &ev.Flow)
	}
	return l
}

func addOperation(l *nodestatus.TraceLine, ev *correlator.Event) {
	n := &ev.NAT
	cpu := int(n.CPU)
	l.From, l.What = nodestatus.FromKernel, n.Op.String()
	l.Map, l.Direction, l.Forced, l.CPU = n.Map.Name, n.Dir.String(), n.Forced, &cpu
	if !n.To.IsZero() {
		l.To = n.To.String()
	}
	if n.Errno != 0 {
		l.Errno, l.Error = int(n.Errno), unix.ErrnoName(unix.Errno(n.Errno))
	}
	if n.Created != 0 {
		age := max(0, time.Duration(ev.Time-n.Created).Seconds())
		l.AgeSeconds = &age
	}
	if n.Left > 0 {
		left := n.Left.Seconds()
		l.LeftSeconds = &left
	}
	if n.Caller != nil {
		l.Program, l.Process = n.Caller.Program, n.Caller.Comm
	}
}

func addFlow(l *nodestatus.TraceLine, f *correlator.Flow) {
	l.From, l.What = nodestatus.FromHubble, points[f.Point]
	if l.What == "" {
		l.What = "packet"
	}
	l.Flags, l.Reason, l.DropReason = f.Flags.String(), reasons[f.Reason], f.DropReason
	l.SourceName, l.DestinationName = nameOf(f.Src), nameOf(f.Dst)
}

// nameOf is what people call a peer.
func nameOf(p *correlator.Peer) string {
	switch {
	case p == nil:
		return ""
	case p.Pod != "":
		return p.Namespace + "/" + p.Pod
	case len(p.Names) > 0:
		return p.Names[0]
	}
	return ""
}
