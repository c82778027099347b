// SPDX-License-Identifier: Apache-2.0

package chart

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"
)

// contradictions are values that cannot be, and what is said of them. Each
// sentence says what to set.
var contradictions = map[string]string{
	"": "say where you pushed renat's image: --set image.registry=",
	image + `{nats: {enabled: true}, natsClient: {url: "nats://a"}}`:                                                                                                                   "nats.enabled installs a NATS server, and natsClient.url names another: set one of them",
	image + `{nats: {enabled: true, config: {jetstream: {enabled: false}}}}`:                                                                                                           "set nats.config.jetstream.enabled=true",
	image + `{natsClient: {url: "nats://user:password@nats.example"}}`:                                                                                                                 "natsClient.url has a password or token in it: put credentials into a Secret",
	image + `{natsClient: {credentials: {secretName: a}}}`:                                                                                                                             "have no effect without a NATS: set natsClient.url or nats.enabled=true",
	image + `{natsClient: {url: "nats://a", password: {user: a, secretName: b, key: c}, credentials: {secretName: d}}}`:                                                                "set natsClient.password or natsClient.credentials",
	image + `{natsClient: {url: "nats://a"}, hub: {config: {receivers: [{name: pods, kubernetes_events: {}}]}}}`:                                                                       "receiver pods of hub.config makes Events, for which the hub has no rights: set hub.kubernetesEvents=true",
	image + `{natsClient: {url: "nats://a"}, hub: {httpRoute: {enabled: true}}}`:                                                                                                       "set hub.httpRoute.parentRefs",
	image + `{natsClient: {url: "nats://a"}, hub: {httpRoute: {enabled: true, parentRefs: [{name: a}]}}}`:                                                                              "hub.httpRoute would show people a page that answers nobody: set hub.http.userHeader and hub.http.trustedProxies",
	image + `{natsClient: {url: "nats://a"}, hub: {httpRoute: {enabled: true, parentRefs: [{name: a}]}, http: {tokenSecret: {name: a, key: b}, tls: {enabled: true, secretName: c}}}}`: "leave out hub.http.tls and hub.http.tokenSecret, and set hub.http.userHeader and hub.http.trustedProxies",
	image + `{natsClient: {url: "nats://a"}, hub: {ingress: {enabled: true}}}`:                                                                                                         "the page needs a name: set hub.ingress.host",
	image + `{natsClient: {url: "nats://a"}, hub: {ingress: {enabled: true, host: a.example}}}`:                                                                                        "hub.ingress would show people a page that answers nobody: set hub.http.userHeader and hub.http.trustedProxies, or hub.http.tokenSecret",
	image + `{agent: {observer: {listen: ":4245"}}}`:                                                                                                                                   "set agent.observer.tls.enabled=true",
	image + `{agent: {observer: {tls: {enabled: true, secretName: a}}}}`:                                                                                                               "set agent.observer.listen=:4245",
	image + `{hub: {enabled: true}}`: "the hub reads incidents from NATS: set natsClient.url or nats.enabled=true",
	image + `{natsClient: {url: "nats://a"}, hub: {existingConfigMap: a, config: {receivers: [{name: a}]}}}`: "hub.config makes a ConfigMap, and hub.existingConfigMap names another",
	image + `{hub: {config: {receivers: [{name: a}]}}}`:                                                      "the hub is configured but does not run: set natsClient.url",
	image + `{agent: {enabled: false}}`:                                                                      "nothing is left to install: set agent.enabled=true",
	image + `{hubble: {tls: {enabled: true, secretName: a}}}`:                                                "there is no TLS on Hubble's socket: set hubble.server=tls://",
	image + `{hubble: {server: "unix:///run/hubble.sock"}}`:                                                  "say with cilium.runPath in which folder",
	image + `{hubble: {server: "tls://relay:443"}}`:                                                          "hubble.server begins with tls://: set hubble.tls.enabled=true",
	image + `{hub: {http: {userHeader: X-User}}}`:                                                            "set hub.http.trustedProxies",
	image + `{hub: {http: {trustedProxies: [10.0.0.1]}}}`:                                                    "set hub.http.userHeader=",
	image + `{agent: {http: {tokenSecret: {name: a, key: b}}}}`:                                              "a token is not taken over an open connection: set agent.http.tls.enabled=true",
	image + `{agent: {http: {tls: {enabled: true}}}}`:                                                        "agent.http.tls needs a certificate: set agent.http.tls.secretName, or agent.http.tls.issuerRef.name",
	image + `{hub: {http: {tls: {enabled: true, secretName: a, issuerRef: {name: b}}}}}`:                     "hub.http.tls.secretName is a certificate you have, and hub.http.tls.issuerRef makes one",
	image + `{agent: {http: {tls: {secretName: a}}}}`:                                                        "the certificate of agent.http.tls has no effect: set agent.http.tls.enabled=true",
}

