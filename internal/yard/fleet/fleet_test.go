// SPDX-License-Identifier: Apache-2.0

package fleet

import (
	"os"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"
)

func TestMain(m *testing.M) {
	Child()
	os.Exit(m.Run())
}

// A small fleet of two clusters with nodes of the same names: nothing is lost when
// the hub is killed in a storm.
func TestSmall(t *testing.T) {
	t.Parallel()
	r, err := Run(t.Context(), Config{
		Nodes: 50, Clusters: 2, Every: 2 * time.Second, Calm: time.Second, Storm: 8 * time.Second, Incidents: 2000, Share: 0.1,
		Readers: 2, Replicas: 3, GroupInterval: time.Second, Lease: 4 * time.Second, Dir: t.TempDir(), Log: zerolog.Nop(),
	})
	if err != nil {
		t.Fatal(err)
	}
	var text strings.Builder
	r.Write(&text)
	t.Log(text.String())
	for _, lost := range r.Lost {
		t.Error(lost)
	}
	if r.Notifications == 0 || r.First.Count == 0 || r.Puts < 50 {
		t.Errorf("%d notifications, %d pages, %d statuses", r.Notifications, r.First.Count, r.Puts)
	}
}
