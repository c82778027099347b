// SPDX-License-Identifier: Apache-2.0

package embedded

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
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
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		f.Close()
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, fmt.Errorf("stop the other renat that uses the state directory %s, or choose another: %w", dir, ErrInUse)
		}
		return nil, fmt.Errorf("locking the state directory %s: %w", dir, err)
	}
	if err := writePID(f); err != nil {
		f.Close()
		return nil, fmt.Errorf("free some space for the state directory %s, or choose another: %w", dir, err)
	}
	return f, nil
}

// writePID records who holds the lock. It is also the proof that the file
// system takes data: creating a file works on a full one.
func writePID(f *os.File) error {
	if err := f.Truncate(0); err != nil {
		return err
	}
	if _, err := f.WriteAt(fmt.Appendln(nil, os.Getpid()), 0); err != nil {
		return err
	}
	return f.Sync()
}
