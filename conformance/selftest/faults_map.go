package selftest

import (
	"errors"
	"math"
	"os"
	"strings"
	"syscall"

	"pmemlab/conformance"
	"pmemlab/pmem2"
	"pmemlab/pmem2/platform"
)

// mapNew has the error of NewMap looked at, with the config and the source.
func mapNew(change func(f *faults, c *config, s *source, err error) error) func() *faults {
	return otherwise(func(f *faults) {
		f.newMap = func(l *library, cfg conformance.PMem2Config, src conformance.Source) (conformance.Map, error) {
			m, err := l.Library.NewMap(bare(cfg), bare(src))
			c, configured := cfg.(*config)
			s, sourced := src.(*source)
			if err != nil && configured && sourced {
				err = change(f, c, s, err)
			}
			return m, err
		}
	})
}

// mapSwap has NewMap fail with to instead of from.
func mapSwap(from, to error, when func(f *faults, c *config, s *source) bool) func() *faults {
	return mapNew(func(f *faults, c *config, s *source, err error) error {
		if errors.Is(err, from) && when(f, c, s) {
			return to
		}
		return err
	})
}

// mapWith makes maps by a config that change has changed, which is restored.
func mapWith(change func(f *faults, c *config, size uint64)) func() *faults {
	return otherwise(func(f *faults) {
		f.newMap = func(l *library, cfg conformance.PMem2Config, src conformance.Source) (conformance.Map, error) {
			c, ok := cfg.(*config)
			if !ok {
				return l.Library.NewMap(bare(cfg), bare(src))
			}
			size, _ := bare(src).Size()
			change(f, c, size)
			m, err := l.Library.NewMap(c.PMem2Config, bare(src))
			_ = c.PMem2Config.SetOffset(c.offset)
			_ = c.PMem2Config.SetLength(c.length)
			_ = c.PMem2Config.SetSharing(c.sharing)
			_ = c.PMem2Config.SetVMReservation(c.in, c.at)
			return m, err
		}
	})
}

// forcing changes PMEM2_FORCE_GRANULARITY for each NewMap.
func forcing(change func(f *faults, value string) string) func() *faults {
	return otherwise(func(f *faults) {
		f.newMap = func(l *library, cfg conformance.PMem2Config, src conformance.Source) (conformance.Map, error) {
			const name = "PMEM2_FORCE_GRANULARITY"
			value, was := os.LookupEnv(name)
			if own := change(f, value); own != "" {
				_ = os.Setenv(name, own)
			} else {
				_ = os.Unsetenv(name)
			}
			m, err := l.Library.NewMap(bare(cfg), bare(src))
			if was {
				_ = os.Setenv(name, value)
			} else {
				_ = os.Unsetenv(name)
			}
			return m, err
		}
	})
}

