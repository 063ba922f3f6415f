// Package daemon runs a node or a router as a process: flags and one file of the same names -> options -> open -> serve -> drain. What is wrong
// with the configuration is told all at once, at the start; a signal lets requests under way end, and hands leadership over.
package daemon
