// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/rs/zerolog"
	kerrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/renat-project/renat/internal/sizing"
	"github.com/renat-project/renat/internal/view/fleet"
	"github.com/renat-project/renat/internal/view/nodeview"
	"github.com/renat-project/renat/sinks/jetstream"
)

// natsWait is how long NATS may take to answer.
const natsWait = 5 * time.Second

// source opens where answers come from; end closes it.
func (p *plugin) source(ctx context.Context) (src fleet.Source, end func(), err error) {
	if p.nats.URL != "" {
		log := zerolog.New(zerolog.ConsoleWriter{Out: p.errs, NoColor: true, PartsExclude: []string{zerolog.TimestampFieldName}}).Level(zerolog.WarnLevel)
		c := p.nats
		c.Name, c.Log, c.Wait = "kubectl-renat", log, natsWait
		conn, err := jetstream.Connect(ctx, c)
		if err != nil {
			return nil, nil, err
		}
		return &fleet.NATS{Conn: conn, Log: log}, conn.Close, nil
	}
	c, err := p.cluster()
	if err != nil {
		return nil, nil, err
	}
	return p.all(c, &p.agent), func() {}, nil
}

// all are the pods of a kind.
func (p *plugin) all(c *cluster, k *kind) *fleet.Agents {
	all := &fleet.Agents{
		List:    func(ctx context.Context) ([]fleet.Agent, error) { return p.list(ctx, c, k) },
		Timeout: p.timeout, ByNode: k == &p.agent,
	}
	if all.ByNode {
		all.Machines = func(ctx context.Context) ([]string, error) { return p.machines(ctx, c) }
	}
	return all
}

func (p *plugin) cluster() (*cluster, error) {
	if err := p.checkKubeconfig(); err != nil {
		return nil, err
	}
	config, err := p.kube.ToRESTConfig()
	if err != nil {
		return nil, fmt.Errorf("reading the kubeconfig: %w", err)
	}
	return newCluster(config)
}

// checkKubeconfig says so if no cluster is configured: client-go would ask
// localhost:8080. In a pod there is the pod's own.
func (p *plugin) checkKubeconfig() error {
	loader := p.kube.ToRawKubeConfigLoader()
	raw, err := loader.RawConfig()
	if err != nil {
		return fmt.Errorf("reading the kubeconfig: %w", err)
	}
	if len(raw.Clusters) > 0 || p.kube.APIServer != nil && *p.kube.APIServer != "" || os.Getenv("KUBERNETES_SERVICE_HOST") != "" {
		return nil
	}
	var missing []string
	for _, file := range loader.ConfigAccess().GetLoadingPrecedence() {
		if _, err := os.Stat(file); err != nil {
			missing = append(missing, file+" does not exist")
		} else {
			missing = append(missing, file+" names no cluster")
		}
	}
	return fmt.Errorf("no cluster is configured: %s\nname a kubeconfig with --kubeconfig or KUBECONFIG, or what the agents told NATS with --nats-url", strings.Join(missing, ", "))
}

// settings reads Cilium's; if there are none, unknown says so.
func (p *plugin) settings(ctx context.Context) (s *sizing.Settings, unknown string, err error) {
	if p.ciliumConfig != "" {
		s, err = nodeview.ReadSettings(p.ciliumConfig)
		return s, "", err
	}
	data, unknown, err := p.configMap(ctx)
	if err != nil || unknown != "" {
		return nil, unknown, err
	}
	parsed, err := sizing.ParseSettings(data)
	if err != nil {
		return nil, "", fmt.Errorf("reading Cilium's settings from ConfigMap %s/%s: %w", p.ciliumNamespace, configMapName, err)
	}
	return &parsed, "", nil
}

const configMapName = "cilium-config"

// configMap reads the data of Cilium's ConfigMap; if there is none, unknown says so.
func (p *plugin) configMap(ctx context.Context) (data map[string]string, unknown string, err error) {
	c, err := p.cluster()
	if err != nil {
		return nil, "", err
	}
	ctx, cancel := context.WithTimeout(ctx, listTime)
	defer cancel()
	body, err := c.get(ctx, "namespaces/"+url.PathEscape(p.ciliumNamespace)+"/configmaps/"+configMapName, nil)
	if kerrors.IsNotFound(err) {
		return nil, fmt.Sprintf("namespace %s has no ConfigMap %s, so the sizes of the maps are taken as they are (see --cilium-namespace)", p.ciliumNamespace, configMapName), nil
	}
	if err != nil {
		return nil, "", explain(err, "reading Cilium's settings", rule{"configmaps", configMapName, "get", p.ciliumNamespace})
	}
	var configMap struct{ Data map[string]string }
	if err := json.Unmarshal(body, &configMap); err != nil {
		return nil, "", fmt.Errorf("reading Cilium's settings: %w", err)
	}
	return configMap.Data, "", nil
}

// podNames asks who has the addresses; whoever may not ask sees addresses.
func (p *plugin) podNames(ctx context.Context, addresses []string) map[string]string {
	names := map[string]string{}
	c, err := p.cluster()
	if err != nil {
		return names
	}
	ctx, cancel := context.WithTimeout(ctx, listTime)
	defer cancel()
	for _, address := range addresses {
		pods, err := c.pods(ctx, "", url.Values{"fieldSelector": {"status.podIP=" + address}})
		if err != nil {
			fmt.Fprintln(p.errs, explain(err, "naming the pods", rule{resource: "pods", verb: "list"}))
			return names
		}
		if len(pods) == 1 { // pods on the node's network share its address
			names[address] = pods[0].Metadata.Namespace + "/" + pods[0].Metadata.Name
		}
	}
	return names
}
