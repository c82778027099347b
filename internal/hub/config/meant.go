// SPDX-License-Identifier: Apache-2.0

package config

import (
	"fmt"
	"reflect"
	"strings"
)

// keys are those of each mapping, by its type's name.
var keys = keysOf(reflect.TypeFor[file](), map[string][]string{})

func keysOf(t reflect.Type, all map[string][]string) map[string][]string {
	for t.Kind() == reflect.Pointer || t.Kind() == reflect.Slice {
		t = t.Elem()
	}
	if t.Kind() != reflect.Struct || all[t.Name()] != nil {
		return all
	}
	for n := range t.NumField() {
		f := t.Field(n)
		all[t.Name()] = append(all[t.Name()], f.Tag.Get("yaml"))
	}
	for n := range t.NumField() {
		keysOf(t.Field(n).Type, all)
	}
	return all
}

// elsewhere are keys of Alertmanager's configuration that have no like here.
var elsewhere = map[string]string{
	"route": "a receiver says itself what it takes, with match and group_by", "routes": "a receiver says itself what it takes, with match and group_by",
	"inhibit_rules": "send to Alertmanager for inhibition", "mute_time_intervals": "send to Alertmanager for silences", "time_intervals": "send to Alertmanager for silences",
	"global": "each receiver has its own settings", "templates": "a receiver has title, text and link",
}

// meant guesses which key of a mapping somebody meant, in words; "" if none is
// like it.
func meant(key, mapping string) string {
	if hint, ok := elsewhere[key]; ok {
		return ": " + hint
	}
	best, least := "", 3 // letters that may differ
	for _, known := range keys[mapping] {
		d := distance(key, known)
		if strings.HasPrefix(known, key+"_") || strings.HasPrefix(key, known+"_") {
			d = 1
		}
		if d < least && d < len(key)/2+1 {
			best, least = known, d
		}
	}
	if best == "" {
		return ""
	}
	return fmt.Sprintf("; did you mean %q?", best)
}

// distance is how many letters to add, leave out, change, or swap with the next
// make b of a.
func distance(a, b string) int {
	rows := [3][]int{make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)}
	for j := range rows[1] {
		rows[1][j] = j
	}
	for i := 1; i <= len(a); i++ {
		before, last, row := rows[(i-1)%3], rows[i%3], rows[(i+1)%3]
		row[0] = i
		for j := 1; j <= len(b); j++ {
			change := 1
			if a[i-1] == b[j-1] {
				change = 0
			}
			row[j] = min(last[j]+1, row[j-1]+1, last[j-1]+change)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
	}
	return rows[(len(a)+1)%3][len(b)]
}
