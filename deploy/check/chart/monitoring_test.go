// SPDX-License-Identifier: Apache-2.0

package chart

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"helm.sh/helm/v4/pkg/chart/v2/loader"
	"sigs.k8s.io/yaml"
)

// The dashboards lead to the page as people reach it.
func TestDashboardsKnowThePage(t *testing.T) {
	for values, want := range map[string]string{
		matrix["page behind a Gateway"]:               "https://renat.example",
		matrix["page behind an ingress"] + monitoring: "https://renat.example",
		matrix["monitoring"]:                          "http://localhost:9972",
	} {
		r := mustRender(t, standard, values)
		if json := text(r.find("ConfigMap", "-dashboard-node"), "data", "renat-node.json"); !strings.Contains(json, `"query": "`+want+`"`) {
			t.Errorf("they lead elsewhere than to %s", want)
		}
	}
}

// Without its dependency, as its README takes it out, the chart is the same.
func TestWithoutDependency(t *testing.T) {
	dir := copyChart(t)
	if err := os.RemoveAll(filepath.Join(dir, "charts")); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("sed", "-i", "/^dependencies:/,$d", filepath.Join(dir, "Chart.yaml")).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	bare, err := loader.Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	if len(bare.Metadata.Dependencies) != 0 {
		t.Fatal("it still has the dependency")
	}
	got, err := renderChart(bare, standard, matrix["own NATS"])
	if err != nil {
		t.Fatal(err)
	}
	names := func(r *release) (all []string) {
		for _, o := range r.objects {
			all = append(all, o.String())
		}
		return slices.Sorted(slices.Values(all))
	}
	if want := mustRender(t, standard, matrix["own NATS"]); !slices.Equal(names(got), names(want)) {
		t.Errorf("it makes %v, want %v", names(got), names(want))
	}
}

// What the chart installs of alerts and dashboards is what the files have.
func TestAlertsAndDashboards(t *testing.T) {
	r := mustRender(t, standard, matrix["monitoring"])
	b, err := os.ReadFile(filepath.Join(chartDir, "rules", "renat.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var rules any
	if err := yaml.Unmarshal(b, &rules); err != nil {
		t.Fatal(err)
	}
	if got := r.find("PrometheusRule", "renat").at("spec"); !reflect.DeepEqual(got, rules) {
		t.Errorf("got %v", got)
	}
	files, err := filepath.Glob(filepath.Join(chartDir, "dashboards", "*.json"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no dashboards: %v", err)
	}
	for _, file := range files {
		name := filepath.Base(file)
		m := r.find("ConfigMap", "-dashboard-"+name[:len(name)-len(".json")])
		if m == nil || text(m, "metadata", "labels", "grafana_dashboard") != "1" {
			t.Errorf("%s is not installed", name)
			continue
		}
		if b, err = os.ReadFile(file); err != nil {
			t.Fatal(err)
		}
		var want, got any
		if err := json.Unmarshal(b, &want); err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal([]byte(text(m, "data", "renat-"+name)), &got); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s is another: %v", name, err)
		}
		if len(b) > 900<<10 {
			t.Errorf("%s is too large for a ConfigMap", name)
		}
	}
}
