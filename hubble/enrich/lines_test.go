// SPDX-License-Identifier: Apache-2.0

package enrich_test

import (
	"bytes"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/cilium/cilium/api/v1/observer"
	"google.golang.org/protobuf/encoding/protojson"

	"github.com/renat-project/renat/hubble/enrich"
)

// splicing is a reader of chunks and the writer beside it. It fails when what
// was read is read on before its lines were written, and when a write has more
// than one line.
type splicing struct {
	t       testing.TB
	in, out []byte
	read    int // bytes of in
	chunk   int
}

func (s *splicing) Read(b []byte) (int, error) {
	if read, written := bytes.Count(s.in[:s.read], []byte("\n")), bytes.Count(s.out, []byte("\n")); written != read {
		s.t.Fatalf("%d of %d lines were written before more was read", written, read)
	}
	n := copy(b, s.in[s.read:min(len(s.in), s.read+s.chunk)])
	s.read += n
	if n == 0 {
		return 0, io.EOF
	}
	return n, nil
}

func (s *splicing) Write(b []byte) (int, error) {
	if n := bytes.IndexByte(b, '\n'); len(b) == 0 || n >= 0 && n < len(b)-1 {
		s.t.Fatalf("written at once: %q", b)
	}
	s.out = append(s.out, b...)
	return len(b), nil
}

// checkLines compares Lines with Line, line by line.
func checkLines(t testing.TB, in []byte, longest, chunk int) {
	t.Helper()
	s := &splicing{t: t, in: in, chunk: chunk}
	if err := enrich.Lines(&asked{}, longest, s, s); err != nil {
		t.Fatal(err)
	}
	var want []byte
	for line := range bytes.Lines(in) {
		out := enrich.Line(&asked{}, line)
		if len(out) > longest {
			out = line
		}
		want = append(want, out...)
		if hubbleReads(line) && !hubbleReads(out) {
			t.Fatalf("protobuf reads %q, but not %q", line, out)
		}
	}
	if !bytes.Equal(s.out, want) {
		t.Fatalf("%q became %q, want %q", in, s.out, want)
	}
}

// hubbleReads reports whether hubble observe --input-file can read a line.
func hubbleReads(line []byte) bool {
	return protojson.Unmarshal(line, &observer.GetFlowsResponse{}) == nil
}

func TestLines(t *testing.T) {
	all := lines(t)
	in := slices.Concat(slices.Concat(all[:20]...), []byte("\n\r\nno flow\n"), all[20], bytes.TrimRight(all[21], "\n"))
	for _, chunk := range []int{1, 7, 1000, 1 << 20} {
		for _, longest := range []int{0, 16, len(all[0]), len(all[0]) + 1, 1000, 1 << 16} {
			checkLines(t, in, longest, chunk)
		}
	}
	for length := 99; length <= 301; length++ { // about one, two and three times the longest
		checkLines(t, []byte(strings.Repeat("x", length)+"\n{}\n"), 100, 1000)
	}
}

// TestLinesTellsWhatFailed lets reading and writing fail.
func TestLinesTellsWhatFailed(t *testing.T) {
	gone := errors.New("gone")
	if err := enrich.Lines(&asked{}, 100, iotest.ErrReader(gone), io.Discard); !errors.Is(err, gone) || !strings.Contains(err.Error(), "reading") {
		t.Errorf("the reader's error became %v", err)
	}
	r, w := io.Pipe()
	_ = r.CloseWithError(gone) // it never fails
	if err := enrich.Lines(&asked{}, 100, strings.NewReader("line\n"), w); !errors.Is(err, gone) || !strings.Contains(err.Error(), "writing") {
		t.Errorf("the writer's error became %v", err)
	}
}

// FuzzLines wants of any stream what Line makes of its lines.
func FuzzLines(f *testing.F) {
	all := lines(f)
	f.Add(slices.Concat(all[:3]...), uint16(1<<16-1), uint16(100))
	f.Add(slices.Concat(all[3:6]...), uint16(500), uint16(1<<16-1))
	f.Add([]byte("{\"flow\":{\"IP\":{\"source\":\"::\",\"destination\":\"::\"},\"l4\":{\"TCP\":{}}}}\n\n\r\nlast"), uint16(20), uint16(1))
	f.Fuzz(func(t *testing.T, in []byte, longest, chunk uint16) {
		checkLines(t, in, int(longest), max(1, int(chunk)))
	})
}
