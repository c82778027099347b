// SPDX-License-Identifier: Apache-2.0

// Package filter chooses incidents: one definition of what the flags of renat
// observe, the parameters of the HTTP API and the address of its page mean.
//
// A Filter that nobody changes may be used from any goroutine.
package filter
