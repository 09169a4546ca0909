//go:build !amd64 && !arm64

package platform

import "unsafe"

// detectCacheOps has no flush and no fence to offer: this architecture isn't
// supported, and Host says so on every call.
func detectCacheOps() CacheOps {
	move := func(dst, src unsafe.Pointer, n uintptr) {
		copy(unsafe.Slice((*byte)(dst), n), unsafe.Slice((*byte)(src), n))
	}
	set := func(dst unsafe.Pointer, c byte, n uintptr) {
		for i := range unsafe.Slice((*byte)(dst), n) {
			unsafe.Slice((*byte)(dst), n)[i] = c
		}
	}
	none := func(unsafe.Pointer, uintptr) {}
	return CacheOps{Flush: none, Fence: func() {}, Copy: move, CopyNT: move, Set: set, SetNT: set}
}
