// SPDX-License-Identifier: Apache-2.0

package recording

import (
	"context"
	"errors"
	"io"
	"runtime"
	"sync"
)

// batchBytes is about how much of a file is decoded at once.
const batchBytes = 64 << 10

// batch is some lines of a file, one after the other, and what became of them.
type batch[T any] struct {
	lines   []line
	text    []byte
	decoded []T
	done    chan struct{}
}

type line struct {
	n   int // counted from 1
	end int // in text
	err error
}

// DecodeLines reads a file's lines that are not empty, decodes them on all
// processors, and calls take with each, numbered from 1, in their order. Each
// decoder that newDecoder makes belongs to one goroutine; the lines it gets are
// never changed. err tells take that a line is too long; it has no value then.
func DecodeLines[T any](ctx context.Context, r io.Reader, newDecoder func() func(line []byte) T, take func(n int, v T, err error) error) error {
	ctx, cancel := context.WithCancel(ctx)
	procs := runtime.GOMAXPROCS(0)
	work, inOrder := make(chan *batch[T], procs), make(chan *batch[T], 2*procs)
	var values sync.Pool // of *[]T, for their memory
	var workers sync.WaitGroup
	defer workers.Wait()
	defer cancel()
	for range procs {
		workers.Go(func() {
			decode := newDecoder()
			for b := range work {
				b.decode(decode, &values)
			}
		})
	}
	var failed error // of reading; to be looked at when inOrder is closed
	workers.Go(func() {
		defer close(inOrder)
		defer close(work)
		failed = readBatches(r, func(b *batch[T]) error {
			for _, to := range []chan *batch[T]{inOrder, work} {
				select {
				case to <- b:
				case <-ctx.Done():
					return ctx.Err()
				}
			}
			return nil
		})
	})
	for b := range inOrder {
		select {
		case <-b.done:
		case <-ctx.Done():
			return ctx.Err()
		}
		for i, l := range b.lines {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			if err := take(l.n, b.decoded[i], l.err); err != nil {
				return err
			}
		}
		values.Put(&b.decoded)
	}
	return errors.Join(failed, ctx.Err())
}

// readBatches passes a file's lines on in batches.
func readBatches[T any](r io.Reader, pass func(*batch[T]) error) error {
	b := newBatch[T]()
	failed := eachLine(r, func(n int, text []byte, err error) error {
		b.text = append(b.text, text...)
		b.lines = append(b.lines, line{n, len(b.text), err})
		if len(b.text) < batchBytes {
			return nil
		}
		full := b
		b = newBatch[T]()
		return pass(full)
	})
	if len(b.lines) > 0 {
		failed = errors.Join(pass(b), failed)
	}
	return failed
}

func newBatch[T any]() *batch[T] {
	return &batch[T]{text: make([]byte, 0, batchBytes+batchBytes/8), done: make(chan struct{})}
}

func (b *batch[T]) decode(decode func([]byte) T, values *sync.Pool) {
	defer close(b.done)
	if used, ok := values.Get().(*[]T); ok {
		b.decoded = (*used)[:0]
	}
	begin := 0
	for _, l := range b.lines {
		var v T
		if l.err == nil {
			v = decode(b.text[begin:l.end:l.end])
		}
		b.decoded = append(b.decoded, v)
		begin = l.end
	}
}
