package selftest

import (
	"errors"
	"strings"
	"syscall"

	"pmemlab/conformance"
	"pmemlab/pmem2"
	"pmemlab/pmem2/platform"
	"pmemlab/pmemset"
)

type mapFault = func(call mapCall, healthy func() (pmemset.PartDescriptor, error)) (pmemset.PartDescriptor, error)

// anyMap is a library that maps otherwise, in all generations.
func anyMap(fault func(f *faults) mapFault) func() *faults {
	return otherwise(func(f *faults) { f.mapAny = fault(f) })
}

// setMapSwap has the calls that map fail with to instead of from, nil being success.
// What is mapped all the same goes.
func setMapSwap(from, to error, when func(f *faults, call mapCall) bool) func() *faults {
	return anyMap(func(f *faults) mapFault {
		return func(call mapCall, healthy func() (pmemset.PartDescriptor, error)) (pmemset.PartDescriptor, error) {
			applies := when(f, call)
			d, err := healthy()
			if !applies || !errors.Is(err, from) {
				return d, err
			}
			if err == nil {
				_ = call.set.Set.RemoveRange(d.Addr, d.Size)
			}
			return pmemset.PartDescriptor{}, to
		}
	})
}

// full: the set coalesces, and its last part lies at the end of its reservation.
func (call mapCall) full() bool {
	last := call.set.previous()
	return call.set.in != nil && call.set.mode() != pmemset.CoalescingNone &&
		last.Addr+uintptr(last.Size) == call.set.in.Address()+uintptr(call.set.in.Size())
}

// grows: the source's file may be extended.
func (call mapCall) grows() bool {
	if call.generation == conformance.Release112 {
		return call.src.path != "" && call.src.flags&pmemset.SourceFileDoNotGrow == 0
	}
	return call.src.flags&pmemset.SourceFileTruncateIfNeeded != 0
}

// truncate gives the source's file another size.
func (f *faults) truncate(path string, change func(size int64) int64) {
	fd, err := f.on.Open(path, platform.ORdwr, 0)
	if err != nil {
		return
	}
	if st, err := f.on.Fstat(fd); err == nil {
		_ = f.on.Ftruncate(fd, change(st.Size))
	}
	_ = f.on.Close(fd)
}

func noRegion(f *faults) bool {
	names, err := f.on.List("bus/nd/devices")
	return err == nil && !strings.Contains(strings.Join(names, " "), "region")
}

