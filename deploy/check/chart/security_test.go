// SPDX-License-Identifier: Apache-2.0

package chart

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// hostPaths are all the folders of a node that a pod may see, and whether it may
// write there.
var hostPaths = map[string]bool{
	"/var/lib/renat": true, "/data/renat": true, // chosen with agent.stateDir
	"/var/run/cilium": false, "/run/cilium": false, // chosen with cilium.runPath
	"/sys/fs/bpf": false, "/sys/kernel/btf": false, "/sys/kernel/tracing": false,
}

// security returns what gives a pod more rights than it needs.
func security(r *release) (wrong problems) {
	for _, p := range pods(r) {
		o := p.of
		agent := o.kind() == "DaemonSet"
		wrong.add(len(list(p.spec, "containers")) == 1 && p.spec["initContainers"] == nil, o, "it has other containers")
		events := strings.HasSuffix(o.name(), "-hub") && mayMakeEvents(r) // only the case that asks for it
		wrong.add(at(p.spec, "automountServiceAccountToken") == events, o, "it has a token for the API")
		wrong.add(at(p.spec, "enableServiceLinks") == false, o, "Services set its variables")
		for _, key := range []string{"hostNetwork", "hostPID", "hostIPC", "hostUsers", "shareProcessNamespace"} {
			wrong.add(p.spec[key] == nil, o, "it has %s", key)
		}
		for _, port := range list(p.container, "ports") {
			wrong.add(at(port, "hostPort") == nil, o, "it has a port of the node")
		}
		c, _ := p.container["securityContext"].(map[string]any)
		wrong.add(at(c, "privileged") == false, o, "it is privileged")
		wrong.add(at(c, "allowPrivilegeEscalation") == false, o, "it may become more privileged")
		wrong.add(at(c, "readOnlyRootFilesystem") == true, o, "it may write to its root")
		wrong.add(fmt.Sprint(list(c, "capabilities", "drop")) == "[ALL]", o, "it keeps capabilities")
		added := list(c, "capabilities", "add")
		if agent {
			extra := strings.Contains(fmt.Sprint(added), "SYS_ADMIN") // only the case that asks for it
			wrong.add(fmt.Sprint(added) == "[BPF PERFMON SYSLOG]" || extra && fmt.Sprint(added) == "[BPF PERFMON SYSLOG SYS_ADMIN SYS_RESOURCE]", o, "it has the capabilities %v", added)
			wrong.add(at(c, "runAsUser") == 0.0 && at(c, "runAsGroup") == 0.0, o, "it is not root, whose the pins are")
			wrong.add(extra || text(c, "seccompProfile", "type") == "RuntimeDefault", o, "it may call anything")
		} else {
			s, _ := p.spec["securityContext"].(map[string]any)
			wrong.add(len(added) == 0, o, "it has the capabilities %v", added)
			wrong.add(at(s, "runAsNonRoot") == true && at(s, "runAsUser") == 65532.0 && at(s, "runAsGroup") == 65532.0 && at(s, "fsGroup") == 65532.0, o, "it is root")
			wrong.add(text(s, "seccompProfile", "type") == "RuntimeDefault", o, "it may call anything")
		}
		for _, v := range list(p.spec, "volumes") {
			wrong = append(wrong, volume(p, v, agent)...)
		}
	}
	return wrong
}

func mayMakeEvents(r *release) bool {
	return slices.ContainsFunc(r.objects, func(o object) bool { return o.kind() == "ClusterRole" && strings.HasSuffix(o.name(), "-hub-events") })
}

func volume(p pod, v any, agent bool) (wrong problems) {
	name := text(v, "name")
	writes := at(p.container, "volumeMounts", name, "readOnly") != true
	if host := at(v, "hostPath"); host != nil {
		may, known := hostPaths[text(host, "path")]
		wrong.add(agent && known, p.of, "it sees the node's %s", text(host, "path"))
		wrong.add(writes == may, p.of, "it may write to the node's %s, or may not", text(host, "path"))
		at := text(p.container, "volumeMounts", name, "mountPath")
		wrong.add(!strings.HasPrefix(at, "/sys/") || at == text(host, "path"), p.of, "%s is not at %s", text(host, "path"), at)
		return wrong
	}
	wrong.add(at(v, "secret") != nil || at(v, "configMap") != nil, p.of, "the volume %s is none of a kind it needs", name)
	wrong.add(!writes, p.of, "it may write to %s", name)
	wrong.add(at(v, "secret") == nil || at(v, "secret", "defaultMode") == 288.0, p.of, "%s is for everybody to read", name)
	return wrong
}

func TestSecurity(t *testing.T) {
	each(t, func(t *testing.T, r *release) {
		for _, p := range security(r) {
			t.Error(p)
		}
	})
}

