// SPDX-License-Identifier: Apache-2.0

package hubble_test

import (
	"context"
	"os"
	"strings"
	"testing"

	"github.com/renat-project/renat/correlator"
	"github.com/renat-project/renat/hubble"
	"github.com/renat-project/renat/hubble/hubbletest"
)

func TestSmoke(t *testing.T) {
	srv, err := hubbletest.New(hubbletest.Config{Lossless: true, Capacity: 8})
	if err != nil {
		t.Fatal(err)
	}
	defer srv.Stop()
	b, err := os.ReadFile("testdata/cilium-1.20.2.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		n, err := srv.Load(t.Context(), strings.NewReader(string(b)), func(line int, err error) bool { t.Error(line, err); return true })
		t.Log(n, err)
		srv.Seal()
	}()
	c, err := hubble.New(hubble.Config{Address: srv.Addr()})
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	if err := c.Run(context.Background(), func(ev correlator.Event) {
		n++
		if n < 5 {
			t.Logf("%+v %+v %+v", ev, ev.Flow.Src, ev.Flow.Dst)
		}
	}); err != nil {
		t.Fatal(err)
	}
	t.Logf("%d %+v", n, c.Stats())
}
