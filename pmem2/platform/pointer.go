package platform

import "unsafe"

// Pointer turns an address that Mmap returned into a pointer. Such memory is
// not Go's: the collector neither moves nor frees it, which is why hiding the
// conversion from vet is sound. It must not be used on addresses of Go objects.
func Pointer(addr uintptr) unsafe.Pointer {
	return *(*unsafe.Pointer)(unsafe.Pointer(&addr))
}

// Bytes is the mapped memory [addr, addr+n) as a slice.
func Bytes(addr uintptr, n uint64) []byte {
	return unsafe.Slice((*byte)(Pointer(addr)), n)
}
