// SPDX-License-Identifier: Apache-2.0

package chart

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"helm.sh/helm/v4/pkg/chart/common"
	commonutil "helm.sh/helm/v4/pkg/chart/common/util"
	v2 "helm.sh/helm/v4/pkg/chart/v2"
	"helm.sh/helm/v4/pkg/chart/v2/loader"
	chartutil "helm.sh/helm/v4/pkg/chart/v2/util"
	"helm.sh/helm/v4/pkg/engine"
	"sigs.k8s.io/yaml"
)

// chartDir is renat's chart, natsDir what stands in for its dependency.
const (
	chartDir = "../../helm/renat"
	natsDir  = "testdata/nats"
)

// object is a manifest.
type object map[string]any

// at returns what is at a path of keys and, in lists, the names of elements;
// nil if there is nothing.
func (o object) at(keys ...string) any { return at(o, keys...) }

func at(v any, keys ...string) any {
	for _, key := range keys {
		switch inner := v.(type) {
		case object:
			v = inner[key]
		case map[string]any:
			v = inner[key]
		case []any:
			n := slices.IndexFunc(inner, func(e any) bool { return at(e, "name") == key })
			if n < 0 {
				return nil
			}
			v = inner[n]
		default:
			return nil
		}
	}
	return v
}

// list is at for lists.
func list(v any, keys ...string) []any {
	l, _ := at(v, keys...).([]any)
	return l
}

// text is at for texts.
func text(v any, keys ...string) string {
	s, _ := at(v, keys...).(string)
	return s
}

func (o object) kind() string { return text(o, "kind") }
func (o object) name() string { return text(o, "metadata", "name") }
func (o object) String() string {
	return o.kind() + " " + o.name()
}

// release is what the chart makes of values.
type release struct {
	objects []object
	files   map[string]string // templates and what they made, without NOTES.txt
	notes   string
}

// find returns the object of a kind whose name ends so; nil if there is none.
func (r *release) find(kind, suffix string) object {
	for _, o := range r.objects {
		if o.kind() == kind && strings.HasSuffix(o.name(), suffix) {
			return o
		}
	}
	return nil
}

// install says as what the chart is installed.
type install struct{ name, namespace, kube string }

var standard = install{name: "renat", namespace: "renat", kube: "v1.37.2"}

// loadChart returns the chart with the stand-in for its dependency.
func loadChart() (*v2.Chart, error) {
	c, err := loader.Load(chartDir)
	if err != nil {
		return nil, err
	}
	nats, err := loader.Load(natsDir)
	if err != nil {
		return nil, err
	}
	c.SetDependencies(nats)
	return c, nil
}

// render does what helm template does.
func render(as install, values string) (*release, error) {
	c, err := loadChart()
	if err != nil {
		return nil, err
	}
	return renderChart(c, as, values)
}

func renderChart(c *v2.Chart, as install, values string) (*release, error) {
	given := map[string]any{}
	if err := yaml.UnmarshalStrict([]byte(values), &given); err != nil {
		return nil, err
	}
	kube, err := common.ParseKubeVersion(as.kube)
	if err != nil {
		return nil, err
	}
	if !chartutil.IsCompatibleRange(c.Metadata.KubeVersion, kube.String()) {
		return nil, fmt.Errorf("the chart needs Kubernetes %s", c.Metadata.KubeVersion)
	}
	if err := chartutil.ProcessDependencies(c, given); err != nil {
		return nil, err
	}
	caps := common.DefaultCapabilities.Copy()
	caps.KubeVersion = *kube
	all, err := commonutil.ToRenderValues(c, given, common.ReleaseOptions{Name: as.name, Namespace: as.namespace, Revision: 1, IsInstall: true}, caps)
	if err != nil {
		return nil, err
	}
	files, err := engine.Engine{}.RenderWithContext(context.Background(), c, all)
	if err != nil {
		return nil, err
	}
	r := &release{files: files}
	for name, content := range files {
		if path.Base(name) == "NOTES.txt" {
			r.notes = content
			delete(files, name)
			continue
		}
		for _, document := range strings.Split(content, "\n---\n") {
			var o object
			if err := yaml.UnmarshalStrict([]byte(document), &o); err != nil {
				return nil, fmt.Errorf("%s: %w\n%s", name, err, document)
			}
			if o != nil {
				r.objects = append(r.objects, o)
			}
		}
	}
	return r, nil
}

// mustRender is render for values that are right.
func mustRender(t *testing.T, as install, values string) *release {
	t.Helper()
	r, err := render(as, values)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// copyChart copies the chart, with the stand-in for its dependency, to a folder
// named as the chart is.
func copyChart(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "renat")
	err := errors.Join(
		os.CopyFS(dir, os.DirFS(chartDir)),
		os.RemoveAll(filepath.Join(dir, "charts")),
		os.CopyFS(filepath.Join(dir, "charts", "nats"), os.DirFS(natsDir)),
	)
	if err != nil {
		t.Fatal(err)
	}
	return dir
}
