// SPDX-License-Identifier: Apache-2.0

//go:build alertmanager

package hub_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	natsserver "github.com/nats-io/nats-server/v2/server"
)

// alertmanagerModule is built in a copy of its own module, so that nothing of
// it is in ours. The test has a build tag because that takes minutes the first
// time; make test runs it.
const alertmanagerModule = "github.com/prometheus/alertmanager@v0.34.2"

func buildAlertmanager(t *testing.T) (binary string) {
	t.Helper()
	out, err := exec.Command("go", "mod", "download", "-json", alertmanagerModule).Output()
	if err != nil {
		t.Fatal(err)
	}
	var module struct{ Dir string }
	if err := json.Unmarshal(out, &module); err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "alertmanager")
	if err := os.CopyFS(dir, os.DirFS(module.Dir)); err != nil {
		t.Fatal(err)
	}
	// The module lacks the pages of its user interface, which a release has.
	dist := filepath.Join(dir, "ui", "app", "dist")
	if err := os.MkdirAll(dist, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dist, "index.html"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	binary = filepath.Join(dir, "alertmanager.bin")
	build := exec.Command("go", "build", "-trimpath", "-o", binary, "./cmd/alertmanager")
	build.Dir = dir
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return binary
}

// From incidents to what a real Alertmanager sends on: the alert comes, and is
// firing for as long as the group is refreshed.
func TestRealAlertmanager(t *testing.T) {
	binary := buildAlertmanager(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	l.Close()
	type alert struct {
		Status              string
		Labels, Annotations map[string]string
	}
	sent := make(chan []alert, 10)
	receiver := newReceiver(t)
	receiver.answer = func(http.ResponseWriter, *http.Request) bool { return true }
	hook := http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		var m struct{ Alerts []alert }
		body, _ := io.ReadAll(r.Body)
		if err := json.Unmarshal(body, &m); err != nil {
			t.Error(err)
		}
		sent <- m.Alerts
	})
	receiver.Config.Handler = hook
	config := filepath.Join(t.TempDir(), "alertmanager.yml")
	text := fmt.Sprintf("route: {receiver: hook, group_wait: 1s, group_interval: 1s}\nreceivers:\n- name: hook\n  webhook_configs: [{url: %q}]\n", receiver.URL)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(binary, "--config.file="+config, "--storage.path="+t.TempDir(), "--web.listen-address="+address, "--cluster.listen-address=")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	eventually(t, 20*time.Second, "Alertmanager to be ready", func() bool {
		resp, err := http.Get("http://" + address + "/-/ready")
		if err != nil {
			return false
		}
		resp.Body.Close()
		return resp.StatusCode == http.StatusOK
	})
	nc := connect(t, startNATS(t, &natsserver.Options{}).ClientURL())
	start(t, nc, "a", fmt.Sprintf("  - name: am\n    group_wait: 50ms\n    alertmanager: {urls: ['http://%s'], labels: {severity: warning}, lifetime: 1m}\n", address))
	i := sample(1, 1)
	publish(t, nc, i, sample(1, 2))
	select {
	case alerts := <-sent:
		if len(alerts) != 1 || alerts[0].Status != "firing" || alerts[0].Labels["workload"] != "shop/Deployment/w1" || alerts[0].Labels["severity"] != "warning" {
			t.Errorf("Alertmanager sent %+v", alerts)
		}
		if a := alerts[0].Annotations; a["incidents"] != "2" || a["incident"] != i.ID {
			t.Errorf("annotations %v", a)
		}
	case <-time.After(30 * time.Second):
		t.Fatal("Alertmanager sent nothing")
	}
	// Past the alert's first end: it was posted again.
	time.Sleep(65 * time.Second)
	resp, err := http.Get("http://" + address + "/api/v2/alerts?active=true")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var active []struct{ Labels map[string]string }
	if err := json.NewDecoder(resp.Body).Decode(&active); err != nil || len(active) != 1 {
		t.Errorf("active alerts after the first end: %+v, %v", active, err)
	}
}
