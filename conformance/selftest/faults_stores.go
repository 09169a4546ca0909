package selftest

import (
	"errors"
	"math"
	"syscall"
	"unsafe" // the operations of a machine take pointers

	"pmemlab/pmem2"
	"pmemlab/pmem2/platform"
)

// flags is a library whose copies take some flags for others.
func flags(change func(flags pmem2.MemFlags) pmem2.MemFlags) func() *faults {
	return otherwise(func(f *faults) {
		f.memmove = func(m *mapping, dst, src []byte, flags pmem2.MemFlags) error {
			return m.Map.Memmove(dst, src, change(flags))
		}
		f.memcpy = func(m *mapping, dst, src []byte, flags pmem2.MemFlags) error {
			return m.Map.Memcpy(dst, src, change(flags))
		}
		f.memset = func(m *mapping, dst []byte, c byte, flags pmem2.MemFlags) error {
			return m.Map.Memset(dst, c, change(flags))
		}
	})
}

// storeFaults are those of the functions of a map.
func storeFaults() []fault {
	const persist, flush, drain = "pmem2_get_persist_fn/", "pmem2_get_flush_fn/", "pmem2_get_drain_fn/"
	const move, cpy, set = "pmem2_get_memmove_fn/", "pmem2_get_memcpy_fn/", "pmem2_get_memset_fn/"
	const deep, overview, unsafeShutdown = "pmem2_deep_flush/", "libpmem2/", "libpmem2_unsafe_shutdown/"
	noRegionFlush := onMachine(nil, func(m *machine) { m.writeAttr = func(string) bool { return true } })
	fresh := otherwise(func(f *faults) { f.freshFunctions = true })
	deepRange := func(change func(m *mapping, addr uintptr, n uint64) (skip bool)) func() *faults {
		return otherwise(func(f *faults) {
			f.deepFlush = func(m *mapping, addr uintptr, n uint64) error {
				if change(m, addr, n) {
					return nil
				}
				return m.Map.DeepFlushRange(addr, n)
			}
		})
	}
	return []fault{
		{"persist: not the last byte", persist + "persists-range-of-map", false, otherwise(func(f *faults) {
			f.persist = func(m *mapping, b []byte) error { return m.Map.Persist(b[:max(len(b), 1)-1]) }
		})},
		{"persist: without a fence", persist + "is-flush-then-drain", false, otherwise(func(f *faults) {
			f.persist = func(m *mapping, b []byte) error { return m.Map.Flush(b) }
		})},
		{"persist: drains before it flushes", persist + "equivalent-to-flush-plus-drain-calls", false, otherwise(func(f *faults) {
			f.persist = func(m *mapping, b []byte) error {
				_ = m.Map.Drain()
				return m.Map.Flush(b)
			}
		})},
		{"persist: the last line isn't flushed", persist + "durable-on-return", false, onMachine(lineTooFew, nil)},
		{"persist: a page too few is synced", overview + "granularity-page-uses-system-call", false, onMachine(nil, func(m *machine) {
			m.msync = func(addr uintptr, n uint64) (uintptr, uint64, bool) {
				return addr, n - min(n, 4096), n <= 4096
			}
		})},
		{"persist: msync fails and the process ends", persist + "(abort)#1", true, otherwise(func(f *faults) {
			f.persist = func(m *mapping, b []byte) error {
				err := m.Map.Persist(b)
				if errors.Is(err, syscall.EIO) {
					crash()
				}
				return err
			}
		})},
		{"persist: another function each time", persist + "same-function-for-same-map", false, fresh},
		{"persist: only on whole lines", persist + "no-alignment-restriction", false, otherwise(func(f *faults) {
			f.persist = func(m *mapping, b []byte) error {
				if addressOf(b)%64 != 0 {
					return pmem2.ErrAddressUnaligned
				}
				return m.Map.Persist(b)
			}
		})},
		{"persist: without a fence, at BYTE", overview + "granularity-byte-barrier-remains", false, onMachine(noFence(platform.GranularityByte), nil)},
		{"persist: without a fence, at CACHE_LINE", overview + "granularity-cache-line-needs-barrier", false, onMachine(noFence(platform.GranularityCacheLine), nil)},
		{"persist: flushes at BYTE", overview + "granularity-byte-no-flush", false, onMachine(nil, func(m *machine) {
			m.ops[platform.GranularityByte] = m.ops[platform.GranularityCacheLine]
		})},
		{"persist: the whole map", overview + "granularity-cache-line-flushes-lines", false, otherwise(func(f *faults) {
			f.persist = func(m *mapping, b []byte) error { return m.Map.Persist(m.Bytes()) }
		})},
		{"persist: does nothing", unsafeShutdown + "domain-flushed-on-power-failure", false, otherwise(func(f *faults) {
			f.persist = func(*mapping, []byte) error { return nil }
		})},

		{"flush: not the last byte", flush + "flushes-range-of-map", false, otherwise(func(f *faults) {
			f.flush = func(m *mapping, b []byte) error { return m.Map.Flush(b[:max(len(b), 1)-1]) }
		})},
		{"flush: drains", flush + "not-durable-by-itself", false, otherwise(func(f *faults) {
			f.flush = func(m *mapping, b []byte) error { return m.Map.Persist(b) }
		})},
		{"flush: msync fails and the process ends", flush + "(abort)#1", true, otherwise(func(f *faults) {
			f.flush = func(m *mapping, b []byte) error {
				err := m.Map.Flush(b)
				if errors.Is(err, syscall.EIO) {
					crash()
				}
				return err
			}
		})},
		{"flush: does nothing", flush + "unwritten-stores-get-written", false, otherwise(func(f *faults) {
			f.flush = func(*mapping, []byte) error { return nil }
		})},
		{"flush: another function each time", flush + "same-function-for-same-map", false, fresh},
		{"drain: does nothing", drain + "drains-flushes-of-map", false, otherwise(func(f *faults) {
			f.drain = func(*mapping) error { return nil }
		})},
		{"drain: without a fence", drain + "one-call-for-shared-drain", false, onMachine(noFence(platform.GranularityCacheLine), nil)},
		{"drain: another function each time", drain + "same-function-for-same-map", false, fresh},

		{"memmove: forwards in any case", move + "same-result-as-libc", false, otherwise(func(f *faults) {
			f.memmove = func(m *mapping, dst, src []byte, flags pmem2.MemFlags) error {
				for i := range min(len(dst), len(src)) {
					dst[i] = src[i]
				}
				return m.Map.Persist(dst)
			}
		})},
		{"memcpy: a byte too few", cpy + "same-result-as-libc", false, otherwise(func(f *faults) {
			f.memcpy = func(m *mapping, dst, src []byte, flags pmem2.MemFlags) error {
				n := max(len(src), 1) - 1
				return m.Map.Memcpy(dst[:min(n, len(dst))], src[:n], flags)
			}
		})},
		{"memset: a byte too many", set + "same-result-as-libc", false, otherwise(func(f *faults) {
			f.memset = func(m *mapping, dst []byte, c byte, flags pmem2.MemFlags) error {
				if n := len(dst); n > 0 && n < cap(dst) {
					dst = dst[:n+1]
				}
				return m.Map.Memset(dst, c, flags)
			}
		})},
		{"memset: isn't flushed", set + "flushed-on-return", false, otherwise(func(f *faults) {
			f.memset = func(m *mapping, dst []byte, c byte, flags pmem2.MemFlags) error {
				return m.Map.Memset(dst, c, flags|pmem2.MemNoDrain)
			}
		})},
		{"memmove: NODRAIN drains", move + "nodrain-skips-final-drain", false, flags(func(f pmem2.MemFlags) pmem2.MemFlags { return f &^ pmem2.MemNoDrain })},
		{"memmove: NOFLUSH flushes", move + "noflush-no-flush", false, flags(func(f pmem2.MemFlags) pmem2.MemFlags { return f &^ pmem2.MemNoFlush })},
		{"memmove: NOFLUSH drains", move + "noflush-implies-nodrain", false, otherwise(func(f *faults) {
			f.memmove = func(m *mapping, dst, src []byte, flags pmem2.MemFlags) error {
				err := m.Map.Memmove(dst, src, flags)
				if flags&pmem2.MemNoFlush != 0 {
					_ = m.Map.Drain()
				}
				return err
			}
		})},
		{"memmove: TEMPORAL is NONTEMPORAL", move + "temporal", false, flags(func(f pmem2.MemFlags) pmem2.MemFlags {
			if f&pmem2.MemTemporal != 0 {
				f = f&^pmem2.MemTemporal | pmem2.MemNonTemporal
			}
			return f
		})},
		{"memmove: a hint leaves the flush out", move + "remaining-flags-are-hints", false, flags(func(f pmem2.MemFlags) pmem2.MemFlags {
			if f&pmem2.MemWC != 0 {
				f |= pmem2.MemNoDrain
			}
			return f
		})},
		{"memmove: flags that exclude each other will do", move + "exclusive-flags", true, flags(func(f pmem2.MemFlags) pmem2.MemFlags {
			if f&pmem2.MemTemporal != 0 {
				f &^= pmem2.MemNonTemporal
			}
			return f
		})},
		{"memmove: in half words", move + "eight-byte-stores", false, onMachine(halfWords, nil)},
		{"memmove: never non-temporal", move + "nontemporal", false, onMachine(func(_ platform.Granularity, real platform.CacheOps, ops *platform.CacheOps) {
			ops.CopyNT = func(dst, src unsafe.Pointer, n uintptr) { real.Copy(dst, src, n); real.Flush(dst, n) }
		}, nil)},

		{"deep flush: the region isn't told", deep + "most-reliable-domain", false, noRegionFlush},
		{"deep flush: bookkeeping relies on ADR", unsafeShutdown + "deep-flush-for-bookkeeping", false, noRegionFlush},
		{"deep flush: a range that wraps will do", deep + "PMEM2_E_DEEP_FLUSH_RANGE#2", true,
			deepRange(func(_ *mapping, addr uintptr, n uint64) bool { return n > 0 && n-1 > math.MaxUint64-uint64(addr) })},
		{"deep flush: a byte past the end will do", deep + "PMEM2_E_DEEP_FLUSH_RANGE#1", false,
			deepRange(func(m *mapping, addr uintptr, n uint64) bool {
				return addr >= m.Map.Address() && addr+uintptr(n) == m.Map.Address()+uintptr(m.Map.Size())+1
			})},
		{"deep flush: ENOMEM instead of msync's errno", deep + "-errno#1", true, answers("Map.DeepFlushRange", syscall.EIO, syscall.ENOMEM)},
		{"deep flush: nothing at PAGE", deep + "-errno#2", true, deepRange(func(m *mapping, addr uintptr, n uint64) bool {
			inside := addr >= m.Map.Address() && uint64(addr-m.Map.Address())+n <= m.Map.Size()
			return inside && m.Map.StoreGranularity() == pmem2.GranularityPage
		})},
		{"deep flush: ENOMEM where sysfs can't be read", deep + "-errno#3", true, answers("Map.DeepFlushRange", syscall.EACCES, syscall.ENOMEM)},
		{"deep flush: of anonymous memory success", deep + "PMEM2_E_NOSUPP#1", false, answers("Map.DeepFlushRange", pmem2.ErrNoSupp, nil)},
		{"deep flush: a region that isn't found is an I/O error", deep + "PMEM2_E_DAX_REGION_NOT_FOUND#1", false,
			answers("Map.DeepFlushRange", pmem2.ErrDaxRegionNotFound, syscall.EIO)},
	}
}
