// SPDX-License-Identifier: Apache-2.0

package kprobes

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestRealtimeKernelsAreRefused(t *testing.T) {
	rt := filepath.Join(t.TempDir(), "realtime")
	for release, refused := range map[string]bool{
		"6.1.0-28-rt-amd64": true, "6.11.9-rt": true, "5.10.0-33-rt-amd64": true, "(unknown release)": true, "6": true,
		"6.12.0-rt-amd64": false, "6.12-rc1": false, "7.0.1": false,
	} {
		if err := os.WriteFile(rt, []byte("1\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		err := checkRealtime(rt, release)
		if errors.Is(err, ErrRealtime) != refused || refused && !strings.Contains(err.Error(), release) {
			t.Errorf("%s: %v", release, err)
		}
		if err := checkRealtime(rt+".none", release); err != nil {
			t.Errorf("%s without PREEMPT_RT: %v", release, err)
		}
		if err := os.WriteFile(rt, []byte("0\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := checkRealtime(rt, release); err != nil {
			t.Errorf("%s with 0: %v", release, err)
		}
	}
}
