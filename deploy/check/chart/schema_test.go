// SPDX-License-Identifier: Apache-2.0

package chart

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/yannh/kubeconform/pkg/resource"
	"github.com/yannh/kubeconform/pkg/validator"
	"sigs.k8s.io/yaml"
)

// releases are the oldest and the newest Kubernetes whose schemas are in schemas/.
var releases = []string{"v1.27.16", "v1.37.2"}

// newValidators returns one for each release.
func newValidators(t *testing.T) (all []validator.Validator) {
	t.Helper()
	for _, r := range releases {
		var places []string
		for _, dir := range []string{r, "crds"} {
			dir, err := filepath.Abs(filepath.Join("schemas", dir))
			if err != nil {
				t.Fatal(err)
			}
			places = append(places, dir+"/{{ .ResourceKind }}{{ .KindSuffix }}.json")
		}
		v, err := validator.New(places, validator.Opts{Strict: true, KubernetesVersion: strings.TrimPrefix(r, "v")})
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, v)
	}
	return all
}

// conforms returns what is wrong with an object by its kind's schemas.
func conforms(all []validator.Validator, o object) error {
	b, err := yaml.Marshal(o)
	if err != nil {
		return err
	}
	for n, v := range all {
		if r := v.ValidateResource(resource.Resource{Bytes: b}); r.Status != validator.Valid {
			return fmt.Errorf("%s, by Kubernetes %s: %w", o, releases[n], r.Err)
		}
	}
	return nil
}

func TestSchemas(t *testing.T) {
	all := newValidators(t)
	each(t, func(t *testing.T, r *release) {
		for _, o := range r.objects {
			if err := conforms(all, o); err != nil {
				t.Error(err)
			}
		}
	})
}

// chosenFreely are fields whose values, or keys, are anybody's.
var chosenFreely = []string{"labels", "annotations", "nodeSelector", "data", "limits", "requests", "subjects", "issuerRef"}

// TestTyposAreFound misspells each key of all manifests, and each value that
// names something; and puts a list where something else belongs.
func TestTyposAreFound(t *testing.T) {
	all := newValidators(t)[1:]
	kinds := map[string]bool{}
	found := map[string]int{}
	for _, values := range []string{
		matrix["TLS and tokens"] + "\nnetworkPolicy: {enabled: true}\nrbac: {viewer: {podNames: true, subjects: [{kind: Group, name: sre}]}}",
		matrix["cert-manager"] + "\nnetworkPolicy: {enabled: true, flavor: kubernetes}",
		matrix["receivers"],
		matrix["one NATS server beside it"] + "\nnetworkPolicy: {enabled: true}",
		matrix["one NATS server beside it"] + "\nnetworkPolicy: {enabled: true, flavor: kubernetes}",
	} {
		r := mustRender(t, standard, values)
		for n, o := range r.objects {
			if kinds[o.kind()] && len(list(o, "spec", "template", "spec", "containers")) == 0 && !strings.HasSuffix(o.name(), "-nats") {
				continue
			}
			kinds[o.kind()] = true
			b, err := json.Marshal(o)
			if err != nil {
				t.Fatal(err)
			}
			mutate(o, nil, func(path []string, what string, change func(object)) {
				var changed object
				if err := json.Unmarshal(b, &changed); err != nil {
					t.Fatal(err)
				}
				change(changed)
				found[what]++
				if conforms(all, changed) != nil {
					return
				}
				other := &release{objects: slices.Clone(r.objects)}
				other.objects[n] = changed
				if len(podReferences(other, standard, values))+len(references(other, standard, values))+len(security(other)) == 0 {
					t.Errorf("%s: %s is not found at %s", o, what, strings.Join(path, "."))
				}
			})
		}
	}
	t.Logf("found in %d kinds: %v", len(kinds), found)
	if want := 18; len(kinds) != want || found["a misspelt key"] < 500 || found["a misspelt value"] < 50 || found["a wrong type"] < 300 {
		t.Errorf("%d kinds of object are not %d, or there were too few mistakes to find", len(kinds), want)
	}
}

// enums are keys whose values are among a few, or name something, wherever they are.
var enums = []string{
	"apiVersion", "kind", "protocol", "imagePullPolicy", "restartPolicy", "scheme", "mountPropagation", "operator", "port", "targetPort",
	"serviceAccountName", "secretName", "mountPath", "serverName", "path", "app.kubernetes.io/component", "namespace", "type",
}

// mutate calls try with a change for each place below v.
func mutate(v any, path []string, try func(path []string, what string, change func(object))) {
	switch inner := v.(type) {
	case object:
		mutate(map[string]any(inner), path, try)
	case []any:
		for n, e := range inner {
			mutate(e, append(slices.Clone(path), fmt.Sprint(n)), try)
		}
	case map[string]any:
		for key, value := range inner {
			here := append(slices.Clone(path), key)
			try(here, "a misspelt key", func(o object) {
				parent := mapping(o, path)
				parent[key+"x"] = parent[key]
				delete(parent, key)
			})
			if slices.Contains(chosenFreely, key) {
				continue
			}
			if _, isList := value.([]any); !isList {
				try(here, "a wrong type", func(o object) { mapping(o, path)[key] = []any{[]any{1}} })
			}
			if s, ok := value.(string); ok && slices.Contains(enums, key) {
				try(here, "a misspelt value", func(o object) { mapping(o, path)[key] = s + "x" })
			}
			mutate(value, here, try)
		}
	}
}

// mapping returns the mapping at a path of keys and indexes.
func mapping(o object, path []string) map[string]any {
	var v any = map[string]any(o)
	for _, key := range path {
		switch inner := v.(type) {
		case map[string]any:
			v = inner[key]
		case []any:
			var n int
			fmt.Sscan(key, &n) //nolint:errcheck // mutate made it of a number
			v = inner[n]
		}
	}
	return v.(map[string]any)
}
