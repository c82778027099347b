// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	kerrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	_ "k8s.io/client-go/plugin/pkg/client/auth" // users' login plugins
	"k8s.io/client-go/rest"

	"github.com/renat-project/renat/internal/view/fleet"
)

const (
	// itemsAtOnce is how many pods or nodes one list brings.
	itemsAtOnce = 500
	// namesOnly asks for objects without what is in them; an API server older
	// than that gives all.
	namesOnly = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json"
	// maxBody bounds what is read of an answer, in bytes.
	maxBody = 64 << 20
	// maxWait is how long an answer "too many requests" may make us wait.
	maxWait = time.Second
	// listTime is how long the API server may take for what it answers itself.
	listTime = 30 * time.Second
)

// cluster is a connection to the API server. Plain HTTP is all it takes: the
// answers of the agents pass through it as they are.
type cluster struct {
	client *http.Client
	base   *url.URL // of the API: https://server/api/v1
}

func newCluster(c *rest.Config) (*cluster, error) {
	c = rest.CopyConfig(c)
	c.GroupVersion, c.APIPath = &metav1.Unversioned, "/api"
	client, err := rest.HTTPClientFor(c)
	if err != nil {
		return nil, fmt.Errorf("reading the kubeconfig: %w", err)
	}
	base, path, err := rest.DefaultServerUrlFor(c)
	if err != nil {
		return nil, fmt.Errorf("reading the kubeconfig: %w", err)
	}
	return &cluster{client: client, base: base.JoinPath(path)}, nil
}

// get asks the API server. An error of its own is a *kerrors.StatusError; what a
// pod answers through the proxy, a *fleet.StatusError.
func (c *cluster) get(ctx context.Context, path string, query url.Values) ([]byte, error) {
	return c.getAs(ctx, "application/json", path, query)
}

// getAs is get for another form of the answer.
func (c *cluster) getAs(ctx context.Context, accept, path string, query url.Values) ([]byte, error) {
	answer, err := c.stream(ctx, accept, path, query)
	if err != nil {
		return nil, err
	}
	defer answer.Close()
	body, err := io.ReadAll(io.LimitReader(answer, maxBody))
	if err != nil {
		return nil, fmt.Errorf("reading the answer: %w", err)
	}
	return body, nil
}

// stream does the same for an answer that goes on until ctx ends.
func (c *cluster) stream(ctx context.Context, accept, path string, query url.Values) (io.ReadCloser, error) {
	target := *c.base.JoinPath(path)
	target.RawQuery = query.Encode()
	for {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, target.String(), nil)
		if err != nil {
			return nil, err
		}
		req.Header.Set("Accept", accept)
		res, err := c.client.Do(req)
		if err != nil {
			var long *url.Error // it repeats the whole query
			if errors.As(err, &long) {
				err = long.Err
			}
			return nil, fmt.Errorf("reaching the API server at %s://%s: %w", c.base.Scheme, c.base.Host, err)
		}
		if res.StatusCode == http.StatusOK {
			return res.Body, nil
		}
		body, err := io.ReadAll(io.LimitReader(res.Body, maxBody))
		res.Body.Close()
		if err != nil {
			return nil, fmt.Errorf("reading the answer: %w", err)
		}
		if res.StatusCode == http.StatusTooManyRequests && wait(ctx, res.Header.Get("Retry-After")) {
			continue
		}
		return nil, apiErrorOf(res.StatusCode, body)
	}
}

// wait waits as long as the server asks for, within reason.
func wait(ctx context.Context, retryAfter string) bool {
	seconds, err := strconv.Atoi(retryAfter)
	if err != nil {
		return false
	}
	select {
	case <-ctx.Done():
		return false
	case <-time.After(min(time.Duration(seconds)*time.Second, maxWait)):
		return true
	}
}

// pod is what matters of one. The variables of its environment may be secret, and
// are not read.
type pod struct {
	Metadata struct {
		Name              string     `json:"name"`
		Namespace         string     `json:"namespace"`
		DeletionTimestamp *time.Time `json:"deletionTimestamp,omitempty"`
	} `json:"metadata"`
	Spec struct {
		NodeName   string      `json:"nodeName,omitempty"`
		Containers []container `json:"containers,omitempty"`
	} `json:"spec"`
	Status struct {
		Phase             string `json:"phase"`
		ContainerStatuses []struct {
			Name         string          `json:"name"`
			Ready        bool            `json:"ready"`
			RestartCount int             `json:"restartCount"`
			State        json.RawMessage `json:"state,omitempty"`
			LastState    json.RawMessage `json:"lastState,omitempty"`
		} `json:"containerStatuses,omitempty"`
	} `json:"status"`
}

type container struct {
	Name            string          `json:"name"`
	Image           string          `json:"image"`
	Args            []string        `json:"args,omitempty"`
	Resources       json.RawMessage `json:"resources,omitempty"`
	SecurityContext json.RawMessage `json:"securityContext,omitempty"`
}

