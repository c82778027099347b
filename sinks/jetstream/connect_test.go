// SPDX-License-Identifier: Apache-2.0

package jetstream_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	natsserver "github.com/nats-io/nats-server/v2/server"
	"github.com/rs/zerolog"

	"github.com/renat-project/renat/sinks/jetstream"
	"github.com/renat-project/renat/sinks/jetstream/embedded"
)

// logged is what a timer, too, may log while it is read.
type logged struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *logged) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *logged) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// refuse connects where it must fail, and returns what was logged and why. With
// c.Wait 0 it has to fail long before any wait ends.
func refuse(t *testing.T, c jetstream.Config) (said string, err error) {
	t.Helper()
	var log logged
	c.Log = zerolog.New(&log)
	if c.Wait == 0 {
		c.Wait = 10 * time.Second
	}
	began := time.Now()
	nc, err := jetstream.Connect(t.Context(), c)
	if err == nil {
		nc.Close()
		t.Fatal("connected")
	}
	if took := time.Since(began); c.Wait == 10*time.Second && took > 5*time.Second {
		t.Errorf("it took %s to find out: %v", took, err)
	}
	return log.String(), err
}

func TestUnreachable(t *testing.T) {
	address := freeAddress(t)
	_, err := refuse(t, jetstream.Config{URL: "nats://" + address, Wait: 300 * time.Millisecond})
	if !errors.Is(err, jetstream.ErrUnreachable) || !strings.Contains(err.Error(), "nats://"+address+" within 300ms") {
		t.Errorf("Connect = %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = jetstream.Connect(ctx, jetstream.Config{URL: address, Wait: time.Minute, Log: zerolog.Nop()})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("Connect with a cancelled context = %v", err)
	}
}

// Whoever waits is told so before it fails, wherever the wait is: between tries,
// or within one.
func TestSaysThatItWaits(t *testing.T) {
	t.Parallel()
	mute, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer mute.Close() // takes connections and never answers
	for _, address := range []string{freeAddress(t), mute.Addr().String()} {
		log, err := refuse(t, jetstream.Config{URL: address, Wait: 1500 * time.Millisecond})
		if !errors.Is(err, jetstream.ErrUnreachable) {
			t.Errorf("Connect = %v", err)
		}
		if !strings.Contains(log, "waiting for NATS to answer") || !strings.Contains(log, address) {
			t.Errorf("while it waited it said %q", log)
		}
	}
}

func TestServerComesLate(t *testing.T) {
	t.Parallel()
	c := embedded.Config{Listen: freeAddress(t)}
	nc, err := jetstream.Connect(t.Context(), jetstream.Config{URL: c.Listen, Log: zerolog.Nop()})
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	waiting := make(chan error, 1)
	go func() {
		late, err := jetstream.Connect(context.Background(), jetstream.Config{URL: c.Listen, Wait: 20 * time.Second, Log: zerolog.Nop()})
		if err == nil {
			late.Close()
		}
		waiting <- err
	}()
	p := newPublisher(t, nc, jetstream.PublisherConfig{})
	startServer(t, c)
	send(t, p, 0, 1)
	if err := <-waiting; err != nil {
		t.Error(err)
	}
}

// A password comes from a file, which may change while we run.
func TestPasswordFile(t *testing.T) {
	s := startNATS(t, &natsserver.Options{Username: "renat", Password: "right"})
	file := filepath.Join(t.TempDir(), "password")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	c := jetstream.Config{URL: s.ClientURL(), User: "renat", PasswordFile: file}
	write("hunter2\n")
	if log, err := refuse(t, c); !errors.Is(err, jetstream.ErrRefused) || strings.Contains(err.Error()+log, "hunter2") {
		t.Errorf("with a wrong password: %v %s", err, log)
	}
	write("right\r\nof the server\n")
	connect(t, c)
	write("right")
	connect(t, c)
	write("\n")
	for want, c := range map[string]jetstream.Config{
		"its first line is empty": c,
		"no such file":            {URL: c.URL, User: "renat", PasswordFile: "/does/not/exist"},
		"go together":             {URL: c.URL, User: "renat"},
		"not both":                {URL: c.URL, User: "renat", PasswordFile: file, Creds: "x.creds"},
		"holds a user or a token": {URL: strings.Replace(c.URL, "://", "://me:hunter2@", 1), User: "renat", PasswordFile: file},
	} {
		if _, err := refuse(t, c); !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%v, want %s", err, want)
		}
	}
}

