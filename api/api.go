// Package api is the public contract: ostraca.proto, what is generated from it (`make generate`), and its OpenAPI description.
package api

import _ "embed"

const (
	// MaxMessageBytes bounds a request and an answer, as gRPC carries them: what a router takes and gives, and a client has to allow.
	MaxMessageBytes = 32 << 20
	// RequestIDKey is the metadata, and the HTTP header, that carries a request's id: a caller's own, or one that is drawn. It comes back with
	// the answer, and goes on from the router to the nodes.
	RequestIDKey = "x-request-id"
)

//go:generate ./generate.sh

// OpenAPI describes the HTTP paths, as OpenAPI 2.0 in JSON: made of ostraca.proto and openapi.yaml.
//
//go:embed ostraca.swagger.json
var OpenAPI []byte
