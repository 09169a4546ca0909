package conformance

// The address space as the kernel describes it, and touching it: touching is
// unsafe on purpose. It is sound because it happens through SetPanicOnFault, which
// makes the fault of a goroutine a panic of that goroutine.

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"runtime/debug"
	"strconv"
	"strings"

	"pmemlab/pmem2/platform"
)

func addressSpace() ([]MapsEntry, error) {
	text, err := os.ReadFile("/proc/self/maps")
	if err != nil {
		return nil, err
	}
	entries := make([]MapsEntry, 0, bytes.Count(text, []byte("\n")))
	for line := range strings.Lines(string(text)) {
		e, err := parseMapsEntry(strings.TrimSuffix(line, "\n"))
		if err != nil {
			return nil, fmt.Errorf("/proc/self/maps: line %q: %w", line, err)
		}
		entries = append(entries, e)
	}
	return entries, nil
}

// parseMapsEntry reads "7f00-7f01 rw-s 00001000 00:05 116   /a path", by hand: cases look at
// it thousands of times, and fmt.Sscanf takes as long as the cases.
func parseMapsEntry(line string) (e MapsEntry, err error) {
	addresses, rest, _ := strings.Cut(line, " ")
	first, last, _ := strings.Cut(addresses, "-")
	start, err1 := strconv.ParseUint(first, 16, 64)
	end, err2 := strconv.ParseUint(last, 16, 64)
	perms, rest, _ := strings.Cut(rest, " ")
	offset, rest, _ := strings.Cut(rest, " ")
	off, err3 := strconv.ParseUint(offset, 16, 64)
	_, rest, _ = strings.Cut(rest, " ") // the device
	_, path, _ := strings.Cut(rest, " ")
	return MapsEntry{
		Start: uintptr(start), End: uintptr(end), Perms: perms, Offset: off,
		Path: strings.TrimLeft(path, " "), // it may hold spaces
	}, errors.Join(err1, err2, err3)
}

func faults(addr uintptr, write bool) bool {
	faulted := make(chan bool)
	go func() {
		debug.SetPanicOnFault(true)
		done := false
		defer func() {
			_ = recover()
			faulted <- !done
		}()
		v := load(addr)
		if write {
			store(addr, v)
		}
		done = true
	}()
	return <-faulted
}

// load and store aren't inlined: the compiler drops a load without a use, and a store
// of what was loaded. An atomic store would fault inside of the race detector.
//
//go:noinline
func load(addr uintptr) byte { return *(*byte)(platform.Pointer(addr)) }

//go:noinline
func store(addr uintptr, v byte) { *(*byte)(platform.Pointer(addr)) = v }
