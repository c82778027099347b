// SPDX-License-Identifier: Apache-2.0

package recording

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/netip"
	"regexp"
	"strings"

	"github.com/cilium/cilium/api/v1/observer"

	"github.com/renat-project/renat/correlator"
)

// Redactor replaces names and addresses, the same by the same and different
// ones by different ones, so that what is recorded replays to the same
// incidents. It does so with a random key that is kept nowhere: another
// Redactor replaces differently, and nobody can go back. Its methods may be
// called from any goroutine.
//
// Times, ports, numbers, identities among them, versions, and the names of
// Cilium's own maps, programs and processes stay.
type Redactor struct {
	key   [32]byte
	block cipher.Block // for addresses
}

// NewRedactor returns a redactor with a key of its own.
func NewRedactor() (*Redactor, error) {
	r := &Redactor{}
	var key [16]byte
	for _, k := range [][]byte{r.key[:], key[:]} {
		if _, err := rand.Read(k); err != nil {
			return nil, fmt.Errorf("making a key to redact with: %w", err)
		}
	}
	var err error
	r.block, err = aes.NewCipher(key[:])
	return r, err
}

// Flow redacts a message of Hubble's stream in place. Text that is not known
// to be harmless or to be a name is removed, as is all that this version of
// the API does not know.
func (r *Redactor) Flow(resp *observer.GetFlowsResponse) { r.message(resp.ProtoReflect()) }

// Event redacts a map operation in place; losses have nothing to redact.
func (r *Redactor) Event(ev *correlator.Event) {
	if ev.Kind != correlator.KindNAT {
		return
	}
	for _, a := range []*correlator.Addr{&ev.Tuple.Src, &ev.Tuple.Dst, &ev.NAT.To} {
		a.IP = r.ip(a.IP)
	}
	if c := ev.NAT.Caller; c != nil { // shared with other events
		ev.NAT.Caller = &correlator.Caller{Program: r.program(c.Program), Comm: r.process(c.Comm)}
	}
}

// Meta redacts what is said of the node.
func (r *Redactor) Meta(m *Meta) {
	m.NodeName, m.ClusterName = r.node(m.NodeName), r.named("cluster")(m.ClusterName)
	m.SNATIPv4, m.SNATIPv6 = r.address(m.SNATIPv4), r.address(m.SNATIPv6)
	m.Redacted = true
}

// name returns what stands for a name. What follows the prefix depends on the
// name only: a namespace and a label's value with one name can be recognised.
func (r *Redactor) name(prefix, s string) string {
	if s == "" {
		return ""
	}
	mac := hmac.New(sha256.New, r.key[:])
	mac.Write([]byte(s))
	return prefix + "-" + hex.EncodeToString(mac.Sum(nil)[:6])
}

func (r *Redactor) named(prefix string) func(string) string {
	return func(s string) string { return r.name(prefix, s) }
}

// node redacts a node's name, which Hubble has the cluster's precede.
func (r *Redactor) node(s string) string {
	if cluster, node, ok := strings.Cut(s, "/"); ok {
		return r.name("cluster", cluster) + "/" + r.name("node", node)
	}
	return r.name("node", s)
}

// address redacts an address; anything else that should be one stays none.
func (r *Redactor) address(s string) string {
	a, err := netip.ParseAddr(s)
	if err != nil || a.Zone() != "" {
		return r.name("address", s)
	}
	redacted := netip.AddrFrom16(r.ip(a.As16()))
	if a.Is4() {
		redacted = redacted.Unmap()
	}
	return redacted.String()
}

// reserved are the identities that Cilium itself labels (pkg/labels).
var reserved = map[string]bool{
	"reserved:host": true, "reserved:world": true, "reserved:world-ipv4": true, "reserved:world-ipv6": true,
	"reserved:unmanaged": true, "reserved:health": true, "reserved:init": true, "reserved:remote-node": true,
	"reserved:kube-apiserver": true, "reserved:ingress": true, "reserved:encrypted-overlay": true,
}

// Labels whose value is a name of another kind.
const (
	namespaceLabel = "k8s:io.kubernetes.pod.namespace"
	clusterLabel   = "k8s:io.cilium.k8s.policy.cluster"
)

// label redacts a label: source:key=value, key=value or less.
func (r *Redactor) label(s string) string {
	if reserved[s] {
		return s
	}
	key, value, hasValue := strings.Cut(s, "=")
	switch {
	case key == namespaceLabel:
		return key + "=" + r.name("namespace", value)
	case key == clusterLabel:
		return key + "=" + r.name("cluster", value)
	case hasValue:
		return r.name("label", key) + "=" + r.name("value", value)
	}
	return r.name("label", key)
}

// workloadKinds are Kubernetes' own.
var workloadKinds = map[string]bool{
	"Deployment": true, "ReplicaSet": true, "StatefulSet": true, "DaemonSet": true, "ReplicationController": true,
	"Job": true, "CronJob": true, "Pod": true, "Node": true,
}

func (r *Redactor) workloadKind(s string) string {
	if workloadKinds[s] {
		return s
	}
	return r.name("kind", s)
}

// packetSummary is what Hubble says of a packet; of requests it says more.
var packetSummary = regexp.MustCompile(`^(TCP Flags: [A-Z, ]*|UDP|SCTP)$`)

func summary(s string) string {
	if packetSummary.MatchString(s) {
		return s
	}
	return ""
}

// program redacts a BPF program that is not one of Cilium's.
func (r *Redactor) program(s string) string {
	if s == correlator.ProgramSyscall || strings.HasPrefix(s, "tail_") || strings.HasPrefix(s, "cil_") {
		return s
	}
	return r.name("program", s)
}

// processes are those whose work on the maps is well known.
var processes = map[string]bool{
	"cilium-agent": true, "cilium-dbg": true, "cilium": true, "bpftool": true,
}

func (r *Redactor) process(s string) string {
	if processes[s] {
		return s
	}
	return r.name("process", s)
}
