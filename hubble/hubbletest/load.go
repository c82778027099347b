// SPDX-License-Identifier: Apache-2.0

package hubbletest

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/cilium/cilium/api/v1/observer"

	"github.com/renat-project/renat/hubble/jsonpb"
)

// MaxLine is how long a line that Load reads may be, in bytes.
const MaxLine = 1 << 20

var (
	errLongLine = fmt.Errorf("the line is longer than %d bytes", MaxLine)
	errBadLines = errors.New("too many bad lines")
)

// Load feeds JSON lines, one GetFlowsResponse each, as hubble observe -o
// jsonpb prints them. It returns how many events it fed. A line that cannot be
// read is passed to bad with its number, counted from 1; Load stops with an
// error when bad returns false. Node status, which relays put between flows,
// is left out. Load does not seal the server.
func (s *Server) Load(ctx context.Context, r io.Reader, bad func(line int, err error) bool) (int, error) {
	feed := func(resp *observer.GetFlowsResponse) error { return s.Feed(ctx, resp) }
	return load(r, feed, bad)
}

func load(r io.Reader, feed func(*observer.GetFlowsResponse) error, bad func(int, error) bool) (int, error) {
	lines := bufio.NewReaderSize(r, 64<<10)
	var long []byte
	for line, fed := 1, 0; ; line++ {
		b, tooLong, err := readLine(lines, &long)
		if err != nil && !errors.Is(err, io.EOF) {
			return fed, fmt.Errorf("reading line %d: %w", line, err)
		}
		last := err != nil
		if len(b) > 0 || tooLong {
			resp, perr := parse(b, tooLong)
			switch {
			case perr != nil && !bad(line, perr):
				return fed, fmt.Errorf("line %d: %w: %w", line, errBadLines, perr)
			case perr != nil || resp == nil:
			default:
				if err := feed(resp); err != nil {
					return fed, err
				}
				fed++
			}
		}
		if last {
			return fed, nil
		}
	}
}

// readLine returns the next line without white space around it, valid until
// the next call. long is memory for lines that do not fit the reader.
func readLine(r *bufio.Reader, long *[]byte) (line []byte, tooLong bool, err error) {
	line, err = r.ReadSlice('\n')
	if !errors.Is(err, bufio.ErrBufferFull) {
		return bytes.TrimSpace(line), false, err
	}
	*long = append((*long)[:0], line...)
	for errors.Is(err, bufio.ErrBufferFull) {
		line, err = r.ReadSlice('\n')
		if len(*long) <= MaxLine {
			*long = append(*long, line...)
		}
	}
	if len(*long) > MaxLine+1 { // and its line feed
		return nil, true, err
	}
	return bytes.TrimSpace(*long), false, err
}

// parse returns nil for a line that is sound but no event.
func parse(b []byte, tooLong bool) (*observer.GetFlowsResponse, error) {
	if tooLong {
		return nil, errLongLine
	}
	return jsonpb.Parse(b)
}
