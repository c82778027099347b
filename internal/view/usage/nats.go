// SPDX-License-Identifier: Apache-2.0

package usage

import (
	"github.com/spf13/pflag"

	"github.com/renat-project/renat/sinks/jetstream"
)

// NATS makes flags of how to reach a server; urlHelp says what --nats-url is for.
func NATS(f *pflag.FlagSet, c *jetstream.Config, url, urlHelp string) {
	f.StringVar(&c.URL, "nats-url", url, urlHelp)
	f.StringVar(&c.User, "nats-user", "", "user at the NATS server, with --nats-password-file")
	f.StringVar(&c.PasswordFile, "nats-password-file", "", "file with that user's password; it may be renewed")
	f.StringVar(&c.Creds, "nats-creds", "", "file with NATS credentials (JWT and seed)")
	f.StringVar(&c.CA, "nats-tls-ca-cert-file", "", "file with the certificate authority of the NATS server")
	f.StringVar(&c.Cert, "nats-tls-client-cert-file", "", "file with the client certificate for NATS")
	f.StringVar(&c.Key, "nats-tls-client-key-file", "", "file with the key of the client certificate for NATS")
}