// setMapFaults are those of mapping parts.
func setMapFaults() []fault {
	const page, coalescing = "pmemset_map/", "pmemset_set_contiguous_part_coalescing/"
	const mapConfigs, length, offset = "pmemset_map_config_new/", "pmemset_map_config_set_length/", "pmemset_map_config_set_offset/"
	const partMap, partNew = "pmemset_part_map/", "pmemset_part_new/"
	always := func(*faults, mapCall) bool { return true }
	reserved := func(_ *faults, call mapCall) bool { return call.set.in != nil }
	atEnd := func(_ *faults, call mapCall) bool { return call.full() }
	old := func(_ *faults, call mapCall) bool { return call.generation != conformance.Release112 }
	var all []fault
	for _, of := range []struct {
		name, page string
		is         func(g conformance.Generation) bool
	}{
		{"map", page, func(g conformance.Generation) bool { return g != conformance.PartsAPI }},
		{"part map", partMap, func(g conformance.Generation) bool { return g == conformance.PartsAPI }},
	} {
		only := func(when func(f *faults, call mapCall) bool) func(f *faults, call mapCall) bool {
			return func(f *faults, call mapCall) bool { return of.is(call.generation) && when(f, call) }
		}
		all = append(all, []fault{
			{of.name + ": an unaligned length in a reservation is an invalid map", of.page + "PMEMSET_E_LENGTH_UNALIGNED#2", true,
				setMapSwap(pmemset.ErrLengthUnaligned, pmemset.ErrInvalidPmem2Map, only(reserved))},
			{of.name + ": an unaligned length behind the previous part is libpmem2's", of.page + "PMEM2_E_LENGTH_UNALIGNED#1", true,
				setMapSwap(pmemset.ErrLengthUnaligned, pmem2.ErrLengthUnaligned, only(func(_ *faults, call mapCall) bool {
					return call.set.mode() == pmemset.CoalescingFull && call.set.previous().Size != 0
				}))},
			{of.name + ": at the end of the reservation an invalid map", of.page + "PMEMSET_E_CANNOT_COALESCE_PARTS#2", true,
				setMapSwap(pmemset.ErrCannotCoalesceParts, pmemset.ErrInvalidPmem2Map, only(atEnd))},
			{of.name + ": no room in the reservation is an invalid map", of.page + "PMEMSET_E_CANNOT_FIT_PART_MAP#2", true,
				setMapSwap(pmemset.ErrCannotFitPartMap, pmemset.ErrInvalidPmem2Map, only(func(_ *faults, call mapCall) bool {
					return call.set.mode() != pmemset.CoalescingNone
				}))},
			{of.name + ": EINVAL of an empty source", of.page + "-EINVAL#1", true,
				setMapSwap(pmemset.ErrInvalidPmem2Map, syscall.EINVAL, only(func(f *faults, call mapCall) bool {
					return old(f, call) && call.length == 0 && call.offset == 0
				}))},
			{of.name + ": libpmem2's code of a closed descriptor", of.page + "PMEM2_E_INVALID_FILE_HANDLE#1", true,
				anyMap(func(*faults) mapFault {
					return func(call mapCall, healthy func() (pmemset.PartDescriptor, error)) (pmemset.PartDescriptor, error) {
						d, err := healthy()
						if of.is(call.generation) && errors.Is(err, pmem2.ErrInvalidFileHandle) {
							err = pmem2.ErrInvalidFileHandle
						}
						return d, err
					}
				})},
			{of.name + ": the default length doesn't mind the offset", of.page + "PMEMSET_E_INVALID_PMEM2_MAP#3", true,
				setMapSwap(nil, pmemset.ErrInvalidPmem2Map, only(func(f *faults, call mapCall) bool {
					return old(f, call) && call.length == 0 && call.offset > 0
				}))},
			{of.name + ": ENOMEM where nothing can be allocated", of.page + "PMEMSET_E_CANNOT_ALLOCATE_INTERNAL_STRUCTURE#1", true,
				setMapSwap(pmemset.ErrCannotAllocateInternalStructure, syscall.ENOMEM, only(always))},
			{of.name + ": a ghost of a removed part is in the way", of.page + "PMEMSET_E_PART_EXISTS#1", true,
				otherwise(func(f *faults) {
					f.removeRange = func(s *set, addr uintptr, n uint64) error {
						var touched []uintptr
						for m := s.Set.FirstPartMap(); m != nil; {
							if d := m.Descriptor(); n > 0 && d.Addr < addr+uintptr(n) && addr < d.Addr+uintptr(d.Size) {
								touched = append(touched, max(d.Addr, addr))
							}
							next := s.Set.NextPartMap(m)
							m.Drop()
							m = next
						}
						err := s.Set.RemoveRange(addr, n)
						for _, ghost := range touched {
							if err == nil {
								f.objects.Store(ghost, s)
							}
						}
						return err
					}
					f.mapAny = func(call mapCall, healthy func() (pmemset.PartDescriptor, error)) (pmemset.PartDescriptor, error) {
						d, err := healthy()
						if s, ghost := f.objects.Load(d.Addr); of.is(call.generation) && err == nil && ghost && s == call.set {
							_ = call.set.Set.RemoveRange(d.Addr, d.Size)
							return pmemset.PartDescriptor{}, pmemset.ErrPartExists
						}
						return d, err
					}
				})},
		}...)
	}
	return append(all, []fault{
		{"map: too small a file if an offset comes without a length", page + "PMEMSET_E_SOURCE_FILE_IS_TOO_SMALL#2", true,
			setMapSwap(nil, pmemset.ErrSourceFileIsTooSmall, func(_ *faults, call mapCall) bool {
				return call.generation == conformance.Release112 && !call.grows() && call.length == 0 && call.offset > 0
			})},
		{"map: crash without a config", page + "(SIGSEGV)#1", true, otherwise(func(f *faults) {
			f.mapInto = func(l *setLibrary, src conformance.SetSource, cfg conformance.MapConfig) (pmemset.PartDescriptor, error) {
				if c, ok := cfg.(*mapConfig); !ok || c == nil {
					crash()
				}
				return l.SetLibrary.Map(bare(src), bare(cfg))
			}
		})},
		{"map: the file grows by the offset", page + "(side-effect)#1", true, anyMap(func(f *faults) mapFault {
			return func(call mapCall, healthy func() (pmemset.PartDescriptor, error)) (pmemset.PartDescriptor, error) {
				d, err := healthy()
				if err == nil && call.grows() && call.length == 0 {
					f.truncate(call.src.path, func(size int64) int64 { return size + int64(call.offset) })
				}
				return d, err
			}
		})},
		{"map: a file that was grown for nothing stays so", page + "(side-effect)#2", true, anyMap(func(f *faults) mapFault {
			return func(call mapCall, healthy func() (pmemset.PartDescriptor, error)) (pmemset.PartDescriptor, error) {
				d, err := healthy()
				if errors.Is(err, pmemset.ErrLengthUnaligned) && call.grows() {
					f.truncate(call.src.path, func(size int64) int64 { return max(size, int64(call.offset+call.length)) })
				}
				return d, err
			}
		})},
		{"map: a device without a region can't be mapped", page + "PMEM2_E_DAX_REGION_NOT_FOUND#1", true,
			setMapSwap(nil, pmem2.ErrDaxRegionNotFound, func(f *faults, _ mapCall) bool { return noRegion(f) })},
		{"map: ENOMEM where the bus can't be listed", page + "-errno#1", true,
			setMapSwap(syscall.EACCES, syscall.ENOMEM, func(f *faults, _ mapCall) bool { return busUnreadable(f) })},
		{"map: opportunistic fails at the end of the reservation", coalescing + "(text)#1", true,
			setMapSwap(nil, pmemset.ErrInvalidPmem2Map, func(_ *faults, call mapCall) bool {
				return call.full() && call.set.mode() == pmemset.CoalescingOpportunistic
			})},
		{"map: without a length nothing is mapped", page + "null-config-maps-whole-source", false,
			setMapSwap(nil, pmemset.ErrMapLengthUnset, func(_ *faults, call mapCall) bool { return call.length == 0 })},
		{"map: the descriptor is a page too long", page + "descriptor-holds-address-and-size", false, anyMap(func(f *faults) mapFault {
			return func(_ mapCall, healthy func() (pmemset.PartDescriptor, error)) (pmemset.PartDescriptor, error) {
				d, err := healthy()
				if err == nil {
					d.Size += f.on.PageSize()
				}
				return d, err
			}
		})},
		{"map: granularities that differ are an invalid map", page + "PMEMSET_E_GRANULARITY_MISMATCH#1", false,
			setMapSwap(pmemset.ErrGranularityMismatch, pmemset.ErrInvalidPmem2Map, always)},
		{"map: too small a file is an invalid map", page + "PMEMSET_E_SOURCE_FILE_IS_TOO_SMALL#1", false,
			setMapSwap(pmemset.ErrSourceFileIsTooSmall, pmemset.ErrInvalidPmem2Map, always)},
		{"map: clears the first byte of the source", page + "based-on-source", false, anyMap(func(*faults) mapFault {
			return func(call mapCall, healthy func() (pmemset.PartDescriptor, error)) (pmemset.PartDescriptor, error) {
				d, err := healthy()
				if err == nil {
					clear(d.Bytes()[:1])
				}
				return d, err
			}
		})},
		{"coalescing: 3 is FULL", coalescing + "PMEMSET_E_INVALID_COALESCING_VALUE#1", false, answers("Set.SetContiguousPartCoalescing", pmemset.ErrInvalidCoalescingValue, nil)},
		{"coalescing: never", coalescing + "tries-behind-previous-part", false, otherwise(func(f *faults) {
			f.coalesce = func(*set, pmemset.Coalescing) error { return nil }
		})},
		{"coalescing: FULL is OPPORTUNISTIC", coalescing + "full-fails-if-impossible", false, otherwise(func(f *faults) {
			f.coalesce = func(s *set, c pmemset.Coalescing) error {
				if c == pmemset.CoalescingFull {
					c = pmemset.CoalescingOpportunistic
				}
				return s.Set.SetContiguousPartCoalescing(c)
			}
		})},
		{"coalescing: OPPORTUNISTIC is FULL", coalescing + "opportunistic-falls-back", false, otherwise(func(f *faults) {
			f.coalesce = func(s *set, c pmemset.Coalescing) error {
				if c == pmemset.CoalescingOpportunistic {
					c = pmemset.CoalescingFull
				}
				return s.Set.SetContiguousPartCoalescing(c)
			}
		})},
		{"coalescing: by default", coalescing + "none-is-default", false, otherwise(func(f *faults) {
			f.newSet = func(l *setLibrary, cfg conformance.SetConfig) (conformance.Set, error) {
				s, err := l.SetLibrary.NewSet(bare(cfg))
				if err == nil {
					_ = s.SetContiguousPartCoalescing(pmemset.CoalescingOpportunistic)
				}
				return s, err
			}
		})},

		{"map config: for one mapping", mapConfigs + "describes-future-mapping", false, otherwise(func(f *faults) {
			f.mapAny = func(call mapCall, healthy func() (pmemset.PartDescriptor, error)) (pmemset.PartDescriptor, error) {
				if _, mapped := f.objects.LoadOrStore([2]any{"mapped", call.set}, true); mapped && call.generation != conformance.PartsAPI {
					return pmemset.PartDescriptor{}, pmemset.ErrMapLengthUnset
				}
				return healthy()
			}
		})},
		{"map config: usable when deleted", "pmemset_map_config_delete/frees-and-nulls", false, otherwise(func(f *faults) {
			f.deleteMapConfig = func(*mapConfig) error { return nil }
		})},
		{"map length: ignored", length + "sets-length", false, otherwise(func(f *faults) {
			f.mapLength = func(*mapConfig, uint64) error { return nil }
		})},
		{"map length: rounded up", length + "multiple-of-alignment", false, otherwise(func(f *faults) {
			f.mapLength = func(c *mapConfig, n uint64) error { return c.MapConfig.SetLength((n + 4095) &^ 4095) }
		})},
		{"map offset: ignored", offset + "sets-offset", false, otherwise(func(f *faults) {
			f.mapOffset = func(*mapConfig, uint64) error { return nil }
		})},
		{"map offset: 2^63 will do", offset + "PMEMSET_E_OFFSET_OUT_OF_RANGE#1", false, answers("MapConfig.SetOffset", pmemset.ErrOffsetOutOfRange, nil)},

		{"part map: keeps the part", partMap + "consumes-part-on-success", false, otherwise(func(f *faults) {
			f.mapPart = func(p *part) (pmemset.PartDescriptor, error) {
				d, err := p.Part.Map()
				if err != nil && errors.Is(err, syscall.EINVAL) {
					return p.call.set.previous(), nil
				}
				return p.call.done(d, err)
			}
		})},
		{"part map: a failure uses the part up", partMap + "(text)#1", false, otherwise(func(f *faults) {
			f.mapPart = func(p *part) (pmemset.PartDescriptor, error) {
				d, err := p.Part.Map()
				if err != nil {
					_ = p.Part.Delete()
				}
				return p.call.done(d, err)
			}
		})},
		{"part map: an offset out of range is the setter's", partMap + "PMEMSET_E_INVALID_OFFSET_VALUE#1", false, answersOfParts(pmemset.ErrInvalidOffsetValue, pmemset.ErrOffsetOutOfRange)},
		{"part: crash without a source", partNew + "(SIGSEGV)#1", true, otherwise(func(f *faults) {
			f.newPart = func(l *setLibrary, to conformance.Set, src conformance.SetSource, offset, length uint64) (conformance.Part, error) {
				if s, ok := src.(*setSource); !ok || s == nil {
					crash()
				}
				return l.SetLibrary.NewPart(bare(to), bare(src), offset, length)
			}
		})},
		{"part: the file may be gone", partNew + "PMEMSET_E_INVALID_SOURCE_PATH#1", false, answers("SetLibrary.NewPart", pmemset.ErrInvalidSourcePath, syscall.ENOENT)},
		{"part: of another length", partNew + "creates-part-for-set", false, otherwise(func(f *faults) {
			f.newPart = func(l *setLibrary, to conformance.Set, src conformance.SetSource, offset, length uint64) (conformance.Part, error) {
				if length > f.on.PageSize() {
					length -= f.on.PageSize()
				}
				return l.SetLibrary.NewPart(bare(to), bare(src), offset, length)
			}
		})},
		{"part: usable when deleted", "pmemset_part_delete/frees-and-nulls", false, otherwise(func(f *faults) {
			f.deletePart = func(*part) error { return nil }
		})},
	}...)
}

// answersOfParts has Part.Map fail with to instead of from.
func answersOfParts(from, to error) func() *faults {
	return setMapSwap(from, to, func(_ *faults, call mapCall) bool { return call.generation == conformance.PartsAPI })
}
