// SPDX-License-Identifier: Apache-2.0

package jetstream

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nkeys"
)

// fileOptions checks the credentials and TLS files now: the client would find
// their faults only while connecting, and try for ever. The client reads them
// again at every connect.
func (c Config) fileOptions() ([]nats.Option, error) {
	opts, err := c.passwordOptions()
	if err != nil {
		return nil, err
	}
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

// passwordOptions are those of a user with a password.
func (c Config) passwordOptions() ([]nats.Option, error) {
	switch {
	case c.User == "" && c.PasswordFile == "":
		return nil, nil
	case c.User == "" || c.PasswordFile == "":
		return nil, errors.New("a NATS user and the file with its password go together: give both or none")
	case c.Creds != "":
		return nil, errors.New("give a credentials file, or a NATS user and the file with its password, not both")
	case strings.Contains(c.URL, "@"):
		return nil, errors.New("the NATS URL holds a user or a token already: take it out, or give no NATS user")
	}
	if _, err := readPassword(c.PasswordFile); err != nil {
		return nil, fmt.Errorf("reading the NATS password file: %w", err)
	}
	return []nats.Option{nats.UserInfoHandler(func() (string, string) {
		password, err := readPassword(c.PasswordFile)
		if err != nil {
			c.Log.Warn().Err(err).Msg("reading the NATS password file")
		}
		return c.User, password
	})}, nil
}

// readPassword returns the first line of a file.
func readPassword(path string) (string, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return "", err
	}
	line, _, _ := strings.Cut(string(b), "\n")
	if line = strings.TrimSuffix(line, "\r"); line == "" {
		return "", fmt.Errorf("%s: its first line is empty", path)
	}
	return line, nil
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
