// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"

	"github.com/grafana/grafana-foundation-sdk/go/cog"
	"github.com/grafana/grafana-foundation-sdk/go/common"
	"github.com/grafana/grafana-foundation-sdk/go/dashboard"
	"github.com/grafana/grafana-foundation-sdk/go/prometheus"
	"github.com/grafana/grafana-foundation-sdk/go/stat"
	"github.com/grafana/grafana-foundation-sdk/go/table"
	"github.com/grafana/grafana-foundation-sdk/go/timeseries"
)

// stats shows the last value of each series. Widths are of 24.
func stats(title, about, unit string, width uint32, queries ...*prometheus.DataqueryBuilder) *stat.PanelBuilder {
	p := stat.NewPanelBuilder().Title(title).Description(about).Datasource(source).Unit(unit).Span(width).Height(4).
		NoValue("none").ColorScheme(color(dashboard.FieldColorModeIdThresholds)).Thresholds(steps("green")).
		ColorMode(common.BigValueColorModeBackground).GraphMode(common.BigValueGraphModeNone).Orientation(common.VizOrientationAuto).
		ReduceOptions(common.NewReduceDataOptionsBuilder().Calcs([]string{"lastNotNull"}))
	for n, q := range queries {
		p.WithTarget(q.RefId(ref(n)).Instant())
	}
	return p
}

// lines shows series over time.
func lines(title, about, unit string, width uint32, queries ...*prometheus.DataqueryBuilder) *timeseries.PanelBuilder {
	p := timeseries.NewPanelBuilder().Title(title).Description(about).Datasource(source).Unit(unit).Span(width).Height(8).
		Min(0).ColorScheme(color(dashboard.FieldColorModeIdPaletteClassic)).
		DrawStyle(common.GraphDrawStyleLine).LineWidth(1).FillOpacity(10).ShowPoints(common.VisibilityModeNever).
		Legend(common.NewVizLegendOptionsBuilder().DisplayMode(common.LegendDisplayModeList).Placement(common.LegendPlacementBottom).ShowLegend(true)).
		Tooltip(common.NewVizTooltipOptionsBuilder().Mode(common.TooltipDisplayModeMulti).Sort(common.SortOrderDescending))
	for n, q := range queries {
		p.WithTarget(q.RefId(ref(n)).Range())
	}
	return p
}

// stacked and bars change how lines are drawn.
func stacked(p *timeseries.PanelBuilder) *timeseries.PanelBuilder {
	return p.FillOpacity(40).Stacking(common.NewStackingConfigBuilder().Mode(common.StackingModeNormal).Group("A"))
}

func bars(p *timeseries.PanelBuilder) *timeseries.PanelBuilder {
	return stacked(p).DrawStyle(common.GraphDrawStyleBars).FillOpacity(80)
}

// column is what a query is in a table; from bad on it is red.
type column struct {
	title, unit string
	bad         float64
	query       *prometheus.DataqueryBuilder
}

// byNode makes one table of all columns, with a row for each set of labels, the
// worst of the first column first; nodes are links.
func byNode(title, about string, columns ...column) *table.PanelBuilder {
	names := map[string]string{}
	p := table.NewPanelBuilder().Title(title).Description(about).Datasource(source).Unit("short").Span(24).Height(10).
		ColorScheme(color(dashboard.FieldColorModeIdPaletteClassic)).
		Footer(common.NewTableFooterOptionsBuilder().EnablePagination(true)).
		WithTransformation(dashboard.DataTransformerConfig{Id: "merge", Options: struct{}{}}).
		WithTransformation(dashboard.DataTransformerConfig{Id: "organize", Options: map[string]any{
			"excludeByName": map[string]bool{"Time": true}, "renameByName": names,
		}})
	p.SortBy([]cog.Builder[common.TableSortByFieldState]{common.NewTableSortByFieldStateBuilder().DisplayName(columns[0].title).Desc(true)})
	for n, c := range columns {
		names["Value #"+ref(n)] = c.title
		p.WithTarget(c.query.RefId(ref(n)).Instant().Format(prometheus.PromQueryFormatTable))
		thresholds, err := bad(c.bad).Build()
		if err != nil {
			p.RecordError("thresholds", err)
		}
		p.OverrideByName(c.title, []dashboard.DynamicConfigValue{
			{Id: "unit", Value: c.unit},
			{Id: "thresholds", Value: thresholds},
			{Id: "custom.cellOptions", Value: map[string]string{"type": "color-text"}},
			{Id: "color", Value: map[string]string{"mode": "thresholds"}},
		})
	}
	return p.OverrideByName("node", []dashboard.DynamicConfigValue{{Id: "links", Value: []map[string]any{
		{"title": "This node", "url": "/d/renat-node?${datasource:queryparam}&${cluster:queryparam}&var-node=${__data.fields.node}&${__url_time_range}"},
		{"title": "Its incidents", "url": incidentsURL + "&node=${__data.fields.node}", "targetBlank": true},
	}}})
}

func ref(n int) string { return string(rune('A' + n)) }

func color(mode dashboard.FieldColorModeId) *dashboard.FieldColorBuilder {
	return dashboard.NewFieldColorBuilder().Mode(mode)
}

// bad, near and above are thresholds: red from a value on; orange before that;
// green from it on and red below.
func bad(from float64) *dashboard.ThresholdsConfigBuilder {
	return steps("green", dashboard.Threshold{Value: &from, Color: "red"})
}

func near(warn, from float64) *dashboard.ThresholdsConfigBuilder {
	return steps("green", dashboard.Threshold{Value: &warn, Color: "orange"}, dashboard.Threshold{Value: &from, Color: "red"})
}

func above(from float64) *dashboard.ThresholdsConfigBuilder {
	return steps("red", dashboard.Threshold{Value: &from, Color: "green"})
}

func steps(base string, more ...dashboard.Threshold) *dashboard.ThresholdsConfigBuilder {
	return dashboard.NewThresholdsConfigBuilder().Mode(dashboard.ThresholdsModeAbsolute).
		Steps(append([]dashboard.Threshold{{Color: base}}, more...))
}

// dashed draws thresholds into lines.
var dashed = common.NewGraphThresholdsStyleConfigBuilder().Mode(common.GraphThresholdsStyleModeDashed)

// named shows values by names.
func named(names map[float64]string) []dashboard.ValueMapping {
	m := dashboard.NewValueMap()
	for value, text := range names {
		m.Options[fmt.Sprint(value)] = dashboard.ValueMappingResult{Text: &text}
	}
	return []dashboard.ValueMapping{{ValueMap: m}}
}
