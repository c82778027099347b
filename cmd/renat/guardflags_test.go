// SPDX-License-Identifier: Apache-2.0

package main

import (
	"net/netip"
	"testing"

	"github.com/renat-project/renat/correlator/incident"
)

func TestGuardFlags(t *testing.T) {
	flags := guardFlags{share: 0.25, cpu: 0.01}
	if c, err := flags.config(); c != nil || err != nil {
		t.Errorf("not asked for: %+v, %v", c, err)
	}
	flags.on, flags.udp, flags.host = true, true, true
	c, err := flags.config()
	if err != nil || c.Share != 0.25 || c.CPU != 0.01 || !c.UDP || !c.Host || c.Match != nil {
		t.Errorf("%+v, %v", c, err)
	}
	flags.match = []string{"namespace=shop,destination=192.0.2.10:443,destination=db.example", "workload=Deployment/worker"}
	if c, err = flags.config(); err != nil {
		t.Fatal(err)
	}
	for _, one := range []struct {
		namespace, workload, server string
		want                        bool
	}{
		{"shop", "Deployment/cart", "192.0.2.10", true},
		{"shop", "Deployment/cart", "192.0.2.11", false},
		{"pay", "Deployment/cart", "192.0.2.10", false},
		{"pay", "Deployment/worker", "192.0.2.11", true},
	} {
		i := &incident.Incident{
			Source:      incident.Endpoint{Namespace: one.namespace, Workload: one.workload},
			Destination: incident.Endpoint{IP: netip.MustParseAddr(one.server), Port: 443},
		}
		if got := c.Match(i); got != one.want {
			t.Errorf("%+v: %t", one, got)
		}
	}
}
