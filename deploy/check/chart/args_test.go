// SPDX-License-Identifier: Apache-2.0

package chart

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/renat-project/renat/internal/hub/config"
	"github.com/renat-project/renat/sinks/jetstream"
)

// buildRenat builds the programs, and returns their folder.
func buildRenat(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	cmd := exec.Command("go", "build", "-ldflags=-s -w", "-o", dir, "./cmd/renat", "./cmd/kubectl-renat")
	cmd.Dir = "../../.."
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return dir
}

// run runs a program, and returns what it says and its exit code.
func run(t *testing.T, program string, args ...string) (string, int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	out, err := exec.CommandContext(ctx, program, args...).CombinedOutput()
	var exit *exec.ExitError
	switch {
	case err == nil:
		return string(out), 0
	case errors.As(err, &exit):
		return string(out), exit.ExitCode()
	}
	t.Fatal(err)
	return "", 0
}

// A wrong value for the last thing that each command looks at before it starts:
// what it complains of shows that everything else was right.
var lastArgs = map[string][]string{
	"agent":   {"--listen=127.0.0.1:0", "--observer-listen=nowhere"},
	"hub":     {"--listen=127.0.0.1:0", "--nats-url=nats://["},
	"observe": {"--nats-url=nats://["},
	"version": {},
}

// TestPrograms tries what the chart has the programs do.
func TestPrograms(t *testing.T) {
	bin := buildRenat(t)
	t.Run("arguments", func(t *testing.T) { arguments(t, filepath.Join(bin, "renat")) })
	t.Run("notes", func(t *testing.T) { notes(t, bin) })
}

// arguments runs the containers' commands with files in the place of their
// volumes.
func arguments(t *testing.T, renat string) {
	files := volumeFiles(t)
	for name, values := range matrix {
		t.Run(name, func(t *testing.T) {
			r := mustRender(t, standard, values)
			configure(t, files, r)
			for _, p := range pods(r) {
				var args []string
				for _, a := range p.args() {
					a = strings.ReplaceAll(a, "$(NODE_NAME)", "node-a")
					a = strings.ReplaceAll(a, "$(HOST_IP)", "192.0.2.1")
					args = append(args, strings.ReplaceAll(a, "/etc/renat/", files+"/"))
				}
				natsFiles(t, p, files)
				last := lastArgs[args[0]]
				out, code := run(t, renat, append(args, last...)...)
				if len(last) == 0 {
					if code != 0 {
						t.Errorf("renat %q: %s", args, out)
					}
					continue
				}
				flag, _, _ := strings.Cut(last[len(last)-1], "=")
				if code == 0 || !strings.Contains(out, flag) && !strings.Contains(out, "connecting to NATS") || strings.Count(out, "renat: ") != 1 {
					t.Errorf("renat %q: %s", args, out)
				}
			}
		})
	}
	if out, code := run(t, renat, "agent", "--colour=never", lastArgs["agent"][1]); code != 2 || strings.Contains(out, "observer") {
		t.Errorf("an unknown flag is not found: %s", out)
	}
}

// natsFiles wants what a pod gives the NATS client to be right, of which the
// programs complain only when they connect.
func natsFiles(t *testing.T, p pod, files string) {
	t.Helper()
	file := func(name string) string { return strings.ReplaceAll(p.flag(name), "/etc/renat/", files+"/") }
	if p.flag("nats-url") == "" {
		return
	}
	nc, err := jetstream.Connect(t.Context(), jetstream.Config{
		URL: p.flag("nats-url"), Creds: file("nats-creds"), User: p.flag("nats-user"), PasswordFile: file("nats-password-file"),
		CA: file("nats-tls-ca-cert-file"), Cert: file("nats-tls-client-cert-file"), Key: file("nats-tls-client-key-file"),
	})
	if err != nil {
		t.Errorf("%s: %v", p.of, err)
		return
	}
	nc.Close()
}

// configure writes the hub's configuration, and checks it as the hub does.
func configure(t *testing.T, files string, r *release) {
	t.Helper()
	name := filepath.Join(files, "config", "hub.yaml")
	content := "receivers: [{name: ops, webhook: {url: 'https://hooks.example/renat'}}]"
	if m := r.find("ConfigMap", "-hub"); m != nil {
		content = strings.ReplaceAll(text(m, "data", "hub.yaml"), "/etc/renat/", files+"/")
		// A pod's own files are where nobody can put others.
		content = strings.ReplaceAll(content, "kubernetes_events: {}", "kubernetes_events: {api_url: 'https://kubernetes.default.svc', token_from: {file: "+files+"/secrets/slack/url}}")
	}
	if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := (config.Options{}).Load(name); err != nil {
		t.Error(err)
	}
}

// volumeFiles makes what the Secrets of the matrix have, in folders named as
// those below /etc/renat.
func volumeFiles(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	of := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, of, of, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	certificate := string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
	files := map[string]string{
		"nats-creds/nats.creds":  credentials,
		"nats-password/password": "secret",
		"http-token/token":       strings.Repeat("0123456789abcdef", 2),
		"secrets/slack/url":      "https://hooks.example/services/x",
		"secrets/webhook/secret": "whsec_" + strings.Repeat("A", 44),
		"config/hub.yaml":        "",
	}
	for _, folder := range []string{"nats-tls", "hubble-tls", "http-tls", "observer-tls"} {
		files[folder+"/ca.crt"], files[folder+"/tls.crt"] = certificate, certificate
		files[folder+"/tls.key"] = string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8}))
	}
	for name, content := range files {
		name = filepath.Join(dir, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(name), 0o700), os.WriteFile(name, []byte(content), 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// credentials have the form of NATS', and are nobody's.
const credentials = `-----BEGIN NATS USER JWT-----
eyJ0eXAiOiJKV1QifQ.e30.AA
------END NATS USER JWT------
-----BEGIN USER NKEY SEED-----
SUAGIEYODKBBTUMOB666Z5KA4FCWAZV7HWSGRHOD7MK6UM5IYLWLACH7DQ
------END USER NKEY SEED------
`

var notesCommand = regexp.MustCompile(`(?m)^  (kubectl renat .*|.* -- /usr/bin/renat (.*))$`)

// notes parses the commands that the notes name.
func notes(t *testing.T, bin string) {
	seen := map[string]bool{}
	each(t, func(t *testing.T, r *release) {
		if strings.Contains(r.notes, "<no value>") || strings.Contains(r.notes, "\n\n\n") {
			t.Errorf("%s", r.notes)
		}
		for _, m := range notesCommand.FindAllStringSubmatch(r.notes, -1) {
			if seen[m[0]] {
				continue
			}
			seen[m[0]] = true
			program, args, ok := "kubectl-renat", "", false
			if args, ok = strings.CutPrefix(m[1], "kubectl renat "); !ok {
				program, args = "renat", m[2]
			}
			out, code := run(t, filepath.Join(bin, program), append(strings.Fields(args), "--help")...)
			if code != 0 {
				t.Errorf("%s: %s", m[0], out)
			}
		}
	})
	// What kubectl renat looks for is what services_test.go wants the agents to have.
	for _, want := range []string{"app.kubernetes.io/name=renat,app.kubernetes.io/component=agent", "(default 9969)", `(default "renat")`, "app.kubernetes.io/name=renat,app.kubernetes.io/component=hub", "(default 9972)"} {
		if out, _ := run(t, filepath.Join(bin, "kubectl-renat"), "options"); !strings.Contains(out, want) {
			t.Errorf("kubectl renat does not look for %s: %s", want, out)
		}
	}
	if len(seen) < 6 {
		t.Errorf("only %d commands were found", len(seen))
	}
}
