// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"fmt"
	"strings"

	"golang.org/x/sys/unix"
)

// needed are the capabilities that the laboratory cannot do without.
var needed = []struct {
	bit  uint
	name string
}{
	{unix.CAP_NET_ADMIN, "NET_ADMIN"}, // links and TC
	{unix.CAP_SYS_ADMIN, "SYS_ADMIN"}, // namespaces and the file system for pins
	{unix.CAP_BPF, "BPF"},
	{unix.CAP_PERFMON, "PERFMON"},
}

// checkCapabilities names those that the process lacks.
func checkCapabilities() error {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData // 32 capabilities each
	if err := unix.Capget(&header, &data[0]); err != nil {
		return fmt.Errorf("asking for this process's capabilities: %w", err)
	}
	var missing []string
	for _, c := range needed {
		if data[c.bit/32].Effective&(1<<(c.bit%32)) == 0 {
			missing = append(missing, c.name)
		}
	}
	if len(missing) > 0 {
		return fmt.Errorf("run it as root (sudo): this process lacks the capabilities %s", strings.Join(missing, ", "))
	}
	return nil
}
