// SPDX-License-Identifier: Apache-2.0

package hubbletest_test

import (
	"testing"

	"github.com/renat-project/renat/correlator"
	"github.com/renat-project/renat/hubble"
	"github.com/renat-project/renat/hubble/hubbletest"
)

// BenchmarkReplay is what a replay does with a flow that was read from its
// recording: served, received, decoded and converted.
func BenchmarkReplay(b *testing.B) {
	flows := recorded(b)
	srv, err := hubbletest.New(hubbletest.Config{Lossless: true})
	if err != nil {
		b.Fatal(err)
	}
	defer srv.Stop()
	c, err := hubble.New(hubble.Config{Address: srv.Addr()})
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	b.ResetTimer()
	go func() {
		for i := range b.N {
			if err := srv.Feed(b.Context(), flows[i%len(flows)]); err != nil {
				b.Error(err)
			}
		}
		srv.Seal()
	}()
	if err := c.Run(b.Context(), func(correlator.Event) {}); err != nil {
		b.Fatal(err)
	}
}
