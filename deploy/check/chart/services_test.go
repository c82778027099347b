// SPDX-License-Identifier: Apache-2.0

package chart

import (
	"fmt"
	"net/url"
	"reflect"
	"slices"
	"strings"
)

// agentSelector is kubectl renat's --agent-selector.
var agentSelector = map[string]any{"app.kubernetes.io/name": "renat", "app.kubernetes.io/component": "agent"}

// hubSelector is kubectl renat's --hub-selector.
var hubSelector = map[string]any{"app.kubernetes.io/name": "renat", "app.kubernetes.io/component": "hub"}

// references returns what does not fit between objects.
func references(r *release, as install, values string) (wrong problems) {
	all := pods(r)
	for _, o := range r.objects {
		if strings.HasPrefix(text(o, "metadata", "labels", "helm.sh/chart"), "renat-") {
			home := as.namespace
			if strings.HasSuffix(o.name(), "-cilium-config") {
				home = ciliumNamespace(values)
			}
			if strings.HasPrefix(o.kind(), "ClusterRole") {
				home = ""
			}
			wrong.add(text(o, "metadata", "namespace") == home, o, "it is not in %q", home)
			wrong.add(matches(map[string]any{"app.kubernetes.io/name": "renat", "app.kubernetes.io/instance": as.name}, o.at("metadata", "labels").(map[string]any)), o, "it lacks labels")
		}
		switch o.kind() {
		case "DaemonSet":
			p := pods(&release{objects: []object{o}})[0]
			wrong.add(matches(agentSelector, p.labels) && p.port() == "9969", o, "kubectl renat does not find the agents")
			wrong.add(strings.Contains(o.name(), "renat") && strings.HasSuffix(o.name(), "-agent"), o, "the alert RenatAgentsMissing does not find it")
		case "Deployment":
			p := pods(&release{objects: []object{o}})[0]
			wrong.add(matches(hubSelector, p.labels) && p.port() == "9972", o, "kubectl renat does not find the hubs")
		case "Ingress":
			for _, rule := range list(o, "spec", "rules") {
				path := list(rule, "http", "paths")[0]
				service := at(path, "backend", "service")
				wrong.add(text(path, "path") == "/" && r.named("Service", text(service, "name"), as.namespace) && text(service, "port", "name") == "http", o, "it does not lead to the page")
			}
			for _, tls := range list(o, "spec", "tls") {
				wrong.add(strings.Contains(values, text(tls, "secretName")), o, "nobody makes the Secret %s", text(tls, "secretName"))
			}
		case "HTTPRoute":
			rule := list(o, "spec", "rules")[0]
			service := list(rule, "backendRefs")[0]
			wrong.add(text(list(rule, "matches")[0], "path", "value") == "/" && r.named("Service", text(service, "name"), as.namespace) && at(service, "port") == 9972.0, o, "it does not lead to the page")
		case "Service":
			if o.name() == "renat-nats" || o.name() == "events" {
				continue
			}
			one := selected(all, o.at("spec", "selector"))
			wrong.add(one != nil && text(o, "spec", "ports", "http", "targetPort") == "http" && fmt.Sprint(o.at("spec", "ports", "http", "port")) == one.port(), o, "it is not for the hub")
		case "PodDisruptionBudget":
			wrong.add(selected(all, o.at("spec", "selector", "matchLabels")) != nil, o, "it selects nothing")
		case "PodMonitor":
			wrong = append(wrong, monitor(o, selected(all, o.at("spec", "selector", "matchLabels")), list(o, "spec", "podMetricsEndpoints"), as)...)
		case "ServiceMonitor":
			service := r.find("Service", "-hub")
			wrong.add(service != nil && matches(o.at("spec", "selector", "matchLabels"), service.at("metadata", "labels").(map[string]any)), o, "it selects no Service")
			wrong = append(wrong, monitor(o, selected(all, o.at("spec", "selector", "matchLabels")), list(o, "spec", "endpoints"), as)...)
		case "NetworkPolicy":
			wrong = append(wrong, policy(r, o, o.at("spec", "podSelector", "matchLabels"))...)
		case "CiliumNetworkPolicy":
			wrong = append(wrong, policy(r, o, o.at("spec", "endpointSelector", "matchLabels"))...)
		case "RoleBinding", "ClusterRoleBinding":
			ref := text(o, "roleRef", "kind")
			wrong.add(ref+"Binding" == o.kind() && r.named(ref, text(o, "roleRef", "name"), text(o, "metadata", "namespace")), o, "there is no such role")
			wrong.add(text(o, "roleRef", "apiGroup")+"/v1" == text(o, "apiVersion"), o, "the group of its role is wrong")
		case "Certificate":
			wrong.add(certified(all, o, as), o, "no pod uses it, or its name is not its server's")
		}
	}
	return wrong
}

func ciliumNamespace(values string) string {
	if strings.Contains(values, "cilium: {namespace: cilium,") {
		return "cilium"
	}
	return "kube-system"
}

