//go:build libfuzzer

// Command libfuzzer is a target for libFuzzer, and so for OSS-Fuzz and ClusterFuzzLite: as a C
// archive, whose entry point the engine calls. Which target it is the linker is told:
//
//	go build -tags libfuzzer -buildmode=c-archive -gcflags=all=-d=libfuzzer -ldflags '-X main.name=Map' -o Map.a ./fuzz/libfuzzer
package main

// #include <stdint.h>
// #include <stdlib.h>
import "C"

import (
	"fmt"
	"os"
	"runtime/debug"
	"unsafe" // the input is C's

	"pmemlab/fuzz"
	"pmemlab/fuzz/fast"
)

var (
	name     string // of the target, set by the linker
	target   fuzz.Target
	instance fuzz.Instance
)

func main() {}

// LLVMFuzzerTestOneInput runs an input. What is wrong ends the process, as the engine wants it.
//
//export LLVMFuzzerTestOneInput
func LLVMFuzzerTestOneInput(data *C.uint8_t, size C.size_t) C.int {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	if instance == nil {
		var err error
		if target, err = fuzz.Find(name); err == nil {
			instance, err = target.New()
		}
		if err != nil {
			give(err.Error())
		}
	}
	input := C.GoBytes(unsafe.Pointer(data), C.int(size))
	if _, err := fast.Try(instance, input); err != nil {
		give(err.Error() + "\n" + fuzz.Reproducer(name, input))
	}
	return 0
}

// give up: the engine takes note of the input when the process aborts.
func give(why string) {
	fmt.Fprintln(os.Stderr, why)
	C.abort()
}
