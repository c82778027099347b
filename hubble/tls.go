// SPDX-License-Identifier: Apache-2.0

package hubble

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
)

// TLS says how to secure the connection. All files are PEM and are read again
// for every connection, so that rotated certificates are picked up.
type TLS struct {
	CAFiles    []string // certificate authorities to trust; empty: the system's
	CertFile   string   // client certificate for mTLS, together with KeyFile
	KeyFile    string
	ServerName string // expected in the server's certificate; empty: the address's host
	// AllowInsecure accepts any server certificate.
	AllowInsecure bool
}

// config reads the files. Hubble's own servers offer nothing below TLS 1.3.
func (t *TLS) config(a address) (*tls.Config, error) {
	cfg := &tls.Config{
		MinVersion:         tls.VersionTLS13,
		ServerName:         t.ServerName,
		InsecureSkipVerify: t.AllowInsecure, //nolint:gosec // asked for by the operator, off by default
	}
	if cfg.ServerName == "" {
		cfg.ServerName = a.host()
	}
	if len(t.CAFiles) > 0 {
		cfg.RootCAs = x509.NewCertPool()
	}
	for _, name := range t.CAFiles {
		pem, err := os.ReadFile(name)
		if err != nil {
			return nil, fmt.Errorf("reading the hubble CA: %w", err)
		}
		if !cfg.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("reading the hubble CA: %s holds no PEM certificate", name)
		}
	}
	if (t.CertFile == "") != (t.KeyFile == "") {
		return nil, errors.New("a hubble client certificate needs both its certificate file and its key file")
	}
	if t.CertFile != "" {
		cert, err := tls.LoadX509KeyPair(t.CertFile, t.KeyFile)
		if err != nil {
			return nil, fmt.Errorf("reading the hubble client certificate %s and its key: %w", t.CertFile, err)
		}
		cfg.Certificates = []tls.Certificate{cert}
	}
	return cfg, nil
}
