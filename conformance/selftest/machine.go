package selftest

import (
	"unsafe" // the operations of a machine take pointers

	"pmemlab/pmem2"
	"pmemlab/pmem2/platform"
)

// machine is one that doesn't do all that it is asked for. What is nil is done.
type machine struct {
	platform.Platform
	ops       [pmem2.GranularityPage + 1]*platform.CacheOps
	msync     func(addr uintptr, length uint64) (addr2 uintptr, length2 uint64, skip bool)
	mmap      func(prot, flags int) (prot2, flags2 int)
	munmap    func(addr uintptr, length uint64) (skip bool)
	writeAttr func(path string) (skip bool)
}

// onMachine puts the library on a machine that is changed by change, whose cache
// operations are changed by ops; both may be nil.
func onMachine(ops func(g platform.Granularity, real platform.CacheOps, ops *platform.CacheOps), change func(m *machine)) func() *faults {
	return otherwise(func(f *faults) {
		f.machine = func(p platform.Platform) platform.Platform {
			m := &machine{Platform: p}
			for g := range m.ops {
				real := p.CacheOps(platform.Granularity(g))
				own := *real
				if ops != nil {
					ops(platform.Granularity(g), *real, &own)
				}
				m.ops[g] = &own
			}
			if change != nil {
				change(m)
			}
			return m
		}
	})
}

func (m *machine) CacheOps(g platform.Granularity) *platform.CacheOps {
	if !g.Valid() {
		return nil
	}
	return m.ops[g]
}

func (m *machine) Msync(addr uintptr, length uint64, flags int) error {
	if m.msync != nil {
		skip := false
		if addr, length, skip = m.msync(addr, length); skip {
			return nil
		}
	}
	return m.Platform.Msync(addr, length, flags)
}

func (m *machine) Mmap(addr uintptr, length uint64, prot, flags, fd int, off int64) (uintptr, error) {
	if m.mmap != nil && fd >= 0 {
		prot, flags = m.mmap(prot, flags)
	}
	return m.Platform.Mmap(addr, length, prot, flags, fd, off)
}

func (m *machine) Munmap(addr uintptr, length uint64) error {
	if m.munmap != nil && m.munmap(addr, length) {
		return nil
	}
	return m.Platform.Munmap(addr, length)
}

func (m *machine) WriteAttr(path, text string) error {
	if m.writeAttr != nil && m.writeAttr(path) {
		return nil
	}
	return m.Platform.WriteAttr(path, text)
}

// noFence leaves out fences at one granularity.
func noFence(at platform.Granularity) func(g platform.Granularity, real platform.CacheOps, ops *platform.CacheOps) {
	return func(g platform.Granularity, real platform.CacheOps, ops *platform.CacheOps) {
		if g == at {
			ops.Fence, ops.Persist = func() {}, real.Flush
		}
	}
}

// lineTooFew leaves out the last line of what is flushed.
func lineTooFew(_ platform.Granularity, real platform.CacheOps, ops *platform.CacheOps) {
	shorter := func(flush func(p unsafe.Pointer, n uintptr)) func(p unsafe.Pointer, n uintptr) {
		return func(p unsafe.Pointer, n uintptr) {
			last := (uintptr(p) + max(n, 1) - 1) &^ 63 // where the last line begins
			if last <= uintptr(p) {
				return
			}
			flush(p, last-uintptr(p))
		}
	}
	ops.Flush, ops.Persist = shorter(real.Flush), func(p unsafe.Pointer, n uintptr) {
		shorter(real.Flush)(p, n)
		real.Fence()
	}
}

// halfWords makes copies of four bytes at a time.
func halfWords(_ platform.Granularity, real platform.CacheOps, ops *platform.CacheOps) {
	torn := func(store func(dst, src unsafe.Pointer, n uintptr)) func(dst, src unsafe.Pointer, n uintptr) {
		return func(dst, src unsafe.Pointer, n uintptr) {
			for i := uintptr(0); i < n; i += 4 {
				store(unsafe.Add(dst, i), unsafe.Add(src, i), min(4, n-i))
			}
		}
	}
	ops.Copy, ops.CopyNT = torn(real.Copy), torn(real.CopyNT)
}
