// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
)

// ServerTLS says how to secure what is served. All files are PEM and are read
// again for every connection, so that renewed certificates are picked up.
type ServerTLS struct {
	CertFile, KeyFile string
	// ClientCAFiles are authorities of client certificates. With any, a client
	// must have a certificate of theirs (mTLS), as Hubble's own port asks for.
	ClientCAFiles []string
}

// config reads the files. As with Hubble's servers there is nothing below TLS 1.3.
func (s *ServerTLS) config() (*tls.Config, error) {
	if s.CertFile == "" || s.KeyFile == "" {
		return nil, errors.New("TLS for the Observer needs both a certificate file and its key file")
	}
	if _, err := s.load(); err != nil {
		return nil, err
	}
	return &tls.Config{
		MinVersion: tls.VersionTLS13,
		NextProtos: []string{"h2"},
		GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) {
			return s.load()
		},
	}, nil
}

func (s *ServerTLS) load() (*tls.Config, error) {
	cert, err := tls.LoadX509KeyPair(s.CertFile, s.KeyFile)
	if err != nil {
		return nil, fmt.Errorf("reading the Observer's certificate %s and its key: %w", s.CertFile, err)
	}
	c := &tls.Config{MinVersion: tls.VersionTLS13, NextProtos: []string{"h2"}, Certificates: []tls.Certificate{cert}}
	if len(s.ClientCAFiles) == 0 {
		return c, nil
	}
	c.ClientAuth, c.ClientCAs = tls.RequireAndVerifyClientCert, x509.NewCertPool()
	for _, name := range s.ClientCAFiles {
		pem, err := os.ReadFile(name)
		if err != nil {
			return nil, fmt.Errorf("reading the authority of the Observer's clients: %w", err)
		}
		if !c.ClientCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("reading the authority of the Observer's clients: %s holds no PEM certificate", name)
		}
	}
	return c, nil
}
