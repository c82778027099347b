// SPDX-License-Identifier: Apache-2.0

package hubble_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"

	"github.com/renat-project/renat/correlator"
	"github.com/renat-project/renat/hubble"
	"github.com/renat-project/renat/hubble/hubbletest"
)

// authority signs certificates and keeps them in files.
type authority struct {
	dir  string
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	ca   string
}

func newAuthority(t *testing.T) *authority {
	a := &authority{dir: t.TempDir()}
	a.ca, _ = a.issue(t, "ca", true)
	return a
}

// issue returns the files of a new certificate and its key.
func (a *authority) issue(t *testing.T, name string, isCA bool) (cert, key string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: isCA, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	if isCA {
		a.cert, a.key = template, private
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, private.Public(), a.key)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	cert, key = filepath.Join(a.dir, name+".crt"), filepath.Join(a.dir, name+".key")
	for file, block := range map[string]*pem.Block{cert: {Type: "CERTIFICATE", Bytes: der}, key: {Type: "PRIVATE KEY", Bytes: secret}} {
		if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return cert, key
}

const serverName = "node-a.default.hubble-grpc.cilium.io"

// serverConfig is that of an agent: TLS 1.3 with client certificates.
func (a *authority) serverConfig(t *testing.T) *tls.Config {
	t.Helper()
	cert, err := tls.LoadX509KeyPair(a.issue(t, serverName, false))
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	b, err := os.ReadFile(a.ca)
	if err != nil || !pool.AppendCertsFromPEM(b) {
		t.Fatal("reading the CA back:", err)
	}
	return &tls.Config{
		MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{cert},
		ClientCAs: pool, ClientAuth: tls.RequireAndVerifyClientCert,
	}
}

func TestConnect(t *testing.T) {
	ours, theirs := newAuthority(t), newAuthority(t)
	secured := serve(t, hubbletest.Config{Listen: "tcp://127.0.0.1:0", TLS: ours.serverConfig(t)})
	plain := serve(t, hubbletest.Config{Listen: "tcp://127.0.0.1:0"})
	for _, srv := range []*hubbletest.Server{secured, plain} {
		feed(t, srv, 1, 3)
		srv.Seal()
	}
	cert, key := ours.issue(t, "client", false)
	strange, strangeKey := theirs.issue(t, "stranger", false)
	notHubble := listen(t, func(*grpc.Server) {})
	good := hubble.TLS{CAFiles: []string{ours.ca}, CertFile: cert, KeyFile: key, ServerName: serverName}
	with := func(change func(*hubble.TLS)) *hubble.TLS {
		c := good
		change(&c)
		return &c
	}
	host := strings.TrimPrefix(secured.Addr(), "tls://")
	for _, c := range []struct {
		name, addr string
		tls        *hubble.TLS
		want       string // in the error; empty: no error
	}{
		{"mTLS", secured.Addr(), &good, ""},
		{"mTLS without scheme", host, &good, ""},
		{"plain TCP", plain.Addr(), nil, ""},
		{"any server certificate", secured.Addr(), with(func(c *hubble.TLS) { c.CAFiles, c.ServerName, c.AllowInsecure = nil, "", true }), ""},
		{"wrong CA", secured.Addr(), with(func(c *hubble.TLS) { c.CAFiles = []string{theirs.ca} }), "give the authority"},
		{"system CAs", secured.Addr(), with(func(c *hubble.TLS) { c.CAFiles = nil }), "give the authority"},
		{"wrong name", secured.Addr(), with(func(c *hubble.TLS) { c.ServerName = "other" }), "set the TLS server name"},
		{"no client certificate", secured.Addr(), with(func(c *hubble.TLS) { c.CertFile, c.KeyFile = "", "" }), "give a client certificate"},
		{"wrong client certificate", secured.Addr(), with(func(c *hubble.TLS) { c.CertFile, c.KeyFile = strange, strangeKey }), "give a client certificate"},
		{"plain text to TLS", "tcp://" + host, nil, "connect with tls://"},
		{"TLS to plain text", plain.Addr(), &good, "connect without TLS"},
		{"nothing there", "tcp://127.0.0.1:1", nil, "nothing listens there"},
		{"no socket", "unix:///nonexistent/hubble.sock", nil, "is Cilium running"},
		{"not Hubble", notHubble, nil, "no Hubble server"},
	} {
		t.Run(c.name, func(t *testing.T) {
			client, err := hubble.New(hubble.Config{Address: c.addr, TLS: c.tls})
			if err != nil {
				t.Fatal(err)
			}
			n := 0
			err = client.Run(t.Context(), func(correlator.Event) { n++ })
			switch {
			case c.want == "" && (err != nil || n != 3):
				t.Errorf("got %d flows and %v, want 3", n, err)
			case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), c.addr)):
				t.Errorf("error %v, want it to name %s and to say %q", err, c.addr, c.want)
			}
		})
	}
}

func TestRotatedCertificate(t *testing.T) {
	ours := newAuthority(t)
	srv := serve(t, hubbletest.Config{Listen: "tcp://127.0.0.1:0", TLS: ours.serverConfig(t)})
	feed(t, srv, 1, 3)
	cert, key := newAuthority(t).issue(t, "client", false)
	r := follow(t, hubble.Config{Address: srv.Addr(), TLS: &hubble.TLS{
		CAFiles: []string{ours.ca}, CertFile: cert, KeyFile: key, ServerName: serverName,
	}})
	eventually(t, "a refusal", func() bool { return strings.Contains(r.Stats().LastError, "client certificate") })
	newCert, newKey := ours.issue(t, "client", false)
	for from, to := range map[string]string{newCert: cert, newKey: key} {
		if err := os.Rename(from, to); err != nil {
			t.Fatal(err)
		}
	}
	r.wantFlows(t, 1, 2)
}

func TestNewRefuses(t *testing.T) {
	dir := t.TempDir()
	empty := filepath.Join(dir, "empty.pem")
	if err := os.WriteFile(empty, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		cfg  hubble.Config
		want string
	}{
		{hubble.Config{Address: "unix://"}, "no path"},
		{hubble.Config{Address: "node"}, "not host:port"},
		{hubble.Config{Address: "tls://node:"}, "not host:port"},
		{hubble.Config{Address: "http://node:1"}, "unknown scheme"},
		{hubble.Config{TLS: &hubble.TLS{CAFiles: []string{filepath.Join(dir, "none")}}}, "no such file"},
		{hubble.Config{TLS: &hubble.TLS{CAFiles: []string{empty}}}, "no PEM certificate"},
		{hubble.Config{TLS: &hubble.TLS{CertFile: empty}}, "needs both"},
		{hubble.Config{TLS: &hubble.TLS{CertFile: empty, KeyFile: empty}}, "reading the hubble client certificate"},
	} {
		if _, err := hubble.New(c.cfg); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v: error %v, want %q", c.cfg, err, c.want)
		}
	}
}
