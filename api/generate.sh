#!/bin/sh
# Writes what is generated from ostraca.proto. It needs protoc, protoc-gen-go, protoc-gen-go-grpc, protoc-gen-grpc-gateway and
# protoc-gen-openapiv2; the annotations' own .proto files come from the module that last carried them.
set -eu
cd "$(dirname "$0")"
third=$(go mod download -json github.com/grpc-ecosystem/grpc-gateway@v1.16.0 | sed -n 's/.*"Dir": "\(.*\)".*/\1/p')/third_party/googleapis
protoc -I . -I "$third" \
	--go_out=. --go_opt=paths=source_relative \
	--go-grpc_out=. --go-grpc_opt=paths=source_relative \
	--grpc-gateway_out=. --grpc-gateway_opt=paths=source_relative \
	--openapiv2_out=. --openapiv2_opt=json_names_for_fields=false,simple_operation_ids=true,disable_default_errors=true,openapi_configuration=openapi.yaml \
	ostraca.proto
