#!/bin/bash -eu
# Builds each fuzz target as a program for libFuzzer, with the corpora of the tree as seeds. OSS-Fuzz and
# ClusterFuzzLite set the variables; `make fuzz-libfuzzer` does elsewhere.
: "${OUT:?is where the programs go}" "${CXX:=clang++}" "${CXXFLAGS:=}" "${LIB_FUZZING_ENGINE:=-fsanitize=fuzzer}"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
go build -o "$work/fuzz" ./fuzz/run
for target in $("$work/fuzz" targets); do
  CGO_ENABLED=1 go build -tags libfuzzer -buildmode=c-archive -gcflags=all=-d=libfuzzer \
    -ldflags "-X main.name=$target" -o "$work/$target.a" ./fuzz/libfuzzer
  # shellcheck disable=SC2086 # these hold several words
  $CXX $CXXFLAGS $LIB_FUZZING_ENGINE "$work/$target.a" -o "$OUT/Fuzz$target"
  "$work/fuzz" seeds -o "$OUT/Fuzz${target}_seed_corpus.zip" "$target"
done