// mapFaults are those of the pages on maps, without their functions.
func mapFaults() []fault {
	const overview, page, existing, deleting = "libpmem2/", "pmem2_map_new/", "pmem2_map_from_existing/", "pmem2_map_delete/"
	always := func(*faults, *config, *source) bool { return true }
	granularity := func(from, to pmem2.Granularity) func() *faults {
		return otherwise(func(f *faults) {
			f.storeGranularity = func(m *mapping) pmem2.Granularity {
				if g := m.Map.StoreGranularity(); g != from {
					return g
				}
				return to
			}
		})
	}
	onPage := func(f *faults, c *config) bool { return c.at%f.on.PageSize() == 0 }
	return []fault{
		{"granularity: BYTE for CACHE_LINE", overview + "granularity-dax-without-eadr-is-cache-line", false, granularity(pmem2.GranularityCacheLine, pmem2.GranularityByte)},
		{"granularity: CACHE_LINE with eADR", overview + "granularity-dax-with-eadr-is-byte", false, granularity(pmem2.GranularityByte, pmem2.GranularityCacheLine)},
		{"granularity: CACHE_LINE of an ordinary file", overview + "granularity-ordinary-file-is-page", false, granularity(pmem2.GranularityPage, pmem2.GranularityCacheLine)},
		{"granularity: one that is coarser will do", overview + "granularity-coarser-than-requested-refused", false, otherwise(func(f *faults) {
			f.newMap = func(l *library, cfg conformance.PMem2Config, src conformance.Source) (conformance.Map, error) {
				c, ok := cfg.(*config)
				if !ok || c.granularity == nil {
					return l.Library.NewMap(bare(cfg), bare(src))
				}
				_ = c.PMem2Config.SetRequiredStoreGranularity(pmem2.GranularityPage)
				m, err := l.Library.NewMap(c.PMem2Config, bare(src))
				_ = c.PMem2Config.SetRequiredStoreGranularity(*c.granularity)
				return m, err
			}
		})},
		{"granularity: one that is finer won't do", overview + "granularity-finer-than-requested-accepted", false, otherwise(func(f *faults) {
			f.newMap = func(l *library, cfg conformance.PMem2Config, src conformance.Source) (conformance.Map, error) {
				m, err := l.Library.NewMap(bare(cfg), bare(src))
				if c, ok := cfg.(*config); ok && err == nil && c.granularity != nil && m.StoreGranularity() != *c.granularity {
					_ = m.Delete()
					return nil, pmem2.ErrGranularityNotSupported
				}
				return m, err
			}
		})},
		{"forced granularity: lower case isn't known", overview + "force-granularity-case-insensitive", false, forcing(func(_ *faults, v string) string {
			if v != strings.ToUpper(v) {
				return ""
			}
			return v
		})},
		{"forced granularity: read once", overview + "force-granularity-read-per-map", false, forcing(func(f *faults, v string) string {
			first, _ := f.objects.LoadOrStore("forced", v)
			return first.(string)
		})},
		{"forced granularity: BYTE isn't known", overview + "force-granularity-values", false, forcing(func(_ *faults, v string) string {
			if strings.EqualFold(v, "BYTE") {
				return ""
			}
			return v
		})},
		{"forced granularity: not for maps", overview + "force-granularity-selects-method", false, forcing(func(*faults, string) string { return "" })},
		{"log: written without debugging", overview + "release-build-never-logs", false, otherwise(func(f *faults) {
			f.sourceFromFD = func(l *library, fd int) (conformance.Source, error) {
				if os.Getenv("PMEM2_LOG_LEVEL") != "" && os.Getenv("PMEM2_DEBUG") != "1" {
					_, _ = os.Stderr.WriteString("source from a descriptor\n")
				}
				return l.Library.SourceFromFD(fd)
			}
		})},

		{"map: an unaligned place in a reservation is an unaligned offset", page + "PMEM2_E_ADDRESS_UNALIGNED#2", true,
			mapSwap(pmem2.ErrAddressUnaligned, pmem2.ErrOffsetUnaligned, func(f *faults, c *config, s *source) bool { return s.isDevice() && !onPage(f, c) })},
		{"map: past the reservation is a length out of range", page + "PMEM2_E_ADDRESS_UNALIGNED#3", true,
			mapSwap(pmem2.ErrAddressUnaligned, pmem2.ErrLengthOutOfRange, func(f *faults, c *config, s *source) bool { return !s.isDevice() && onPage(f, c) })},
		{"map: a reservation that is too small is a length out of range", page + "PMEM2_E_LENGTH_OUT_OF_RANGE#1", true,
			mapSwap(pmem2.ErrAddressUnaligned, pmem2.ErrLengthOutOfRange, func(f *faults, c *config, s *source) bool {
				return !s.isDevice() && c.in != nil && c.at < c.in.Size()
			})},
		{"map: no access to an append-only file", page + "-EACCES#1", true, mapSwap(syscall.EACCES, pmem2.ErrNoAccess, always)},
		{"map: EINVAL with nothing behind the offset", page + "-EINVAL#1", true,
			mapSwap(pmem2.ErrMapRange, syscall.EINVAL, func(_ *faults, c *config, s *source) bool {
				size, _ := s.Source.Size()
				return c.length == 0 && c.offset == size
			})},
		{"map: EEXIST where an existing mapping lies", page + "-EEXIST#1", true,
			mapSwap(pmem2.ErrMappingExists, syscall.EEXIST, func(f *faults, c *config, _ *source) (found bool) {
				return c.in != nil && f.wrapped(c.in.Address(), c.in.Size())
			})},
		{"map: a place that wraps lands outside of the reservation", page + "0#1", true, mapWith(func(_ *faults, c *config, size uint64) {
			length := c.length
			if length == 0 {
				length = size
			}
			if c.in != nil && c.at+length < c.at {
				_ = c.PMem2Config.SetVMReservation(nil, 0)
			}
		})},
		{"map: existing mappings behind the last byte don't matter", page + "0#2", true, otherwise(func(f *faults) {
			f.newMap = func(l *library, cfg conformance.PMem2Config, src conformance.Source) (conformance.Map, error) {
				m, err := l.Library.NewMap(bare(cfg), bare(src))
				c, ok := cfg.(*config)
				if !ok || c.in == nil || c.length != 0 || !errors.Is(err, pmem2.ErrMappingExists) {
					return m, err
				}
				size, _ := bare(src).Size()
				from := c.in.Address() + uintptr(c.at)
				if f.wrapped(from, size-c.offset) {
					return nil, err
				}
				return deadMap(l), nil
			}
		})},
		{"map: ENODEV for what has become a directory", page + "-ENODEV#2", true, mapSwap(pmem2.ErrInvalidFileType, syscall.ENODEV, always)},
		{"map: offset and length may wrap", page + "PMEM2_E_MAP_RANGE#1", false, mapWith(func(_ *faults, c *config, size uint64) {
			if c.offset+c.length < c.offset && c.offset < size {
				_ = c.PMem2Config.SetLength(size - c.offset)
			}
		})},
		{"map: a page past the end of the file will do", page + "PMEM2_E_MAP_RANGE#2", false, mapWith(func(f *faults, c *config, size uint64) {
			if c.length > f.on.PageSize() && c.offset < size && c.length-f.on.PageSize() == size-c.offset {
				_ = c.PMem2Config.SetLength(size - c.offset)
			}
		})},
		{"map: any offset is rounded down", page + "PMEM2_E_OFFSET_UNALIGNED#1", false, mapWith(func(f *faults, c *config, _ uint64) {
			_ = c.PMem2Config.SetOffset(c.offset &^ (f.on.PageSize() - 1))
		})},
		{"map: a page is enough of an alignment for a device DAX", page + "PMEM2_E_LENGTH_UNALIGNED#2", false, mapWith(func(f *faults, c *config, _ uint64) {
			if c.length%f.on.PageSize() == 0 {
				_ = c.PMem2Config.SetLength((c.length + 1<<21 - 1) &^ (1<<21 - 1))
			}
		})},
		{"map: a private device DAX is shared", page + "PMEM2_E_SRC_DEVDAX_PRIVATE#1", false, otherwise(func(f *faults) {
			f.newMap = func(l *library, cfg conformance.PMem2Config, src conformance.Source) (conformance.Map, error) {
				c, ok := cfg.(*config)
				if s, _ := src.(*source); !ok || s == nil || !s.isDevice() {
					return l.Library.NewMap(bare(cfg), bare(src))
				}
				_ = c.PMem2Config.SetSharing(pmem2.Shared)
				m, err := l.Library.NewMap(c.PMem2Config, bare(src))
				_ = c.PMem2Config.SetSharing(c.sharing)
				return m, err
			}
		})},
		{"map: an empty source comes before the granularity", page + "PMEM2_E_GRANULARITY_NOT_SET#1", false,
			mapNew(func(_ *faults, c *config, s *source, err error) error {
				if size, wrong := s.Source.Size(); wrong == nil && size == 0 && errors.Is(err, pmem2.ErrGranularityNotSet) {
					return pmem2.ErrSourceEmpty
				}
				return err
			})},
		{"map: the length is checked before the offset", page + "PMEM2_E_OFFSET_UNALIGNED#1", false,
			mapNew(func(f *faults, c *config, _ *source, err error) error {
				if errors.Is(err, pmem2.ErrOffsetUnaligned) && c.length%f.on.PageSize() != 0 {
					return pmem2.ErrLengthUnaligned
				}
				return err
			})},
		{"map: EACCES instead of no access", page + "PMEM2_E_NO_ACCESS#1", false, mapSwap(pmem2.ErrNoAccess, syscall.EACCES, always)},
		{"map: ENOMEM is told as EAGAIN", page + "-ENOMEM#1", false, mapSwap(syscall.ENOMEM, syscall.EAGAIN, always)},
		{"map: any errno is EINVAL", page + "-errno#1", false, mapSwap(syscall.EOVERFLOW, syscall.EINVAL, always)},
		{"map: comes with the error", page + "null-on-failure", false, otherwise(func(f *faults) {
			f.newMap = func(l *library, cfg conformance.PMem2Config, src conformance.Source) (conformance.Map, error) {
				m, err := l.Library.NewMap(bare(cfg), bare(src))
				if err != nil {
					return deadMap(l), err
				}
				return m, nil
			}
		})},
		{"map: a failure leaks a mapping", page + "nothing-left-on-failure", false, otherwise(func(f *faults) {
			f.newMap = func(l *library, cfg conformance.PMem2Config, src conformance.Source) (conformance.Map, error) {
				m, err := l.Library.NewMap(bare(cfg), bare(src))
				if err != nil {
					_, _ = f.on.Mmap(0, f.on.PageSize(), platform.ProtNone, platform.MapPrivate|platform.MapAnonymous, -1, 0)
				}
				return m, err
			}
		})},
		{"map: no store is possible", page + "creates-mapping-in-process", false, onMachine(nil, func(m *machine) {
			m.mmap = func(prot, flags int) (int, int) { return platform.ProtRead, flags }
		})},

		{"existing: length 0 will do", existing + "0#1", true, otherwise(func(f *faults) {
			f.mapFromExisting = func(l *library, src conformance.Source, addr uintptr, n uint64, g pmem2.Granularity) (conformance.Map, error) {
				return l.Library.MapFromExisting(bare(src), addr, max(n, 1), g)
			}
		})},
		{"existing: a length that wraps will do", existing + "0#2", true, otherwise(func(f *faults) {
			f.mapFromExisting = func(l *library, src conformance.Source, addr uintptr, n uint64, g pmem2.Granularity) (conformance.Map, error) {
				if n > 0 && n-1 > math.MaxUint64-uint64(addr) {
					n = 1
				}
				return l.Library.MapFromExisting(bare(src), addr, n, g)
			}
		})},
		{"existing: address 0 will do", existing + "0#3", true, otherwise(func(f *faults) {
			f.mapFromExisting = func(l *library, src conformance.Source, addr uintptr, n uint64, g pmem2.Granularity) (conformance.Map, error) {
				m, err := l.Library.MapFromExisting(bare(src), addr, n, g)
				if errors.Is(err, pmem2.ErrAddressNull) {
					return deadMap(l), nil
				}
				return m, err
			}
		})},
		{"existing: the rest of a last page is nobody's", existing + "0#4", true, otherwise(func(f *faults) {
			f.mapFromExisting = func(l *library, src conformance.Source, addr uintptr, n uint64, g pmem2.Granularity) (conformance.Map, error) {
				m, err := l.Library.MapFromExisting(bare(src), addr, n, g)
				if errors.Is(err, pmem2.ErrMappingExists) && f.behindLastByte(addr) {
					return deadMap(l), nil
				}
				return m, err
			}
		})},
		{"existing: MAP_EXISTS for the same range", existing + "PMEM2_E_MAPPING_EXISTS#1", true, answers("Library.MapFromExisting", pmem2.ErrMappingExists, pmem2.ErrMapExists)},
		{"existing: MAP_EXISTS for a range that overlaps", existing + "PMEM2_E_MAP_EXISTS#1", true, answers("Library.MapFromExisting", pmem2.ErrMappingExists, pmem2.ErrMapExists)},
		{"existing: abort for an invalid granularity", existing + "(abort)#1", true, otherwise(func(f *faults) {
			f.mapFromExisting = func(l *library, src conformance.Source, addr uintptr, n uint64, g pmem2.Granularity) (conformance.Map, error) {
				if g < 0 || g > pmem2.GranularityPage {
					crash()
				}
				return l.Library.MapFromExisting(bare(src), addr, n, g)
			}
		})},
		{"existing: always PAGE", existing + "source-and-granularity-from-arguments", false, otherwise(func(f *faults) {
			f.mapFromExisting = func(l *library, src conformance.Source, addr uintptr, n uint64, g pmem2.Granularity) (conformance.Map, error) {
				return l.Library.MapFromExisting(bare(src), addr, n, max(g, pmem2.GranularityPage))
			}
		})},
		{"existing: whole pages", existing + "range-from-arguments", false, otherwise(func(f *faults) {
			f.mapFromExisting = func(l *library, src conformance.Source, addr uintptr, n uint64, g pmem2.Granularity) (conformance.Map, error) {
				if own := (n + f.on.PageSize() - 1) &^ (f.on.PageSize() - 1); n > 0 && own >= n {
					n = own
				}
				return l.Library.MapFromExisting(bare(src), addr, n, g)
			}
		})},
		{"existing: deleting it unmaps", existing + "delete-only-frees-object", false, otherwise(unmapsWhatIsWrapped)},
		{"delete: unmaps what the user has mapped", deleting + "keeps-user-mapping", false, otherwise(unmapsWhatIsWrapped)},
		{"delete: leaves the mapping", deleting + "removes-mapping", false, otherwise(func(f *faults) {
			f.deleteMap = func(*mapping) error { return nil }
		})},
		{"delete: again is fine", deleting + "PMEM2_E_MAPPING_NOT_FOUND#1", false, answers("Map.Delete", pmem2.ErrMappingNotFound, nil)},
		{"delete: existing maps use up the messages", deleting + "(abort)#1", true, otherwise(func(f *faults) {
			deleted, gone := 0, false
			f.deleteMap = func(m *mapping) error {
				err := m.Map.Delete()
				if err == nil && m.wrap {
					deleted++
				} else if err == nil && deleted >= 1023 {
					gone = true
				}
				return err
			}
			f.setOffset = func(c *config, n uint64) error {
				err := c.PMem2Config.SetOffset(n)
				if err != nil && gone {
					crash()
				}
				return err
			}
		})},
		{"delete: munmap's errno is lost", deleting + "-EINVAL#1", false, answers("Map.Delete", syscall.EINVAL, pmem2.ErrUnknown)},
		{"delete: a failure uses it up", deleting + "failure-changes-nothing", false, otherwise(func(f *faults) {
			f.deleteMap = func(m *mapping) error {
				err := m.Map.Delete()
				if err != nil {
					_ = m.Map.Delete()
				}
				return err
			}
		})},
		{"address: that of the second line", "pmem2_map_get_address/address-of-mapping", false, otherwise(func(f *faults) {
			f.address = func(m *mapping) uintptr { return m.Map.Address() + 64 }
		})},
		{"size: in whole pages", "pmem2_map_get_size/size-of-mapping", false, otherwise(func(f *faults) {
			f.mapSize = func(m *mapping) uint64 { return (m.Map.Size() + 4095) &^ 4095 }
		})},
		{"store granularity: the required one", "pmem2_map_get_store_granularity/effective-granularity", false, granularity(pmem2.GranularityCacheLine, pmem2.GranularityPage)},
	}
}

