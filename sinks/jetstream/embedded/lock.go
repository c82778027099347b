// SPDX-License-Identifier: Apache-2.0

package embedded

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	natsserver "github.com/nats-io/nats-server/v2/server"
)

// lockName is the file in the state directory that a running server holds
// locked: two servers on one store would corrupt it.
const lockName = "nats.lock"

// lockDir creates dir if it is missing, proves that it takes data, and locks
// it for this process until the file is closed. The kernel drops the lock of a
// process that dies.
func lockDir(dir string) (*os.File, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("create the state directory %s, or choose another: %w", dir, err)
	}
	f, err := os.OpenFile(filepath.Join(dir, lockName), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("make the state directory %s writable for this user, or choose another: %w", dir, err)
	}
	if err := lock(f); err != nil {
		f.Close()
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, fmt.Errorf("stop the other renat that uses the state directory %s, or choose another: %w", dir, ErrInUse)
		}
		return nil, fmt.Errorf("locking the state directory %s: %w", dir, err)
	}
	if err := writeHolder(f, ""); err != nil {
		f.Close()
		return nil, fmt.Errorf("free some space for the state directory %s, or choose another: %w", dir, err)
	}
	return f, nil
}

const (
	lockTries = 5
	lockPause = 20 * time.Millisecond
)

// lock locks f. It tries again, because Look holds the lock for a moment.
func lock(f *os.File) error {
	for try := 1; ; try++ {
		err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if try == lockTries || !errors.Is(err, syscall.EWOULDBLOCK) {
			return err
		}
		time.Sleep(lockPause)
	}
}

// writeHolder records who holds the lock, and the URL at which that takes
// clients, if it does. It is also the proof that the file system takes data:
// creating a file works on a full one.
func writeHolder(f *os.File, url string) error {
	if err := f.Truncate(0); err != nil {
		return err
	}
	if _, err := f.WriteAt(fmt.Appendf(nil, "%d\n%s\n", os.Getpid(), url), 0); err != nil {
		return err
	}
	return f.Sync()
}

// Store is what is in a state directory.
type Store struct {
	// Exists says that a server has stored something there.
	Exists bool
	// URL of the server that has it open, if that takes clients.
	URL string
}

// Look says what is in a state directory, and creates nothing. The error is
// the file system's.
func Look(dir string) (Store, error) {
	if _, err := os.Stat(dir); err != nil {
		return Store{}, err
	}
	var s Store
	if _, err := os.Stat(filepath.Join(dir, natsserver.JetStreamStoreDir)); err == nil {
		s.Exists = true
	}
	f, err := os.Open(filepath.Join(dir, lockName))
	if errors.Is(err, fs.ErrNotExist) {
		return s, nil
	}
	if err != nil {
		return s, err
	}
	defer f.Close()
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_SH|syscall.LOCK_NB); errors.Is(err, syscall.EWOULDBLOCK) {
		b, err := os.ReadFile(f.Name())
		if lines := strings.Split(string(b), "\n"); err == nil && len(lines) > 1 {
			s.URL = lines[1]
		}
		return s, err
	}
	return s, nil // the lock goes with the file
}
