// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"context"
	"math/rand/v2"
	"sync"
	"time"
)

// settled is more than what Hubble may be late by: a connection that is younger
// when its address changes may be one that opens.
const settled = time.Second

// move opens connections, aborts some, changes the address that their pods are sent
// from, and has each client speak, or open its connection again from the same port.
func (t *traffic) move(ctx context.Context, n map[Class]int, lot *rand.Rand) {
	open := t.startAll(ctx, Egress, t.ports(n[Egress]), portLong)
	again := t.ports(n[EgressReuse])
	for _, c := range t.startAll(ctx, EgressReuse, again, portShort) {
		c.abort()
	}
	sleep(ctx, settled)
	t.churnBy(ctx, lot, 0.05, 0.6)
	t.changeEgress(Egress, EgressReuse)
	t.useAll(open, (*client).exchange)
	for _, c := range t.startAll(ctx, EgressReuse, again, portShort) {
		c.close()
	}
}

// changeEgress has the pods of classes leave from the node's other address, and the
// next time from the first again.
func (t *traffic) changeEgress(some ...Class) {
	t.moved = !t.moved
	for _, c := range some {
		if err := t.datapath.SetEgress(t.net.pod(t.podOf(c)), t.moved); err != nil {
			t.cfg.Log.Warn().Err(err).Msg("a pod keeps its address")
		}
	}
}

// ports takes n source ports that no other connection has.
func (t *traffic) ports(n int) []uint16 {
	ports := make([]uint16, n)
	for i := range ports {
		ports[i] = uint16(t.nextPort.Add(1))
	}
	return ports
}

// startAll opens connections from all of the ports and uses each a first time;
// those that cannot be opened are not among what it returns.
func (t *traffic) startAll(ctx context.Context, class Class, ports []uint16, to uint16) []*client {
	started := make(chan *client, len(ports))
	var all sync.WaitGroup
	for _, port := range ports {
		all.Go(func() {
			if c, ok := t.start(ctx, class, port, to); ok {
				started <- c
			}
		})
	}
	all.Wait()
	close(started)
	var open []*client
	for c := range started {
		open = append(open, c)
	}
	return open
}

// useAll uses connections one more time, all at once, and closes them.
func (t *traffic) useAll(open []*client, use func(*client) error) {
	var all sync.WaitGroup
	for _, c := range open {
		all.Go(func() {
			defer c.close()
			err := use(c)
			if err == nil {
				err = c.remains()
			}
			t.account.probed(c.key, c.class, 1, err)
		})
	}
	all.Wait()
}
