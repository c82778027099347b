// SPDX-License-Identifier: Apache-2.0

// Package docs holds the project's documents against the project: the command
// lines, flags, make targets, environment variables, metrics, tests, paths and
// links that they name must exist. It also makes the man pages. Only tests use it.
//
//	*.md ──Load──▶ Set ──Commands, Flags──▶ problems   in the tests of cmd/, which know the commands
//	                └────Names, Links, Index──▶ problems   in the tests of this package
//
// What it reads in a page: fenced blocks in sh, bash and console (there, what
// follows "$ "), code spans, links and pictures. A Set does not change once it is
// loaded; any goroutine may use it.
package docs
