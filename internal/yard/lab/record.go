// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"context"
	"errors"

	"github.com/renat-project/renat/correlator"
	"github.com/renat-project/renat/internal/recording"
	"github.com/renat-project/renat/kprobes"
)

// buildRecorder begins the recording, if there shall be one.
func (l *Lab) buildRecorder() (err error) {
	if l.cfg.Record == "" {
		return nil
	}
	status := l.tracer.Status()
	l.recorder, err = recording.Create(l.cfg.Record, recording.Meta{
		CiliumVersion: "none, renat lab", RenatVersion: l.cfg.Version, Kernel: status.Kernel,
		Backend: string(status.Backend), NodeName: nodeName, ClusterName: clusterName,
		Aggregation: "medium", MapMaxEntries: uint32(l.cfg.MapSize),
	})
	if err != nil {
		return err
	}
	l.later(l.closeRecorder)
	return nil
}

// closeRecorder adds what the clients saw and completes the recording.
func (l *Lab) closeRecorder() error {
	var errs []error
	l.account.mu.Lock()
	defer l.account.mu.Unlock()
	for _, t := range l.account.probes {
		errs = append(errs, l.recorder.Truth(t))
	}
	return errors.Join(append(errs, l.recorder.Close())...)
}

// recordingTracer is a tracer whose events are recorded on their way.
type recordingTracer struct {
	*kprobes.Tracer
	to *recording.Writer
}

// Run watches and records; a recording that cannot be written ends it.
func (r *recordingTracer) Run(ctx context.Context, emit func(correlator.Event)) error {
	ctx, fail := context.WithCancelCause(ctx)
	defer fail(nil)
	err := r.Tracer.Run(ctx, func(ev correlator.Event) {
		if err := r.to.NAT(&ev); err != nil {
			fail(err)
		}
		emit(ev)
	})
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	return err
}
