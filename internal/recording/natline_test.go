// SPDX-License-Identifier: Apache-2.0

package recording

import (
	"encoding/json"
	"path/filepath"
	"testing"
)

// natSamples are lines as they are written, and some that are only almost so.
func natSamples(t testing.TB) (all []string) {
	t.Helper()
	files, err := filepath.Glob("testdata/*/nat.jsonl.gz")
	if err != nil || len(files) == 0 {
		t.Fatalf("no recordings: %v", err)
	}
	for _, name := range files {
		rec := &Recording{}
		f, err := rec.open(name)
		if err != nil {
			t.Fatal(err)
		}
		err = eachLine(f, func(_ int, line []byte, err error) error {
			all = append(all, string(line))
			return err
		})
		f.Close()
		if err != nil {
			t.Fatal(err)
		}
	}
	return all
}

var natOddities = []string{
	`{}`, ``, `{"op":"insert"}`, `{"op":"insert"} `, ` {"op":"insert"}`, `{"op":"insert",}`, `{"op":"a","op":"b"}`, `{"OP":"a"}`, `{"op":null}`, `{"op":5}`,
	`{"op":"\u0061"}`, `{"op":"é"}`, "{\"op\":\"\xff\"}", `{"cpu":65535}`, `{"cpu":70000}`, `{"cpu":9999}`, `{"cpu":01}`, `{"cpu":1.0}`, `{"cpu":1e2}`, `{"cpu":-1}`,
	`{"flags":256}`, `{"flags":99}`, `{"errno":-1}`, `{"errno":17}`, `{"forced":true}`, `{"forced":truex}`, `{"forced":1}`, `{"ktime_ns":18446744073709551615}`,
	`{"ktime_ns":999999999999999999}`, `{"max_entries":4294967295}`, `{"unknown":{"a":[]}}`, `{"op":"lost","source":"x","count":1}`, `[]`, `{"op"}`, `{"op":"x"}}`,
}

func compareNATLine(t *testing.T, line string) (fast bool) {
	t.Helper()
	var got, want natLine
	if fast = got.parse([]byte(line)); !fast {
		return false
	}
	if err := json.Unmarshal([]byte(line), &want); err != nil || got != want {
		t.Errorf("%q: got %+v, want %+v, %v", line, got, want, err)
	}
	return true
}

func TestNATLines(t *testing.T) {
	for _, line := range natSamples(t) {
		if !compareNATLine(t, line) {
			t.Errorf("left to encoding/json: %s", line)
		}
	}
	for _, line := range natOddities {
		compareNATLine(t, line)
	}
}
