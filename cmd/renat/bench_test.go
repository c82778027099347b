// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/renat-project/renat/internal/recording"
	"github.com/renat-project/renat/internal/view/usage"
)

// benchFlows is how many flows the benchmark's recording has at least.
const benchFlows = 1_000_000

// BenchmarkReplayMillionFlows replays a recording that repeats the one of
// Cilium 1.20.2 until it has a million flows: JSON, correlator, JetStream. CPU
// time is the process's, user and system.
func BenchmarkReplayMillionFlows(b *testing.B) {
	dir, flows, changes := longRecording(b)
	b.ReportAllocs()
	b.ResetTimer()
	before := cpuTime(b)
	for range b.N {
		out := &lineCounter{}
		if code := run(b.Context(), streams{out: out, err: io.Discard}, []string{"replay", dir, "-o", "json"}); code != usage.Done {
			b.Fatalf("exit code %d", code)
		}
		b.ReportMetric(float64(out.lines), "incidents")
	}
	events := float64(b.N * (flows + changes))
	b.ReportMetric(float64((cpuTime(b)-before).Nanoseconds())/events, "cpu-ns/event")
	b.ReportMetric(events/b.Elapsed().Seconds(), "events/s")
	b.ReportMetric(float64(flows), "flows")
}

func cpuTime(b *testing.B) time.Duration {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

type lineCounter struct{ lines int }

func (c *lineCounter) Write(p []byte) (int, error) {
	c.lines += strings.Count(string(p), "\n")
	return len(p), nil
}

// longRecording repeats a recording, each time later on both clocks.
func longRecording(b *testing.B) (dir string, flows, changes int) {
	b.Helper()
	const period = 100 * time.Second // longer than the recording and a settle time
	dir = b.TempDir()
	flowLines := readLines(b, filepath.Join(recordings[0], recording.FlowsFile+".gz"))
	natLines := readLines(b, filepath.Join(recordings[0], recording.NATFile+".gz"))
	rounds := (benchFlows + len(flowLines) - 1) / len(flowLines)
	for name, lines := range map[string][]string{recording.FlowsFile: flowLines, recording.NATFile: natLines} {
		f, err := os.Create(filepath.Join(dir, name))
		if err != nil {
			b.Fatal(err)
		}
		w := bufio.NewWriter(f)
		for round := range rounds {
			for _, line := range lines {
				w.WriteString(later(line, time.Duration(round)*period)) //nolint:errcheck // Flush tells
			}
		}
		if err := w.Flush(); err != nil {
			b.Fatal(err)
		}
		f.Close()
	}
	return dir, rounds * len(flowLines), rounds * len(natLines)
}

var (
	timeField  = regexp.MustCompile(`"time":"([^"]+)"`)
	ktimeField = regexp.MustCompile(`"ktime_ns":(\d+)`)
)

// later moves the times of a line.
func later(line string, d time.Duration) string {
	line = timeField.ReplaceAllStringFunc(line, func(m string) string {
		t, err := time.Parse(time.RFC3339Nano, m[8:len(m)-1])
		if err != nil {
			return m
		}
		return `"time":"` + t.Add(d).Format(time.RFC3339Nano) + `"`
	})
	return ktimeField.ReplaceAllStringFunc(line, func(m string) string {
		n, err := strconv.ParseInt(m[len(`"ktime_ns":`):], 10, 64)
		if err != nil {
			return m
		}
		return `"ktime_ns":` + strconv.FormatInt(n+int64(d), 10)
	})
}
