// SPDX-License-Identifier: Apache-2.0

package recording

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/cilium/cilium/api/v1/observer"
	_ "google.golang.org/protobuf/types/known/structpb" // what flow extensions hold

	"github.com/renat-project/renat/correlator"
)

// flushEvery is how much of a recording a process that is killed may lose.
const flushEvery = 2 * time.Second

// Writer writes a recording. Its methods may be called from any goroutine; the
// lines of each file keep the order of the calls. What was written can be read
// at any time, also after a failure or a kill.
type Writer struct {
	dir        string
	flows, nat *lineFile

	mu    sync.Mutex // guards what follows
	truth *lineFile  // nil until there is one
	meta  Meta

	stop    chan struct{}
	stopped sync.WaitGroup
}

// Create begins a recording in dir, which must be empty or not exist. The map
// size and the SNAT addresses, if meta lacks them, are taken from the map
// operations. The caller closes the writer.
func Create(dir string, meta Meta) (*Writer, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("creating recording: %w", err)
	}
	if err := wantEmpty(dir); err != nil {
		return nil, err
	}
	w := &Writer{dir: dir, meta: meta, stop: make(chan struct{})}
	var err error
	if w.flows, err = createLines(filepath.Join(dir, FlowsFile+".zst")); err != nil {
		return nil, err
	}
	if w.nat, err = createLines(filepath.Join(dir, NATFile+".zst")); err != nil {
		return nil, errors.Join(err, w.flows.close())
	}
	if err := w.writeMeta(); err != nil {
		return nil, errors.Join(err, w.flows.close(), w.nat.close())
	}
	w.stopped.Go(w.flushOften)
	return w, nil
}

func wantEmpty(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return fmt.Errorf("creating recording: %w", err)
	}
	defer f.Close()
	switch _, err := f.Readdirnames(1); {
	case errors.Is(err, io.EOF):
		return nil
	case err != nil:
		return fmt.Errorf("creating recording: %w", err)
	}
	return fmt.Errorf("creating recording: %s is not empty: name a new folder", dir)
}

// flushOften bounds what a kill costs. Failures come back from the next call.
func (w *Writer) flushOften() {
	tick := time.NewTicker(flushEvery)
	defer tick.Stop()
	for {
		select {
		case <-w.stop:
			return
		case <-tick.C:
			for _, f := range w.files() {
				f.flush()
			}
		}
	}
}

func (w *Writer) files() []*lineFile {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.truth == nil {
		return []*lineFile{w.flows, w.nat}
	}
	return []*lineFile{w.flows, w.nat, w.truth}
}

// Flow writes a message of Hubble's stream as hubble observe -o jsonpb prints
// it. An extension of a type that is not known here is left out. A message that
// JSON cannot hold (a time out of range) is written as the loss that replaying
// it would show.
func (w *Writer) Flow(resp *observer.GetFlowsResponse) error {
	line, err := json.Marshal(resp)
	if f := resp.GetFlow(); err != nil && f.GetExtensions() != nil {
		ext := f.Extensions
		f.Extensions = nil
		line, err = json.Marshal(resp)
		f.Extensions = ext
	}
	if err != nil {
		now := time.Now().UnixNano()
		return w.NAT(&correlator.Event{Time: now, Kind: correlator.KindLoss,
			Loss: correlator.Loss{From: correlator.LossHubbleDecode, Count: 1, First: now, Last: now}})
	}
	return w.flows.add(append(line, '\n'))
}

// NAT writes a map operation, or the loss of events that Hubble's stream does
// not tell of itself: the kernel's, and those of a restarted Hubble.
func (w *Writer) NAT(ev *correlator.Event) error {
	line, err := json.Marshal(lineOf(ev))
	if err != nil {
		return fmt.Errorf("writing recording: %w", err)
	}
	if ev.Kind == correlator.KindNAT {
		w.learn(ev)
	}
	return w.nat.add(append(line, '\n'))
}

// Truth writes what a client saw of its connection; only laboratories know.
func (w *Writer) Truth(t Truth) error {
	line, err := json.Marshal(t)
	if err != nil {
		return fmt.Errorf("writing recording: %w", err)
	}
	w.mu.Lock()
	if w.truth == nil {
		w.truth, err = createLines(filepath.Join(w.dir, TruthFile))
	}
	truth := w.truth
	w.mu.Unlock()
	if err != nil {
		return err
	}
	return truth.add(append(line, '\n'))
}

// Size returns how many bytes of flows and map operations are on disk.
func (w *Writer) Size() int64 { return w.flows.bytes() + w.nat.bytes() }

// Close completes the recording. It returns the first failure of any file.
func (w *Writer) Close() error {
	close(w.stop)
	w.stopped.Wait()
	var errs []error
	for _, f := range w.files() {
		errs = append(errs, f.close())
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	return errors.Join(append(errs, w.writeMeta())...)
}
