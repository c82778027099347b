// SPDX-License-Identifier: Apache-2.0

package correlator

// Connections of the node's own address have entries, too: those of host-network
// pods and of the host, and those of pods that iptables masquerades (kube-proxy
// replacement with bpf.masquerade=false, Helm's default). They are re-NATted
// after an eviction as all others are. A pod that iptables masquerades is seen
// twice: as itself, untranslated, and as the node.

// maxHostSuspects is how many suspects of the host's are looked through for the
// one whose pod was reset.
const maxHostSuspects = 64

// accusedHost remembers a suspect of the host's.
func (c *Correlator) accusedHost(r ref) {
	c.hosts = newest(c.hosts, r, maxHostSuspects)
}

// newest adds one to those that are kept, of which the oldest goes where there are
// as many as may be.
func newest[T any](kept []T, one T, most int) []T {
	if len(kept) == most {
		kept = append(kept[:0], kept[1:]...)
	}
	return append(kept, one)
}

// decidedHost forgets it, decided however.
func (c *Correlator) decidedHost(r ref) {
	for i, h := range c.hosts {
		if h == r {
			c.hosts = append(c.hosts[:i], c.hosts[i+1:]...)
			return
		}
	}
}

// masqueraded takes the RST that a server sent to a pod whose packets are
// translated by nobody but iptables, or the packet that it answers, if Hubble
// shows that later. It belongs to the suspect of the host's with the same server,
// if there is just one and the pod spoke when it was re-NATted: that is the pod's
// connection.
func (c *Correlator) masqueraded(r ref, fct fact) {
	pod := c.table.at(r)
	if len(c.hosts) == 0 || !pod.snat.IsZero() {
		return
	}
	var found ref
	for _, h := range c.hosts {
		cn := c.table.at(h)
		s := c.suspects.at(cn.suspect)
		if cn.tuple.Dst != pod.tuple.Dst || cn.tuple.Protocol != pod.tuple.Protocol || s.reset || pod.lastPod < s.at+c.lag.early {
			continue
		}
		if found != 0 {
			return
		}
		found = h
	}
	if found == 0 {
		return
	}
	c.table.at(found).name(pod.src, pod.dst)
	c.confirm(found, fct)
}
