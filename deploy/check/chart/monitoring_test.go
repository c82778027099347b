// SPDX-License-Identifier: Apache-2.0

package chart

import (
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"testing"

	"sigs.k8s.io/yaml"
)

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
