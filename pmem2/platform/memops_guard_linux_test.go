package platform

import (
	"bytes"
	"runtime"
	"runtime/debug"
	"testing"
	"unsafe"
)

// guarded is memory between two pages without access, so that a stray access on
// either side faults.
func guarded(t *testing.T, n uint64) []byte {
	t.Helper()
	p := Host()
	page := p.PageSize()
	if n%page != 0 {
		t.Fatalf("guarded memory is whole pages, not %d bytes", n)
	}
	base, err := p.Mmap(0, n+2*page, ProtNone, MapPrivate|MapAnonymous, -1, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Munmap(base, n+2*page); err != nil {
			t.Error(err)
		}
	})
	if _, err := p.Mmap(base+uintptr(page), n, ProtRead|ProtWrite, MapPrivate|MapAnonymous|MapFixed, -1, 0); err != nil {
		t.Fatal(err)
	}
	return Bytes(base+uintptr(page), n)
}

// fault calls f and returns the address of the memory fault that stopped it, if one
// did.
func fault(f func()) (addr uintptr, faulted bool) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if r := recover(); r != nil {
			e, ok := r.(interface {
				runtime.Error
				Addr() uintptr
			})
			if !ok {
				panic(r)
			}
			addr, faulted = e.Addr(), true
		}
	}()
	f()
	return 0, false
}

// TestGuard runs every routine on ranges that start right after a page without
// access and on ranges that end right before one, on both sides of a copy.
func TestGuard(t *testing.T) {
	ns := []int{575, 576, 577, 1023, 1024, 1025, 2047, 4095, 4096, 4097, 8191, 8192}
	for n := range 513 {
		ns = append(ns, n)
	}
	variants(t, func(t *testing.T, ops *CacheOps) {
		dst, src := guarded(t, 8192), guarded(t, 8192)
		for i := range src {
			src[i] = byte(i*7 + i>>8)
		}
		call := func(name string, n int, f func()) {
			if addr, faulted := fault(f); faulted {
				t.Fatalf("%s of %d bytes touches %d bytes from the start of the destination's pages, %d from the source's", name, n,
					int(addr-uintptr(at(dst, 0))), int(addr-uintptr(at(src, 0))))
			}
		}
		for _, n := range ns {
			ends := []int{0, len(dst) - n}
			for _, d := range ends {
				for name, f := range copies(ops) {
					for _, s := range ends {
						clear(dst)
						call(name, n, func() { f(at(dst, d), at(src, s), uintptr(n)) })
						if !bytes.Equal(dst[d:d+n], src[s:s+n]) {
							t.Fatalf("%s(dst %d, src %d, n %d) copies something else", name, d, s, n)
						}
					}
				}
				for name, f := range sets(ops) {
					call(name, n, func() { f(at(dst, d), 0xa5, uintptr(n)) })
				}
				call("Flush", n, func() { ops.Flush(at(dst, d), uintptr(n)) })
				call("Persist", n, func() { ops.Persist(at(dst, d), uintptr(n)) })
			}
		}
		ops.Fence()
	})
}

// TestGuardFault: a fault inside a routine is a panic with its address that can be
// recovered, and while it is on its way the collector runs and the stack grows.
func TestGuardFault(t *testing.T) {
	variants(t, func(t *testing.T, ops *CacheOps) {
		dst, src := guarded(t, 8192), guarded(t, 8192)
		check := func(name string, n int, into []byte, f func()) {
			t.Helper()
			addr, faulted := fault(func() {
				defer func() {
					if n == 21 || n == 3000 { // it takes its time
						runtime.GC()
						deepen(200)
					}
				}()
				f()
			})
			past := uintptr(at(into, 0)) + 8192
			// The address of a fault is that of the access or of the page.
			if !faulted || addr < past || addr >= past+4096 {
				t.Errorf("%s of %d bytes past the end at %#x: fault %v at %#x", name, n, past, faulted, addr)
			}
		}
		for _, n := range []int{5, 21, 100, 700, 3000, 8000} {
			over := uintptr(n + 3)
			at0 := len(dst) - n
			for name, f := range copies(ops) {
				check(name+", destination", n, dst, func() { f(at(dst, at0), at(src, 0), over) })
				check(name+", source", n, src, func() { f(at(dst, 0), at(src, at0), over) })
			}
			for name, f := range sets(ops) {
				check(name, n, dst, func() { f(at(dst, at0), 1, over) })
			}
			if flushFaults(ops) {
				over := over + 61 // into the next line
				check("Flush", n, dst, func() { ops.Flush(at(dst, at0), over) })
				check("Persist", n, dst, func() { ops.Persist(at(dst, at0), over) })
			}
		}
	})
}

// flushFaults reports whether a flush of a page without access has to fault: it does
// on every CPU, but qemu's user mode takes DC CVAC for nothing.
func flushFaults(ops *CacheOps) bool {
	if runtime.GOARCH != "arm64" {
		return ops.Instruction != ""
	}
	page, err := Host().Mmap(0, 4096, ProtNone, MapPrivate|MapAnonymous, -1, 0)
	if err != nil {
		return true
	}
	defer Host().Munmap(page, 4096)
	_, faulted := fault(func() { ops.Flush(Pointer(page), 1) })
	return faulted
}

// deepen needs more stack than there is, so that it is moved.
func deepen(n int) byte {
	var a [512]byte
	if n > 0 {
		a[n%512] = deepen(n - 1)
	}
	return a[(n+1)%512]
}

// TestGuardFlush: a flush reaches each line of its range. Where a page without access
// starts at one, the flush of that line is what faults, and not that of a later one;
// with as many flushes as lines, which TestMemOpsStoreTrace counts, each has one.
func TestGuardFlush(t *testing.T) {
	variants(t, func(t *testing.T, ops *CacheOps) {
		if ops.Instruction == "" {
			t.Skip("this granularity flushes nothing")
		}
		if !flushFaults(ops) {
			t.Skipf("%s faults nowhere on this CPU, which no real one does: an emulator", ops.Instruction)
		}
		dst := guarded(t, 8192)
		past := uintptr(at(dst, 0)) + 8192
		for name, flush := range map[string]func(unsafe.Pointer, uintptr){"Flush": ops.Flush, "Persist": ops.Persist} {
			for before := range 40 { // lines of the range before the page
				for _, n := range []int{1, 64, 640} {
					for _, shift := range []int{0, 1, 63} {
						p := at(dst, 8192-64*before)
						if before > 0 {
							p = unsafe.Add(p, shift)
						}
						length := past + uintptr(n) - uintptr(p)
						if addr, faulted := fault(func() { flush(p, length) }); !faulted || addr != past {
							t.Fatalf("%s of %d bytes from %d before a page without access: fault %v at %#x, want %#x",
								name, length, past-uintptr(p), faulted, addr, past)
						}
					}
				}
			}
		}
	})
}

// TestGuardSelf: the guards see what they are there for.
func TestGuardSelf(t *testing.T) {
	dst := guarded(t, 4096)
	for _, i := range []int{-1, 4096} {
		want := uintptr(unsafe.Add(at(dst, 0), i))
		if addr, faulted := fault(func() { *(*byte)(unsafe.Add(at(dst, 0), i)) = 1 }); !faulted || addr != want {
			t.Errorf("a store at %d: fault %v at %#x, want %#x", i, faulted, addr, want)
		}
	}
}
