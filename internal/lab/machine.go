// SPDX-License-Identifier: Apache-2.0

package lab

import "golang.org/x/sys/unix"

// release returns what uname -r says.
func release() string {
	var u unix.Utsname
	if unix.Uname(&u) != nil {
		return ""
	}
	return unix.ByteSliceToString(u.Release[:])
}
