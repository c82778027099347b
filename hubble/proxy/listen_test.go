// SPDX-License-Identifier: Apache-2.0

package proxy_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"io/fs"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/cilium/cilium/api/v1/observer"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"

	"github.com/renat-project/renat/hubble/hubbletest"
	"github.com/renat-project/renat/hubble/proxy"
)

func TestSocketIsForItsGroupOnly(t *testing.T) {
	path := filepath.Join(t.TempDir(), "hubble.sock")
	l, err := proxy.Listen(t.Context(), "unix://"+path, "12345", nil)
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode() != fs.ModeSocket|0o660 {
		t.Errorf("mode %v", info.Mode())
	}
	if _, err := proxy.Listen(t.Context(), "unix://"+path, "", nil); err == nil || !strings.Contains(err.Error(), "another process") {
		t.Errorf("a socket in use was taken: %v", err)
	}
	if err := l.Close(); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(path); err == nil {
		t.Error("the socket is still there")
	}
	// What a killed process leaves.
	left, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	left.SetUnlinkOnClose(false)
	left.Close()
	l, err = proxy.Listen(t.Context(), "unix:"+path, "there-is-no-such-group", nil)
	if err != nil {
		t.Fatalf("a leftover is in the way: %v", err)
	}
	l.Close()
	if err := os.WriteFile(path, []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := proxy.Listen(t.Context(), "unix:"+path, "", nil); err == nil {
		t.Error("a file was replaced")
	}
}

func TestListenRefuses(t *testing.T) {
	withoutClients := &proxy.ServerTLS{CertFile: "a", KeyFile: "b"}
	for address, c := range map[string]*proxy.ServerTLS{
		"0.0.0.0:0": nil, ":0": nil, "192.0.2.1:0": withoutClients, "[::]:0": withoutClients, "unix:": nil, "nothing": nil,
		"unix:///no/such/folder/s": nil,
	} {
		if l, err := proxy.Listen(t.Context(), address, "", c); err == nil {
			l.Close()
			t.Errorf("%s is served", address)
		}
	}
	for _, address := range []string{"127.0.0.1:0", "localhost:0", "tcp://127.0.0.1:0"} {
		l, err := proxy.Listen(t.Context(), address, "", nil)
		if err != nil {
			t.Errorf("%s: %v", address, err)
			continue
		}
		l.Close()
	}
}

// issue writes a certificate that signs itself, with its key.
func issue(t *testing.T, dir, name string) (cert, key string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), DNSNames: []string{name}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		KeyUsage:    x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	cert, key = filepath.Join(dir, name+".crt"), filepath.Join(dir, name+".key")
	for file, block := range map[string]*pem.Block{cert: {Type: "CERTIFICATE", Bytes: der}, key: {Type: "PRIVATE KEY", Bytes: secret}} {
		if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return cert, key
}

// TestClientsNeedTheirCertificate asks with the right certificate, with
// another one, without any, and without TLS.
func TestClientsNeedTheirCertificate(t *testing.T) {
	dir := t.TempDir()
	serverTLS := &proxy.ServerTLS{}
	serverTLS.CertFile, serverTLS.KeyFile = issue(t, dir, "server")
	clientCert, clientKey := issue(t, dir, "client")
	otherCert, otherKey := issue(t, dir, "other")
	serverTLS.ClientCAFiles = []string{clientCert}
	upstream := observe(t, hubbletest.Config{})
	l, err := proxy.Listen(t.Context(), "0.0.0.0:0", "", serverTLS)
	if err != nil {
		t.Fatal(err)
	}
	address, _ := front(t, proxy.Config{Upstream: upstream.Addr(), Source: knowing{}, Listener: l, ServerTLS: serverTLS})
	trusted := func(file string) *x509.CertPool {
		pool := x509.NewCertPool()
		b, err := os.ReadFile(file)
		if err != nil || !pool.AppendCertsFromPEM(b) {
			t.Fatal(err)
		}
		return pool
	}
	latest := uint16(tls.VersionTLS13)
	call := func(cert, key string) error {
		c := &tls.Config{RootCAs: trusted(serverTLS.CertFile), ServerName: "server", MaxVersion: latest} //nolint:gosec // the server sets the version
		if cert != "" {
			pair, err := tls.LoadX509KeyPair(cert, key)
			if err != nil {
				t.Fatal(err)
			}
			c.Certificates = []tls.Certificate{pair}
		}
		conn := connect(t, address, grpc.WithTransportCredentials(credentials.NewTLS(c)))
		_, err := observer.NewObserverClient(conn).ServerStatus(t.Context(), &observer.ServerStatusRequest{})
		return err
	}
	if err := call(clientCert, clientKey); err != nil {
		t.Errorf("a client with its certificate: %v", err)
	}
	if err := call(otherCert, otherKey); err == nil {
		t.Error("a client with another certificate was let in")
	}
	if err := call("", ""); err == nil {
		t.Error("a client without a certificate was let in")
	}
	latest = tls.VersionTLS12
	if err := call(clientCert, clientKey); err == nil {
		t.Error("a client with TLS 1.2 was let in")
	}
	latest = tls.VersionTLS13
	plain := connect(t, address)
	if _, err := observer.NewObserverClient(plain).ServerStatus(t.Context(), &observer.ServerStatusRequest{}); err == nil {
		t.Error("a client without TLS was let in")
	}
	// A renewed certificate counts for the next connection.
	serverTLS.CertFile, serverTLS.KeyFile = issue(t, dir, "server")
	if err := call(clientCert, clientKey); err != nil {
		t.Errorf("with a renewed certificate: %v", err)
	}
}