// wrapped reports whether an existing map begins in a range, or has begun there.
func (f *faults) wrapped(addr uintptr, size uint64) (found bool) {
	f.objects.Range(func(_, o any) bool {
		m, ok := o.(*mapping)
		found = found || ok && m.wrap && m.Map.Address() >= addr && m.Map.Address() < addr+uintptr(size)
		return true
	})
	return found
}

// behindLastByte reports whether an address is in the last page of a map, behind its last byte.
func (f *faults) behindLastByte(addr uintptr) (found bool) {
	page := uintptr(f.on.PageSize())
	f.objects.Range(func(_, o any) bool {
		m, ok := o.(*mapping)
		if ok && !m.wrap {
			end := m.Map.Address() + uintptr(m.Map.Size())
			found = found || addr >= end && addr < (end+page-1)&^(page-1)
		}
		return true
	})
	return found
}

// deadMap is a map that has been deleted.
func deadMap(l *library) conformance.Map {
	src, err := l.Library.SourceFromAnon(4096)
	if err != nil {
		return nil
	}
	cfg, err := l.Library.NewConfig()
	if err != nil {
		return nil
	}
	_ = cfg.SetRequiredStoreGranularity(pmem2.GranularityPage)
	m, err := l.Library.NewMap(cfg, src)
	if err != nil {
		return nil
	}
	_ = m.Delete()
	return m
}

func unmapsWhatIsWrapped(f *faults) {
	f.deleteMap = func(m *mapping) error {
		addr, n := m.Map.Address(), m.Map.Size()
		err := m.Map.Delete()
		if err == nil && m.wrap {
			page := f.on.PageSize()
			_ = f.on.Munmap(addr&^(uintptr(page)-1), (n+page-1)&^(page-1))
		}
		return err
	}
}
