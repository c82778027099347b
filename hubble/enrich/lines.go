// SPDX-License-Identifier: Apache-2.0

package enrich

import (
	"bufio"
	"errors"
	"fmt"
	"io"
)

// Lines copies lines until in ends, each with what Line adds to it, in a write
// of its own and before it waits for the next. Lines that are longer than
// longest bytes, their end included, or would become so, are copied as they
// are, in parts. It fails when in or out does.
func Lines(source Source, longest int, in io.Reader, out io.Writer) error {
	r := bufio.NewReaderSize(in, longest)
	for rest := false; ; { // rest: what comes belongs to a line that is too long
		line, err := r.ReadSlice('\n')
		part := errors.Is(err, bufio.ErrBufferFull)
		if len(line) > 0 {
			write := line
			if !part && !rest {
				write = fitting(source, longest, line)
			}
			if _, err := out.Write(write); err != nil {
				return fmt.Errorf("writing flows: %w", err)
			}
		}
		rest = part
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil && !part:
			return fmt.Errorf("reading flows: %w", err)
		}
	}
}

// fitting leaves a line alone that would become too long.
func fitting(source Source, longest int, line []byte) []byte {
	if out := Line(source, line); len(out) <= longest {
		return out
	}
	return line
}
