// Package api is the wire contract: the .proto files and what is generated from them (`make generate`).
package api

//go:generate protoc --go_out=. --go_opt=paths=source_relative --go-grpc_out=. --go-grpc_opt=paths=source_relative node.proto
