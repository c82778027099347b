// SPDX-License-Identifier: Apache-2.0

package jetstream_test

import (
	"runtime"
	"testing"
	"time"

	natsjs "github.com/nats-io/nats.go/jetstream"

	"github.com/renat-project/renat/sinks/jetstream"
)

// Every write is synced to disk, as in production.
func BenchmarkSend(b *testing.B) {
	p := newPublisher(b, embed(b), jetstream.PublisherConfig{})
	b.ReportAllocs()
	for n := 0; b.Loop(); n++ {
		if _, err := p.Send(b.Context(), sample(n)); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "incidents/s")
}

func BenchmarkPublish(b *testing.B) {
	p := newPublisher(b, embed(b), jetstream.PublisherConfig{})
	b.ReportAllocs()
	n := 0
	for ; b.Loop(); n++ {
		if err := p.Publish(b.Context(), sample(n)); err != nil {
			b.Fatal(err)
		}
	}
	if err := p.Flush(b.Context()); err != nil {
		b.Fatal(err)
	}
	b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "incidents/s")
}

func BenchmarkRead(b *testing.B) {
	nc := embed(b)
	p := newPublisher(b, nc, jetstream.PublisherConfig{})
	const stored = 5000
	for n := range stored {
		if err := p.Publish(b.Context(), sample(n)); err != nil {
			b.Fatal(err)
		}
	}
	if err := p.Flush(b.Context()); err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if n := len(read(b, nc, jetstream.ReadOptions{})); n != stored {
			b.Fatalf("read %d incidents", n)
		}
	}
	b.ReportMetric(float64(stored*b.N)/b.Elapsed().Seconds(), "incidents/s")
}

// What the server's window costs: heap for each id, in a stream that keeps
// only one message so that nothing else grows.
func BenchmarkWindowMemory(b *testing.B) {
	nc := embed(b)
	js, err := natsjs.New(nc, natsjs.WithPublishAsyncMaxPending(1000))
	if err != nil {
		b.Fatal(err)
	}
	_, err = js.CreateStream(b.Context(), natsjs.StreamConfig{
		Name: "IDS", Subjects: []string{"x"}, Storage: natsjs.MemoryStorage, MaxMsgs: 1, Duplicates: time.Hour,
	})
	if err != nil {
		b.Fatal(err)
	}
	const ids = 200_000
	for b.Loop() {
		before := heap()
		for n := range ids {
			if _, err := js.PublishAsync("x", nil, natsjs.WithMsgID(sample(n).ID)); err != nil {
				b.Fatal(err)
			}
		}
		<-js.PublishAsyncComplete()
		b.ReportMetric(float64(heap()-before)/ids, "B/id")
	}
}

func heap() uint64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}
