// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/rs/zerolog"

	"github.com/renat-project/renat/correlator"
	"github.com/renat-project/renat/hubble"
	"github.com/renat-project/renat/hubble/hubbletest"
	"github.com/renat-project/renat/internal/recording"
)

// recordedFlows serves a recording's flows on an Observer in this process and
// reads them back through the client that reads a node's.
type recordedFlows struct {
	rec *recording.Recording
	bad *recording.BadLines
	log zerolog.Logger
}

// Run implements source.
func (r *recordedFlows) Run(ctx context.Context, emit func(correlator.Event)) error {
	flows, name, err := r.rec.Flows()
	if err != nil {
		return err
	}
	if flows == nil {
		r.log.Warn().Str("recording", r.rec.Dir).Msg("the recording holds no flows: only what the kernel alone proves can be found")
		return nil
	}
	defer flows.Close()
	server, err := hubbletest.New(hubbletest.Config{Lossless: true, Version: "recording", NodeName: r.rec.Meta.NodeName})
	if err != nil {
		return err
	}
	defer server.Stop()
	client, err := hubble.New(hubble.Config{Address: server.Addr(), Logger: r.log})
	if err != nil {
		return err
	}
	loaded := make(chan error, 1)
	go func() {
		defer server.Seal()
		var tooMany error
		_, err := server.Load(ctx, flows, func(line int, err error) bool {
			tooMany = r.bad.Add(name, line, err)
			return tooMany == nil
		})
		if tooMany != nil {
			err = tooMany
		} else if err != nil {
			err = fmt.Errorf("reading %s: %w", name, err)
		}
		loaded <- err
	}()
	err = client.Run(ctx, emit)
	if err != nil {
		server.Stop() // ends a Load that waits
	}
	return errors.Join(<-loaded, err)
}
