// SPDX-License-Identifier: Apache-2.0

package recording

import (
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cilium/cilium/api/v1/observer"
	"google.golang.org/protobuf/proto"
)

// BenchmarkWriter measures what a recorder adds to reading an event: one flow
// or one map operation of a recording written, or redacted and written.
func BenchmarkWriter(b *testing.B) {
	rec, err := Open(recordings[1])
	if err != nil {
		b.Fatal(err)
	}
	var flows []*observer.GetFlowsResponse
	for line := range strings.Lines(text(b, rec, rec.flows)) {
		flows = append(flows, parseFlow(b, line))
	}
	changes := rec.changes(b)
	redactor, err := NewRedactor()
	if err != nil {
		b.Fatal(err)
	}
	for _, c := range []struct {
		name  string
		write func(w *Writer, n int) error
	}{
		{"flow", func(w *Writer, n int) error { return w.Flow(flows[n%len(flows)]) }},
		{"flow_redacted", func(w *Writer, n int) error {
			resp := proto.CloneOf(flows[n%len(flows)])
			redactor.Flow(resp)
			return w.Flow(resp)
		}},
		{"operation", func(w *Writer, n int) error { return w.NAT(&changes[n%len(changes)]) }},
		{"operation_redacted", func(w *Writer, n int) error {
			ev := changes[n%len(changes)]
			redactor.Event(&ev)
			return w.NAT(&ev)
		}},
	} {
		b.Run(c.name, func(b *testing.B) {
			w, err := Create(filepath.Join(b.TempDir(), "recording"), Meta{})
			if err != nil {
				b.Fatal(err)
			}
			n := 0
			for ; b.Loop(); n++ {
				if err := c.write(w, n); err != nil {
					b.Fatal(err)
				}
			}
			if err := w.Close(); err != nil {
				b.Fatal(err)
			}
			b.ReportMetric(float64(w.Size())/float64(n), "bytes/line")
		})
	}
}

// BenchmarkUnzip decompresses a recording's flows, as gzip has them and as a
// Writer writes them.
func BenchmarkUnzip(b *testing.B) {
	rec, err := Open(recordings[1])
	if err != nil {
		b.Fatal(err)
	}
	flows := text(b, rec, rec.flows)
	zst := filepath.Join(b.TempDir(), FlowsFile+".zst")
	l, err := createLines(zst)
	if err != nil {
		b.Fatal(err)
	}
	for line := range strings.Lines(flows) {
		if err := l.add([]byte(line)); err != nil {
			b.Fatal(err)
		}
	}
	if err := l.close(); err != nil {
		b.Fatal(err)
	}
	for name, path := range map[string]string{"gzip": rec.flows, "zstd": zst} {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(flows)))
			for b.Loop() {
				f, err := rec.open(path)
				if err != nil {
					b.Fatal(err)
				}
				if n, err := io.Copy(io.Discard, f); err != nil || n != int64(len(flows)) {
					b.Fatal(n, err)
				}
				f.Close()
			}
			info, err := os.Stat(path)
			if err != nil {
				b.Fatal(err)
			}
			b.ReportMetric(float64(info.Size())/float64(strings.Count(flows, "\n")), "B/flow")
		})
	}
}
