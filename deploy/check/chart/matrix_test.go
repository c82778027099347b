// SPDX-License-Identifier: Apache-2.0

package chart

import (
	"strings"
	"testing"

	"helm.sh/helm/v4/pkg/chart/v2/lint"
	"helm.sh/helm/v4/pkg/chart/v2/lint/support"
	"sigs.k8s.io/yaml"
)

// image is in all values: the chart asks for it.
const image = "image: {registry: registry.example.com/team, tag: v1.0.0}\n"

// matrix are values that are right, and what each stands for.
var matrix = map[string]string{
	"agents alone": image,
	"reachable agents": image + `
agent: {http: {trustedProxies: [10.0.0.0/28, 2001:db8::1]}}
rbac: {viewer: {podNames: true, nodes: true, subjects: [{kind: Group, name: sre, apiGroup: rbac.authorization.k8s.io}]}}`,
	"own NATS": image + `
natsClient: {url: "nats://nats-a.example:4222,nats://nats-b.example", replicas: 3}`,
	"own NATS with credentials": image + `
natsClient:
  url: tls://nats.example:4333
  credentials: {secretName: renat-nats-creds, key: renat.creds}
  tls: {enabled: true, secretName: renat-nats-tls}
hub: {natsCredentials: {secretName: renat-hub-creds}}`,
	"own NATS with passwords": image + `
natsClient: {url: "tls://nats.example:4222", password: {user: agent, secretName: renat-nats, key: agent}}
hub: {natsPassword: {user: hub, secretName: renat-nats, key: hub}}`,
	"own NATS with its certificate only": image + `
natsClient: {url: "tls://nats.example:4222", tls: {enabled: true, secretName: nats-ca, clientCertificate: false}}`,
	"NATS beside it": image + "nats: {enabled: true}",
	"one NATS server beside it": image + `
nats: {enabled: true, fullnameOverride: events, config: {nats: {port: 4333}, cluster: {enabled: false}}}`,
	"hub alone": image + `
agent: {enabled: false}
natsClient: {url: "nats://nats.example:4222"}
hub: {replicas: 3, existingConfigMap: my-hub}`,
	"agents without hub": image + `
natsClient: {url: "nats://nats.example:4222"}
hub: {enabled: false}`,
	"receivers": image + receivers,
	"Events on pods": image + `
natsClient: {url: "nats://nats.example:4222"}
hub: {kubernetesEvents: true, config: {receivers: [{name: pods, match: ["cluster=default"], kubernetes_events: {}}]}}`,
	"Hubble over TLS": image + `
hubble:
  server: tls://$(HOST_IP):4244
  excludeCIDRs: [10.0.0.0/8, "fd00::/8"]
  tls: {enabled: true, secretName: hubble-client, serverName: $(NODE_NAME).default.hubble-grpc.cilium.io}`,
	"Observer to relay": image + `
clusterName: production
agent: {http: {trustedProxies: [10.0.0.0/28]}, observer: {listen: ":4245", tls: {enabled: true, secretName: observer-tls}}}
networkPolicy: {enabled: true, observerFrom: [{matchLabels: {app.kubernetes.io/name: hubble-relay}}]}`,
	"Observer to relay, Kubernetes' policies": image + `
agent: {observer: {listen: ":4245", tls: {enabled: true, issuerRef: {name: cilium-ca}}}}
networkPolicy: {enabled: true, flavor: kubernetes, observerFrom: [{podSelector: {matchLabels: {app.kubernetes.io/name: hubble-relay}}}]}`,
	"Observer on the node": image + `
agent: {observer: {listen: "unix:///var/lib/renat/hubble.sock"}}`,
	"page behind an ingress": image + `
natsClient: {url: "nats://nats.example:4222"}
hub:
  http: {userHeader: X-Auth-Request-Email, trustedProxies: [10.0.3.0/24]}
  ingress: {enabled: true, className: nginx, host: renat.example, annotations: {a: b}, tlsSecret: renat-page}`,
	"page behind a Gateway": image + `
natsClient: {url: "nats://nats.example:4222"}
revisionHistoryLimit: 3
agent: {serviceAccountAnnotations: {a: b}}
hub:
  externalURL: https://renat.example/
  http: {userHeader: X-Auth-Request-Email, trustedProxies: [10.0.3.0/24]}
  httpRoute: {enabled: true, parentRefs: [{name: public, namespace: gateways, sectionName: https}], hostnames: [renat.example], annotations: {a: b}}
  serviceAccountAnnotations: {a: b}
  topologySpreadConstraints: [{maxSkew: 1, topologyKey: topology.kubernetes.io/zone, whenUnsatisfiable: ScheduleAnyway, labelSelector: {matchLabels: {app.kubernetes.io/component: hub}}}]` + monitoring,
	"TLS and tokens": image + tokens,
	"cert-manager": image + `
hubble:
  server: tls://$(HOST_IP):4244
  tls: {enabled: true, issuerRef: {name: cilium-ca, kind: ClusterIssuer, group: cert-manager.io}}
natsClient: {url: "tls://nats.example:4222", tls: {enabled: true, issuerRef: {name: nats-ca}}}
agent: {http: {tls: {enabled: true, issuerRef: {name: internal}}}}
hub: {http: {tls: {enabled: true, issuerRef: {name: internal}}}}` + monitoring,
	"page behind a proxy": image + `
natsClient: {url: "nats://nats.example:4222"}
hub: {http: {userHeader: X-Forwarded-User, trustedProxies: [10.0.3.0/24]}}
networkPolicy: {enabled: true, pageFrom: [{matchLabels: {app: oauth2-proxy}}]}`,
	"Cilium's policies": image + "networkPolicy: {enabled: true}",
	"Cilium's policies with all": image + `
nats: {enabled: true}
hubble: {server: tls://$(HOST_IP):4244, tls: {enabled: true, secretName: hubble-client}}
agent: {http: {trustedProxies: [10.0.0.0/28]}}
networkPolicy: {enabled: true, metricsFrom: [{matchLabels: {"k8s:io.kubernetes.pod.namespace": monitoring}}], hubEgressPorts: [443]}`,
	"Kubernetes' policies": image + "networkPolicy: {enabled: true, flavor: kubernetes}",
	"Kubernetes' policies with all": image + `
nats: {enabled: true}
hubble: {server: tls://$(HOST_IP):4244, tls: {enabled: true, secretName: hubble-client}}
agent: {http: {trustedProxies: [10.0.0.0/28, 10.0.0.1]}}
hub: {http: {userHeader: X-User, trustedProxies: [10.0.3.0/24]}}
networkPolicy:
  enabled: true
  flavor: kubernetes
  metricsFrom: [{namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: monitoring}}}]
  pageFrom: [{podSelector: {matchLabels: {app: oauth2-proxy}}}]`,
	"monitoring":                    image + "natsClient: {url: \"nats://nats.example:4222\"}" + monitoring,
	"monitoring of agents":          image + monitoring,
	"everything that can be chosen": image + chosen,
}

