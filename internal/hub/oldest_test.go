// SPDX-License-Identifier: Apache-2.0

//go:build oldnats

package hub_test

import (
	"context"
	"encoding/json"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/renat-project/renat/internal/nodestatus"
	"github.com/renat-project/renat/sinks/jetstream"
	"github.com/renat-project/renat/sinks/jetstream/outbox"
)

// oldestServer starts the oldest NATS server that is supported. It is built with
// a go.mod of its own: ours has the newest. The tests have a build tag for that.
func oldestServer(t *testing.T) (url string) {
	t.Helper()
	dir := t.TempDir()
	build := exec.Command("go", "install", "-trimpath", "github.com/nats-io/nats-server/v2@v"+jetstream.MinServer)
	build.Env = append(os.Environ(), "GOBIN="+dir)
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	server := exec.Command(filepath.Join(dir, "nats-server"), "--addr", "127.0.0.1", "--port", "-1", "--jetstream", "--store_dir", dir, "--ports_file_dir", dir)
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = server.Process.Kill()
		_ = server.Wait() // says that it was killed
	})
	eventually(t, 30*time.Second, "the server's port", func() bool {
		names, _ := filepath.Glob(filepath.Join(dir, "*.ports"))
		if len(names) != 1 {
			return false
		}
		raw, err := os.ReadFile(names[0])
		var ports struct{ NATS []string }
		if err == nil && json.Unmarshal(raw, &ports) == nil && len(ports.NATS) > 0 {
			url = ports.NATS[0]
		}
		return url != ""
	})
	return url
}

// TestOldestServer takes a node's incidents and status through the oldest
// server: outbox, stream, hub, another hub that takes over, dead letters, what
// somebody removes, and a reader.
func TestOldestServer(t *testing.T) {
	nc := connect(t, oldestServer(t))
	if got := nc.ConnectedServerVersion(); got != jetstream.MinServer {
		t.Fatalf("the server is %s", got)
	}
	box, err := outbox.Open(t.Context(), outbox.Config{Dir: t.TempDir(), Log: zerolog.Nop()})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- box.Run(ctx, nc) }()
	t.Cleanup(func() {
		cancel()
		<-ended //nolint:errcheck // ctx's
		box.Close()
	})
	followed := make(chan string, 100)
	go func() {
		_ = jetstream.Read(ctx, nc, jetstream.ReadOptions{Follow: true, NewOnly: true}, func(s jetstream.Stored) error {
			followed <- s.Incident.ID
			return nil
		}) // ctx's error
	}()

	r, refuses := newReceiver(t), newReceiver(t)
	refuses.answer = refusing(http.StatusBadRequest)
	receivers := []string{r.yaml("ops", "group_wait: 1s"), refuses.yaml("refuses")}
	first, stop := start(t, nc, "first", receivers...)
	nodes, err := jetstream.OpenNodes(t.Context(), nc, 1)
	if err != nil {
		t.Fatal(err)
	}
	status := nodestatus.Status{Version: nodestatus.Version, Node: "node-a", Cluster: "prod", Time: time.Now()}
	if err := nodes.Put(t.Context(), "prod", "node-a", status); err != nil {
		t.Fatal(err)
	}
	eventually(t, 30*time.Second, "the node", func() bool { return strings.Contains(get(t, first, "/v1/nodes"), `"node-a"`) })

	for n := range 3 {
		box.Add(sample(n, n))
	}
	eventually(t, 60*time.Second, "the notifications", func() bool { return r.count() == 3 && dead(t, nc) == 3 })
	second, _ := start(t, nc, "second", receivers...)
	eventually(t, 30*time.Second, "the second hub to stand by", func() bool { return get(t, second, "/readyz") == "ok\n" })
	box.Add(sample(3, 3)) // held by the first hub, for its group, when that ends
	eventually(t, 30*time.Second, "the incident to be held", func() bool { return unacknowledged(t, nc, "ops") == 1 })
	stop()
	eventually(t, 60*time.Second, "the second hub's notification", func() bool { return r.count() == 4 && dead(t, nc) == 4 })

	js := jetStream(t, nc)
	for _, stream := range everything {
		if err := js.DeleteStream(t.Context(), stream); err != nil {
			t.Fatal(err)
		}
	}
	box.Add(sample(4, 4))
	eventually(t, 60*time.Second, "the notification after all was removed", func() bool { return r.count() == 5 })
	eventually(t, 30*time.Second, "all to be followed", func() bool { return len(followed) == 5 })
	for id, times := range r.times {
		if times != 1 {
			t.Errorf("%s came %d times", id, times)
		}
	}
}
