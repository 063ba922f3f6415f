// Package nodeapi is the wire between nodes and routers of one cluster and one release: node.proto and what is generated from it (`make
// generate`). It is not for users: their contract is package api.
package nodeapi

//go:generate protoc --go_out=. --go_opt=paths=source_relative --go-grpc_out=. --go-grpc_opt=paths=source_relative node.proto
