// Package api is the public contract: ostraca.proto, what is generated from it (`make generate`), and its OpenAPI description.
package api

import _ "embed"

//go:generate ./generate.sh

// OpenAPI describes the HTTP paths, as OpenAPI 2.0 in JSON: made of ostraca.proto and openapi.yaml.
//
//go:embed ostraca.swagger.json
var OpenAPI []byte
