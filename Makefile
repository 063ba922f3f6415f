# Everything here is one command of the Go tool or a script beside the code; `make help` lists it.
GO ?= go
CACHE ?= $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/ostraca
PY = $(CACHE)/venv/bin/python
SHARED ?= ../shared/data

help: ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/'

build: ## bin/ostraca, bin/node and bin/router, static
	CGO_ENABLED=0 $(GO) build -trimpath -o bin/ ./cmd/ostraca ./cmd/node ./cmd/router

test: ## all tests
	$(GO) test ./...

race: ## the concurrent packages under the race detector
	$(GO) test -race ./retrieval/index ./retrieval/encoder ./storage ./consensus/... ./shard/...

soak: ## the simulated cluster for SEEDS (2000) seeds from SEED (1000) on, 30 s of virtual time each, with every fault; FAULT='crash,partition' picks some
	$(GO) test -run '^TestSimulation$$' -timeout 0 -v ./shard/shardtest -seed $(or $(SEED),1000) -seeds $(or $(SEEDS),2000) $(if $(FAULT),-fault '$(FAULT)')

fuzz: ## every fuzz target for FUZZTIME (10s)
	.ci/fuzz $(or $(FUZZTIME),10s)

ci: ## what a submission must pass
	.ci/run

bench: ## the kernels' and the index's benchmarks
	$(GO) test -run '^$$' -bench . -benchtime 300ms ./retrieval/kernel ./retrieval/index

bench-shard: ## writes, restart and snapshot transfer of a replicated shard, with real files
	$(GO) test -run '^$$' -bench 'Write' -benchtime 5s ./shard
	$(GO) test -run '^$$' -bench 'Restart|Transfer' -benchtime 3x ./shard

bench-kill: ## kill -9 of a leader, ten times: the longest time without a successful write, what was lost, what failed
	$(GO) test -run '^$$' -bench LeaderKill -benchtime 10x ./ops/local

bench-peers: ## replicated writes of 20 KiB beside etcd and rqlite, three rounds in turn (builds both; needs a C compiler)
	testdata/peers/run

generate: ## write the kernels' assembly and the wire's code anew (protoc, protoc-gen-go, protoc-gen-go-grpc, protoc-gen-grpc-gateway, protoc-gen-openapiv2)
	$(GO) generate ./retrieval/kernel ./api

golden: $(PY) ## the encoder against onnxruntime's fp32, fetched by its SHA-256, on 9,000 tokens of $(SHARED)/scifact
	rm -rf $(CACHE)/golden && mkdir -p $(CACHE)/golden && head -n 60 $(SHARED)/scifact/corpus.jsonl >$(CACHE)/golden/corpus.jsonl
	$(GO) run ./cmd/ostraca encode $(CACHE)/golden --max-tokens 256 --out $(CACHE)/golden/vectors
	$(PY) retrieval/encoder/bge/check.py $(CACHE)/golden/vectors --limit 9000 --int8

weights: $(PY) ## make the encoder's weights file anew, to the byte
	$(PY) retrieval/encoder/bge/make.py --texts $(SHARED)/techdocs/corpus.jsonl.gz --queries $(SHARED)/techdocs/queries.jsonl --splits $(SHARED)/splits.json

projection: ## fit the encoder's projection anew, to the byte (a minute)
	$(GO) test ./retrieval/encoder/bge -run TestProjectionIsMade -shared $(abspath $(SHARED)) -update

$(PY): retrieval/encoder/bge/requirements.txt
	python3 -m venv $(CACHE)/venv && $(PY) -m pip install -q -r $< && touch $@

.PHONY: help build test race soak fuzz ci bench bench-shard bench-kill bench-peers generate golden weights projection
