// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	_ "k8s.io/client-go/plugin/pkg/client/auth" // users' login plugins
	"k8s.io/client-go/rest"

	"github.com/renat-project/renat/internal/view/fleet"
)

const (
	// podsAtOnce is how many pods one list brings.
	podsAtOnce = 500
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

// get asks the API server. An error of its own is an *apiError; what a pod
// answers through the proxy, a *fleet.StatusError.
func (c *cluster) get(ctx context.Context, path string, query url.Values) ([]byte, error) {
	target := *c.base.JoinPath(path)
	target.RawQuery = query.Encode()
	for {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, target.String(), nil)
		if err != nil {
			return nil, err
		}
		req.Header.Set("Accept", "application/json")
		res, err := c.client.Do(req)
		if err != nil {
			return nil, err
		}
		body, err := io.ReadAll(io.LimitReader(res.Body, maxBody))
		res.Body.Close()
		if err != nil {
			return nil, fmt.Errorf("reading the answer: %w", err)
		}
		if res.StatusCode == http.StatusOK {
			return body, nil
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

// pod is what matters of one.
type pod struct {
	Metadata struct {
		Name, Namespace   string
		DeletionTimestamp *time.Time
	}
	Spec   struct{ NodeName string }
	Status struct{ Phase string }
}

type podList struct {
	Metadata struct{ Continue string }
	Items    []pod
}

// pods lists those of a namespace, "" for all, with query's selectors.
func (c *cluster) pods(ctx context.Context, namespace string, query url.Values) ([]pod, error) {
	path := "pods"
	if namespace != "" {
		path = "namespaces/" + url.PathEscape(namespace) + "/pods"
	}
	query.Set("limit", strconv.Itoa(podsAtOnce))
	var all []pod
	for {
		body, err := c.get(ctx, path, query)
		if err != nil {
			return nil, err
		}
		var page podList
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

// podAgent is an agent behind the API server's proxy.
type podAgent struct {
	cluster *cluster
	pod     *pod
	scheme  string
	port    uint16
}

// Node implements fleet.Agent.
func (a *podAgent) Node() string {
	if a.pod.Spec.NodeName == "" {
		return a.pod.Metadata.Name
	}
	return a.pod.Spec.NodeName
}

// Get implements fleet.Agent.
func (a *podAgent) Get(ctx context.Context, path string, query url.Values) ([]byte, error) {
	if phase := a.pod.Status.Phase; phase != "Running" {
		return nil, fmt.Errorf("its pod %s is %s", a.pod.Metadata.Name, phase)
	}
	body, err := a.cluster.get(ctx, fmt.Sprintf("namespaces/%s/pods/%s:%s:%d/proxy/%s",
		a.pod.Metadata.Namespace, a.scheme, a.pod.Metadata.Name, a.port, strings.TrimPrefix(path, "/")), query)
	return body, explainProxy(err, a)
}

// agents lists the agents' pods.
func (p *plugin) agents(ctx context.Context, c *cluster) ([]fleet.Agent, error) {
	ctx, cancel := context.WithTimeout(ctx, listTime)
	defer cancel()
	pods, err := c.pods(ctx, p.namespace, url.Values{"labelSelector": {p.selector}})
	if err != nil {
		return nil, explain(err, "listing the agents' pods", rule{resource: "pods", verb: "list", namespace: p.namespace})
	}
	scheme := "http"
	if p.tls {
		scheme = "https"
	}
	var all []fleet.Agent
	for i := range pods {
		if pods[i].Metadata.DeletionTimestamp == nil {
			all = append(all, &podAgent{cluster: c, pod: &pods[i], scheme: scheme, port: p.port})
		}
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("%w: namespace %s has no pods with the labels %s\nname others with --agent-namespace and --agent-selector, or what the agents told NATS with --nats-url", fleet.ErrNone, p.namespace, p.selector)
	}
	return all, nil
}
