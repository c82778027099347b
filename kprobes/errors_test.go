// SPDX-License-Identifier: Apache-2.0

package kprobes

import (
	"strings"
	"testing"
)

// Root is never told to be root.
func TestPrivilegeAdvice(t *testing.T) {
	for _, c := range []struct {
		root    bool
		missing []string
		want    string
	}{
		{true, []string{"BPF", "PERFMON"}, "this process lacks BPF and PERFMON although it is root's: give it, or its container, the capabilities"},
		{true, nil, "something else refuses"},
		{false, []string{"PERFMON"}, "this process lacks PERFMON: run as root, or give the process the capabilities"},
		{false, nil, "run as root, or give"},
	} {
		got := privilegeAdvice(c.root, c.missing)
		if !strings.Contains(got, c.want) || c.root && strings.Contains(got, "run as root") {
			t.Errorf("root %v, missing %v: %s", c.root, c.missing, got)
		}
	}
}
