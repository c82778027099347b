// SPDX-License-Identifier: Apache-2.0

// Package verdict turns incidents of one group into sentences a person can act
// on: what happened, whether Cilium's own repair could have helped, how large
// the NAT map must be and which option sets it. It is pure and safe for
// concurrent use.
package verdict
