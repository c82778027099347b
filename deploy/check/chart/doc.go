// SPDX-License-Identifier: Apache-2.0

// Package chart holds the tests of the Helm chart: it renders a matrix of values
// with Helm's own engine and checks what comes out against the API's schemas,
// against itself, and against the program that is run.
package chart

//go:generate go run ./schemagen
