// SPDX-License-Identifier: Apache-2.0

// Package config reads the hub's configuration: one YAML file with a flat list
// of receivers. Everything wrong with it is found when it is read, with the
// line; a key it does not know is wrong. Secrets are not in it, but named: a
// file or an environment variable, which is read each time it is needed, so
// that it can be rotated.
package config