func TestSecretsStaySecret(t *testing.T) {
	auth := startNATS(t, &natsserver.Options{Username: "renat", Password: "right"})
	token := startNATS(t, &natsserver.Options{Authorization: "right"})
	at := func(s *natsserver.Server, user string) string {
		return strings.Replace(s.ClientURL(), "://", "://"+user+"@", 1)
	}
	closed := "127.0.0.1:1"
	for name, c := range map[string]struct {
		url     string
		refused bool
	}{
		"wrong password":   {at(auth, "renat:hunter2"), true},
		"wrong token":      {at(token, "hunter2"), true},
		"unreachable":      {"nats://renat:hunter2@" + closed, false},
		"unreachable list": {"nats://hunter2@" + closed + ", renat:hunter2@" + closed, false},
		"bad escape":       {"nats://renat:hunter2%@" + closed, false},
		"bad port":         {"nats://renat:hunter2@host:port", false},
		"no host":          {"nats://renat:hunter2@", false},
		"bad scheme":       {"http://renat:hunter2@" + closed, false},
		"bad host":         {"nats://renat:hunter2@host name", false},
		"second is bad":    {"nats://" + closed + ",nats://renat:hunter2@[", false},
	} {
		t.Run(name, func(t *testing.T) {
			wait := 300 * time.Millisecond
			if c.refused {
				wait = 0
			}
			log, err := refuse(t, jetstream.Config{URL: c.url, Wait: wait})
			if errors.Is(err, jetstream.ErrRefused) != c.refused {
				t.Errorf("Connect = %v", err)
			}
			if strings.Contains(err.Error()+log, "hunter2") {
				t.Errorf("the secret is in the error or the log: %v\n%s", err, log)
			}
			if strings.Contains(jetstream.RedactURL(c.url), "hunter2") {
				t.Errorf("RedactURL = %q", jetstream.RedactURL(c.url))
			}
		})
	}
	connect(t, jetstream.Config{URL: at(auth, "renat:right")})
	connect(t, jetstream.Config{URL: at(token, "right")})
	if got := jetstream.RedactURL("a:1, tls://u:p@b:2"); got != "nats://a:1,tls://b:2" {
		t.Errorf("RedactURL = %q", got)
	}
}

func TestTLS(t *testing.T) {
	ca, other := newAuthority(t), newAuthority(t)
	server := ca.issue(t, "server")
	plain := startNATS(t, &natsserver.Options{})
	tls := startNATS(t, &natsserver.Options{TLSConfig: ca.serverConfig(t, server, false), TLSTimeout: 5})
	mutual := startNATS(t, &natsserver.Options{TLSConfig: ca.serverConfig(t, server, true), TLSTimeout: 5})
	cert, key := ca.issue(t, "client").files()
	wrongCert, wrongKey := other.issue(t, "client").files()

	connect(t, jetstream.Config{URL: tls.ClientURL(), CA: ca.file})
	connect(t, jetstream.Config{URL: mutual.ClientURL(), CA: ca.file, Cert: cert, Key: key})
	for name, c := range map[string]struct {
		config jetstream.Config
		want   string
	}{
		"unknown authority":  {jetstream.Config{URL: tls.ClientURL()}, "check the CA file"},
		"wrong authority":    {jetstream.Config{URL: tls.ClientURL(), CA: other.file}, "check the CA file"},
		"wrong name":         {jetstream.Config{URL: strings.Replace(tls.ClientURL(), "127.0.0.1", "localhost", 1), CA: ca.file}, "host name"},
		"no client cert":     {jetstream.Config{URL: mutual.ClientURL(), CA: ca.file}, "check the client certificate"},
		"wrong client cert":  {jetstream.Config{URL: mutual.ClientURL(), CA: ca.file, Cert: wrongCert, Key: wrongKey}, "check the client certificate"},
		"server without TLS": {jetstream.Config{URL: plain.ClientURL(), CA: ca.file}, "offers no TLS"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := refuse(t, c.config)
			if !errors.Is(err, jetstream.ErrRefused) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("Connect = %v", err)
			}
		})
	}
}

