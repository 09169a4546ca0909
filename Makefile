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
conformance: conformance-binary ## Check every sentence of the manual pages, emulated and on this machine's files; write reports/.
	@./bin/pmemlab-conformance -pmem.target=emulated,files -pmem.procs=auto -pmem.reports=reports $(CONFORMANCE)

# CONFORMANCE holds more flags: make conformance CONFORMANCE='-ginkgo.label-filter=pmem2_map_new'.
.PHONY: conformance-binary
conformance-binary: ## Build bin/pmemlab-conformance, one static program that needs no Go where it runs.
	@CGO_ENABLED=0 $(GO) test -c -ldflags '-s -w' -o bin/pmemlab-conformance ./conformance/suite

.PHONY: libpmem2
libpmem2:
	@pkg-config --exists libpmem2 2>/dev/null || { test "$$(id -u)" = 0 && apt-get update -qq && apt-get install -y -qq libpmem2-dev pkg-config gcc; } || \
	  { echo "this needs the C library's libpmem2-dev and pkg-config; as root make installs them" >&2; exit 1; }

.PHONY: conformance-binary-libpmem2
conformance-binary-libpmem2: libpmem2
	@CGO_ENABLED=1 $(GO) test -c -tags libpmem2 -ldflags '-s -w' -o bin/pmemlab-conformance-libpmem2 ./conformance/suite

.PHONY: conformance-libpmem2
conformance-libpmem2: conformance-binary-libpmem2 ## Check the C library libpmem2 on files; write reports/libpmem2-divergences.md too.
	@./bin/pmemlab-conformance-libpmem2 -pmem.subject=c -pmem.target=files -pmem.procs=auto -pmem.reports=reports/libpmem2 \
	  -pmem.divergences=reports/libpmem2-divergences.md $(CONFORMANCE)

# VM holds more flags: make conformance-vm VM='-parallel 1'; bin/vm -help prints them.
.PHONY: vm-programs
vm-programs: conformance-binary
	@CGO_ENABLED=0 $(GO) build -ldflags '-s -w' -o bin/vm-guest ./ci/vm/guest
	@CGO_ENABLED=0 $(GO) build -o bin/vm ./ci/vm/run
	@CGO_ENABLED=0 $(GO) build -o bin/parity ./ci/parity/run

.PHONY: vm-prepare
vm-prepare: vm-programs
	@./bin/vm prepare

# What the page of conformance-vm shows beside the machines, if it's there.
BESIDE := -with reports/emulated/conformance.json -with reports/vm-adr-libpmem2.json -with reports/libpmem2/conformance.json

.PHONY: conformance-vm
conformance-vm: vm-programs ## Check the same on a real kernel, in virtual machines with ADR and eADR NVDIMMs; write reports/vm.html.
	@test reports/emulated/conformance.json -nt bin/pmemlab-conformance || \
	  ./bin/pmemlab-conformance -pmem.target=emulated -pmem.procs=auto -pmem.reports=reports/emulated
	@./bin/vm -parallel 2 -merged reports/vm.html $(BESIDE) $(VM) adr:conformance eadr:conformance-dax

.PHONY: conformance-vm-libpmem2
conformance-vm-libpmem2: vm-programs conformance-binary-libpmem2 ## Check the C library on the same device DAX and file systems, and tell where it differs.
	@./bin/vm -merged reports/vm.html $(BESIDE) -with reports/vm-adr.json -with reports/vm-eadr.json $(VM) adr:libpmem2

SURVEYED := adr1G:survey eadr:survey nodomain:survey virtio-pmem:survey badblocks:survey tables:survey

.PHONY: conformance-vm-all
conformance-vm-all: vm-programs ## Check what DAX can show on every virtual machine, also without CLWB and CLFLUSHOPT, and on virtio-pmem.
	@./bin/vm -parallel 2 $(VM) adr:conformance eadr:conformance nodomain:conformance-dax virtio-pmem:conformance-dax \
	  tables:conformance-dax noclwb:cpu noclflushopt:cpu

.PHONY: vm-selftest
vm-selftest: ## Check that a virtual machine that panics, hangs, or says nothing is a failure that tells why.
	CGO_ENABLED=0 $(GO) test ./ci/vm -run Broken -v -vm.boot -count=1

.PHONY: parity
parity: vm-programs ## Ask a real kernel and the emulated machine the same questions, and run the same programs on both.
	@rm -rf reports/vm
	@./bin/vm -parallel 2 $(VM) adr:survey,sequences $(SURVEYED)
	@./bin/parity -broken all reports/vm/*/survey.json.gz >reports/parity-broken.txt || { cat reports/parity-broken.txt; exit 1; }
	@./bin/parity reports/vm/*/survey.json.gz

# What continuous integration does of both.
.PHONY: ci-vm
ci-vm: vm-programs
	@rm -rf reports/vm
	@./bin/vm -parallel 2 $(VM) adr:conformance adr:survey,sequences $(SURVEYED:survey=survey-hardware)
	@./bin/parity -broken all reports/vm/*/survey.json.gz >reports/parity-broken.txt || { cat reports/parity-broken.txt; exit 1; }
	@./bin/parity reports/vm/*/survey.json.gz

.PHONY: power-cut
power-cut: vm-programs ## Cut the power of a virtual machine 50 times while it writes, and look what is there after the next boot.
	@./bin/vm $(VM) power-cut