// container names renat's own among its containers, beside which others may have
// been put: that of the name, else the first.
func (p *pod) container(name string) string {
	for _, c := range p.Spec.Containers {
		if c.Name == name {
			return name
		}
	}
	if len(p.Spec.Containers) == 0 {
		return name
	}
	return p.Spec.Containers[0].Name
}

// restarted says whether the container ran before.
func (p *pod) restarted(name string) bool {
	for _, c := range p.Status.ContainerStatuses {
		if c.Name == name && c.RestartCount > 0 {
			return true
		}
	}
	return false
}

// flag is the value of a flag that its containers are given; "": none.
func (p *pod) flag(name string) string {
	for _, c := range p.Spec.Containers {
		for _, arg := range c.Args {
			if value, ok := strings.CutPrefix(arg, "--"+name+"="); ok {
				return value
			}
		}
	}
	return ""
}

// pods lists those of a namespace, "" for all, with query's selectors.
func (c *cluster) pods(ctx context.Context, namespace string, query url.Values) ([]pod, error) {
	path := "pods"
	if namespace != "" {
		path = "namespaces/" + url.PathEscape(namespace) + "/pods"
	}
	return list[pod](ctx, c, "application/json", path, query)
}

// list lists things, page by page.
func list[T any](ctx context.Context, c *cluster, accept, path string, query url.Values) (all []T, err error) {
	query.Set("limit", strconv.Itoa(itemsAtOnce))
	for {
		body, err := c.getAs(ctx, accept, path, query)
		if err != nil {
			return nil, err
		}
		var page struct {
			Metadata struct{ Continue string }
			Items    []T
		}
		if err := json.Unmarshal(body, &page); err != nil {
			return nil, fmt.Errorf("the API server's answer cannot be read: %w", err)
		}
		all = append(all, page.Items...)
		if page.Metadata.Continue == "" {
			return all, nil
		}
		query.Set("continue", page.Metadata.Continue)
	}
}

// machines lists the names of the nodes that an agent should watch.
func (p *plugin) machines(ctx context.Context, c *cluster) ([]string, error) {
	ctx, cancel := context.WithTimeout(ctx, listTime)
	defer cancel()
	labelled, err := p.nodeLabels(ctx, c)
	if kerrors.IsForbidden(err) {
		return nil, errors.New("nodes without an agent are not shown: you may not list nodes")
	}
	return slices.Sorted(maps.Keys(labelled)), explain(err, "listing the nodes", rule{})
}

// kind is one of renat's two, as the plugin finds it in a cluster.
type kind struct {
	name     string // agent or hub
	selector string // labels of its pods
	port     uint16
	tls      bool
}

// podAgent is an agent, or a hub, behind the API server's proxy.
type podAgent struct {
	cluster *cluster
	pod     *pod
	kind    *kind
}

// Node implements fleet.Agent. Hubs are known by their pods.
func (a *podAgent) Node() string {
	if a.pod.Spec.NodeName == "" || a.kind.name == "hub" {
		return a.pod.Metadata.Name
	}
	return a.pod.Spec.NodeName
}

// Get implements fleet.Agent.
func (a *podAgent) Get(ctx context.Context, path string, query url.Values) ([]byte, error) {
	target, err := a.path(path)
	if err != nil {
		return nil, err
	}
	body, err := a.cluster.get(ctx, target, query)
	return body, explainProxy(err, a)
}

// Stream implements fleet.Agent.
func (a *podAgent) Stream(ctx context.Context, path string, query url.Values) (io.ReadCloser, error) {
	target, err := a.path(path)
	if err != nil {
		return nil, err
	}
	body, err := a.cluster.stream(ctx, "application/json", target, query)
	return body, explainProxy(err, a)
}

// path is the one through the API server's proxy.
func (a *podAgent) path(path string) (string, error) {
	if phase := a.pod.Status.Phase; phase != "Running" {
		return "", fmt.Errorf("its pod %s is %s", a.pod.Metadata.Name, phase)
	}
	scheme := "http"
	if a.kind.tls {
		scheme = "https"
	}
	return fmt.Sprintf("namespaces/%s/pods/%s:%s:%d/proxy/%s",
		a.pod.Metadata.Namespace, scheme, a.pod.Metadata.Name, a.kind.port, strings.TrimPrefix(path, "/")), nil
}

// list lists the pods of a kind.
func (p *plugin) list(ctx context.Context, c *cluster, k *kind) ([]fleet.Agent, error) {
	ctx, cancel := context.WithTimeout(ctx, listTime)
	defer cancel()
	pods, err := c.pods(ctx, p.namespace, url.Values{"labelSelector": {k.selector}})
	if err != nil {
		return nil, explain(err, "listing the "+k.name+"s' pods", rule{resource: "pods", verb: "list", namespace: p.namespace})
	}
	var all []fleet.Agent
	for i := range pods {
		if pods[i].Metadata.DeletionTimestamp == nil {
			all = append(all, &podAgent{cluster: c, pod: &pods[i], kind: k})
		}
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("%w: namespace %s has no pods with the labels %s\nname others with --agent-namespace and --%s-selector, or what the agents told NATS with --nats-url", fleet.ErrNone, p.namespace, k.selector, k.name)
	}
	return all, nil
}
