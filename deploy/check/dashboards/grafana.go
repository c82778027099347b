// SPDX-License-Identifier: Apache-2.0

package main

// schemaVersion is Grafana 11's; newer ones upgrade it when they load it.
const schemaVersion = 39

type object = map[string]any

// dashboard is one of Grafana's.
type dashboard struct {
	name, title, about string
	refresh, from      string
	variables          []variable
	rows               []row
}

// variable is a choice on top of the dashboard, of a label's values.
type variable struct {
	name, label, query string
	one                bool // no more than one can be chosen
}

// row is a heading and its panels, from left to right and down.
type row struct {
	title  string
	panels []panel
}

// panel shows queries. Its height is of its kind.
type panel struct {
	kind          string // stat, timeseries or table
	title, about  string
	unit          string // one of Grafana's
	width         int    // of 24
	queries       []query
	warn, bad     float64 // thresholds, 0: none
	low           bool    // the thresholds are passed downwards
	names         map[float64]string
	stacked, bars bool
	columns       []column
}

// query is in PromQL; legend names its series.
type query struct{ expr, legend string }

// column is what a query is in a table.
type column struct {
	title, unit string
	bad         float64
}

// sizes of panels, by kind.
var heights = map[string]int{"stat": 4, "timeseries": 8, "table": 10}

var prometheus = object{"type": "prometheus", "uid": "${datasource}"}

func (d dashboard) object() object {
	return object{
		"uid": "renat-" + d.name, "title": d.title, "description": d.about, "tags": []string{"renat", "cilium"},
		"schemaVersion": schemaVersion, "editable": true, "graphTooltip": 1, "timezone": "browser",
		"refresh": d.refresh, "time": object{"from": d.from, "to": "now"},
		"annotations": object{"list": []object{}},
		"links": []object{{
			"type": "dashboards", "tags": []string{"renat"}, "title": "renat", "asDropdown": false,
			"includeVars": true, "keepTime": true, "targetBlank": false,
		}},
		"templating": object{"list": d.choices()},
		"panels":     d.panels(),
	}
}

func (d dashboard) choices() []object {
	all := []object{{
		"name": "datasource", "label": "Data source", "type": "datasource", "query": "prometheus", "current": object{}, "hide": 0,
	}}
	for _, v := range d.variables {
		o := object{
			"name": v.name, "label": v.label, "type": "query", "datasource": prometheus, "current": object{}, "hide": 0,
			"query": object{"query": v.query, "refId": "variable"}, "refresh": 2, "sort": 1,
		}
		if !v.one {
			// .* also takes in series without the label.
			o["includeAll"], o["multi"], o["allValue"] = true, true, ".*"
			o["current"] = object{"text": "All", "value": "$__all"}
		}
		all = append(all, o)
	}
	return all
}

// panels places the panels.
func (d dashboard) panels() (all []object) {
	y := 0
	for _, r := range d.rows {
		all = append(all, object{
			"id": len(all) + 1, "type": "row", "title": r.title, "collapsed": false, "panels": []object{},
			"gridPos": object{"x": 0, "y": y, "w": 24, "h": 1},
		})
		y++
		x, high := 0, 0
		for _, p := range r.panels {
			if x+p.width > 24 {
				x, y, high = 0, y+high, 0
			}
			o := p.object()
			o["id"] = len(all) + 1
			o["gridPos"] = object{"x": x, "y": y, "w": p.width, "h": heights[p.kind]}
			all = append(all, o)
			x, high = x+p.width, max(high, heights[p.kind])
		}
		y += high
	}
	return all
}
