// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/cilium/cilium/api/v1/flow"
	"github.com/cilium/cilium/api/v1/observer"
	"github.com/rs/zerolog"

	"github.com/renat-project/renat/internal/recording"
)

// intake decides which flows of a recording's file are the node's own, and
// counts what the file lacks. A file may come from a relay, or from an exporter
// that leaves fields out.
type intake struct {
	meta    recording.Meta
	nodes   []string // whose flows there are
	fit     fit      // the best of theirs
	counted          // after sum

	mu    sync.Mutex // guards parts
	parts []*counted // of those who read at the same time
}

type counted struct {
	read    int   // flows of the node
	others  int   // events of other nodes
	until   int64 // Unix time of the latest of these, in nanoseconds
	missing [len(needed)]int
}

// needed are the fields of a flow without which it says nothing, or too little.
var needed = [...]struct {
	name  string
	has   func(*flow.Flow) bool
	fewer bool // it can be used, and says less
}{
	{name: "time", has: func(f *flow.Flow) bool { return f.GetTime() != nil }},
	{name: "IP", has: func(f *flow.Flow) bool { return f.GetIP().GetSource() != "" && f.GetIP().GetDestination() != "" }},
	{name: "l4", has: func(f *flow.Flow) bool { return f.GetL4().GetProtocol() != nil }},
	{name: "event_type", has: func(f *flow.Flow) bool { return f.GetEventType() != nil }},
	{name: "trace_observation_point", has: func(f *flow.Flow) bool {
		return f.GetTraceObservationPoint() != flow.TraceObservationPoint_UNKNOWN_POINT || f.GetDropReasonDesc() != 0
	}},
	{name: "trace_reason", fewer: true, has: func(f *flow.Flow) bool {
		return f.GetTraceReason() != flow.TraceReason_TRACE_REASON_UNKNOWN || f.GetDropReasonDesc() != 0
	}},
	{name: "source_port and destination_port in l4", fewer: true, has: func(f *flow.Flow) bool {
		tcp, udp := f.GetL4().GetTCP(), f.GetL4().GetUDP()
		return tcp == nil && udp == nil || (tcp.GetSourcePort()|udp.GetSourcePort()) != 0 && (tcp.GetDestinationPort()|udp.GetDestinationPort()) != 0
	}},
	{name: "flags in l4.TCP", fewer: true, has: func(f *flow.Flow) bool {
		return f.GetL4().GetTCP() == nil || f.GetL4().GetTCP().GetFlags() != nil
	}},
}

// newIntake looks whose flows the recording's are.
func newIntake(rec *recording.Recording) (*intake, error) {
	in := &intake{meta: rec.Meta}
	flows, _, err := rec.Peek()
	if err != nil || flows == nil {
		return in, err
	}
	defer flows.Close()
	in.nodes = nodesOf(flows)
	for _, name := range in.nodes {
		in.fit = max(in.fit, in.fits(name))
	}
	return in, nil
}

// nodesMax bounds what is remembered of a file that is hostile, or of a whole cluster.
const nodesMax = 10_000

// nodesOf returns the nodes whose flows a file holds. It looks for the field's
// name only: what is not JSON is found when the file is read. A file that ends
// too early is told of then, too.
func nodesOf(r io.Reader) (names []string) {
	lines := bufio.NewReaderSize(r, recording.MaxLine)
	seen := map[string]bool{}
	for len(seen) < nodesMax {
		line, err := lines.ReadSlice('\n')
		if name := lastNode(line); len(name) > 0 && !seen[string(name)] && !bytes.Contains(line, []byte("node_status")) {
			seen[string(name)] = true
			names = append(names, string(name))
		}
		if err != nil && !errors.Is(err, bufio.ErrBufferFull) {
			break
		}
	}
	slices.Sort(names)
	return names
}

// lastNode returns the value of a line's last node_name or nodeName.
func lastNode(line []byte) []byte {
	rest := afterLast(afterLast(line, `"node_name"`), `"nodeName"`)
	if len(rest) == len(line) {
		return nil
	}
	value, _, ok := bytes.Cut(bytes.TrimPrefix(bytes.TrimLeft(rest, " \t:"), []byte{'"'}), []byte{'"'})
	if !ok {
		return nil
	}
	return value
}

// afterLast returns what follows the last part of a line, or the line if it has no
// such part. Searching from its beginning, as bytes.LastIndex does not, is ten
// times as fast.
func afterLast(line []byte, part string) []byte {
	for {
		i := bytes.Index(line, []byte(part))
		if i < 0 {
			return line
		}
		line = line[i+len(part):]
	}
}

// keeper returns what tells for one goroutine whether an event is the node's own,
// and counts it.
func (in *intake) keeper() func(*observer.GetFlowsResponse) bool {
	c := &counted{}
	in.mu.Lock()
	defer in.mu.Unlock()
	in.parts = append(in.parts, c)
	return func(resp *observer.GetFlowsResponse) bool { return in.take(c, resp) }
}

