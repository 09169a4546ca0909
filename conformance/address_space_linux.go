package conformance

// The address space as the kernel describes it, and touching it: touching is
// unsafe on purpose. It is sound because it happens through SetPanicOnFault, which
// makes the fault of a goroutine a panic of that goroutine.

import (
	"fmt"
	"os"
	"runtime/debug"
	"strings"

	"pmemlab/pmem2/platform"
)

func addressSpace() ([]MapsEntry, error) {
	text, err := os.ReadFile("/proc/self/maps")
	if err != nil {
		return nil, err
	}
	var entries []MapsEntry
	for line := range strings.Lines(string(text)) {
		var e MapsEntry
		var dev string
		var inode uint64
		line = strings.TrimSuffix(line, "\n")
		if _, err := fmt.Sscanf(line, "%x-%x %s %x %s %d", &e.Start, &e.End, &e.Perms, &e.Offset, &dev, &inode); err != nil {
			return nil, fmt.Errorf("/proc/self/maps: line %q: %w", line, err)
		}
		// The path is what follows the first five fields; it may hold spaces.
		rest := line
		for range 5 {
			_, rest, _ = strings.Cut(strings.TrimLeft(rest, " "), " ")
		}
		e.Path = strings.TrimLeft(rest, " ")
		entries = append(entries, e)
	}
	return entries, nil
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
