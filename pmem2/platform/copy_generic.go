package platform

import (
	"encoding/binary"
	"unsafe"
)

// The copies and sets in Go alone, which the assembly is compared with. The pointers
// are those of the caller's ranges: nothing outside is formed or touched. The race
// detector sees them as little as it sees the assembly.

type (
	copyFunc = func(dst, src unsafe.Pointer, n uintptr)
	setFunc  = func(dst unsafe.Pointer, c byte, n uintptr)
)

// routines are the ordinary stores of an instruction set.
type routines struct {
	copy copyFunc
	set  setFunc
}

var generic = routines{copyGeneric, setGeneric}

// flushed is what takes the place of non-temporal stores: ordinary ones, then flush.
func (r routines) flushed(flush func(unsafe.Pointer, uintptr)) (copyFunc, setFunc) {
	return func(dst, src unsafe.Pointer, n uintptr) {
			r.copy(dst, src, n)
			flush(dst, n)
		}, func(dst unsafe.Pointer, c byte, n uintptr) {
			r.set(dst, c, n)
			flush(dst, n)
		}
}

// edges are how many bytes of [p, p+n) come before the first word, which is 8 bytes
// at a multiple of 8, and how many are whole words.
func edges(p unsafe.Pointer, n uintptr) (head, words uintptr) {
	head = min(-uintptr(p)&7, n)
	return head, (n - head) &^ 7
}

// copyGeneric goes upwards or, if dst starts inside the source, downwards.
//
//go:norace
func copyGeneric(dst, src unsafe.Pointer, n uintptr) {
	head, words := edges(dst, n)
	if uintptr(dst)-uintptr(src) < n {
		copyDown(dst, src, n, head, words)
		return
	}
	i := uintptr(0)
	for ; i < head; i++ {
		copyByte(dst, src, i)
	}
	for ; i < head+words; i += 8 {
		copyWord(dst, src, i)
	}
	for ; i < n; i++ {
		copyByte(dst, src, i)
	}
}

//go:norace
func copyDown(dst, src unsafe.Pointer, n, head, words uintptr) {
	i := n
	for ; i > head+words; i-- {
		copyByte(dst, src, i-1)
	}
	for ; i > head; i -= 8 {
		copyWord(dst, src, i-8)
	}
	for ; i > 0; i-- {
		copyByte(dst, src, i-1)
	}
}

func copyByte(dst, src unsafe.Pointer, i uintptr) {
	*(*byte)(unsafe.Add(dst, i)) = *(*byte)(unsafe.Add(src, i))
}

// copyWord copies a word of dst; src may have any alignment.
func copyWord(dst, src unsafe.Pointer, i uintptr) {
	*(*uint64)(unsafe.Add(dst, i)) = binary.NativeEndian.Uint64((*[8]byte)(unsafe.Add(src, i))[:])
}

//go:norace
func setGeneric(dst unsafe.Pointer, c byte, n uintptr) {
	head, words := edges(dst, n)
	i := uintptr(0)
	for ; i < head; i++ {
		*(*byte)(unsafe.Add(dst, i)) = c
	}
	word := uint64(c) * 0x0101010101010101
	for ; i < head+words; i += 8 {
		*(*uint64)(unsafe.Add(dst, i)) = word
	}
	for ; i < n; i++ {
		*(*byte)(unsafe.Add(dst, i)) = c
	}
}
