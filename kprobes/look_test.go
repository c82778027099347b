// SPDX-License-Identifier: Apache-2.0

package kprobes

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/renat-project/renat/correlator"
)

// Replaced maps are kept for as long as events of theirs may come, no longer:
// an agent whose Cilium restarts for a year holds a handful.
func TestRetiredMapsAreForgotten(t *testing.T) {
	tracer := &Tracer{retired: map[uint32]*cilium{}}
	for id := range uint32(1000) {
		now := uint64(id) * uint64(time.Second)
		tracer.retired[id] = &cilium{Map: &correlator.Map{ID: id}, left: now}
		tracer.forgetRetired(now)
	}
	if n := len(tracer.retired); n != int(lateMax/time.Second)+1 {
		t.Errorf("%d maps are kept", n)
	}
	if tracer.mapOf(999) == nil || tracer.mapOf(0) != nil {
		t.Error("not the newest are kept")
	}
}

// Whom there is no room for depends on what verdicts need.
func TestMapsYield(t *testing.T) {
	of := func(id uint32, name string) *cilium { return &cilium{Map: &correlator.Map{ID: id, Name: name}} }
	const nat, ct, inner = "cilium_snat_v4_external", "cilium_ct4_global", "cilium_per_cluster_snat_v4_external_7"
	tracer := &Tracer{watching: map[uint32]*cilium{1: of(1, nat), 2: of(2, inner)}}
	for _, test := range []struct {
		name string
		want uint32
	}{{nat, 1}, {ct, 2}, {inner, 2}, {"cilium_per_cluster_snat_v4_external_8", 0}} {
		got := uint32(0)
		if m := tracer.yields(of(9, test.name)); m != nil {
			got = m.ID
		}
		if got != test.want {
			t.Errorf("%s takes the place of map %d, want %d", test.name, got, test.want)
		}
	}
}

// What a survey could not ask is the operator's concern until the next one can.
func TestStatusTellsOfTheLastSurvey(t *testing.T) {
	tracer := &Tracer{kernel: &kernelSide{}}
	tracer.unsurveyed.Store(5)
	tracer.tooMany.Store(5)
	tooMany := func() bool {
		return slices.ContainsFunc(tracer.Status().Degraded, func(d string) bool { return strings.HasPrefix(d, "5 tracked connections were too many") })
	}
	if !tooMany() {
		t.Error("it is not told of")
	}
	if err := tracer.survey(nil); err != nil {
		t.Fatal(err)
	}
	if tooMany() || tracer.unsurveyed.Load() != 5 {
		t.Errorf("after the next one %q, %d in all", tracer.Status().Degraded, tracer.unsurveyed.Load())
	}
}
