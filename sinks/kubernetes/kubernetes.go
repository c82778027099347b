// SPDX-License-Identifier: Apache-2.0

// Package kubernetes makes an Event of each notification, on the pod whose
// connections broke, so that kubectl describe pod shows it. The receiver groups
// by namespace and pod.
//
// A Kubernetes is safe for concurrent use.
package kubernetes

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/renat-project/renat/sinks/notification"
)

// What a pod has that may use the API: where it is, and the files that say who
// it is (Kubernetes' documentation, "Accessing the API from a Pod").
const (
	InCluster = "https://kubernetes.default.svc"
	TokenFile = "/var/run/secrets/kubernetes.io/serviceaccount/token" //nolint:gosec // a file's name
	CAFile    = "/var/run/secrets/kubernetes.io/serviceaccount/ca.crt"
)

const (
	reason = "ConnectionsBroken"
	// Limits of the API server (validation of core/v1 Event), in bytes.
	maxMessage = 1024
	maxName    = 253
)

// Config is what a Kubernetes needs.
type Config struct {
	// URL of the API server.
	URL string
	// Token returns the bearer token.
	Token  func() (string, error)
	Client *http.Client
}

// Kubernetes is a notification.Destination.
type Kubernetes struct{ config Config }

// New returns a destination.
func New(c Config) *Kubernetes { return &Kubernetes{c} }

type object struct {
	APIVersion string `json:"apiVersion,omitempty"`
	Kind       string `json:"kind,omitempty"`
	Namespace  string `json:"namespace,omitempty"`
	Name       string `json:"name"`
	UID        string `json:"uid,omitempty"`
}

// event is a core/v1 Event.
type event struct {
	APIVersion string            `json:"apiVersion"`
	Kind       string            `json:"kind"`
	Metadata   object            `json:"metadata"`
	Involved   object            `json:"involvedObject"`
	Type       string            `json:"type"`
	Reason     string            `json:"reason"`
	Message    string            `json:"message"`
	Count      int               `json:"count"`
	First      time.Time         `json:"firstTimestamp"`
	Last       time.Time         `json:"lastTimestamp"`
	Source     map[string]string `json:"source"`
	Component  string            `json:"reportingComponent"`
}

// status is how the API server refuses.
type status struct {
	Kind, Message string
	Details       struct{ Causes []cause }
}

type cause struct{ Reason string }

// Send makes the Event. There is none for pods that are gone, or are others: of
// that name, without the address whose connections broke.
func (k *Kubernetes) Send(ctx context.Context, n *notification.Notification) error {
	if n.Reason == notification.Test {
		return k.try(ctx, n)
	}
	on := object{APIVersion: "v1", Kind: "Pod", Namespace: n.Group.Labels["namespace"], Name: n.Group.Labels["pod"]}
	if on.Namespace == "" || on.Name == "" || len(n.Incidents) == 0 {
		return nil // nobody knows which pod it was
	}
	var err error
	if on.UID, err = k.pod(ctx, on, n.Incidents[0].Incident.Source.IP.String()); err != nil || on.UID == "" {
		return err
	}
	return k.create(ctx, n, on, "")
}

// try has the API server check what it would do, on a pod that need not exist.
func (k *Kubernetes) try(ctx context.Context, n *notification.Notification) error {
	on := object{APIVersion: "v1", Kind: "Pod", Namespace: "default", Name: "renat-test"}
	if _, err := k.pod(ctx, on, ""); err != nil {
		return err
	}
	return k.create(ctx, n, on, "?dryRun=All")
}

// pod returns the UID of a pod that has the address; "": there is none.
func (k *Kubernetes) pod(ctx context.Context, on object, ip string) (uid string, err error) {
	answer, err := k.do(ctx, http.MethodGet, "pods/"+url.PathEscape(on.Name), on.Namespace, nil)
	var pod struct {
		Kind, Reason string
		Metadata     object
		Status       struct{ PodIPs []struct{ IP string } }
	}
	broken := json.Unmarshal(answer, &pod)
	switch {
	case notification.Code(err) == http.StatusNotFound && pod.Kind == "Status" && pod.Reason == "NotFound":
		return "", nil
	case err != nil:
		return "", err
	case broken != nil:
		return "", notification.Refuse(fmt.Errorf("the API server's answer is no pod: %w", broken))
	}
	if !slices.ContainsFunc(pod.Status.PodIPs, func(has struct{ IP string }) bool { return has.IP == ip }) {
		return "", nil
	}
	return pod.Metadata.UID, nil
}

// create makes the Event of n; that there is one already is as good, and in a
// namespace that ends the pod does, too.
func (k *Kubernetes) create(ctx context.Context, n *notification.Notification, on object, query string) error {
	message := n.Title + ". " + n.Since()
	if n.Verdict.Action != "" {
		message += " Run: " + n.Verdict.Action
	}
	if n.Link != "" {
		message += " " + n.Link
	}
	sum := sha256.Sum256([]byte(n.ID))
	id := "." + hex.EncodeToString(sum[:8])
	body, err := json.Marshal(event{
		APIVersion: "v1", Kind: "Event",
		Metadata: object{Namespace: on.Namespace, Name: strings.TrimRight(notification.Cut(on.Name, maxName-len(id)), ".-…") + id},
		Involved: on, Type: "Warning", Reason: reason, Message: notification.Cut(notification.Line(message), maxMessage),
		Count: max(n.Count, 1), First: n.Group.First.UTC().Truncate(time.Second), Last: n.Group.Last.UTC().Truncate(time.Second),
		Source: map[string]string{"component": "renat", "host": n.Group.Labels["node"]}, Component: "renat",
	})
	if err != nil {
		return notification.Refuse(fmt.Errorf("encoding the Event: %w", err))
	}
	answer, err := k.do(ctx, http.MethodPost, "events"+query, on.Namespace, body)
	var said status
	ends := json.Unmarshal(answer, &said) == nil && slices.Contains(said.Details.Causes, cause{"NamespaceTerminating"})
	if notification.Code(err) == http.StatusConflict || err != nil && ends {
		return nil
	}
	return err
}

func (k *Kubernetes) do(ctx context.Context, method, path, namespace string, body []byte) ([]byte, error) {
	token, err := k.config.Token()
	if err != nil {
		return nil, &notification.Error{Err: err}
	}
	h := http.Header{"Authorization": {"Bearer " + token}, "Accept": {"application/json"}, "Content-Type": {"application/json"}}
	target := strings.TrimSuffix(k.config.URL, "/") + "/api/v1/namespaces/" + url.PathEscape(namespace) + "/" + path
	answer, err := notification.Do(ctx, k.config.Client, method, target, h, body, token)
	return answer, k.explain(err, answer, token)
}

// explain says of a refusal what the API server says in its Status, and whom it
// denies a right, what to do.
func (k *Kubernetes) explain(err error, answer []byte, token string) error {
	var failed *notification.Error
	var said status
	if !errors.As(err, &failed) || json.Unmarshal(answer, &said) != nil || said.Kind != "Status" || said.Message == "" {
		return err
	}
	failed.Err = fmt.Errorf("the API server answered %d %s: %s", failed.Code, http.StatusText(failed.Code), notification.Redact(said.Message, token))
	if failed.Code == http.StatusForbidden && strings.Contains(said.Message, "cannot") { // RBAC's word; admission has others
		failed.Err = fmt.Errorf("%w: it needs the rights to get pods and to create events in all namespaces, which the chart gives with hub.kubernetesEvents", failed.Err)
	}
	return err
}
