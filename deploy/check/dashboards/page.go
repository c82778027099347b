// SPDX-License-Identifier: Apache-2.0

package main

import (
	"strings"

	"github.com/grafana/grafana-foundation-sdk/go/cog"
	"github.com/grafana/grafana-foundation-sdk/go/common"
	"github.com/grafana/grafana-foundation-sdk/go/dashboard"
	"github.com/grafana/grafana-foundation-sdk/go/prometheus"
)

// schemaVersion is Grafana 11's; newer ones upgrade it when they load it.
const schemaVersion = 39

// page is one dashboard.
type page struct {
	name, title, about string
	refresh, from      string
	choices            []cog.Builder[dashboard.VariableModel]
	rows               []row
}

// row is a heading and its panels, from left to right and down.
type row struct {
	title  string
	panels []panel
}

type panel = cog.Builder[dashboard.Panel]

// build makes it in the form that Grafana of any version loads: the libraries
// prefer another, which only Grafana 12 and newer know.
func (p page) build() (dashboard.Dashboard, error) { //nolint:staticcheck // see above
	b := dashboard.NewDashboardBuilder(p.title).Uid("renat-"+p.name).Description(p.about).Tags([]string{"renat", "cilium"}). //nolint:staticcheck // see above
																	Tooltip(dashboard.DashboardCursorSyncCrosshair).Refresh(p.refresh).Time(p.from, "now").
																	Link(others{}).
																	WithVariable(dashboard.NewDatasourceVariableBuilder("datasource").Label("Data source").Type("prometheus"))
	for _, c := range p.choices {
		b.WithVariable(c)
	}
	b.WithVariable(dashboard.NewTextBoxVariableBuilder("renat").Label("renat's page").DefaultValue(dashboard.StringOrMap{String: cog.ToPtr(pageURL)}))
	for _, r := range p.rows {
		b.WithRow(dashboard.NewRowBuilder(r.title))
		for _, p := range r.panels {
			b.WithPanel(p)
		}
	}
	d, err := b.Build()
	d.SchemaVersion = schemaVersion
	for n, p := range d.Panels {
		id := uint32(n + 1) //nolint:gosec // there are few
		if p.RowPanel != nil {
			p.RowPanel.Id = id
		} else {
			p.Panel.Id = &id
		}
	}
	return d, err
}

// others links to renat's other dashboards, on top of the page.
type others struct{}

func (others) Build() (dashboard.DashboardLink, error) {
	l, err := dashboard.NewDashboardLinkBuilder("renat").Type(dashboard.DashboardLinkTypeDashboards).Tags([]string{"renat"}).IncludeVars(true).KeepTime(true).Build()
	l.Placement = nil // newer ones would hide it in a menu
	return l, err
}

var source = common.DataSourceRef{Type: cog.ToPtr("prometheus"), Uid: cog.ToPtr("${datasource}")}

// pageURL is where the hub's page is until somebody says it in the dashboard; the
// chart puts the one that it knows there.
const pageURL = "http://localhost:9972"

// incidents leads from a panel to the incidents of the time that is shown, of
// those with more.
func incidents(more string) []cog.Builder[dashboard.DashboardLink] {
	return []cog.Builder[dashboard.DashboardLink]{
		dashboard.NewDashboardLinkBuilder("The incidents").Type(dashboard.DashboardLinkTypeLink).Url(incidentsURL + more).TargetBlank(true),
	}
}

const incidentsURL = "${renat}/incidents?since=${__from:date:iso}&until=${__to:date:iso}"

// choice is one on top of the dashboard, of a label's values.
func choice(name, label, values string) *dashboard.QueryVariableBuilder {
	return dashboard.NewQueryVariableBuilder(name).Label(label).Datasource(source).
		Query(dashboard.StringOrMap{Map: map[string]any{"query": values, "refId": "variable"}}).
		Refresh(dashboard.VariableRefreshOnTimeRangeChanged).Sort(dashboard.VariableSortAlphabeticalAsc)
}

// all lets several or all values be chosen; .* also takes in series without the label.
func all(v *dashboard.QueryVariableBuilder) *dashboard.QueryVariableBuilder {
	text := func(s string) dashboard.StringOrArrayOfString { return dashboard.StringOrArrayOfString{String: &s} }
	return v.IncludeAll(true).Multi(true).AllValue(".*").Current(dashboard.VariableOption{Text: text("All"), Value: text("$__all")})
}

// query is in PromQL, in which $s stands for the choices on top, as matchers;
// legend names its series.
func query(scope, expr, legend string) *prometheus.DataqueryBuilder {
	return prometheus.NewDataqueryBuilder().Datasource(source).Expr(strings.ReplaceAll(expr, "$s", scope)).LegendFormat(legend).
		EditorMode(prometheus.QueryEditorModeCode)
}