// sum adds up what the keepers counted, who have ended.
func (in *intake) sum() {
	for _, c := range in.parts {
		in.read, in.others, in.until = in.read+c.read, in.others+c.others, max(in.until, c.until)
		for i := range c.missing {
			in.missing[i] += c.missing[i]
		}
	}
}

// take reports whether an event is the node's own. An event that names no node
// may be.
func (in *intake) take(c *counted, resp *observer.GetFlowsResponse) bool {
	f := resp.GetFlow()
	name := resp.GetNodeName()
	if name == "" {
		name = f.GetNodeName()
	}
	if name != "" && !in.own(name) {
		c.others++
		if at := resp.GetTime(); at != nil {
			c.until = max(c.until, at.AsTime().UnixNano())
		}
		return false
	}
	if f != nil {
		c.read++
		for i := range needed {
			if !needed[i].has(f) {
				c.missing[i]++
			}
		}
	}
	return true
}

// fit is how well a node's name is that of meta.json.
type fit uint8

const (
	otherNode    fit = iota
	otherCluster     // and the only node there is
	otherForm        // one has a domain, the other has not
	sameNode
)

// fits compares a node's name, as "cluster/node" or alone, with meta.json's. Hubble
// does not name the cluster that is called default.
func (in *intake) fits(name string) fit {
	split := func(name, cluster string) (string, string) {
		if before, node, both := strings.Cut(name, "/"); both {
			cluster, name = before, node
		}
		if cluster == "default" {
			cluster = ""
		}
		return cluster, name
	}
	cluster, node := split(name, "")
	ofCluster, ofNode := split(in.meta.NodeName, in.meta.ClusterName)
	alike := node == ofNode || strings.HasPrefix(node, ofNode+".") || strings.HasPrefix(ofNode, node+".")
	switch {
	case ofNode == "":
		return sameNode // nobody knows
	case !alike:
		return otherNode
	case cluster != "" && ofCluster != "" && cluster != ofCluster:
		if len(in.nodes) == 1 {
			return otherCluster
		}
		return otherNode
	case node != ofNode:
		return otherForm
	}
	return sameNode
}

// own reports whether a node's name is the recorded one's: of the names that the
// file has, that which fits best.
func (in *intake) own(name string) bool {
	f := in.fits(name)
	return f != otherNode && f >= in.fit
}

// report says what of the file could not be used; used is how many flows were.
func (in *intake) report(log zerolog.Logger, file string, used, ahead int) {
	if in.read+in.others == 0 {
		log.Warn().Str("file", file).Msg("the file holds no flows: only what the kernel alone proves can be found")
	}
	if in.others > 0 {
		log.Warn().Str("file", file).Int("others", in.others).Int("own", in.read).Str("node", in.meta.NodeName).
			Msg("leaving out flows of other nodes: only the recorded node's own tell of its NAT maps (node_name in meta.json)")
	}
	switch own := slices.DeleteFunc(slices.Clone(in.nodes), func(name string) bool { return !in.own(name) }); {
	case len(own) > 1:
		log.Warn().Str("file", file).Str("node", in.meta.NodeName).Strs("flows_of", own).
			Msg("taking the flows of several nodes for the recorded one's: meta.json (node_name, cluster_name) does not tell which is it")
	case len(own) == 1 && in.fit < sameNode:
		log.Warn().Str("file", file).Str("node", in.meta.NodeName).Str("flows_of", own[0]).
			Msg("the flows are of a node that meta.json names otherwise: taking them for this node's")
	}
	if ahead > 0 {
		log.Warn().Str("file", file).Int("flows", ahead).Dur("by_more_than", aheadMax).
			Msg("leaving out flows that are stamped ahead of those that follow: was the clock set?")
	}
	if in.read > 0 && used == 0 {
		log.Warn().Str("file", file).Int("flows", in.read).Strs("missing", in.lacks(false)).
			Msgf("%d flows were read and none can be used: %s. What is found is what the kernel alone proves", in.read, in.why())
	} else if lacks := in.lacks(true); in.read > 0 && len(lacks) > 0 {
		log.Warn().Str("file", file).Int("flows", in.read).Strs("missing", lacks).
			Msgf("hardly any flow has %s: whose they are, and how connections open and end, cannot be told without (add it to the exporter's fieldMask, or take them with hubble observe -o jsonpb)", strings.Join(lacks, ", nor "))
	}
}

// lacks names the fields that hardly any flow has, of those without which it can
// be used or not.
func (in *intake) lacks(fewer bool) (names []string) {
	for i, n := range in.missing {
		if needed[i].fewer == fewer && n*10 >= in.read*9 {
			names = append(names, needed[i].name)
		}
	}
	return names
}

func (in *intake) why() string {
	if names := in.lacks(false); len(names) > 0 {
		return "hardly any has the field " + strings.Join(names, ", nor ") + " (add it to the exporter's fieldMask, or take them with hubble observe -o jsonpb)"
	}
	return "none is a trace to-stack, to-network or to-endpoint of TCP, UDP or SCTP, nor an answer to-overlay, nor a drop by NAT or connection tracking"
}

// aheadMax is how far flows may lie ahead of those that follow.
const aheadMax = 30 * time.Second
