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

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

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

// nodeConfigs says which CiliumNodeConfigs set something that the sizes of the
// maps depend on: for the nodes they select they go before the ConfigMap.
func (p *plugin) nodeConfigs(ctx context.Context) (notes []string, err error) {
	if p.ciliumConfig != "" {
		return nil, nil
	}
	c, err := p.cluster()
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, listTime)
	defer cancel()
	var all []nodeConfig
	for _, version := range []string{"v2", "v2alpha1"} { // agents look in the second if the first has none
		if all, err = c.nodeConfigs(ctx, version, p.ciliumNamespace); err != nil || len(all) > 0 {
			break
		}
	}
	var api *apiError
	if errors.As(err, &api) && api.Code == http.StatusForbidden {
		return []string{"you may not list the CiliumNodeConfigs in namespace " + p.ciliumNamespace + ", which go before the ConfigMap"}, nil
	}
	if err != nil {
		return nil, fmt.Errorf("listing the CiliumNodeConfigs: %w", err)
	}
	slices.SortFunc(all, func(a, b nodeConfig) int { return strings.Compare(a.Metadata.Name, b.Metadata.Name) })
	for _, n := range all {
		set := sizing.Known(n.Spec.Defaults)
		if len(set) == 0 || n.Spec.NodeSelector == nil { // which selects none
			continue
		}
		notes = append(notes, fmt.Sprintf("CiliumNodeConfig %s/%s sets %s on %s and goes before the ConfigMap there: set the same in it",
			p.ciliumNamespace, n.Metadata.Name, strings.Join(set, ", "), selected(n.Spec.NodeSelector)))
	}
	return notes, nil
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
	var api *apiError
	var said *fleet.StatusError
	switch {
	case errors.As(err, &api) && api.Code == http.StatusNotFound, errors.As(err, &said) && said.Code == http.StatusNotFound:
		return nil, nil
	case err != nil:
		return nil, err
	}
	var list struct{ Items []nodeConfig }
	return list.Items, json.Unmarshal(body, &list)
}
