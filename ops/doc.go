// Package ops is what it takes to operate a process of a cluster, whatever it does: structured logs, one id a request through all processes, a limit
// on what is under way, metrics with stable names (docs/metrics.md), and readiness that says what is missing.
package ops

// Version is the release that CHANGELOG.md names.
const Version = "0.1.0-dev"
