// SPDX-License-Identifier: Apache-2.0

package nodestatus

import (
	"strings"
	"time"
)

// AtRisk are the connections of a node that live and lack an entry: the JSON of
// the agent's /v1/at-risk.
type AtRisk struct {
	Version int       `json:"version"` // as Status has it
	Time    time.Time `json:"time"`    // when it was looked
	Node    string    `json:"node"`
	Cluster string    `json:"cluster,omitempty"`
	// Connections at risk, those for longest first.
	Connections []Risk `json:"connections"`
	// More is how many there are beyond those listed.
	More int `json:"more,omitempty"`
	// Unchecked is how many connections lost an entry and were not looked up, the
	// ones for longest: most have closed since, or have another.
	Unchecked int `json:"unchecked,omitempty"`
}

const (
	// RisksTold is how many of them a Status has, which is sent every few seconds.
	RisksTold = 20
	// nameMax bounds the names there, in bytes: none in Kubernetes or DNS is longer.
	nameMax = 253
)

// Told returns the first of them as a Status has them: with one DNS name a side.
func (a *AtRisk) Told() []Risk {
	told := append([]Risk(nil), a.Connections[:min(len(a.Connections), RisksTold)]...)
	for i := range told {
		told[i].Source, told[i].Destination = told[i].Source.told(), told[i].Destination.told()
	}
	return told
}

// Which entries a connection lacks.
const (
	GoneOut  = "OUT"  // the pod's packets have no translation
	GoneIn   = "IN"   // the server's have none
	GoneBoth = "both" // neither
)

// Who breaks a connection by speaking.
const (
	SpeaksPod    = "pod"    // or the node, if it is its own: whose packets get another port
	SpeaksServer = "server" // whose packets end at the node
)

// Risk is a connection that breaks by its next packet.
type Risk struct {
	Protocol    string    `json:"protocol"`
	Source      RiskPeer  `json:"source"`
	Destination RiskPeer  `json:"destination"`
	NAT         string    `json:"nat,omitempty"` // ip:port that the server knows it by, if known
	Gone        string    `json:"gone"`          // GoneOut, GoneIn or GoneBoth
	Since       time.Time `json:"since"`         // when the entry was lost
	// Breaks says whose next packet breaks it.
	Breaks string `json:"breaks"`
	// HostNetwork: the source is the node's own address: the host, a pod on its
	// network, or one that iptables masquerades.
	HostNetwork bool `json:"host_network,omitempty"`
	Guarded     bool `json:"guarded,omitempty"` // the guard kept it before
}

// RiskPeer is one side.
type RiskPeer struct {
	Address   string   `json:"address"` // ip:port
	Namespace string   `json:"namespace,omitempty"`
	Pod       string   `json:"pod,omitempty"`
	Workload  string   `json:"workload,omitempty"`
	Names     []string `json:"names,omitempty"` // DNS
}

func (p RiskPeer) told() RiskPeer {
	p.Names = append([]string(nil), p.Names[:min(len(p.Names), 1)]...)
	texts := []*string{&p.Namespace, &p.Pod, &p.Workload}
	for i := range p.Names {
		texts = append(texts, &p.Names[i])
	}
	for _, s := range texts {
		if len(*s) > nameMax {
			*s = strings.ToValidUTF8((*s)[:nameMax], "")
		}
	}
	return p
}
