// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"github.com/rs/zerolog"

	"github.com/renat-project/renat/internal/view/fleet"
	"github.com/renat-project/renat/internal/view/nodeview"
	"github.com/renat-project/renat/internal/sizing"
	"github.com/renat-project/renat/sinks/jetstream"
)

// natsWait is how long NATS may take to answer.
const natsWait = 5 * time.Second

// source opens where answers come from; end closes it.
func (p *plugin) source(ctx context.Context) (src fleet.Source, end func(), err error) {
	if p.nats.URL != "" {
		log := zerolog.New(p.errs).Level(zerolog.WarnLevel)
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
	return &fleet.Agents{
		List:    func(ctx context.Context) ([]fleet.Agent, error) { return p.agents(ctx, c) },
		Timeout: p.timeout, ByNode: true,
	}, func() {}, nil
}

func (p *plugin) cluster() (*cluster, error) {
	config, err := p.kube.ToRESTConfig()
	if err != nil {
		return nil, fmt.Errorf("reading the kubeconfig: %w", err)
	}
	return newCluster(config)
}

// settings reads Cilium's; assumed says why they may not be the cluster's.
func (p *plugin) settings(ctx context.Context) (s sizing.Settings, assumed string, err error) {
	if p.ciliumConfig != "" {
		s, err = nodeview.ReadSettings(p.ciliumConfig)
		return s, "", err
	}
	c, err := p.cluster()
	if err != nil {
		return s, "", err
	}
	ctx, cancel := context.WithTimeout(ctx, listTime)
	defer cancel()
	const name = "cilium-config"
	body, err := c.get(ctx, "namespaces/"+url.PathEscape(p.ciliumNamespace)+"/configmaps/"+name, nil)
	var api *apiError
	if errors.As(err, &api) && api.Code == http.StatusNotFound {
		return s, fmt.Sprintf("namespace %s has no ConfigMap %s: Cilium's defaults are assumed (see --cilium-namespace)", p.ciliumNamespace, name), nil
	}
	if err != nil {
		return s, "", explain(err, "reading Cilium's settings", rule{"configmaps", name, "get", p.ciliumNamespace})
	}
	var configMap struct{ Data map[string]string }
	if err := json.Unmarshal(body, &configMap); err != nil {
		return s, "", fmt.Errorf("reading Cilium's settings: %w", err)
	}
	if s, err = sizing.ParseSettings(configMap.Data); err != nil {
		return s, "", fmt.Errorf("reading Cilium's settings from ConfigMap %s/%s: %w", p.ciliumNamespace, name, err)
	}
	return s, "", nil
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
