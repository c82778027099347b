// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"net/netip"
	"sync"
	"time"

	"github.com/renat-project/renat/internal/recording"
)

// Class is a way of using connections.
type Class string

// The classes.
const (
	Idle         Class = "idle"           // silent between rounds, the client speaks first; every second server sends keep-alives
	Push         Class = "push"           // silent between rounds, the server speaks first
	Hot          Class = "hot"            // always active
	GC           Class = "gc"             // its OUT entry is deleted by syscall, then the client speaks
	GCPush       Class = "gc_push"        // the same, then the server speaks: a restore mends it
	Reuse        Class = "reuse"          // its source port is opened again after its entries were evicted
	ReuseNewPort Class = "reuse_new_port" // opened again while the old IN entry lives
	Egress       Class = "egress"         // the address it is sent from is changed, then the client speaks
	EgressReuse  Class = "egress_reuse"   // closed, the address changed, and its source port opened again
	Crowd        Class = "crowd"          // more at a time than there are ports for
	Untracked    Class = "untracked"      // its tracking entry is deleted by syscall, the server speaks, and the client waits for it
	Waiting      Class = "waiting"        // silent between rounds, then the same without a deletion: the entry is evicted
	Healed       Class = "healed"         // its tracking entry is deleted, the server speaks, and the client speaks, too
	Replaced     Class = "replaced"       // the NAT map is made anew, then the server speaks
	Kept         Class = "kept"           // the same, then the client speaks, which gives it its old port again
	Unanswered   Class = "unanswered"     // its OUT entry is deleted, then the client speaks, and what answers is dropped
	Unreset      Class = "unreset"        // both its entries are deleted, the server speaks, which is dropped, then the client
	Own          Class = "own"            // the node's own; when it is silent a pod opens one from the same port, then it speaks
	Churn        Class = "churn"          // short; a seventh resets on purpose
)

// classes have a pod each, but for Own, in this order. Churn is the last.
var classes = []Class{Idle, Push, Hot, GC, GCPush, Reuse, ReuseNewPort, Egress, EgressReuse, Crowd, Untracked, Waiting, Healed, Replaced, Kept, Unanswered, Unreset, Own, Churn}

// key is a connection as its client has it. A source port that is opened again
// makes no new one.
type key struct{ client, server netip.AddrPort }

// connection is all the laboratory knows of one, but for what renat says.
type connection struct {
	class  Class
	broken error // what the client saw; nil: it works
	// seen is where the server saw it come from: its address after translation.
	seen     netip.AddrPort
	failures []failure // what the datapath did to it, oldest first
}

// account is what the clients, the servers and the datapath say. Its methods
// may be called from any goroutine.
type account struct {
	mu          sync.Mutex // guards what follows
	connections map[key]*connection
	probes      []recording.Truth
	unopened    int           // connections that could not be opened
	givenUp     map[key]Class // of these, those of a source port that was chosen
	refusals    []refusal     // oldest first
	watched     span
	churned     int // short connections that ended
}

// span is when the agent began to watch: from the first on it may name what
// breaks, from the second on it must. Ktime; 0 if it always did.
type span struct{ may, must uint64 }

// refusal is a packet that would have opened a connection, had there been a port.
type refusal struct {
	key
	at time.Time // when the Observer got its flow
}

func newAccount() *account {
	return &account{connections: map[key]*connection{}, givenUp: map[key]Class{}}
}

// of returns a connection, known from now on. a.mu is held.
func (a *account) of(k key) *connection {
	c := a.connections[k]
	if c == nil {
		c = &connection{}
		a.connections[k] = c
	}
	return c
}

// probed notes what a client saw of a connection that had been opened.
func (a *account) probed(k key, class Class, round int, err error) {
	p := recording.Truth{Class: string(class), Round: round, Client: k.client, Server: k.server, Broken: err != nil, At: time.Now().UTC()}
	if err != nil {
		p.Err = err.Error()
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.probes = append(a.probes, p)
	c := a.of(k)
	c.class = class
	if c.broken == nil {
		c.broken = err
	}
}

// accepted notes where a server saw a connection come from.
func (a *account) accepted(k key, from netip.AddrPort) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.of(k).seen = from
}

func (a *account) failed(k key, f failure) {
	a.mu.Lock()
	defer a.mu.Unlock()
	c := a.of(k)
	c.failures = append(c.failures, f)
}

func (a *account) watchedFrom(may, must uint64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.watched = span{may, must}
}

// couldNotOpen notes that a connection's client gave up opening it.
func (a *account) couldNotOpen(k key, class Class) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.unopened++
	if k.client.Port() != 0 {
		a.givenUp[k] = class
	}
}

// refused notes that the datapath dropped a connection's opening.
func (a *account) refused(k key, at time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.refusals = append(a.refusals, refusal{k, at})
}

func (a *account) churn() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.churned++
}

// churnedSoFar counts the short connections that ended.
func (a *account) churnedSoFar() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.churned
}

// wasReset notes when the Observer got the RST of a connection's last failure.
func (a *account) wasReset(k key, at time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if c := a.of(k); len(c.failures) > 0 {
		c.failures[len(c.failures)-1].reset = at
	}
}