const monitoring = `
monitoring:
  podMonitor: {enabled: true, labels: {release: prometheus}, interval: 30s}
  serviceMonitor: {enabled: true, labels: {release: prometheus}}
  prometheusRule: {enabled: true, labels: {release: prometheus}}
  dashboards: {enabled: true, annotations: {grafana_folder: Network}}`

const receivers = `
natsClient: {url: "nats://nats.example:4222"}
hub:
  secretMounts: {slack: renat-slack, webhook: renat-webhook}
  config:
    receivers:
      - name: ops
        match: ['namespace=~"shop|pay"']
        link: 'https://renat.example/incidents?node={{ urlquery .Group.Labels.node }}'
        slack: {webhook_url_from: {file: /etc/renat/secrets/slack/url}}
      - name: tickets
        group_by: []
        group_wait: 1m
        threshold: {count: 5, within: 1m}
        webhook: {url: "https://hooks.example/renat", secrets_from: [{file: /etc/renat/secrets/webhook/secret}]}
      - name: alertmanager
        rate: {per_second: 5, burst: 2}
        alertmanager: {urls: ["http://alertmanager.example:9093"], labels: {severity: warning}, lifetime: 5m}`

const tokens = `
natsClient: {url: "nats://nats.example:4222"}
agent: {http: {tokenSecret: {name: renat-token, key: agent}, tls: {enabled: true, secretName: agent-tls}}}
hub: {http: {tokenSecret: {name: renat-token, key: hub}, tls: {enabled: true, secretName: hub-tls}}, ingress: {enabled: true, host: renat.example, tlsSecret: page-tls}}` + monitoring

