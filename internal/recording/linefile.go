// SPDX-License-Identifier: Apache-2.0

package recording

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
)

// memberBytes is how much goes into one gzip member, uncompressed: what a full
// disk costs. Members four times as large save 5 % of the flows' size.
const memberBytes = 256 << 10

// lineFile appends lines to a file, compressed when its name ends in .gz. What
// is on disk is whole at any time, however the process ends: it is written in
// gzip members, each complete, and a member that found no room is taken back.
type lineFile struct {
	mu   sync.Mutex // guards all
	file *os.File
	zip  *gzip.Writer // nil: not compressed
	next bytes.Buffer // what is written next
	open int          // bytes of lines in next
	size int64        // bytes on disk
	err  error        // the first failure, which ends the file
}

// createLines makes a new file, which is readable from the beginning.
func createLines(path string) (*lineFile, error) {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, fmt.Errorf("creating recording: %w", err)
	}
	l := &lineFile{file: f}
	if filepath.Ext(path) == ".gz" {
		l.zip = gzip.NewWriter(&l.next)
	}
	if err := l.write(); err != nil {
		f.Close()
		return nil, err
	}
	return l, nil
}

// add appends a line, its line feed included.
func (l *lineFile) add(line []byte) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err != nil {
		return l.err
	}
	if l.zip != nil {
		l.zip.Write(line) //nolint:errcheck // into memory
	} else {
		l.next.Write(line)
	}
	if l.open += len(line); l.open >= memberBytes {
		return l.write()
	}
	return nil
}

// flush writes what was added.
func (l *lineFile) flush() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err != nil || l.open == 0 {
		return l.err
	}
	return l.write()
}

// write ends the member and writes it; l.mu is held, or l is new.
func (l *lineFile) write() error {
	if l.zip != nil {
		l.zip.Close()
	}
	n, err := l.file.WriteAt(l.next.Bytes(), l.size)
	if err != nil {
		l.err = errors.Join(fmt.Errorf("writing recording: %w", err), l.file.Truncate(l.size))
		return l.err
	}
	l.size += int64(n)
	l.next.Reset()
	l.open = 0
	if l.zip != nil {
		l.zip.Reset(&l.next)
	}
	return nil
}

// bytes returns the file's size on disk.
func (l *lineFile) bytes() int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.size
}

// close writes what is left and returns the file's first failure.
func (l *lineFile) close() error {
	err := l.flush()
	if err == nil {
		err = l.file.Sync()
	}
	return errors.Join(err, l.file.Close())
}
