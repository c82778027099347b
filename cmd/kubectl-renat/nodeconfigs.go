// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"

	kerrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/renat-project/renat/internal/sizing"
	"github.com/renat-project/renat/internal/view/fleet"
)

// nodeConfig is a CiliumNodeConfig.
type nodeConfig struct {
	Metadata struct{ Name string }
	Spec     struct {
		Defaults     map[string]string
		NodeSelector *metav1.LabelSelector
	}
}

// nodeConfigs are the CiliumNodeConfigs that set something which the sizes of the
// maps depend on, and on which nodes; notes say what is not known of that.
func (p *plugin) nodeConfigs(ctx context.Context) (configs []sizing.NodeConfig, notes []string, err error) {
	if p.ciliumConfig != "" {
		return nil, nil, nil
	}
	c, err := p.cluster()
	if err != nil {
		return nil, nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, listTime)
	defer cancel()
	var all []nodeConfig
	for _, version := range []string{"v2", "v2alpha1"} { // agents look in the second if the first has none
		if all, err = c.nodeConfigs(ctx, version, p.ciliumNamespace); err != nil || len(all) > 0 {
			break
		}
	}
	if kerrors.IsForbidden(err) {
		return nil, []string{"you may not list the CiliumNodeConfigs in namespace " + p.ciliumNamespace + ", which go before the ConfigMap"}, nil
	}
	if err != nil {
		return nil, nil, fmt.Errorf("listing the CiliumNodeConfigs: %w", err)
	}
	slices.SortFunc(all, func(a, b nodeConfig) int { return strings.Compare(a.Metadata.Name, b.Metadata.Name) })
	all = slices.DeleteFunc(all, func(n nodeConfig) bool {
		return len(sizing.Known(n.Spec.Defaults)) == 0 || n.Spec.NodeSelector == nil // which selects none
	})
	if len(all) == 0 {
		return nil, nil, nil
	}
	labelled, err := p.nodeLabels(ctx, c)
	for _, n := range all {
		set := strings.Join(sizing.Known(n.Spec.Defaults), ", ")
		if err != nil { // whom it selects is not known
			notes = append(notes, fmt.Sprintf("CiliumNodeConfig %s/%s sets %s on %s and goes before the ConfigMap there: set the same in it (you may not list nodes, so which these are is not known)",
				p.ciliumNamespace, n.Metadata.Name, set, selected(n.Spec.NodeSelector)))
			continue
		}
		selector, err := metav1.LabelSelectorAsSelector(n.Spec.NodeSelector)
		if err != nil {
			return nil, nil, fmt.Errorf("reading CiliumNodeConfig %s/%s: %w", p.ciliumNamespace, n.Metadata.Name, err)
		}
		notes = append(notes, fmt.Sprintf("CiliumNodeConfig %s/%s sets %s on %s, and goes before the ConfigMap there",
			p.ciliumNamespace, n.Metadata.Name, set, selected(n.Spec.NodeSelector)))
		configs = append(configs, sizing.NodeConfig{
			Name: p.ciliumNamespace + "/" + n.Metadata.Name, Data: n.Spec.Defaults,
			Selects: func(node string) bool {
				of, known := labelled[node]
				return known && selector.Matches(of)
			},
		})
	}
	if kerrors.IsForbidden(err) {
		err = nil
	}
	return configs, notes, explain(err, "listing the nodes", rule{})
}

// nodeLabels are those of the nodes that an agent should watch, by name.
func (p *plugin) nodeLabels(ctx context.Context, c *cluster) (map[string]labels.Set, error) {
	nodes, err := list[struct {
		Metadata struct {
			Name   string
			Labels labels.Set
		}
	}](ctx, c, namesOnly, "nodes", url.Values{"labelSelector": {p.nodeSelector}})
	all := map[string]labels.Set{}
	for _, n := range nodes {
		all[n.Metadata.Name] = n.Metadata.Labels
	}
	return all, err
}

// selected are the nodes of a selector, in words.
func selected(s *metav1.LabelSelector) string {
	if text := metav1.FormatLabelSelector(s); text != "<none>" {
		return "the nodes with " + text
	}
	return "all nodes"
}

// nodeConfigs are those of an API version; none where there is no such kind.
func (c *cluster) nodeConfigs(ctx context.Context, version, namespace string) ([]nodeConfig, error) {
	body, err := c.get(ctx, "../../apis/cilium.io/"+version+"/namespaces/"+url.PathEscape(namespace)+"/ciliumnodeconfigs", nil)
	var said *fleet.StatusError
	switch {
	case kerrors.IsNotFound(err), errors.As(err, &said) && said.Code == http.StatusNotFound:
		return nil, nil
	case err != nil:
		return nil, err
	}
	var list struct{ Items []nodeConfig }
	return list.Items, json.Unmarshal(body, &list)
}
