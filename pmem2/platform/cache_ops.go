package platform

import (
	"fmt"
	"slices"
	"unsafe"
)

// CacheOps are the cache operations for stores of one granularity on one
// machine: plain functions, on real hardware the assembly routines themselves,
// so that nothing stands between a caller and the instruction.
//
// A range may span adjacent mappings. Every function needs the whole range
// mapped, destinations writable. Nothing outside the range is read or written;
// flushes reach every cache line that holds a byte of it.
// None keeps its arguments: a source may be on the caller's stack.
type CacheOps struct {
	// Instruction names what Flush executes: CLWB, CLFLUSHOPT, CLFLUSH,
	// "DC CVAP", "DC CVAC", or "" where the granularity needs no flush.
	Instruction string
	// ISA is the instruction set that copies and sets are made with.
	ISA ISA
	// NonTemporal says that CopyNT and SetNT store in a non-temporal way, on x86: what
	// they stored waits for a Fence, and for nothing else.
	NonTemporal bool
	// NonTemporalFrom is the length in bytes from which on a copy or set without a
	// hint is to use CopyNT or SetNT; math.MaxUint64 is never.
	NonTemporalFrom uint64
	// Flush writes the cache lines of [p, p+n) back to memory. It is durable
	// only after Fence.
	Flush func(p unsafe.Pointer, n uintptr)
	// Fence waits until what the calling goroutine flushed, and its
	// non-temporal stores, have reached the power-fail protected domain.
	Fence func()
	// Persist is Flush and Fence.
	Persist func(p unsafe.Pointer, n uintptr)
	// Copy is memmove with ordinary stores; nothing is flushed. A destination
	// word of 8 aligned bytes that lies inside the range is stored at once.
	Copy func(dst, src unsafe.Pointer, n uintptr)
	// CopyNT is Copy with non-temporal stores where the CPU has them. What it
	// has to store otherwise it flushes, so that a Fence makes all of it durable.
	CopyNT func(dst, src unsafe.Pointer, n uintptr)
	// Set and SetNT fill the range with a byte, as Copy and CopyNT store.
	Set   func(dst unsafe.Pointer, c byte, n uintptr)
	SetNT func(dst unsafe.Pointer, c byte, n uintptr)
}

// chooseISA is the instruction set that s asks for, or the best one.
func chooseISA(s Settings) (ISA, error) {
	has := ISAs()
	switch {
	case s.ISA == "":
		return has[0], nil
	case slices.Contains(has, s.ISA):
		return s.ISA, nil
	}
	return "", fmt.Errorf("platform: Settings.ISA: %q is none of those that this CPU has: %q", s.ISA, has)
}