const chosen = `
imagePullSecrets: [{name: pull}]
commonLabels: {team: network}
clusterName: production
logLevel: debug
cilium: {namespace: cilium, runPath: /run/cilium}
natsClient: {url: "nats://nats.example:4222"}
agent:
  backend: kprobe
  maxConnections: 1000000
  stateDir: /data/renat
  outboxMaxBytes: 1073741824
  guard: {enabled: true, share: 0.1, cpu: 0.005, udp: true, host: true, match: ["namespace=shop", "workload=cart,destination=db.example.com"]}
  extraCapabilities: [SYS_ADMIN, SYS_RESOURCE]
  seccompProfile: {type: Unconfined}
  seLinuxOptions: {type: spc_t, level: s0}
  resources: {requests: {cpu: 1, memory: 256Mi}}
  updateStrategy: {type: OnDelete}
  priorityClassName: system-node-critical
  nodeSelector: {kubernetes.io/arch: arm64}
  tolerations: [{key: a, operator: Equal, value: b, effect: NoExecute}]
  affinity: {nodeAffinity: {requiredDuringSchedulingIgnoredDuringExecution: {nodeSelectorTerms: [{matchExpressions: [{key: a, operator: Exists}]}]}}}
  podAnnotations: {a: b}
  podLabels: {c: d}
  extraArgs: [--settle=5s, --pprof]
  extraEnv: [{name: GOGC, value: "50"}]
  extraVolumes: [{name: extra, configMap: {name: my-files}}]
  extraVolumeMounts: [{name: extra, mountPath: /etc/extra, readOnly: true}]
hub:
  enabled: true
  replicas: 1
  pageIncidents: 1000000
  affinity: {podAntiAffinity: {preferredDuringSchedulingIgnoredDuringExecution: []}}
  nodeSelector: {a: b}
  tolerations: [{operator: Exists}]
  priorityClassName: high
  podAnnotations: {a: b}
  podLabels: {c: d}
  extraArgs: [--color=never]
  extraEnv: [{name: HTTPS_PROXY, value: "http://proxy.example:3128"}]
  extraVolumes: [{name: extra, configMap: {name: my-files}}]
  extraVolumeMounts: [{name: extra, mountPath: /etc/extra, readOnly: true}]`

// installs are names, namespaces and releases of Kubernetes to install it with.
var installs = []install{
	standard,
	{name: "nat", namespace: "cilium", kube: "v1.27.16"},
	{name: "a-rather-long-name-of-a-release-for-its-names-to-be-cut", namespace: "kube-system", kube: "v1.32.0"},
}

// each calls do with every release in the matrix.
func each(t *testing.T, do func(t *testing.T, r *release)) {
	t.Helper()
	for name, values := range matrix {
		t.Run(name, func(t *testing.T) {
			for _, as := range installs {
				do(t, mustRender(t, as, values))
			}
		})
	}
}

func TestChartLint(t *testing.T) {
	dir := copyChart(t)
	for name, values := range matrix {
		t.Run(name, func(t *testing.T) {
			given := map[string]any{}
			if err := yaml.Unmarshal([]byte(values), &given); err != nil {
				t.Fatal(err)
			}
			for _, m := range lint.RunAll(dir, given, "renat").Messages {
				if m.Severity > support.InfoSev {
					t.Error(m)
				}
			}
		})
	}
	t.Run("fails", func(t *testing.T) {
		messages := lint.RunAll(dir, map[string]any{"imag": map[string]any{}}, "renat").Messages
		for _, m := range messages {
			if m.Severity == support.ErrorSev && strings.Contains(m.Error(), "imag") {
				return
			}
		}
		t.Errorf("an unknown value is not found: %v", messages)
	})
}

// Kubernetes releases that are too old are refused.
func TestChartKubeVersion(t *testing.T) {
	old := standard
	old.kube = "v1.26.15"
	if _, err := render(old, image); err == nil {
		t.Error("Kubernetes 1.26 is not refused")
	}
	vendor := standard
	vendor.kube = "v1.30.5-eks-ce1d5eb"
	if _, err := render(vendor, image); err != nil {
		t.Error(err)
	}
}
