// SPDX-License-Identifier: Apache-2.0

package render

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// timeFormats are those of hubble observe, by its names.
var timeFormats = map[string]string{
	"StampMilli":   time.StampMilli,
	"RFC3339":      time.RFC3339,
	"RFC3339Milli": "2006-01-02T15:04:05.000Z07:00",
	"RFC3339Micro": "2006-01-02T15:04:05.000000Z07:00",
	"RFC3339Nano":  "2006-01-02T15:04:05.000000000Z07:00",
	"RFC1123Z":     time.RFC1123Z,
}

// TimeFormats are the names of the formats of times, the default first.
func TimeFormats() []string {
	return []string{"StampMilli", "RFC3339", "RFC3339Milli", "RFC3339Micro", "RFC3339Nano", "RFC1123Z"}
}

// CheckTimeFormat says whether name is one of TimeFormats, or empty.
func CheckTimeFormat(name string) error {
	if name == "" || slices.Contains(TimeFormats(), name) {
		return nil
	}
	return fmt.Errorf("time format %q is not one of %s", name, strings.Join(TimeFormats(), ", "))
}

// Stamp writes a time in a format of TimeFormats; empty: the first.
func Stamp(t time.Time, name string) string {
	if name == "" {
		name = TimeFormats()[0]
	}
	return t.Format(timeFormats[name])
}

func (w *Writer) stamp(t time.Time) string { return Stamp(t.In(w.zone), w.TimeFormat) }
