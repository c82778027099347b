// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/renat-project/renat/internal/view/fleet"
)

// apiError is an error of the API server itself.
type apiError struct{ metav1.Status }

// Error returns what the server says.
func (e *apiError) Error() string { return e.Message }

// apiErrorOf tells an error of the API server from one that came through it.
func apiErrorOf(code int, body []byte) error {
	e := &apiError{}
	if json.Unmarshal(body, &e.Status) == nil && e.Kind == "Status" && e.Message != "" {
		e.Code = int32(code) //nolint:gosec // three digits
		return e
	}
	return &fleet.StatusError{Code: code, Body: fleet.Said(body)}
}

// rule is a right that is needed.
type rule struct{ resource, name, verb, namespace string }

// String is the rule as RBAC has it, and how to get it.
func (r rule) String() string {
	names, flag := "", ""
	if r.name != "" {
		names, flag = "\n    resourceNames: ["+r.name+"]", " --resource-name="+r.name
	}
	role, in := "role", "a Role in namespace "+r.namespace
	if r.namespace == "" {
		role, in = "clusterrole", "a ClusterRole"
	} else {
		role = "-n " + r.namespace + " create " + role
	}
	if r.namespace == "" {
		role = "create " + role
	}
	return fmt.Sprintf(`the missing rule, of %s:
  - apiGroups: [""]
    resources: [%s]%s
    verbs: [%s]
or: kubectl %s renat-%s --verb=%s --resource=%s%s`,
		in, r.resource, names, r.verb, role, strings.ReplaceAll(r.resource, "/", "-"), r.verb, r.resource, flag)
}

// explain adds to an error of the API server what the user can do. Who is
// denied learns the rule that is missing.
func explain(err error, doing string, needed rule) error {
	var api *apiError
	switch {
	case err == nil:
		return nil
	case !errors.As(err, &api):
		return fmt.Errorf("%s: %w", doing, err)
	case api.Code == http.StatusUnauthorized:
		return fmt.Errorf("%s: the API server does not know you (%w): log in again, or choose another --context", doing, err)
	case api.Code == http.StatusForbidden:
		return fmt.Errorf("%s: %w\n%s", doing, err, needed)
	}
	return fmt.Errorf("%s: %w", doing, err)
}

// explainProxy does that for the way to an agent.
func explainProxy(err error, a *podAgent) error {
	var api *apiError
	var said *fleet.StatusError
	if errors.As(err, &said) && said.Code == http.StatusForbidden {
		return errors.New("it answers to its own machine only: start the agents with --http-user-header X-Forwarded-For and --http-trusted-proxies with the API server's addresses, to let in whom that lets through")
	}
	if !errors.As(err, &api) {
		return err
	}
	switch {
	case api.Code == http.StatusForbidden || api.Code == http.StatusUnauthorized:
		return &fleet.Refusal{Err: explain(err, "reaching the agents through the API server",
			rule{resource: "pods/proxy", verb: "get", namespace: a.pod.Metadata.Namespace})}
	case api.Code >= http.StatusInternalServerError && strings.Contains(api.Message, "connection refused"):
		return fmt.Errorf("%w: nothing listens there, agents do on their node's loopback unless they get --listen :%d", err, a.port)
	}
	return err
}
