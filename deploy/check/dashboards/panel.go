// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"strings"
)

func (p panel) object() object {
	o := object{
		"type": p.kind, "title": p.title, "description": p.about, "datasource": prometheus,
		"targets":     p.targets(),
		"fieldConfig": object{"defaults": p.defaults(), "overrides": p.overrides()},
	}
	switch p.kind {
	case "stat":
		o["options"] = object{
			"colorMode": "background", "graphMode": "none", "textMode": "auto", "justifyMode": "auto", "orientation": "auto",
			"reduceOptions": object{"calcs": []string{"lastNotNull"}, "fields": "", "values": false},
		}
	case "timeseries":
		o["options"] = object{
			"legend":  object{"displayMode": "list", "placement": "bottom", "showLegend": true},
			"tooltip": object{"mode": "multi", "sort": "desc"},
		}
	case "table":
		o["options"] = object{"showHeader": true, "footer": object{"enablePagination": true}, "sortBy": []object{{"displayName": p.columns[0].title, "desc": true}}}
		o["transformations"] = p.transformations()
	}
	return o
}

func (p panel) targets() (all []object) {
	for n, q := range p.queries {
		o := object{"refId": ref(n), "datasource": prometheus, "expr": q.expr, "legendFormat": q.legend, "editorMode": "code"}
		switch p.kind {
		case "table":
			o["instant"], o["range"], o["format"] = true, false, "table"
		case "stat":
			o["instant"], o["range"] = true, false
		default:
			o["instant"], o["range"] = false, true
		}
		all = append(all, o)
	}
	return all
}

func ref(n int) string { return string(rune('A' + n)) }

// defaults are unit, thresholds and the style of lines.
func (p panel) defaults() object {
	o := object{"unit": p.unit, "color": object{"mode": "palette-classic"}, "thresholds": p.thresholds(), "mappings": p.mappings()}
	if p.kind == "stat" {
		o["color"] = object{"mode": "thresholds"}
		o["noValue"] = "none"
	}
	if p.kind != "timeseries" {
		return o
	}
	o["min"] = 0
	style := object{"drawStyle": "line", "lineWidth": 1, "fillOpacity": 10, "showPoints": "never", "spanNulls": false,
		"stacking": object{"mode": "none", "group": "A"}, "thresholdsStyle": object{"mode": "off"}}
	if p.stacked {
		style["stacking"], style["fillOpacity"] = object{"mode": "normal", "group": "A"}, 40
	}
	if p.bars {
		style["drawStyle"], style["fillOpacity"] = "bars", 80
	}
	if p.warn > 0 || p.bad > 0 {
		style["thresholdsStyle"] = object{"mode": "dashed"}
	}
	o["custom"] = style
	return o
}

func (p panel) thresholds() object {
	good, bad := "green", "red"
	if p.low {
		good, bad = bad, good
	}
	steps := []object{{"color": good, "value": nil}}
	if p.warn > 0 {
		steps = append(steps, object{"color": "orange", "value": p.warn})
	}
	if p.bad > 0 {
		steps = append(steps, object{"color": bad, "value": p.bad})
	}
	return object{"mode": "absolute", "steps": steps}
}

func (p panel) mappings() []object {
	if p.names == nil {
		return []object{}
	}
	options := object{}
	for value, text := range p.names {
		options[fmt.Sprint(value)] = object{"text": text}
	}
	return []object{{"type": "value", "options": options}}
}

// overrides give each column of a table its unit, and nodes a link.
func (p panel) overrides() []object {
	all := []object{}
	if p.columns == nil {
		return all
	}
	override := func(name string, properties ...object) {
		all = append(all, object{"matcher": object{"id": "byName", "options": name}, "properties": properties})
	}
	for _, c := range p.columns {
		properties := []object{{"id": "unit", "value": c.unit}}
		if c.bad > 0 {
			properties = append(properties,
				object{"id": "thresholds", "value": panel{bad: c.bad}.thresholds()},
				object{"id": "custom.cellOptions", "value": object{"type": "color-text"}},
				object{"id": "color", "value": object{"mode": "thresholds"}})
		}
		override(c.title, properties...)
	}
	override("node", object{"id": "links", "value": []object{{
		"title": "This node", "url": "/d/renat-node?${datasource:queryparam}&${cluster:queryparam}&var-node=${__data.fields.node}&${__url_time_range}",
	}}})
	return all
}

// transformations make one table of all queries, with a row for each set of labels.
func (p panel) transformations() []object {
	names := object{}
	for n, c := range p.columns {
		names["Value #"+ref(n)] = c.title
	}
	return []object{
		{"id": "merge", "options": object{}},
		{"id": "organize", "options": object{"excludeByName": object{"Time": true}, "renameByName": names}},
	}
}

// stat, lines and table begin a panel.
func stat(title, about, unit string, width int, q ...query) panel {
	return panel{kind: "stat", title: title, about: about, unit: unit, width: width, queries: q}
}

func lines(title, about, unit string, width int, q ...query) panel {
	return panel{kind: "timeseries", title: title, about: about, unit: unit, width: width, queries: q}
}

// in completes a query: $s stands for the choices on top, as matchers.
func in(scope, expr string) string { return strings.ReplaceAll(expr, "$s", scope) }

// bad, near, above, bars, stacked and named change a panel.
func bad(from float64, p panel) panel               { p.bad = from; return p }
func near(warn, from float64, p panel) panel        { p.warn, p.bad = warn, from; return p }
func above(from float64, p panel) panel             { p.bad, p.low = from, true; return p }
func bars(p panel) panel                            { p.stacked, p.bars = true, true; return p }
func stacked(p panel) panel                         { p.stacked = true; return p }
func named(names map[float64]string, p panel) panel { p.names = names; return p }