func TestContradictions(t *testing.T) {
	for values, want := range contradictions {
		values = strings.Replace(values, image+"{", "{"+strings.TrimSpace(image)+", ", 1)
		if _, err := render(standard, values); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s\ngot  %v\nwant %s", values, err, want)
		}
	}
	b, err := os.ReadFile(filepath.Join(chartDir, "templates", "_validate.tpl"))
	if err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(string(b), "{{- fail "); n != len(contradictions) {
		t.Errorf("%d of %d sentences were tried", len(contradictions), n)
	}
}

// wrongValues are refused by the schema, which names where they are.
var wrongValues = map[string]string{
	"images: {}":                                           "images",
	"image: {registry: 1}":                                 "/image/registry",
	"image: {repository: ghcr.io/a/renat}":                 "/image/repository",
	"agent: {observer: {listen: 'https://a'}}":             "/agent/observer/listen",
	"agent: {appArmorProfile: {localhostProfile: a}}":      "/agent/appArmorProfile",
	"agent: {extraVolumeMounts: [{name: a}]}":              "/agent/extraVolumeMounts/0",
	"natsClient: {password: {user: a}}":                    "/natsClient/password",
	"hub: {ingress: {hosts: [a]}}":                         "hosts",
	"image: {pullPolicy: Sometimes}":                       "/image/pullPolicy",
	"image: {digest: sha256:abc}":                          "/image/digest",
	"image: {tag: 'a b'}":                                  "/image/tag",
	"agent: {resource: {}}":                                "resource",
	"agent: {resources: {limit: {}}}":                      "limit",
	"agent: {resources: {limits: {memory: 1 GB}}}":         "/agent/resources/limits/memory",
	"agent: {backend: ebpf}":                               "/agent/backend",
	"agent: {maxConnections: 0}":                           "/agent/maxConnections",
	"agent: {outboxMaxBytes: 64Mi}":                        "/agent/outboxMaxBytes",
	"agent: {guard: {share: 0.9}}":                         "/agent/guard/share",
	"agent: {guard: {match: [shop]}}":                      "/agent/guard/match/0",
	"agent: {tolerations: [{op: Exists}]}":                 "/agent/tolerations/0",
	"agent: {extraCapabilities: [ALL]}":                    "/agent/extraCapabilities/0",
	"agent: {stateDir: renat}":                             "/agent/stateDir",
	"agent: {http: {trustedProxies: [apiserver]}}":         "/agent/http/trustedProxies/0",
	"agent: {http: {tokenSecret: {name: a}}}":              "/agent/http/tokenSecret",
	"agent: {extraArgs: --settle=5s}":                      "/agent/extraArgs",
	"agent: {podLabels: {a: 1}}":                           "/agent/podLabels/a",
	"hub: {replicas: 0}":                                   "/hub/replicas",
	"hub: {enabled: maybe}":                                "/hub/enabled",
	"hub: {secretMounts: {../x: a}}":                       "../x",
	"hub: {config: {receiver: []}}":                        "receiver",
	"hub: {config: {receivers: []}}":                       "/hub/config/receivers",
	"hub: {config: {receivers: [{slack: {}}]}}":            "/hub/config/receivers/0",
	"hubble: {excludeCIDRs: [10.0.0.1]}":                   "/hubble/excludeCIDRs/0",
	"natsClient: {url: nats.example}":                      "/natsClient/url",
	"natsClient: {replicas: 6}":                            "/natsClient/replicas",
	"natsClient: {tls: {issuerRef: {kind: Issuer}}}":       "/natsClient/tls/issuerRef",
	"nats: {enabled: 'true'}":                              "/nats/enabled",
	"rbac: {viewer: {subjects: [{kind: Robot, name: a}]}}": "/rbac/viewer/subjects/0/kind",
	"networkPolicy: {flavor: calico}":                      "/networkPolicy/flavor",
	"networkPolicy: {hubEgressPorts: [https]}":             "/networkPolicy/hubEgressPorts/0",
	"monitoring: {podMonitor: {interval: 30}}":             "/monitoring/podMonitor/interval",
	"monitoring: {serviceMonitor: {interval: soon}}":       "/monitoring/serviceMonitor/interval",
	"logLevel: verbose":                                    "/logLevel",
	"clusterName: ''":                                      "/clusterName",
}

