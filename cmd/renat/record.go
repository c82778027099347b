// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/renat-project/renat/hubble"
	"github.com/renat-project/renat/internal/recording"
	"github.com/renat-project/renat/internal/view/usage"
	"github.com/renat-project/renat/kprobes"
)

type recordFlags struct {
	*globals
	hubble        hubbleFlags
	node, cluster string
	bpffs         string
	duration      time.Duration
	redact        bool
}

func newRecord(g *globals) *cobra.Command {
	r := &recordFlags{globals: g}
	cmd := &cobra.Command{
		Use:   "record DIR",
		Short: "Record what this node's Hubble and kernel show",
		Long: `Record the flows of this node's Hubble and all operations on its NAT and
connection tracking maps into a new folder, until Ctrl-C or for --duration.
renat replay derives from it what an agent would have found: it is the way to
report a bug. It needs what the agent needs: root, or the capabilities BPF and
PERFMON.

With --redact names and addresses are replaced, the same by the same, with a key
that is kept nowhere; the recording replays to the same incidents. Times, ports,
identity numbers and versions stay: see docs/recordings.md.`,
		Example: `  renat record recording/ --duration 10m
  renat record recording/ --redact
  renat record recording/ --exclude-cidr 10.0.0.0/8 --bpffs /host/sys/fs/bpf
  renat replay recording/`,
		Args: usage.One("DIR"),
		RunE: func(cmd *cobra.Command, args []string) error { return r.run(cmd.Context(), args[0]) },
	}
	f := cmd.Flags()
	r.hubble.register(f)
	f.StringVar(&r.node, "node-name", "", "name of this node; empty: its host name")
	f.StringVar(&r.cluster, "cluster-name", "", "name of its cluster")
	f.StringVar(&r.bpffs, "bpffs", "/sys/fs/bpf", "where the file system is mounted in which Cilium pins its maps")
	f.DurationVar(&r.duration, "duration", 0, "how long to record; 0: until Ctrl-C")
	f.BoolVar(&r.redact, "redact", false, "replace names and addresses")
	return cmd
}

func (r *recordFlags) run(ctx context.Context, dir string) error {
	if r.duration < 0 {
		return usage.Errorf("--duration %v is negative", r.duration)
	}
	flows, err := r.hubble.client(r.log())
	if err != nil {
		return err
	}
	tracer, err := kprobes.New(kprobes.Config{Everything: true, BPFFS: r.bpffs})
	if err != nil {
		return err
	}
	return errors.Join(r.record(ctx, dir, flows, tracer), tracer.Close())
}

// record makes the recording from its two sources.
func (r *recordFlags) record(ctx context.Context, dir string, flows *hubble.Client, kernel kernel) (err error) {
	meta, err := r.describe(kernel.Status())
	if err != nil {
		return err
	}
	rec := &recorder{recordFlags: r, dir: dir, flows: flows, kernel: kernel, started: time.Now()}
	if r.redact {
		if rec.redactor, err = recording.NewRedactor(); err != nil {
			return err
		}
		rec.redactor.Meta(&meta)
	}
	if rec.out, err = recording.Create(dir, meta); err != nil {
		return err
	}
	fmt.Fprintf(r.err, "recording into %s, Ctrl-C ends it\n", dir)
	stopWatching := rec.watch()
	err = rec.run(ctx)
	stopWatching()
	rec.out.Describe(func(m *recording.Meta) { m.CiliumVersion = ciliumVersion(flows.Stats().ServerVersion) })
	if closeErr := rec.out.Close(); err == nil {
		err = closeErr
	}
	if errors.Is(err, syscall.ENOSPC) {
		err = fmt.Errorf("%w\nmake room, or name a folder on another disk; what was recorded before is whole and can be replayed", err)
	}
	return errors.Join(err, rec.summarise(err == nil))
}

// describe returns what is known of the node before anything is recorded.
func (r *recordFlags) describe(kernel kprobes.Status) (recording.Meta, error) {
	node, err := r.node, error(nil)
	if node == "" {
		if node, err = os.Hostname(); err != nil {
			return recording.Meta{}, fmt.Errorf("asking for the host name: %w (or name this node with --node-name)", err)
		}
	}
	meta := recording.Meta{
		RenatVersion: buildVersion(), NodeName: node, ClusterName: r.cluster,
		Kernel: kernel.Kernel, Backend: string(kernel.Backend), PossibleCPUs: kernel.CPUs,
	}
	meta.Clock.KTime, meta.Clock.Wall = kprobes.Now()
	return meta, nil
}