// rules are all the rights in the API that the chart makes: none for renat itself.
var rules = []string{
	"Role renat-viewer: map[apiGroups:[] resources:[pods] verbs:[list]]",
	"Role renat-viewer: map[apiGroups:[] resources:[pods/proxy] verbs:[get]]",
	"Role renat-viewer: map[apiGroups:[] resources:[pods/log] verbs:[get]]",
	"Role renat-viewer-cilium-config: map[apiGroups:[] resourceNames:[cilium-config] resources:[configmaps] verbs:[get]]",
	"Role renat-viewer-cilium-config: map[apiGroups:[cilium.io] resources:[ciliumnodeconfigs] verbs:[list]]",
	"ClusterRole renat-renat-viewer-pods: map[apiGroups:[] resources:[pods] verbs:[get list]]",
	"ClusterRole renat-renat-viewer-nodes: map[apiGroups:[] resources:[nodes] verbs:[list]]",
}

func TestRights(t *testing.T) {
	r := mustRender(t, standard, matrix["reachable agents"])
	var got []string
	for _, o := range r.objects {
		for _, rule := range list(o, "rules") {
			got = append(got, fmt.Sprintf("%s: %v", o, rule))
		}
		if strings.HasSuffix(o.kind(), "Binding") {
			if subjects := fmt.Sprint(o.at("subjects")); subjects != "[map[apiGroup:rbac.authorization.k8s.io kind:Group name:sre]]" {
				t.Errorf("%s is for %s", o, subjects)
			}
		}
	}
	if !slices.Equal(slices.Sorted(slices.Values(got)), slices.Sorted(slices.Values(rules))) {
		t.Errorf("got %q", got)
	}
	for _, o := range mustRender(t, standard, image+"rbac: {viewer: {create: false}}").objects {
		if strings.Contains(o.kind(), "Role") {
			t.Errorf("%s was not asked for", o)
		}
	}
	for _, o := range mustRender(t, standard, image).objects {
		if o.kind() == "ClusterRole" || strings.HasSuffix(o.kind(), "Binding") {
			t.Errorf("%s was not asked for", o)
		}
	}
}

// The hub that makes Events gets what that takes, and the way to the API server.
func TestKubernetesEvents(t *testing.T) {
	for _, flavor := range []string{"cilium", "kubernetes"} {
		r := mustRender(t, standard, matrix["Events on pods"]+"\nnetworkPolicy: {enabled: true, flavor: "+flavor+"}")
		var got []string
		open := false
		for _, o := range r.objects {
			switch {
			case o.kind() == "ClusterRole":
				got = append(got, fmt.Sprint(list(o, "rules")))
			case o.kind() == "ClusterRoleBinding":
				if s := fmt.Sprint(o.at("subjects")); s != "[map[kind:ServiceAccount name:renat-hub namespace:renat]]" {
					t.Errorf("it is for %s", s)
				}
			case strings.HasSuffix(o.kind(), "NetworkPolicy"):
				egress := fmt.Sprint(o.at("spec", "egress"))
				api := strings.Contains(egress, "kube-apiserver") || strings.Contains(egress, "port:6443")
				if api != (o.name() == "renat-hub") {
					t.Errorf("%s: the way to the API server: %v", o, api)
				}
				open = open || api
			}
		}
		if want := []string{"[map[apiGroups:[] resources:[pods] verbs:[get]] map[apiGroups:[] resources:[events] verbs:[create]]]"}; !slices.Equal(got, want) || !open {
			t.Errorf("%s: rules %v", flavor, got)
		}
	}
}

// Kubernetes 1.27 does not know the field, so it is only there if it is asked for.
func TestAppArmor(t *testing.T) {
	profile := func(values string) any {
		agent := mustRender(t, standard, values).find("DaemonSet", "-agent")
		return at(pods(&release{objects: []object{agent}})[0].container, "securityContext", "appArmorProfile", "type")
	}
	if got := profile(image); got != nil {
		t.Errorf("a profile that nobody asked for: %v", got)
	}
	if got := profile(image + "agent: {appArmorProfile: {type: Unconfined}}"); got != "Unconfined" {
		t.Errorf("got %v", got)
	}
}

// Prometheus' labels are those that alerts and dashboards go by.
func TestClusterLabel(t *testing.T) {
	r := mustRender(t, standard, "clusterName: production\n"+matrix["monitoring"])
	for kind, endpoints := range map[string]string{"PodMonitor": "podMetricsEndpoints", "ServiceMonitor": "endpoints"} {
		labels := map[string]string{}
		for _, l := range list(list(r.find(kind, ""), "spec", endpoints)[0], "relabelings") {
			labels[text(l, "targetLabel")] = text(l, "replacement")
		}
		if labels["cluster"] != "production" {
			t.Errorf("%s: %v", kind, labels)
		}
	}
}

// What a process said last is in kubectl describe.
func TestTerminationMessage(t *testing.T) {
	for _, p := range pods(mustRender(t, standard, matrix["own NATS"])) {
		if got := p.container["terminationMessagePolicy"]; p.of.kind() != "Job" && got != "FallbackToLogsOnError" {
			t.Errorf("%s: %v", p.of, got)
		}
	}
}
