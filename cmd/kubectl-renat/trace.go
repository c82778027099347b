// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"strings"

	"github.com/spf13/cobra"
	kerrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/renat-project/renat/internal/view/fleet"
	"github.com/renat-project/renat/internal/view/nodeview"
	"github.com/renat-project/renat/internal/view/usage"
)

func (p *plugin) trace() *cobra.Command {
	var o nodeview.Trace
	var namespace string
	cmd := &cobra.Command{
		Use:   "trace POD",
		Short: "Show what a pod's connections go through in the maps, live",
		Long: `Show every operation on the entries of a pod's connections in its node's NAT and
connection tracking maps, as it happens, beside the packets that Hubble showed,
until Ctrl-C. The agent of the pod's node does it; connections are chosen in the
kernel, so that the other pods pay next to nothing. docs/trace.md explains the lines.

To use it, you need the right to get the pod, too.`,
		Example: `  kubectl renat trace cart-7d9f -n shop
  kubectl renat trace shop/cart-7d9f --to 192.0.2.1:443
  kubectl renat trace shop/cart-7d9f --map nat -o json`,
		Args: usage.One("POD"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if p.nats.URL != "" {
				return fleet.ErrAgentsOnly
			}
			name := args[0]
			if ns, pod, whole := strings.Cut(name, "/"); whole {
				namespace, name = ns, pod
			}
			c, err := p.cluster()
			if err != nil {
				return err
			}
			if namespace == "" {
				if namespace, _, err = p.kube.ToRawKubeConfigLoader().Namespace(); err != nil {
					return fmt.Errorf("reading the kubeconfig: %w", err)
				}
			}
			agent, err := p.agentOf(cmd.Context(), c, namespace, name, &o)
			if err != nil {
				return err
			}
			return o.Run(cmd.Context(), agent, p.screen())
		},
	}
	cmd.Flags().StringVarP(&namespace, "namespace", "n", "", "namespace of the pod; empty: the context's")
	o.Register(cmd)
	return cmd
}

// agentOf finds the agent of a pod's node, and tells the trace the pod's
// addresses.
func (p *plugin) agentOf(ctx context.Context, c *cluster, namespace, name string, o *nodeview.Trace) (fleet.Agent, error) {
	limited, cancel := context.WithTimeout(ctx, listTime)
	defer cancel()
	body, err := c.get(limited, "namespaces/"+url.PathEscape(namespace)+"/pods/"+url.PathEscape(name), nil)
	if kerrors.IsNotFound(err) {
		return nil, fmt.Errorf("namespace %s has no pod %s: name another namespace with -n", namespace, name)
	}
	if err != nil {
		return nil, explain(err, "finding the pod", rule{resource: "pods", verb: "get", namespace: namespace})
	}
	var found struct {
		Spec   struct{ NodeName string }
		Status struct {
			Phase  string
			PodIPs []struct{ IP string }
		}
	}
	if err := json.Unmarshal(body, &found); err != nil {
		return nil, fmt.Errorf("the API server's answer cannot be read: %w", err)
	}
	if found.Spec.NodeName == "" || len(found.Status.PodIPs) == 0 {
		return nil, fmt.Errorf("pod %s/%s has no node or no address yet: it is %s", namespace, name, found.Status.Phase)
	}
	o.Pod = namespace + "/" + name
	for _, ip := range found.Status.PodIPs {
		o.IPs = append(o.IPs, ip.IP)
	}
	agents, err := p.list(ctx, c, &p.agent)
	if err != nil {
		return nil, err
	}
	for _, a := range agents {
		if a.Node() == found.Spec.NodeName {
			return a, nil
		}
	}
	return nil, fmt.Errorf("no agent runs on node %s, where the pod is", found.Spec.NodeName)
}
