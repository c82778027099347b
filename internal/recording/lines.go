// SPDX-License-Identifier: Apache-2.0

package recording

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"sync"
)

// MaxLine is the longest line that is read, in bytes; a longer one is a bad
// line. Hubble's own reader ends at 64 KiB.
const MaxLine = 1 << 20

// BadLines decides what happens to lines that cannot be read: each is reported
// and skipped, until there are too many.
type BadLines struct {
	Max    int                                    // how many are skipped
	Report func(file string, line int, err error) // may be nil
	Count  int                                    // read it when the readers are done

	mu sync.Mutex // two files are read at the same time
}

// Add counts a bad line and returns an error when it is one too many.
func (b *BadLines) Add(file string, line int, err error) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.Count++
	if b.Report != nil {
		b.Report(file, line, err)
	}
	if b.Count > b.Max {
		return fmt.Errorf("%s line %d: %w (more than %d bad lines; --max-bad-lines skips more)", file, line, err, b.Max)
	}
	return nil
}

var errLongLine = fmt.Errorf("line is longer than %d bytes", MaxLine)

// eachLine calls f with each line that is not empty, numbered from 1, without
// its end. f gets errLongLine instead of a line that is too long.
func eachLine(r io.Reader, f func(n int, line []byte, err error) error) error {
	br := bufio.NewReaderSize(r, MaxLine)
	for n := 1; ; n++ {
		line, err := br.ReadSlice('\n')
		long := errors.Is(err, bufio.ErrBufferFull)
		for errors.Is(err, bufio.ErrBufferFull) {
			_, err = br.ReadSlice('\n')
		}
		if err != nil && !errors.Is(err, io.EOF) {
			return fmt.Errorf("after line %d: %w", n-1, err)
		}
		for len(line) > 0 && (line[len(line)-1] == '\n' || line[len(line)-1] == '\r') {
			line = line[:len(line)-1]
		}
		var ferr error
		switch {
		case long:
			ferr = f(n, nil, errLongLine)
		case len(line) > 0:
			ferr = f(n, line, nil)
		}
		if ferr != nil || err == io.EOF {
			return ferr
		}
	}
}
