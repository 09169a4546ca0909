# Everything a developer or a CI job runs. Go and make are all that is needed.

GO ?= go
# The race detector needs cgo, so a C compiler; everything else is built without.
CC_FOUND := $(shell command -v "$$($(GO) env CC | cut -d' ' -f1)" 2>/dev/null)
ifneq ($(CC_FOUND),)
RACE := CGO_ENABLED=1 $(GO) tool gotestsum --format pkgname -- -race
else
RACE := CGO_ENABLED=0 $(GO) tool gotestsum --format pkgname --
endif

.DEFAULT_GOAL := help
.PHONY: help
help: ## Say what there is to make.
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: conformance
conformance: ## Check every sentence of the manual pages, emulated and on this machine's files; write reports/.
	@CGO_ENABLED=0 $(GO) test -c -o bin/conformance.test ./conformance
	@./bin/conformance.test -pmem.reports=reports

.PHONY: test
test: ## Run all tests, under the race detector where there is a C compiler.
ifeq ($(CC_FOUND),)
	@echo "race detector: skipped, there is no C compiler ($$($(GO) env CC))"
endif
	$(RACE) -count=1 ./...
	CGO_ENABLED=0 $(GO) test -count=1 -tags naiveplacement -run '^TestHole' ./pmem2

.PHONY: bench
bench: ## Run the benchmarks.
	CGO_ENABLED=0 $(GO) test -run '^$$' -bench . -benchmem ./pmem2/...

CROSS := linux/amd64 linux/arm64 darwin/amd64 darwin/arm64 windows/amd64

.PHONY: cross
cross: ## Compile and vet, tests too, for each operating system and architecture.
	@set -e; for t in $(CROSS); do echo "$$t"; \
	  CGO_ENABLED=0 GOOS=$${t%/*} GOARCH=$${t#*/} $(GO) build ./... ; \
	  CGO_ENABLED=0 GOOS=$${t%/*} GOARCH=$${t#*/} $(GO) vet ./... ; done

.PHONY: lint
lint: ## Run golangci-lint with .golangci.yml.
	$(GO) run github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0 run ./...

.PHONY: clean
clean: ## Remove what the other targets have made.
	rm -rf bin reports
