// SPDX-License-Identifier: Apache-2.0

package filter

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// layouts of a time whose zone is that of now: dates, clocks, both, and what
// renat observe prints.
var layouts = []string{
	time.DateOnly, time.DateTime, "2006-01-02 15:04", "2006-01-02T15:04:05", "2006-01-02T15:04",
	time.StampMilli, time.Stamp, time.TimeOnly, "15:04",
}

// parseTime reads a time or how long ago it is. What the text leaves out is
// chosen so that the time is the last one that is not after now.
func parseTime(s string, now time.Time) (time.Time, error) {
	if d, err := parseDuration(s); err == nil {
		return now.Add(-d.Abs()), nil
	}
	if t, err := time.Parse(time.RFC3339, s); err == nil {
		return t, nil
	}
	for _, layout := range layouts {
		if t, err := time.ParseInLocation(layout, s, now.Location()); err == nil {
			return complete(t, now, strings.Contains(layout, "Jan")), nil
		}
	}
	return time.Time{}, fmt.Errorf("is neither a time like 2026-01-02T15:04:05Z, 2026-01-02 or 15:04 nor a duration like 5m or 7d")
}

// complete gives a time without a year this year, one that is not dated today,
// or those before.
func complete(t, now time.Time, dated bool) time.Time {
	if t.Year() != 0 {
		return t
	}
	month, day, ago := t.Month(), t.Day(), func(n int) (years, days int) { return n, 0 }
	if !dated {
		month, day, ago = now.Month(), now.Day(), func(n int) (years, days int) { return 0, n }
	}
	at := func(n int) time.Time {
		years, days := ago(n)
		return time.Date(now.Year()-years, month, day-days, t.Hour(), t.Minute(), t.Second(), t.Nanosecond(), now.Location())
	}
	if this := at(0); !this.After(now) {
		return this
	}
	return at(1)
}

// longUnits are weeks and days before what time.ParseDuration reads.
var longUnits = regexp.MustCompile(`^(?:(\d{1,5})w)?(?:(\d{1,6})d)?(.*)$`)

func parseDuration(s string) (time.Duration, error) {
	m := longUnits.FindStringSubmatch(s)
	if m == nil || m[1]+m[2] == "" {
		return time.ParseDuration(s)
	}
	weeks, _ := strconv.Atoi("0" + m[1]) // digits, few enough
	days, _ := strconv.Atoi("0" + m[2])
	rest := time.Duration(0)
	if m[3] != "" {
		var err error
		if rest, err = time.ParseDuration(m[3]); err != nil {
			return 0, err
		}
	}
	hours := time.Duration(24 * (7*weeks + days))
	if hours > 100*366*24 {
		return 0, fmt.Errorf("%s is more than a century", s)
	}
	return hours*time.Hour + rest, nil
}
