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
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: conformance
conformance: ## Check every sentence of the manual pages, emulated and on this machine's files; write reports/.
	@CGO_ENABLED=0 $(GO) test -c -o bin/conformance.test ./conformance
	@./bin/conformance.test -pmem.reports=reports

.PHONY: test
# The cases of the conformance suite run one after another, and would take five times as
# long under the race detector; the packages that they run have concurrent tests of their own.
test: ## Run all tests, under the race detector where there is a C compiler.
ifeq ($(CC_FOUND),)
	@echo "race detector: skipped, there is no C compiler ($$($(GO) env CC))"
endif
	$(RACE) -count=1 $(filter-out %/conformance,$(shell $(GO) list ./...))
	CGO_ENABLED=0 $(GO) tool gotestsum --format pkgname -- -count=1 ./conformance
	CGO_ENABLED=0 $(GO) test -count=1 -tags naiveplacement -run '^TestHole' ./pmem2

# The memory operations as an arm64 CPU executes them. Debian's qemu-user and
# qemu-user-static hold the same emulator under two names. The Cortex-A72 has no
# DC CVAP, which qemu's user mode can't execute: DC CVAC is what is tested.
QEMU_ARM64 := $(firstword $(shell command -v qemu-aarch64 2>/dev/null) $(shell command -v qemu-aarch64-static 2>/dev/null))

.PHONY: test-arm64
test-arm64: ## Run the tests of the memory operations for arm64 under qemu-user.
ifeq ($(QEMU_ARM64),)
	@echo "test-arm64 needs qemu-aarch64 or qemu-aarch64-static: apt-get install qemu-user-static" >&2; exit 1
else
	@CGO_ENABLED=0 GOOS=linux GOARCH=arm64 $(GO) test -c -o bin/platform-arm64.test ./pmem2/platform
	@cd pmem2/platform && $(QEMU_ARM64) -cpu cortex-a72 ../../bin/platform-arm64.test -test.short \
	  -test.run 'MemOps|Overlap|Guard|Atomic8|Settings|NewHost|CacheOps' -test.skip StoreTrace
endif

.PHONY: bench
bench: ## Run the benchmarks, then compare with C's libpmem2 and the bare instructions; write reports/bench.json.
	CGO_ENABLED=0 $(GO) test -run '^$$' -bench . -benchtime 100ms -benchmem ./pmem2/... ./pmemset
	@$(MAKE) --no-print-directory bench-c

# BENCH holds more flags: make bench-c BENCH='-run memset/1MiB -seed 1'; bin/bench -help prints them.
.PHONY: bench-c
bench-c: ## Only the comparison with C and the bare instructions, about 4 minutes.
	@CGO_ENABLED=0 $(GO) build -o bin/bench ./ci/bench
	@./bin/bench -text reports/bench.txt -json reports/bench.json $(BENCH)

.PHONY: bench-check
bench-check: override BENCH += -check
bench-check: bench-c ## The same, failing if a row is behind C and not at the limit.

# BENCH: bin/bench crash -help prints the flags.
.PHONY: bench-crash
bench-crash: ## Measure what the emulated machine's memory of power failures costs; write reports/bench-crash.json.
	@CGO_ENABLED=0 $(GO) build -o bin/bench ./ci/bench
	@./bin/bench crash -text reports/bench-crash.txt -json reports/bench-crash.json $(BENCH)

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
