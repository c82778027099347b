// SPDX-License-Identifier: Apache-2.0

package jetstream_test

import (
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/nats-io/jwt/v2"
	natsserver "github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nkeys"

	"github.com/renat-project/renat/sinks/jetstream"
)

// keyPair returns a new key, its public half, and its seed.
func keyPair(t *testing.T, create func() (nkeys.KeyPair, error)) (key nkeys.KeyPair, public string, seed []byte) {
	t.Helper()
	key, err := create()
	if err != nil {
		t.Fatal(err)
	}
	if public, err = key.PublicKey(); err != nil {
		t.Fatal(err)
	}
	if seed, err = key.Seed(); err != nil {
		t.Fatal(err)
	}
	return key, public, seed
}

func sign(t *testing.T, c jwt.Claims, by nkeys.KeyPair) string {
	t.Helper()
	token, err := c.Encode(by)
	if err != nil {
		t.Fatal(err)
	}
	return token
}

// byCredentials gives the same permissions to users of an account that have
// credentials files.
func byCredentials(t *testing.T) connector {
	t.Helper()
	operator, operatorID, _ := keyPair(t, nkeys.CreateOperator)
	_, systemID, _ := keyPair(t, nkeys.CreateAccount)
	account, accountID, _ := keyPair(t, nkeys.CreateAccount)
	tenant := jwt.NewAccountClaims(accountID)
	tenant.Limits.JetStreamLimits = jwt.JetStreamLimits{
		MemoryStorage: jwt.NoLimit, DiskStorage: jwt.NoLimit, Streams: jwt.NoLimit, Consumer: jwt.NoLimit,
	}
	accounts := &natsserver.MemAccResolver{}
	for id, claims := range map[string]jwt.Claims{systemID: jwt.NewAccountClaims(systemID), accountID: tenant} {
		if err := accounts.Store(id, sign(t, claims, operator)); err != nil {
			t.Fatal(err)
		}
	}
	s := startNATS(t, &natsserver.Options{
		JetStream: true, TrustedOperators: []*jwt.OperatorClaims{jwt.NewOperatorClaims(operatorID)},
		SystemAccount: systemID, AccountResolver: accounts,
	})
	files := map[string]string{}
	for _, u := range exampleUsers(t).Users {
		_, id, seed := keyPair(t, nkeys.CreateUser)
		claims := jwt.NewUserClaims(id)
		claims.Pub = jwt.Permission{Allow: u.Permissions.Publish.Allow, Deny: u.Permissions.Publish.Deny}
		claims.Sub = jwt.Permission{Allow: u.Permissions.Subscribe.Allow}
		creds, err := jwt.FormatUserConfig(sign(t, claims, account), seed)
		if err != nil {
			t.Fatal(err)
		}
		files[u.Username] = filepath.Join(t.TempDir(), u.Username+".creds")
		if err := os.WriteFile(files[u.Username], creds, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return func(user, inbox string, log io.Writer) *nats.Conn {
		return connectLogging(t, jetstream.Config{URL: s.ClientURL(), Creds: files[user], Inbox: inbox}, log)
	}
}