# RUNS runs one after another, each in an order of its own, every other one under the race detector.
RUNS ?= 25
.PHONY: conformance-repeat
conformance-repeat: conformance-binary ## Run the emulated target 25 times in random orders, half of them under the race detector.
	@CGO_ENABLED=1 $(GO) test -c -race -o bin/pmemlab-conformance-race ./conformance/suite
	@set -e; for i in $$(seq $(RUNS)); do \
	  program=bin/pmemlab-conformance; test $$((i % 2)) = 1 || program=bin/pmemlab-conformance-race; \
	  seed=$$(od -An -N4 -tu4 /dev/urandom | tr -d ' '); \
	  printf '%s/%s %s seed %s: ' "$$i" "$(RUNS)" "$$program" "$$seed"; \
	  ./$$program -pmem.procs=auto -ginkgo.randomize-all -ginkgo.seed=$$seed >bin/conformance-repeat.log || { cat bin/conformance-repeat.log; exit 1; }; \
	  tail -n 1 bin/conformance-repeat.log; done

.PHONY: selftest
selftest: ## Check that the suite finds each of a bank of deliberately broken libraries.
	@CGO_ENABLED=0 $(GO) build -o bin/selftest ./conformance/selftest/run
	@./bin/selftest

# FUZZ holds more flags: make fuzz FUZZ='-targets Map,Set'; bin/fuzz native -help prints them.
FUZZTIME ?= 60s
.PHONY: fuzz-programs
fuzz-programs:
	@CGO_ENABLED=0 $(GO) build -o bin/fuzz ./fuzz/run
	@CGO_ENABLED=0 $(GO) test -c -fuzz=. -o bin/fuzz.test ./fuzz

.PHONY: fuzz
fuzz: fuzz-programs ## Fuzz every target for FUZZTIME with the coverage engine, then for 5 s with the fast generator.
	@./bin/fuzz native -time $(FUZZTIME) $(FUZZ)
	@./bin/fuzz fast -time 5s $(FUZZ)

.PHONY: fuzz-fast
fuzz-fast: fuzz-programs ## Fuzz every target for FUZZTIME with the fast generator, on all cores.
	@./bin/fuzz fast -time $(FUZZTIME) $(FUZZ)

.PHONY: fuzz-bank
fuzz-bank: fuzz-programs ## Plant bugs in the libraries and the emulated machine, one by one; each must be found.
	@./bin/fuzz bank $(FUZZ)

# DIFFERENTIAL holds more flags: make fuzz-differential DIFFERENTIAL='-n 1000000 -seed 7'.
.PHONY: fuzz-differential
fuzz-differential: libpmem2 ## Run 200,000 inputs through the C library libpmem2 too, on tmpfs; a difference that the contract doesn't know fails.
	@CGO_ENABLED=1 $(GO) build -tags libpmem2 -o bin/fuzz-differential ./fuzz/differential
	@./bin/fuzz-differential $(DIFFERENTIAL)

.PHONY: fuzz-continuous
fuzz-continuous: fuzz-programs ## Fuzz in slices until interrupted, in the directory fuzz-continuous; the same command goes on.
	@./bin/fuzz continuous $(FUZZ)

.PHONY: fuzz-libfuzzer
fuzz-libfuzzer: ## Build the targets for libFuzzer as OSS-Fuzz does, into bin/libfuzzer, and run each for 5 s; needs clang.
	@rm -rf bin/libfuzzer && mkdir -p bin/libfuzzer && OUT=$$PWD/bin/libfuzzer .clusterfuzzlite/build.sh
	@set -e; cd bin/libfuzzer; for z in *_seed_corpus.zip; do f=$${z%_seed_corpus.zip}; mkdir $$f.corpus; (cd $$f.corpus && unzip -q ../$$z); \
	  ./$$f -max_total_time=5 $$f.corpus >$$f.log 2>&1 || { tail -n 40 $$f.log; exit 1; }; echo "$$f: $$(tail -n 1 $$f.log)"; done

.PHONY: test
# The suite itself is make conformance. What takes long is arithmetic of one goroutine, and
# ten times as long under the race detector: there random programs are fewer, and of the
# packages those alone whose values are shared by goroutines. To collect garbage less often
# is faster.
TESTS = $(filter-out pmemlab/conformance/suite,$(shell $(GO) list ./...))
SHARED := ./ci/bench ./emu ./emu/fault ./emu/internal/... ./pmem2 ./pmem2/platform/ledger ./pmemset
test: ## Run all tests; those of what goroutines share under the race detector too.
	GOGC=400 CGO_ENABLED=0 $(GO) tool gotestsum --format pkgname -- -timeout 30m -count=1 $(TESTS)
	CGO_ENABLED=0 $(GO) test -count=1 -tags naiveplacement -run '^TestHole' ./pmem2
ifeq ($(CC_FOUND),)
	@echo "race detector: skipped, there is no C compiler ($$($(GO) env CC))"
else
	GOGC=400 $(RACE) -short -vet=off -timeout 30m -count=1 $(SHARED)
endif

.PHONY: test-deep
test-deep: ## Run the random tests at length, and all tests under the race detector, about half an hour.
	CGO_ENABLED=0 $(GO) test -timeout 30m -count=1 -run '^TestModel$$' ./pmemset -model.sequences=20000
	CGO_ENABLED=0 $(GO) test -timeout 30m -count=1 -run '^TestLitmusStates$$' ./emu -litmus.programs=2000
	$(RACE) -timeout 60m -count=1 $(filter-out pmemlab/conformance pmemlab/conformance/command pmemlab/conformance/selftest,$(TESTS))

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