// selected returns the only pod that a selector matches; nil if that is not so.
func selected(all []pod, selector any) (one *pod) {
	for n := range all {
		if matches(selector, all[n].labels) {
			if one != nil {
				return nil
			}
			one = &all[n]
		}
	}
	return one
}

// monitor checks that Prometheus finds the metrics.
func monitor(o object, p *pod, endpoints []any, as install) (wrong problems) {
	if p == nil || len(endpoints) != 1 {
		return problems{o.String() + ": it selects nothing"}
	}
	e := endpoints[0]
	wrong.add(text(e, "port") == "http" && text(e, "path") == "/metrics", o, "there are no metrics at %s", text(e, "path"))
	job := ""
	for _, l := range list(e, "relabelings") {
		if text(l, "targetLabel") == "job" {
			job = text(l, "replacement")
		}
	}
	wrong.add(job == "renat-"+p.labels["app.kubernetes.io/component"].(string), o, "the alerts do not know the job %q", job)
	if secret := text(p.spec, "volumes", "http-tls", "secret", "secretName"); secret != "" {
		wrong.add(text(e, "scheme") == "https" && text(e, "tlsConfig", "ca", "secret", "name") == secret, o, "it does not speak TLS as its server does")
		wrong.add(text(e, "tlsConfig", "ca", "secret", "key") == "ca.crt", o, "the certificate authority is not in ca.crt")
		wrong.add(text(e, "tlsConfig", "serverName") == p.of.name()+"."+as.namespace+".svc", o, "the server has another name")
	} else {
		wrong.add(text(e, "scheme") == "" && at(e, "tlsConfig") == nil, o, "it speaks TLS, its server does not")
	}
	return wrong
}

// certified says whether a pod mounts what a Certificate makes and, if it is a
// server's, that it is for the server's name.
func certified(all []pod, o object, as install) bool {
	return slices.ContainsFunc(all, func(p pod) bool {
		for _, v := range list(p.spec, "volumes") {
			if text(v, "secret", "secretName") == text(o, "spec", "secretName") {
				names := fmt.Sprint(o.at("spec", "dnsNames"))
				return text(v, "name") != "http-tls" || names == "["+p.of.name()+"."+as.namespace+".svc]"
			}
		}
		return false
	})
}

// policy checks that the ports which a policy opens are those that the pod
// listens on and those it connects to.
func policy(r *release, o object, selector any) (wrong problems) {
	if strings.HasSuffix(o.name(), "-nats") {
		return natsPolicy(r, o, selector)
	}
	p := selected(pods(r), selector)
	if p == nil {
		return problems{o.String() + ": it selects nothing"}
	}
	for _, rule := range list(o, "spec", "ingress") {
		for _, port := range ports(rule) {
			observer := fmt.Sprint(at(p.container, "ports", "observer", "containerPort"))
			wrong.add(port == p.port() || port == "http" || at(p.container, "ports", "observer") != nil && (port == observer || port == "observer"), o, "nobody listens on %s", port)
		}
	}
	open := map[string]bool{}
	for _, rule := range list(o, "spec", "egress") {
		for _, port := range ports(rule) {
			open[port] = true
		}
	}
	wrong.add(open["53"], o, "names cannot be resolved")
	for _, name := range []string{"nats-url", "hubble-server"} {
		for _, s := range strings.Split(p.flag(name), ",") {
			if u, err := url.Parse(strings.NewReplacer("$(", "", ")", "").Replace(s)); s != "" {
				port := u.Port()
				if port == "" {
					port = "4222"
				}
				wrong.add(err == nil && open[port], o, "it cannot reach %s", s)
			}
		}
	}
	return wrong
}

// natsPolicy checks that NATS lets in all pods of renat, and its own.
func natsPolicy(r *release, o object, selector any) (wrong problems) {
	var service object
	for _, s := range r.objects {
		if s.kind() == "Service" && reflect.DeepEqual(s.at("spec", "selector"), selector) {
			service = s
		}
	}
	wrong.add(service != nil, o, "it selects no NATS")
	clients, servers := false, false
	for _, rule := range list(o, "spec", "ingress") {
		for _, from := range append(list(rule, "from"), list(rule, "fromEndpoints")...) {
			labels := at(from, "matchLabels")
			if labels == nil {
				labels = at(from, "podSelector", "matchLabels")
			}
			all := !slices.ContainsFunc(pods(r), func(p pod) bool { return !matches(labels, p.labels) })
			clients = clients || all && service != nil && fmt.Sprint(ports(rule)) == fmt.Sprintf("[%v]", service.at("spec", "ports", "nats", "port"))
			servers = servers || reflect.DeepEqual(labels, selector) && len(ports(rule)) == 0
		}
	}
	wrong.add(clients, o, "it keeps renat out")
	wrong.add(servers, o, "it keeps NATS' servers from each other")
	return wrong
}

// ports returns those of a rule of either kind of policy.
func ports(rule any) (all []string) {
	for _, to := range append(list(rule, "toPorts"), rule) {
		for _, port := range list(to, "ports") {
			all = append(all, fmt.Sprint(at(port, "port")))
		}
	}
	return all
}
