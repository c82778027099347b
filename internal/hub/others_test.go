// SPDX-License-Identifier: Apache-2.0

package hub_test

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	natsserver "github.com/nats-io/nats-server/v2/server"
	natsjs "github.com/nats-io/nats.go/jetstream"

	"github.com/renat-project/renat/correlator/incident"
	"github.com/renat-project/renat/internal/nodestatus"
	"github.com/renat-project/renat/sinks/jetstream"
)

// What is in the stream beside incidents is counted, and told of: on others'
// subjects, and on incidents'.
func TestOthersInTheStream(t *testing.T) {
	t.Parallel()
	nc := connect(t, startNATS(t, &natsserver.Options{}).ClientURL())
	js := jetStream(t, nc)
	subjects := []string{"audit.>", incident.AllSubjects}
	if _, err := js.CreateStream(t.Context(), natsjs.StreamConfig{Name: jetstream.Stream, Subjects: subjects}); err != nil {
		t.Fatal(err)
	}
	for _, subject := range []string{"audit.login", "audit.logout", "audit.login", sample(1, 1).Subject()} {
		if _, err := js.Publish(t.Context(), subject, []byte("{}")); err != nil {
			t.Fatal(err)
		}
	}
	publish(t, nc, sample(1, 1), sample(1, 2))
	r := newReceiver(t)
	h, _ := start(t, nc, "a", r.yaml("ops"))
	eventually(t, 60*time.Second, "the notification", func() bool { return r.count() == 2 })
	for _, want := range []string{"renat_hub_other_messages 3", "renat_hub_unreadable_messages_total 1", `renat_hub_incidents_total{fate="garbled",receiver="ops"} 1`} {
		eventually(t, 10*time.Second, want, func() bool { return strings.Contains(get(t, h, "/metrics"), want+"\n") })
	}
	var s nodestatus.Hub
	if err := json.Unmarshal([]byte(get(t, h, "/status")), &s); err != nil {
		t.Fatal(err)
	}
	if n := s.NATS; len(n.Stores) == 0 || !slices.Equal(n.Stores[0].OtherSubjects, subjects[:1]) || n.Stores[0].Others != 3 || n.Stores[0].Messages != 6 {
		t.Errorf("/status tells of NATS: %+v", n)
	}
}
