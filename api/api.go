// Package api is the public contract: ostraca.proto and what is generated from it (`make generate`).
package api
