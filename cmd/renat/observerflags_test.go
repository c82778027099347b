// SPDX-License-Identifier: Apache-2.0

package main

import (
	"strings"
	"testing"

	"github.com/renat-project/renat/internal/view/usage"
)

func TestAgentRefusesToShowFlowsToStrangers(t *testing.T) {
	for args, c := range map[string]struct {
		code int
		says string
	}{
		"--observer-listen 0.0.0.0:4245":                                            {usage.Wrong, "needs TLS"},
		"--observer-listen :4245 --observer-tls-cert-file a":                        {usage.Wrong, "go together"},
		"--observer-listen :1 --observer-tls-cert-file a --observer-tls-key-file b": {usage.Wrong, "only clients with a certificate"},
		"--observer-tls-cert-file a --observer-tls-key-file b":                      {usage.Wrong, "no effect"},
		"--observer-listen nothing":                                                 {usage.Wrong, "neither unix:///path nor host:port"},
		"--observer-listen unix:///no/such/folder/s":                                {usage.Failed, "/no/such/folder/s"},
	} {
		got := renat(t, append([]string{"agent", "--listen", "", "--node-name", "n"}, strings.Fields(args)...)...)
		if got.code != c.code || !strings.Contains(got.err, c.says) {
			t.Errorf("%s: exit code %d, want %d and %q:\n%s", args, got.code, c.code, c.says, got.err)
		}
	}
}
