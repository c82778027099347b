// SPDX-License-Identifier: Apache-2.0

package recording

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"

	"github.com/klauspost/compress/zstd"
)

// frameBytes is how much goes into one zstd frame, uncompressed: what a full
// disk costs.
const frameBytes = 256 << 10

// lineFile appends lines to a file, compressed when its name ends in .zst. What
// is on disk is whole at any time, however the process ends: it is written in
// zstd frames, each complete, and a frame that found no room is taken back.
type lineFile struct {
	mu    sync.Mutex // guards all
	file  *os.File
	zip   *zstd.Encoder // nil: not compressed
	next  bytes.Buffer  // lines that are written next
	frame []byte        // kept for its memory
	size  int64         // bytes on disk
	err   error         // the first failure, which ends the file
}

// createLines makes a new file, which is readable from the beginning.
func createLines(path string) (*lineFile, error) {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, fmt.Errorf("creating recording: %w", err)
	}
	l := &lineFile{file: f}
	if filepath.Ext(path) == ".zst" {
		if l.zip, err = zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1), zstd.WithZeroFrames(true)); err != nil {
			return nil, errors.Join(err, f.Close())
		}
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
	l.next.Write(line)
	if l.next.Len() >= frameBytes {
		return l.write()
	}
	return nil
}

// flush writes what was added.
func (l *lineFile) flush() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err != nil || l.next.Len() == 0 {
		return l.err
	}
	return l.write()
}

// write writes a frame; l.mu is held, or l is new.
func (l *lineFile) write() error {
	b := l.next.Bytes()
	if l.zip != nil {
		l.frame = l.zip.EncodeAll(b, l.frame[:0])
		b = l.frame
	}
	n, err := l.file.WriteAt(b, l.size)
	if err != nil {
		l.err = errors.Join(fmt.Errorf("writing recording: %w", err), l.file.Truncate(l.size))
		return l.err
	}
	l.size += int64(n)
	l.next.Reset()
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
