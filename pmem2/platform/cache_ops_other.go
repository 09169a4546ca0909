//go:build !amd64 && !arm64

package platform

import "unsafe"

// ISAs returns the instruction sets that this CPU has for copies and sets.
func ISAs() []ISA { return []ISA{ISAGeneric} }

// detectCacheOps has no flush and no fence to offer: this architecture isn't
// supported, and Host says so on every call.
func detectCacheOps(s Settings) (line, protected CacheOps, err error) {
	isa, err := chooseISA(s)
	if err != nil {
		return line, protected, err
	}
	none := func(unsafe.Pointer, uintptr) {}
	ops := CacheOps{
		ISA: isa, Flush: none, Fence: func() {}, Persist: none,
		Copy: generic.copy, CopyNT: generic.copy, Set: generic.set, SetNT: generic.set,
	}
	return ops, ops, nil
}
