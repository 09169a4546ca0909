//go:build !amd64 && !arm64

package platform

import (
	"fmt"
	"unsafe"
)

// ISAs returns the instruction sets that this CPU has for copies and sets.
func ISAs() []ISA { return []ISA{ISAGeneric} }

// detectCacheOps has no flush and no fence to offer: this architecture isn't
// supported, and Host says so on every call.
func detectCacheOps(s Settings) (CacheOps, error) {
	if s.ISA != "" && s.ISA != ISAGeneric {
		return CacheOps{}, fmt.Errorf("%q is none of those that this CPU has: %q", s.ISA, ISAs())
	}
	move := func(dst, src unsafe.Pointer, n uintptr) {
		copy(unsafe.Slice((*byte)(dst), n), unsafe.Slice((*byte)(src), n))
	}
	set := func(dst unsafe.Pointer, c byte, n uintptr) {
		for i := range unsafe.Slice((*byte)(dst), n) {
			unsafe.Slice((*byte)(dst), n)[i] = c
		}
	}
	none := func(unsafe.Pointer, uintptr) {}
	return CacheOps{
		ISA: ISAGeneric, Flush: none, Fence: func() {}, Persist: none,
		Copy: move, CopyNT: move, Set: set, SetNT: set,
	}, nil
}
