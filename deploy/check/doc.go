// SPDX-License-Identifier: Apache-2.0

// Package check holds the tests of what is deployed: the Helm chart, the alert
// rules and the dashboards. It is a module of its own, so that Helm, kubeconform
// and Prometheus are no dependencies of renat itself.
package check
