// SPDX-License-Identifier: Apache-2.0

// Command schemagen writes the JSON Schemas of the kinds that the Helm chart
// makes, for kubeconform, so that the tests need no network. It takes them from
// the sources of Kubernetes and of the operators, as the Go module proxy has
// them. schemas/README.md says what is from where.
package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
)

// kubernetes are the oldest release that the chart supports, and the newest.
var kubernetes = []string{"v1.27.16", "v1.37.2"}

// kinds are those of Kubernetes' own, and where their definitions are.
var kinds = map[string]string{
	"clusterrole-rbac-v1":           "io.k8s.api.rbac.v1.ClusterRole",
	"clusterrolebinding-rbac-v1":    "io.k8s.api.rbac.v1.ClusterRoleBinding",
	"configmap-v1":                  "io.k8s.api.core.v1.ConfigMap",
	"daemonset-apps-v1":             "io.k8s.api.apps.v1.DaemonSet",
	"deployment-apps-v1":            "io.k8s.api.apps.v1.Deployment",
	"ingress-networking-v1":         "io.k8s.api.networking.v1.Ingress",
	"job-batch-v1":                  "io.k8s.api.batch.v1.Job",
	"networkpolicy-networking-v1":   "io.k8s.api.networking.v1.NetworkPolicy",
	"poddisruptionbudget-policy-v1": "io.k8s.api.policy.v1.PodDisruptionBudget",
	"role-rbac-v1":                  "io.k8s.api.rbac.v1.Role",
	"rolebinding-rbac-v1":           "io.k8s.api.rbac.v1.RoleBinding",
	"service-v1":                    "io.k8s.api.core.v1.Service",
	"serviceaccount-v1":             "io.k8s.api.core.v1.ServiceAccount",
}

// crds are files with the definitions of other kinds.
var crds = []struct{ name, module, file, version string }{
	{"certificate-cert-manager-v1", "github.com/cert-manager/cert-manager@v1.21.2", "deploy/crds/cert-manager.io_certificates.yaml", "v1"},
	{"ciliumnetworkpolicy-cilium-v2", "github.com/cilium/cilium@v1.20.2", "pkg/k8s/apis/cilium.io/client/crds/v2/ciliumnetworkpolicies.yaml", "v2"},
	{"httproute-gateway-v1", "sigs.k8s.io/gateway-api@v1.4.0", "config/crd/standard/gateway.networking.k8s.io_httproutes.yaml", "v1"},
	{"podmonitor-monitoring-v1", "github.com/prometheus-operator/prometheus-operator@v0.85.0", "example/prometheus-operator-crd/monitoring.coreos.com_podmonitors.yaml", "v1"},
	{"prometheusrule-monitoring-v1", "github.com/prometheus-operator/prometheus-operator@v0.85.0", "example/prometheus-operator-crd/monitoring.coreos.com_prometheusrules.yaml", "v1"},
	{"servicemonitor-monitoring-v1", "github.com/prometheus-operator/prometheus-operator@v0.85.0", "example/prometheus-operator-crd/monitoring.coreos.com_servicemonitors.yaml", "v1"},
}

func main() {
	log.SetFlags(0)
	if err := generate("schemas"); err != nil {
		log.Fatal("schemagen: ", err)
	}
}

func generate(out string) error {
	for _, version := range kubernetes {
		dir, err := module("k8s.io/kubernetes@" + version)
		if err != nil {
			return err
		}
		definitions, err := readKubernetes(dir, slices.Collect(maps.Values(kinds)))
		if err != nil {
			return fmt.Errorf("reading Kubernetes %s: %w", version, err)
		}
		if err := write(filepath.Join(out, version, "definitions.json"), schema{"definitions": definitions}); err != nil {
			return err
		}
		for name, definition := range kinds {
			if err := write(filepath.Join(out, version, name+".json"), schema{"$ref": "definitions.json#/definitions/" + definition}); err != nil {
				return err
			}
		}
	}
	for _, c := range crds {
		dir, err := module(c.module)
		if err != nil {
			return err
		}
		s, err := readCRD(filepath.Join(dir, c.file), c.version)
		if err != nil {
			return fmt.Errorf("reading %s: %w", c.file, err)
		}
		if err := write(filepath.Join(out, "crds", c.name+".json"), s); err != nil {
			return err
		}
	}
	return nil
}

// module returns the folder with the source of a module.
func module(at string) (string, error) {
	cmd := exec.Command("go", "mod", "download", "-json", at)
	cmd.Dir = os.TempDir() // not our own module
	b, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("downloading %s: %w: %s", at, err, b)
	}
	var info struct{ Dir string }
	if err := json.Unmarshal(b, &info); err != nil {
		return "", fmt.Errorf("downloading %s: %w", at, err)
	}
	return info.Dir, nil
}

// write writes a schema, each definition on a line of its own.
func write(path string, s schema) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	b, err := json.Marshal(s)
	if err != nil {
		return err
	}
	b = bytes.ReplaceAll(b, []byte(`},"io.k8s.`), []byte("},\n\"io.k8s."))
	return os.WriteFile(path, append(b, '\n'), 0o644)
}