func TestFilesAreCheckedAtOnce(t *testing.T) {
	ca := newAuthority(t)
	cert, key := ca.issue(t, "client").files()
	junk := filepath.Join(t.TempDir(), "junk")
	if err := os.WriteFile(junk, []byte("hunter2"), 0o600); err != nil {
		t.Fatal(err)
	}
	missing := filepath.Join(t.TempDir(), "missing")
	for name, c := range map[string]struct {
		config jetstream.Config
		want   string
	}{
		"no URL":          {jetstream.Config{}, "no NATS URL"},
		"missing creds":   {jetstream.Config{Creds: missing}, missing},
		"junk creds":      {jetstream.Config{Creds: junk}, "is it a .creds file?"},
		"missing CA":      {jetstream.Config{CA: missing}, missing},
		"junk CA":         {jetstream.Config{CA: junk}, "no certificate in PEM form"},
		"cert alone":      {jetstream.Config{Cert: cert}, "go together"},
		"key alone":       {jetstream.Config{Key: key}, "go together"},
		"junk cert":       {jetstream.Config{Cert: junk, Key: key}, junk},
		"cert of another": {jetstream.Config{Cert: cert, Key: ca.issue(t, "x").key}, "does not match"},
	} {
		t.Run(name, func(t *testing.T) {
			if name != "no URL" {
				c.config.URL = "127.0.0.1:1"
			}
			c.config.Log = zerolog.Nop()
			nc, err := jetstream.Connect(t.Context(), c.config)
			if err == nil {
				nc.Close()
				t.Fatal("connected")
			}
			if !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "hunter2") {
				t.Errorf("Connect = %v", err)
			}
		})
	}
}

// An old server is refused with one sentence, and the newest that is too old.
func TestOldServer(t *testing.T) {
	for version, refused := range map[string]bool{"2.9.10": true, "2.10.29": true, "2.11.0": false, "2.11.0-RC.1": false, "3.0.0": false, "custom": false} {
		t.Run(version, func(t *testing.T) {
			t.Parallel()
			c := jetstream.Config{URL: announce(t, version), Wait: 10 * time.Second, Log: zerolog.Nop()}
			nc, err := jetstream.Connect(t.Context(), c)
			if err == nil {
				nc.Close()
			}
			want := "the NATS server is too old: " + c.URL + " runs " + version + ", renat needs 2.11.0 or later"
			if refused && (!errors.Is(err, jetstream.ErrTooOld) || err.Error() != want) || !refused && err != nil {
				t.Errorf("Connect = %v", err)
			}
		})
	}
}

// announce listens as a NATS server of a version, which does nothing else.
func announce(t *testing.T, version string) (address string) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		conn, err := l.Accept()
		if err != nil {
			return // the test has ended
		}
		defer conn.Close()
		fmt.Fprintf(conn, "INFO {\"server_id\":\"x\",\"version\":%q,\"proto\":1,\"headers\":true,\"max_payload\":1048576}\r\n", version)
		for lines := bufio.NewScanner(conn); lines.Scan(); {
			if lines.Text() == "PING" {
				fmt.Fprint(conn, "PONG\r\n")
			}
		}
	}()
	return l.Addr().String()
}
