// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"os"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/renat-project/renat/internal/view/fleet"
	"github.com/renat-project/renat/internal/view/nodeview"
	"github.com/renat-project/renat/internal/view/sysdump"
	"github.com/renat-project/renat/internal/view/usage"
)

// sysdumpFlags are those of sysdump.
type sysdumpFlags struct {
	redact bool
	lines  int
}

func (p *plugin) sysdump() *cobra.Command {
	var f sysdumpFlags
	cmd := &cobra.Command{
		Use:   "sysdump [FILE]",
		Short: "Collect what a report of a bug needs",
		Long: `Write a tar.gz with what agents and hubs tell of themselves (status, readiness,
metrics), their logs, their pods without the variables of their environment, and
Cilium's settings. It has no Secret. Names of nodes, pods and the cluster, addresses
and the hosts of URLs are replaced, the same by the same; look through it before
you send it. What could not be had is named in missing.txt.

It needs the right to get pods/log, too. A recording is not in it: renat record
--redact makes one on a node.`,
		Example: `  kubectl renat sysdump
  kubectl renat sysdump report.tar.gz --log-lines 10000`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			name := "renat-sysdump-" + time.Now().UTC().Format("20060102-150405") + ".tar.gz"
			if len(args) == 1 {
				name = args[0]
			}
			if p.nats.URL != "" {
				return usage.Errorf("--nats-url: sysdump asks agents and hubs; leave it out")
			}
			return p.writeSysdump(cmd.Context(), name, f)
		},
	}
	p.inNamespace(cmd)
	cmd.Flags().BoolVar(&f.redact, "redact", true, "replace names and addresses")
	cmd.Flags().IntVar(&f.lines, "log-lines", 2000, "so many lines of each log, the newest")
	return cmd
}

func (p *plugin) writeSysdump(ctx context.Context, name string, f sysdumpFlags) error {
	c, err := p.cluster()
	if err != nil {
		return err
	}
	agents, err := p.list(ctx, c, &p.agent)
	if err != nil {
		return err
	}
	hubs, err := p.list(ctx, c, &p.hub)
	if err != nil && !errors.Is(err, fleet.ErrNone) {
		return err
	}
	b := sysdump.Bundle{Time: time.Now(), Parts: []sysdump.Part{
		{Name: "status.txt", Get: p.statusText}, {Name: "cilium-config.json", Get: p.ciliumSettings},
	}}
	names := map[string]string{}
	hide := func(name, as string) {
		if _, known := names[name]; !known && name != "" && name != "default" {
			names[name] = as
		}
	}
	for i, a := range agents {
		pod := a.(*podAgent)
		hide(a.Node(), fmt.Sprintf("node-%d", i+1))
		hide(pod.pod.Metadata.Name, fmt.Sprintf("agent-%d", i+1))
		hide(pod.pod.flag("cluster-name"), "cluster")
		b.Parts = append(b.Parts, pod.parts("agents/"+a.Node(), "/v1/status", f.lines)...)
	}
	for i, a := range hubs {
		pod := a.(*podAgent)
		hide(a.Node(), fmt.Sprintf("hub-%d", i+1))
		hide(pod.pod.Spec.NodeName, fmt.Sprintf("node-of-hub-%d", i+1))
		b.Parts = append(b.Parts, pod.parts("hubs/"+a.Node(), "/status", f.lines)...)
	}
	if f.redact {
		b.Redact = sysdump.NewRedactor(names)
	}
	file, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return fmt.Errorf("making the bundle: %w", err)
	}
	missing, err := b.Write(ctx, file)
	if err = errors.Join(err, file.Close()); err != nil {
		return errors.Join(err, os.Remove(name))
	}
	if len(missing) > 0 {
		fmt.Fprintf(p.errs, "%d of %d files could not be had: missing.txt says why\n", len(missing), len(b.Parts))
	}
	_, err = fmt.Fprintln(p.out, name)
	return err
}

// parts are what a pod has to tell, in a folder.
func (a *podAgent) parts(folder, status string, lines int) []sysdump.Part {
	ask := func(path string) func(context.Context) ([]byte, error) {
		return func(ctx context.Context) ([]byte, error) { return a.Get(ctx, path, nil) }
	}
	container := a.pod.container(a.kind.name)
	log := func(previous bool) func(context.Context) ([]byte, error) {
		return func(ctx context.Context) ([]byte, error) {
			q := url.Values{"tailLines": {strconv.Itoa(lines)}, "container": {container}}
			if previous {
				q.Set("previous", "true")
			}
			at := a.pod.Metadata
			body, err := a.cluster.get(ctx, "namespaces/"+url.PathEscape(at.Namespace)+"/pods/"+url.PathEscape(at.Name)+"/log", q)
			return body, explain(err, "reading the log", rule{resource: "pods/log", verb: "get", namespace: at.Namespace})
		}
	}
	parts := []sysdump.Part{
		{Name: folder + "/status.json", Get: ask(status)}, {Name: folder + "/readyz.txt", Get: ask("/readyz")},
		{Name: folder + "/metrics.txt", Get: ask("/metrics")}, {Name: folder + "/log.txt", Get: log(false)},
		{Name: folder + "/pod.json", Get: func(context.Context) ([]byte, error) { return json.MarshalIndent(a.pod, "", "  ") }},
	}
	if a.pod.restarted(container) {
		parts = append(parts, sysdump.Part{Name: folder + "/log-before.txt", Get: log(true)})
	}
	return parts
}

// statusText is what kubectl renat status shows.
func (p *plugin) statusText(ctx context.Context) ([]byte, error) {
	c, err := p.cluster()
	if err != nil {
		return nil, err
	}
	var out bytes.Buffer
	o := nodeview.Status{Hubs: p.all(c, &p.hub)}
	err = o.Run(ctx, p.all(c, &p.agent), &nodeview.Screen{Out: &out, Err: &out})
	var found *usage.FoundError
	if errors.As(err, &found) {
		err = nil // it says so itself
	}
	return out.Bytes(), err
}

// ciliumSettings are those that the size of a NAT map depends on.
func (p *plugin) ciliumSettings(ctx context.Context) ([]byte, error) {
	s, assumed, err := p.settings(ctx)
	if err != nil {
		return nil, err
	}
	return json.MarshalIndent(struct {
		Settings any    `json:"settings"`
		Assumed  string `json:"assumed,omitempty"`
	}{s, assumed}, "", "  ")
}
