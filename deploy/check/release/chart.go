// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	chart "helm.sh/helm/v4/pkg/chart/v2"
	"helm.sh/helm/v4/pkg/chart/v2/loader"
	"helm.sh/helm/v4/pkg/chart/v2/util"
)

// chart packages the Helm chart with the release's version, and with the charts
// it depends on if they were fetched: a release asks no network.
func (r *release) chart(context.Context) error {
	dir := filepath.Join(r.root, "deploy/helm/renat")
	c, err := loader.LoadDir(dir)
	if err != nil {
		return fmt.Errorf("%s: %w", dir, err)
	}
	for _, d := range c.Metadata.Dependencies {
		if !slices.ContainsFunc(c.Dependencies(), func(have *chart.Chart) bool { return have.Name() == d.Name }) {
			fmt.Fprintf(os.Stderr, "release: the chart lacks %s, and Helm will not install it so: fetch it first with helm dependency update %s\n", d.Name, dir)
		}
	}
	c.Metadata.Version = strings.TrimPrefix(r.version, "v")
	c.Metadata.AppVersion = r.version
	date(c, r.time)
	_, err = util.Save(c, r.out)
	return err
}

// date gives everything in a chart the same time.
func date(c *chart.Chart, at time.Time) {
	c.ModTime, c.SchemaModTime = at, at
	if c.Lock != nil {
		c.Lock.Generated = at
	}
	for _, f := range slices.Concat(c.Raw, c.Templates, c.Files) {
		f.ModTime = at
	}
	for _, d := range c.Dependencies() {
		date(d, at)
	}
}
