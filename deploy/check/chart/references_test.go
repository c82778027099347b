// SPDX-License-Identifier: Apache-2.0

package chart

import (
	"fmt"
	"path"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// pod is a workload's template.
type pod struct {
	of        object
	labels    map[string]any
	spec      map[string]any
	container map[string]any
}

// pods returns those of a release.
func pods(r *release) (all []pod) {
	for _, o := range r.objects {
		template, ok := o.at("spec", "template").(map[string]any)
		containers := list(template, "spec", "containers")
		if !ok || len(containers) == 0 {
			continue
		}
		p := pod{of: o}
		p.labels, _ = at(template, "metadata", "labels").(map[string]any)
		p.spec, _ = template["spec"].(map[string]any)
		p.container, _ = containers[0].(map[string]any)
		all = append(all, p)
	}
	return all
}

func (p pod) args() (all []string) {
	for _, a := range list(p.container, "args") {
		all = append(all, fmt.Sprint(a))
	}
	return all
}

// flag returns the value of a flag, "" if it is not given.
func (p pod) flag(name string) string {
	for _, a := range p.args() {
		if v, ok := strings.CutPrefix(a, "--"+name+"="); ok {
			return v
		}
	}
	return ""
}

// port returns the number of the container's port named http.
func (p pod) port() string { return fmt.Sprint(at(p.container, "ports", "http", "containerPort")) }

// problems collects what is wrong.
type problems []string

func (p *problems) add(ok bool, o object, format string, args ...any) {
	if !ok {
		*p = append(*p, o.String()+": "+fmt.Sprintf(format, args...))
	}
}

var (
	filePattern     = regexp.MustCompile(`/etc/renat/[^,]+`)
	variablePattern = regexp.MustCompile(`\$\(([^)]*)\)?`)
)

// podReferences returns what does not fit inside the pods, and to the objects
// they name. Names in values are those of objects that somebody else makes.
func podReferences(r *release, as install, values string) (wrong problems) {
	made := secrets(r)
	for _, p := range pods(r) {
		o := p.of
		if o.kind() != "Job" {
			wrong.add(matches(o.at("spec", "selector", "matchLabels"), p.labels), o, "the selector does not match the pods")
			account := text(p.spec, "serviceAccountName")
			wrong.add(r.named("ServiceAccount", account, as.namespace), o, "there is no ServiceAccount %q", account)
		}
		wrong = append(wrong, mounts(p, values)...)
		for _, v := range list(p.spec, "volumes") {
			if s := text(v, "secret", "secretName"); s != "" {
				wrong.add(made[s] || strings.Contains(values, s), o, "nobody makes the Secret %s", s)
			}
			if c := text(v, "configMap", "name"); c != "" {
				wrong.add(r.named("ConfigMap", c, as.namespace) || strings.Contains(values, c), o, "nobody makes the ConfigMap %s", c)
			}
		}
		for _, s := range list(p.spec, "imagePullSecrets") {
			wrong.add(strings.Contains(values, text(s, "name")), o, "nobody makes the Secret %v", s)
		}
		for _, a := range p.args() {
			for _, m := range variablePattern.FindAllStringSubmatch(a, -1) {
				wrong.add(at(p.container, "env", m[1]) != nil, o, "the variable %s in %s is not set", m[1], a)
			}
		}
		for probe, path := range map[string]string{"startupProbe": "/healthz", "livenessProbe": "/healthz", "readinessProbe": "/readyz"} {
			if o.kind() != "Job" {
				to := at(p.container, probe, "httpGet")
				wrong.add(text(to, "path") == path, o, "the %s asks for %s", probe, text(to, "path"))
				wrong.add(text(to, "port") == "http" && at(p.container, "ports", "http") != nil, o, "the port of the %s is not there", probe)
				wrong.add((text(to, "scheme") == "HTTPS") == (p.flag("http-tls-cert-file") != ""), o, "the %s does not speak TLS as its server does", probe)
			}
		}
		if o.kind() != "Job" {
			wrong.add(p.flag("listen") == ":"+p.port(), o, "it listens on %s, its port is %s", p.flag("listen"), p.port())
		}
		for _, term := range list(p.spec, "affinity", "podAntiAffinity", "preferredDuringSchedulingIgnoredDuringExecution") {
			wrong.add(matches(at(term, "podAffinityTerm", "labelSelector", "matchLabels"), p.labels), o, "its affinity is to others")
		}
	}
	return wrong
}

// mounts checks that volumes and mounts fit together, and that all files that
// the arguments name are there.
func mounts(p pod, values string) (wrong problems) {
	mounted := map[string]any{}
	var folders []string
	for _, m := range list(p.container, "volumeMounts") {
		volume := at(p.spec, "volumes", text(m, "name"))
		wrong.add(volume != nil, p.of, "there is no volume %s", text(m, "name"))
		mounted[text(m, "mountPath")] = volume
		folders = append(folders, text(m, "mountPath"))
	}
	for _, v := range list(p.spec, "volumes") {
		wrong.add(at(p.container, "volumeMounts", text(v, "name")) != nil, p.of, "the volume %s is not mounted", text(v, "name"))
		at := text(p.container, "volumeMounts", text(v, "name"), "mountPath")
		switch text(v, "name") {
		case "state":
			wrong.add(p.flag("state-dir") == at, p.of, "the state is not where it is kept")
		case "cilium-run":
			wrong.add(p.flag("hubble-server") == "" && at == "/var/run/cilium", p.of, "Hubble's socket is not there")
		}
	}
	wrong.add(len(folders) == len(slices.Compact(slices.Sorted(slices.Values(folders)))), p.of, "two volumes are mounted in one place")
	used := map[string]bool{}
	for _, a := range p.args() {
		for _, file := range filePattern.FindAllString(a, -1) {
			volume, ok := mounted[path.Dir(file)]
			wrong.add(ok, p.of, "nothing is mounted at %s", file)
			used[path.Dir(file)] = true
			for _, item := range list(volume, "secret", "items") {
				wrong.add(text(item, "path") == path.Base(file), p.of, "the Secret has no file %s", file)
			}
		}
	}
	for folder := range mounted {
		if strings.HasPrefix(folder, "/etc/renat/") && !strings.HasPrefix(folder, "/etc/renat/secrets/") {
			wrong.add(used[folder], p.of, "no argument names a file in %s", folder)
		}
		if strings.HasPrefix(folder, "/etc/renat/secrets/") {
			wrong.add(strings.Contains(values, folder+"/"), p.of, "the configuration names no file in %s", folder)
		}
	}
	return wrong
}

// secrets returns the names of the Secrets that Certificates make.
func secrets(r *release) map[string]bool {
	made := map[string]bool{}
	for _, o := range r.objects {
		if o.kind() == "Certificate" {
			made[text(o, "spec", "secretName")] = true
		}
	}
	return made
}

// named says whether there is an object.
func (r *release) named(kind, name, namespace string) bool {
	return slices.ContainsFunc(r.objects, func(o object) bool {
		return o.kind() == kind && o.name() == name && (namespace == "" || text(o, "metadata", "namespace") == namespace)
	})
}

// matches says whether labels have all that a selector asks for, and it asks
// for something.
func matches(selector any, labels map[string]any) bool {
	wanted, _ := selector.(map[string]any)
	for key, value := range wanted {
		if labels[key] != value {
			return false
		}
	}
	return len(wanted) > 0
}

func TestReferences(t *testing.T) {
	for name, values := range matrix {
		t.Run(name, func(t *testing.T) {
			for _, as := range installs {
				r := mustRender(t, as, values)
				for _, p := range slices.Concat(podReferences(r, as, values), references(r, as, values)) {
					t.Error(p)
				}
			}
		})
	}
}

// Names must be different and as long as Kubernetes takes them.
func TestNames(t *testing.T) {
	each(t, func(t *testing.T, r *release) {
		seen := map[string]bool{}
		for _, o := range r.objects {
			id := o.String() + text(o, "metadata", "namespace")
			if seen[id] || len(o.name()) > 63 && !strings.Contains(o.kind(), "Role") {
				t.Errorf("%s is there twice, or its name is too long", id)
			}
			seen[id] = true
			labels, _ := o.at("metadata", "labels").(map[string]any)
			for key, value := range labels {
				if s := fmt.Sprint(value); len(s) > 63 {
					t.Errorf("%s: label %s is too long: %s", o, key, s)
				}
			}
		}
	})
}
