// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"strings"

	kerrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/renat-project/renat/internal/view/fleet"
)

// apiErrorOf tells an error of the API server, a *kerrors.StatusError, from one
// that came through it.
func apiErrorOf(code int, body []byte) error {
	var s metav1.Status
	if json.Unmarshal(body, &s) == nil && s.Kind == "Status" && s.Message != "" {
		s.Code = int32(code) //nolint:gosec // three digits
		return &kerrors.StatusError{ErrStatus: s}
	}
	return &fleet.StatusError{Code: code, Body: fleet.Said(body)}
}

// rule is a right that is needed.
type rule struct{ resource, name, verb, namespace string }

// userDenied finds whom the API server denied something, if the name can stand
// in a command as it is.
var userDenied = regexp.MustCompile(`User "([\w@:.+/-]+)"`)

// missing is the rule as RBAC has it, and how who may gives it to the user whom
// the API server's message names.
func (r rule) missing(message string) string {
	user := "USER"
	if named := userDenied.FindStringSubmatch(message); named != nil {
		user = named[1]
	}
	names, flag := "", ""
	if r.name != "" {
		names, flag = "\n    resourceNames: ["+r.name+"]", " --resource-name="+r.name
	}
	role, in, create := "role", "a Role in namespace "+r.namespace, "kubectl -n "+r.namespace+" create"
	if r.namespace == "" {
		role, in, create = "clusterrole", "a ClusterRole", "kubectl create"
	}
	name := "renat-" + r.verb + "-" + strings.ReplaceAll(r.resource, "/", "-")
	return fmt.Sprintf(`the missing rule, of %s:
  - apiGroups: [""]
    resources: [%s]%s
    verbs: [%s]
or: %s %s %s --verb=%s --resource=%s%s
    %s %sbinding %s --%s=%s --user=%s`,
		in, r.resource, names, r.verb, create, role, name, r.verb, r.resource, flag, create, role, name, role, name, user)
}

// explain adds to an error of the API server what the user can do. Who is
// denied that right, and no other as that to act as somebody else, learns the
// rule that is missing.
func explain(err error, doing string, needed rule) error {
	var api *kerrors.StatusError
	switch {
	case err == nil:
		return nil
	case !errors.As(err, &api):
		return fmt.Errorf("%s: %w", doing, err)
	case kerrors.IsUnauthorized(err):
		return fmt.Errorf("%s: the API server does not know you (%w): log in again, or choose another --context", doing, err)
	case kerrors.IsForbidden(err) && strings.Contains(api.ErrStatus.Message, "cannot "+needed.verb+" "):
		return fmt.Errorf("%s: %w\n%s", doing, err, needed.missing(api.ErrStatus.Message))
	}
	return fmt.Errorf("%s: %w", doing, err)
}

// explainProxy does that for the way to an agent.
func explainProxy(err error, a *podAgent) error {
	var api *kerrors.StatusError
	var said *fleet.StatusError
	switch {
	case !errors.As(err, &said):
	case said.Code == http.StatusForbidden:
		return fmt.Errorf("it answers to its own machine only: start the %ss with --http-user-header X-Forwarded-For and --http-trusted-proxies with the API server's addresses, to let in whom that lets through", a.kind.name)
	case said.Code == http.StatusUnauthorized:
		return fmt.Errorf("%w: the API server passes no token on; start the %ss with --http-user-header X-Forwarded-For and --http-trusted-proxies with the API server's addresses", err, a.kind.name)
	case said.Code == http.StatusBadRequest && strings.Contains(said.Body, "HTTPS server"):
		return fmt.Errorf("%w: use --%s-tls", err, a.kind.name)
	}
	if !errors.As(err, &api) {
		return err
	}
	switch {
	case kerrors.IsForbidden(err) || kerrors.IsUnauthorized(err):
		return &fleet.Refusal{Err: explain(err, "reaching the "+a.kind.name+"s through the API server",
			rule{resource: "pods/proxy", verb: "get", namespace: a.pod.Metadata.Namespace})}
	case api.ErrStatus.Code >= http.StatusInternalServerError && strings.Contains(api.ErrStatus.Message, "connection refused"):
		return fmt.Errorf("%w: nothing listens there, %ss do on their own loopback unless they get --listen :%d", err, a.kind.name, a.kind.port)
	case strings.Contains(api.ErrStatus.Message, "does not look like a TLS handshake"):
		return fmt.Errorf("%w: leave out --%s-tls", err, a.kind.name)
	}
	return err
}
