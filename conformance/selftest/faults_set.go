package selftest

import (
	"errors"
	"math"
	"strings"
	"syscall"

	"pmemlab/conformance"
	"pmemlab/pmem2"
	"pmemlab/pmem2/platform"
	"pmemlab/pmemset"
)

// covers reports whether a part map of the set has a byte of [addr, addr+n).
func (s *set) covers(addr uintptr, n uint64) bool {
	for _, d := range s.parts() {
		if d.Addr < addr+uintptr(n) && addr < d.Addr+uintptr(d.Size) {
			return true
		}
	}
	return false
}

// parts are the part maps of the healthy set.
func (s *set) parts() (all []pmemset.PartDescriptor) {
	for m := s.Set.FirstPartMap(); m != nil; {
		all = append(all, m.Descriptor())
		next := s.Set.NextPartMap(m)
		m.Drop()
		m = next
	}
	return all
}

// leakAbove leaves the reference count raised of the part map that lies next above a
// range in a hole, as C does.
func (s *set) leakAbove(addr uintptr, n uint64) {
	if s.covers(addr, n) {
		return
	}
	for _, d := range s.parts() {
		if d.Addr > addr {
			_, _ = s.Set.PartMapByAddress(d.Addr)
			return
		}
	}
}

// never reports whether the set hasn't mapped anything.
func (s *set) never() bool { return s.previous() == pmemset.PartDescriptor{} }