func TestWrongValues(t *testing.T) {
	for values, want := range wrongValues {
		if _, err := render(standard, values); err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "schema") {
			t.Errorf("%s\ngot  %v\nwant %s", values, err, want)
		}
	}
}

// TestSchemaIsComplete compares the keys of values.yaml with the properties of
// its schema, and those of a receiver with what the hub takes.
func TestSchemaIsComplete(t *testing.T) {
	b, err := os.ReadFile(filepath.Join(chartDir, "values.schema.json"))
	if err != nil {
		t.Fatal(err)
	}
	var schema map[string]any
	if err := json.Unmarshal(b, &schema); err != nil {
		t.Fatal(err)
	}
	if b, err = os.ReadFile(filepath.Join(chartDir, "values.yaml")); err != nil {
		t.Fatal(err)
	}
	var values map[string]any
	if err := yaml.UnmarshalStrict(b, &values); err != nil {
		t.Fatal(err)
	}
	definitions := schema["definitions"].(map[string]any)
	var compare func(values any, s map[string]any, path string)
	compare = func(values any, s map[string]any, path string) {
		if ref, ok := s["$ref"].(string); ok {
			s = definitions[strings.TrimPrefix(ref, "#/definitions/")].(map[string]any)
		}
		properties, _ := s["properties"].(map[string]any)
		given, _ := values.(map[string]any)
		if len(properties) == 0 || len(given) == 0 || path == ".nats" || strings.HasSuffix(path, "esources") || path == ".agent.updateStrategy" || path == ".agent.seccompProfile" {
			return
		}
		if s["additionalProperties"] != false {
			t.Errorf("%s takes anything", path)
		}
		for key, property := range properties {
			if _, ok := given[key]; !ok && path+key != "global" {
				t.Errorf("values.yaml has no %s.%s", path, key)
			}
			compare(given[key], property.(map[string]any), path+"."+key)
		}
		for key := range given {
			if properties[key] == nil {
				t.Errorf("the schema has no %s.%s", path, key)
			}
		}
	}
	compare(values, schema, "")

	source, err := os.ReadFile("../../../internal/hub/config/file.go")
	if err != nil {
		t.Fatal(err)
	}
	var taken, known []string
	for _, m := range regexp.MustCompile("yaml:\"([a-z_]+)\"").FindAllStringSubmatch(string(source), -1) {
		taken = append(taken, m[1])
	}
	var collect func(v any)
	collect = func(v any) {
		m, _ := v.(map[string]any)
		properties, _ := m["properties"].(map[string]any)
		for key, p := range properties {
			known = append(known, key)
			collect(p)
		}
	}
	collect(definitions["receiver"])
	collect(definitions["secretFrom"])
	known = append(known, "receivers")
	if a, b := fmt.Sprint(slices.Sorted(slices.Values(known))), fmt.Sprint(slices.Sorted(slices.Values(taken))); a != b {
		t.Errorf("the schema's keys of a receiver are\n%s, but the hub takes\n%s", a, b)
	}
}
