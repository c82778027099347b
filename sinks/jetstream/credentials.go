// SPDX-License-Identifier: Apache-2.0

package jetstream

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nkeys"
)

// fileOptions checks the credentials and TLS files now: the client would find
// their faults only while connecting, and try for ever. The client reads them
// again at every connect.
func (c Config) fileOptions() ([]nats.Option, error) {
	var opts []nats.Option
	if c.Creds != "" {
		if err := checkCreds(c.Creds); err != nil {
			return nil, fmt.Errorf("reading the credentials file %s: %w", c.Creds, err)
		}
		opts = append(opts, nats.UserCredentials(c.Creds))
	}
	if c.CA != "" {
		pem, err := os.ReadFile(c.CA)
		if err != nil {
			return nil, fmt.Errorf("reading the CA file: %w", err)
		}
		if !x509.NewCertPool().AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("reading the CA file %s: it holds no certificate in PEM form", c.CA)
		}
		opts = append(opts, nats.RootCAs(c.CA))
	}
	if (c.Cert == "") != (c.Key == "") {
		return nil, errors.New("a TLS client certificate and its key go together: give both files or none")
	}
	if c.Cert != "" {
		if _, err := tls.LoadX509KeyPair(c.Cert, c.Key); err != nil {
			return nil, fmt.Errorf("reading the TLS client certificate %s with key %s: %w", c.Cert, c.Key, err)
		}
		opts = append(opts, nats.ClientCert(c.Cert, c.Key))
	}
	return opts, nil
}

// checkCreds returns errors that hold nothing of the file.
func checkCreds(path string) error {
	b, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	defer clear(b)
	key, err := nkeys.ParseDecoratedUserNKey(b)
	if err != nil {
		return errors.New("it holds no user seed; is it a .creds file?")
	}
	key.Wipe()
	return nil
}