// setFaultsOfPages are those of sets and their configs, of looking up and removing
// parts, and of what is stored in them.
func setFaultsOfPages() []fault {
	const configs, states, setGranularity = "pmemset_config_new/", "pmemset_config_set_acceptable_states/", "pmemset_config_set_required_store_granularity/"
	const reservations, sets, overview = "pmemset_config_set_reservation/", "pmemset_new/", "libpmemset/"
	const granularity, first, next = "pmemset_get_store_granularity/", "pmemset_first_part_map/", "pmemset_next_part_map/"
	const byAddress, drop, removePart, removeRange = "pmemset_part_map_by_address/", "pmemset_part_map_drop/", "pmemset_remove_part_map/", "pmemset_remove_range/"
	const persist, flush, drain, deep, move = "pmemset_persist/", "pmemset_flush/", "pmemset_drain/", "pmemset_deep_flush/", "pmemset_memmove/"
	const message, perror = "pmemset_errormsg/", "pmemset_perror/"
	return []fault{
		{"set log: written without debugging", overview + "log-only-in-debug-build", false, otherwise(func(f *faults) {
			f.newSet = func(l *setLibrary, cfg conformance.SetConfig) (conformance.Set, error) {
				logged("PMEMSET_LOG_LEVEL", "PMEMSET_DEBUG")
				return l.SetLibrary.NewSet(bare(cfg))
			}
		})},
		{"set config: usable when deleted", "pmemset_config_delete/frees-and-nulls", false, otherwise(func(f *faults) {
			f.deleteSetConfig = func(*setConfig) error { return nil }
		})},
		{"set config: always the same", configs + "creates-config", false, otherwise(func(f *faults) {
			f.newSetConfig = func(l *setLibrary) (conformance.SetConfig, error) {
				c, err := l.SetLibrary.NewSetConfig()
				one, _ := f.objects.LoadOrStore("the set config", c)
				return one.(conformance.SetConfig), err
			}
		})},
		{"states: an unknown bit will do", states + "PMEMSET_E_INVALID_PART_STATES#1", false, answers("SetConfig.SetAcceptableStates", pmemset.ErrInvalidPartStates, nil)},
		{"states: OK alone by default", states + "default-ok-and-already-open", false, setsWith(func(c conformance.SetConfig) { _ = c.SetAcceptableStates(pmemset.PartStateOK) })},
		{"states: those that are set are ignored", states + "compared-during-map", false, otherwise(func(f *faults) {
			f.acceptStates = func(*setConfig, pmemset.PartState) error { return nil }
		})},
		{"set granularity: any value will do", setGranularity + "PMEMSET_E_GRANULARITY_NOT_SUPPORTED#1", false, answers("SetConfig.SetRequiredStoreGranularity", pmemset.ErrGranularityNotSupported, nil)},
		{"set granularity: PAGE whatever is asked", setGranularity + "sets-maximum-for-set", false, otherwise(func(f *faults) {
			f.requireOfSet = func(c *setConfig, g pmem2.Granularity) error {
				if g >= 0 {
					g = max(g, pmem2.GranularityPage)
				}
				return c.SetConfig.SetRequiredStoreGranularity(g)
			}
		})},
		{"set reservation: ignored", reservations + "every-part-goes-there", false, otherwise(func(f *faults) {
			f.reserveForSet = func(*setConfig, conformance.Reservation) error { return nil }
		})},
		{"set: comes with the error", sets + "PMEMSET_E_GRANULARITY_NOT_SET#1", true, otherwise(func(f *faults) {
			f.newSet = func(l *setLibrary, cfg conformance.SetConfig) (conformance.Set, error) {
				s, err := l.SetLibrary.NewSet(bare(cfg))
				if errors.Is(err, pmemset.ErrGranularityNotSet) {
					own, _ := l.SetLibrary.NewSetConfig()
					_ = own.SetRequiredStoreGranularity(pmem2.GranularityPage)
					s, _ = l.SetLibrary.NewSet(own)
				}
				return s, err
			}
		})},
		{"set: PAGE by default", sets + "null-on-failure", false, setsWith(func(c conformance.SetConfig) { _ = c.SetRequiredStoreGranularity(pmem2.GranularityPage) })},
		{"set: a failing unmap is told", "pmemset_delete/0#1", true, otherwise(func(f *faults) {
			f.machine = func(p platform.Platform) platform.Platform { return &unmapWatch{p, f} }
			f.deleteSet = func(s *set) error {
				f.objects.Delete("failed unmap")
				err := s.Set.Delete()
				if failed, ok := f.objects.Load("failed unmap"); ok && err == nil {
					return failed.(error)
				}
				return err
			}
		})},
		{"set: usable when deleted", "pmemset_delete/frees-and-nulls", false, otherwise(func(f *faults) {
			f.deleteSet = func(*set) error { return nil }
		})},
		{"granularity of a set: survives the parts", granularity + "PMEMSET_E_NO_PART_MAPPED#2", true, otherwise(func(f *faults) {
			f.granularityOfSet = func(s *set) (pmem2.Granularity, error) {
				g, err := s.Set.StoreGranularity()
				if err == nil {
					f.objects.Store([2]any{"granularity", s}, g)
				} else if old, ok := f.objects.Load([2]any{"granularity", s}); ok {
					return old.(pmem2.Granularity), nil
				}
				return g, err
			}
		})},
		{"granularity of a set: PAGE before any part", granularity + "needs-a-mapped-part", false, answers("Set.StoreGranularity", pmemset.ErrNoPartMapped, nil)},
		{"granularity of a set: the required one", granularity + "effective-granularity", false, otherwise(func(f *faults) {
			f.granularityOfSet = func(s *set) (pmem2.Granularity, error) {
				_, err := s.Set.StoreGranularity()
				return pmem2.GranularityPage, err
			}
		})},

		{"first part: that which was mapped last", first + "first-of-set", false, otherwise(func(f *faults) {
			f.firstPart = func(s *set) conformance.PartMap {
				m, err := s.Set.PartMapByAddress(s.previous().Addr)
				if err != nil {
					return s.Set.FirstPartMap()
				}
				return m
			}
		})},
		{"next part: skips one", next + "next-after-given", false, otherwise(func(f *faults) {
			f.nextPart = func(s *set, m conformance.PartMap) conformance.PartMap {
				n := s.Set.NextPartMap(bare(m))
				if n == nil {
					return nil
				}
				after := s.Set.NextPartMap(n)
				if after == nil {
					return n
				}
				n.Drop()
				return after
			}
		})},
		{"part by address: always the first", byAddress + "part-containing-address", false, otherwise(func(f *faults) {
			f.partByAddress = func(s *set, addr uintptr) (conformance.PartMap, error) {
				m, err := s.Set.PartMapByAddress(addr)
				if err == nil {
					m.Drop()
					m = s.Set.FirstPartMap()
				}
				return m, err
			}
		})},
		{"part by address: its end belongs to it", byAddress + "PMEMSET_E_CANNOT_FIND_PART_MAP#1", false, otherwise(func(f *faults) {
			f.partByAddress = func(s *set, addr uintptr) (conformance.PartMap, error) {
				m, err := s.Set.PartMapByAddress(addr)
				if err != nil && addr > 0 {
					return s.Set.PartMapByAddress(addr - 1)
				}
				return m, err
			}
		})},
		{"part by address: not found is ENOENT", byAddress + "PMEMSET_E_CANNOT_FIND_PART_MAP#1", false, answers("Set.PartMapByAddress", pmemset.ErrCannotFindPartMap, syscall.ENOENT)},
		{"part descriptor: a page too long", "pmemset_descriptor_part_map/address-and-size", false, otherwise(func(f *faults) {
			f.descriptor = func(m *partMap) pmemset.PartDescriptor {
				d := m.PartMap.Descriptor()
				d.Size += f.on.PageSize()
				return d
			}
		})},
		{"drop: again is a crash", drop + "(SIGSEGV)#1", true, otherwise(func(f *faults) {
			f.drop = func(m *partMap) {
				if _, dropped := f.objects.LoadOrStore([2]any{"dropped", m}, true); dropped {
					crash()
				}
				m.PartMap.Drop()
			}
		})},
		{"drop: keeps the reference", drop + "drops-reference", false, otherwise(func(f *faults) {
			f.drop = func(*partMap) {}
		})},
		{"remove part: references don't matter", removePart + "PMEMSET_E_PART_MAP_POSSIBLE_USE_AFTER_DROP#1", false, answers("Set.RemovePartMap", pmemset.ErrPartMapPossibleUseAfterDrop, nil)},
		{"remove part: of another set", removePart + "PMEMSET_E_PART_NOT_FOUND#1", false, answers("Set.RemovePartMap", pmemset.ErrPartNotFound, pmemset.ErrCannotFindPartMap)},
		{"remove part: nothing", removePart + "removes-part", false, otherwise(func(f *faults) {
			f.removePart = func(*set, conformance.PartMap) error { return nil }
		})},
		{"remove part: a failure takes part of it", removePart + "-errno#1", true, otherwise(func(f *faults) {
			f.removePart = func(s *set, m conformance.PartMap) error {
				d := m.Descriptor()
				err := s.Set.RemovePartMap(bare(m))
				if errors.Is(err, syscall.ENOMEM) {
					m.Drop()
					_ = s.Set.RemoveRange(d.Addr, d.Size)
				}
				return err
			}
		})},
		{"remove range: what hits nothing is fine", removeRange + "PMEMSET_E_CANNOT_FIND_PART_MAP#1", true, answers("Set.RemoveRange", pmemset.ErrCannotFindPartMap, nil)},
		{"remove range: no bytes remove a part", removeRange + "(side-effect)#1", true, otherwise(func(f *faults) {
			f.removeRange = func(s *set, addr uintptr, n uint64) error {
				if n == 0 && s.covers(addr, 1) {
					n = 1
				}
				return s.Set.RemoveRange(addr, n)
			}
		})},
		{"remove range: in a hole leaks a reference", removeRange + "PMEMSET_E_PART_MAP_POSSIBLE_USE_AFTER_DROP#2", true, otherwise(func(f *faults) {
			f.removeRange = func(s *set, addr uintptr, n uint64) error {
				s.leakAbove(addr, n)
				return s.Set.RemoveRange(addr, n)
			}
		})},
		{"remove range: one byte too many", removeRange + "only-intersected-coalesced-part", false, otherwise(func(f *faults) {
			f.removeRange = func(s *set, addr uintptr, n uint64) error {
				if n > 0 && n < math.MaxUint64-uint64(addr) {
					n++
				}
				return s.Set.RemoveRange(addr, n)
			}
		})},
		{"remove range: all but the last", removeRange + "removes-overlapping-parts", false, otherwise(func(f *faults) {
			f.removeRange = func(s *set, addr uintptr, n uint64) error { return s.Set.RemoveRange(addr, min(n, 1)) }
		})},
		{"remove range: references don't matter", removeRange + "PMEMSET_E_PART_MAP_POSSIBLE_USE_AFTER_DROP#1", false, answers("Set.RemoveRange", pmemset.ErrPartMapPossibleUseAfterDrop, nil)},

		{"set persist: crash without a part", persist + "0#2", true, otherwise(func(f *faults) {
			f.persistSet = func(s *set, b []byte) error {
				if s.never() {
					crash()
				}
				return s.Set.Persist(b)
			}
		})},
		{"set flush: crash without a part", flush + "0#2", true, otherwise(func(f *faults) {
			f.flushSet = func(s *set, b []byte) error {
				if s.never() {
					crash()
				}
				return s.Set.Flush(b)
			}
		})},
		{"set drain: crash without a part", drain + "0#2", true, otherwise(func(f *faults) {
			f.drainSet = func(s *set) error {
				if s.never() {
					crash()
				}
				return s.Set.Drain()
			}
		})},
		{"set memmove: crash without a part", move + "(SIGSEGV)#1", true, otherwise(crashesWithoutParts)},
		{"set memcpy: crash without a part", "pmemset_memcpy/(SIGSEGV)#1", true, otherwise(crashesWithoutParts)},
		{"set memset: crash without a part", "pmemset_memset/(SIGSEGV)#1", true, otherwise(crashesWithoutParts)},
		{"set persist: does nothing", persist + "persists-range", false, otherwise(func(f *faults) {
			f.persistSet = func(*set, []byte) error { return nil }
		})},
		{"set persist: without the drain", persist + "flush-plus-drain", false, otherwise(func(f *faults) {
			f.persistSet = func(s *set, b []byte) error { return s.Set.Flush(b) }
		})},
		{"set flush: a page too few", flush + "system-call-at-page", false, onMachine(nil, func(m *machine) {
			m.msync = func(addr uintptr, n uint64) (uintptr, uint64, bool) { return addr, n - min(n, 4096), n <= 4096 }
		})},
		{"set flush: a line too few", flush + "instructions-at-cache-line", false, onMachine(lineTooFew, nil)},
		{"set drain: without a fence", drain + "drains-set", false, onMachine(noFence(platform.GranularityCacheLine), nil)},
		{"set memmove: forwards in any case", move + "same-result-as-libc", false, otherwise(func(f *faults) {
			f.memmoveSet = func(s *set, dst, src []byte, _ pmem2.MemFlags) error {
				for i := range min(len(dst), len(src)) {
					dst[i] = src[i]
				}
				return s.Set.Persist(dst)
			}
		})},
		{"set memset: the byte below", "pmemset_memset/same-result-as-libc", false, otherwise(func(f *faults) {
			f.memsetSet = func(s *set, dst []byte, c byte, flags pmem2.MemFlags) error { return s.Set.Memset(dst, c-1, flags) }
		})},
		{"set memmove: NOFLUSH flushes", move + "noflush-no-flush", false, otherwise(func(f *faults) {
			f.memmoveSet = func(s *set, dst, src []byte, flags pmem2.MemFlags) error {
				return s.Set.Memmove(dst, src, flags&^pmem2.MemNoFlush)
			}
			f.memcpySet = func(s *set, dst, src []byte, flags pmem2.MemFlags) error {
				return s.Set.Memcpy(dst, src, flags&^pmem2.MemNoFlush)
			}
		})},
		{"set memmove: in half words", move + "eight-byte-stores", false, onMachine(halfWords, nil)},
		{"set deep flush: nothing at PAGE", deep + "PMEMSET_E_DEEP_FLUSH_FAIL#2", true, otherwise(func(f *faults) {
			f.deepFlushSet = func(s *set, addr uintptr, n uint64) error {
				if g, err := s.Set.StoreGranularity(); err == nil && g == pmem2.GranularityPage {
					return nil
				}
				return s.Set.DeepFlushRange(addr, n)
			}
		})},
		{"set deep flush: in a hole leaks a reference", deep + "(side-effect)#1", true, otherwise(func(f *faults) {
			f.deepFlushSet = func(s *set, addr uintptr, n uint64) error {
				s.leakAbove(addr, n)
				return s.Set.DeepFlushRange(addr, n)
			}
		})},
		{"set deep flush: the region isn't told", deep + "most-reliable-domain", false, onMachine(nil, func(m *machine) { m.writeAttr = func(string) bool { return true } })},
		{"set deep flush: libpmem2's errno", deep + "PMEMSET_E_DEEP_FLUSH_FAIL#1", false, answers("Set.DeepFlushRange", pmemset.ErrDeepFlushFail, syscall.EIO)},

		{"set errormsg: some failures set none", message + "message-after-error", false, otherwise(func(f *faults) {
			f.acceptStates = func(c *setConfig, s pmemset.PartState) error {
				if err := c.SetConfig.SetAcceptableStates(s); err != nil {
					return silent{err}
				}
				return nil
			}
		})},
		{"set errormsg: one buffer for all threads", message + "thread-local", false, otherwise(func(f *faults) {
			f.mapOffset = func(c *mapConfig, n uint64) error { return f.static(c.MapConfig.SetOffset(n)) }
			f.acceptStates = func(c *setConfig, s pmemset.PartState) error { return f.static(c.SetConfig.SetAcceptableStates(s)) }
			f.partByAddress = func(s *set, addr uintptr) (conformance.PartMap, error) {
				m, err := s.Set.PartMapByAddress(addr)
				return m, f.static(err)
			}
		})},
		{"set perror: no newline", perror + "colon-blank-message-newline", false, otherwise(func(f *faults) {
			f.setPerror = func(_ *setLibrary, err error, format string, args ...any) {
				printed(format+": %v", append(args, err)...)
			}
		})},
		{"set perror: the format as it is", perror + "printf-format", false, otherwise(func(f *faults) {
			f.setPerror = func(_ *setLibrary, err error, format string, _ ...any) {
				printed("%s: %v\n", strings.Clone(format), err)
			}
		})},
	}
}

// setsWith is a library whose new configs of sets are set up by more.
func setsWith(more func(c conformance.SetConfig)) func() *faults {
	return otherwise(func(f *faults) {
		f.newSetConfig = func(l *setLibrary) (conformance.SetConfig, error) {
			c, err := l.SetLibrary.NewSetConfig()
			if err == nil {
				more(c)
			}
			return c, err
		}
	})
}

func crashesWithoutParts(f *faults) {
	f.memmoveSet = func(s *set, dst, src []byte, flags pmem2.MemFlags) error {
		if s.never() {
			crash()
		}
		return s.Set.Memmove(dst, src, flags)
	}
	f.memcpySet = func(s *set, dst, src []byte, flags pmem2.MemFlags) error {
		if s.never() {
			crash()
		}
		return s.Set.Memcpy(dst, src, flags)
	}
	f.memsetSet = func(s *set, dst []byte, c byte, flags pmem2.MemFlags) error {
		if s.never() {
			crash()
		}
		return s.Set.Memset(dst, c, flags)
	}
}

// unmapWatch remembers that an unmapping has failed.
type unmapWatch struct {
	platform.Platform
	f *faults
}

func (w *unmapWatch) Munmap(addr uintptr, length uint64) error {
	err := w.Platform.Munmap(addr, length)
	if err != nil {
		w.f.objects.Store("failed unmap", err)
	}
	return err
}

// Mremap counts as well.
func (w *unmapWatch) Mremap(addr uintptr, length, newLength uint64, flags int, newAddr uintptr) (uintptr, error) {
	got, err := w.Platform.Mremap(addr, length, newLength, flags, newAddr)
	if err != nil {
		w.f.objects.Store("failed unmap", err)
	}
	return got, err
}

// Mmap counts where it puts a placeholder in the place of a part.
func (w *unmapWatch) Mmap(addr uintptr, length uint64, prot, flags, fd int, off int64) (uintptr, error) {
	got, err := w.Platform.Mmap(addr, length, prot, flags, fd, off)
	if err != nil && flags&platform.MapFixed != 0 {
		w.f.objects.Store("failed unmap", err)
	}
	return got, err
}
