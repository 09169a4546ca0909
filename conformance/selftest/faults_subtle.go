package selftest

import (
	"errors"
	"fmt"
	"math"
	"os"
	"syscall"

	"pmemlab/conformance"
	"pmemlab/pmem2"
	"pmemlab/pmem2/platform"
	"pmemlab/pmemset"
)

// own is the part of b that lies in a map.
func (m *mapping) own(b []byte) []byte {
	end := m.Map.Address() + uintptr(m.Map.Size())
	if at := addressOf(b); at < end && at+uintptr(len(b)) > end {
		return b[:end-at]
	}
	return b
}

// subtleFaults of libpmem2 leave most of a sentence as it is.
func subtleFaults() []fault {
	const persist, flush, move = "pmem2_get_persist_fn/", "pmem2_get_flush_fn/", "pmem2_get_memmove_fn/"
	const read, write = "pmem2_source_pread_mcsafe/", "pmem2_source_pwrite_mcsafe/"
	const extend, shrink, clearing = "pmem2_vm_reservation_extend/", "pmem2_vm_reservation_shrink/", "pmem2_badblock_clear/"
	return []fault{
		{"persist: of the first of two adjacent maps", persist + "range-across-adjacent-maps", false, otherwise(func(f *faults) {
			f.persist = func(m *mapping, b []byte) error { return m.Map.Persist(m.own(b)) }
		})},
		{"flush: of the first of two adjacent maps", flush + "range-across-adjacent-maps", false, otherwise(func(f *faults) {
			f.flush = func(m *mapping, b []byte) error { return m.Map.Flush(m.own(b)) }
		})},
		{"memset: of the first of two adjacent maps", move + "range-across-adjacent-maps", false, otherwise(func(f *faults) {
			f.memset = func(m *mapping, dst []byte, c byte, flags pmem2.MemFlags) error {
				return m.Map.Memset(m.own(dst), c, flags)
			}
		})},
		{"memmove: NODRAIN isn't known together with others", move + "flags-zero-or-or", false, flags(func(f pmem2.MemFlags) pmem2.MemFlags {
			if f != pmem2.MemNoDrain {
				f &^= pmem2.MemNoDrain
			}
			return f
		})},
		{"persist: msync's error is lost", persist + "(abort)#1", false, otherwise(func(f *faults) {
			f.persist = func(m *mapping, b []byte) error {
				_ = m.Map.Persist(b)
				return nil
			}
		})},
		{"length: kept from the first map", "pmem2_config_set_length/default-is-file-size", false, otherwise(func(f *faults) {
			f.newMap = func(l *library, cfg conformance.PMem2Config, src conformance.Source) (conformance.Map, error) {
				m, err := l.Library.NewMap(bare(cfg), bare(src))
				if c, ok := cfg.(*config); ok && err == nil && c.length == 0 && m.Size()%4096 == 0 {
					_ = c.PMem2Config.SetLength(m.Size())
				}
				return m, err
			}
		})},
		{"offset: a refused one is set all the same", "pmem2_config_set_offset/PMEM2_E_OFFSET_OUT_OF_RANGE#1", false, otherwise(func(f *faults) {
			f.setOffset = func(c *config, n uint64) error {
				err := c.PMem2Config.SetOffset(n)
				if err != nil {
					_ = c.PMem2Config.SetOffset(0)
				}
				return err
			}
		})},
		{"granularity: a refused one is set all the same", "pmem2_config_set_required_store_granularity/PMEM2_E_GRANULARITY_NOT_SUPPORTED#1", false, otherwise(func(f *faults) {
			f.setGranularity = func(c *config, g pmem2.Granularity) error {
				err := c.PMem2Config.SetRequiredStoreGranularity(g)
				if err != nil {
					_ = c.PMem2Config.SetRequiredStoreGranularity(pmem2.GranularityPage)
				}
				return err
			}
		})},
		{"sharing: a refused one is set all the same", "pmem2_config_set_sharing/PMEM2_E_INVALID_SHARING_VALUE#1", false, otherwise(func(f *faults) {
			f.setSharing = func(c *config, s pmem2.Sharing) error {
				err := c.PMem2Config.SetSharing(s)
				if err != nil {
					_ = c.PMem2Config.SetSharing(pmem2.Private)
				}
				return err
			}
		})},
		{"map: a failure changes the config", "pmem2_map_new/nothing-left-on-failure", false, otherwise(func(f *faults) {
			f.newMap = func(l *library, cfg conformance.PMem2Config, src conformance.Source) (conformance.Map, error) {
				m, err := l.Library.NewMap(bare(cfg), bare(src))
				if c, ok := cfg.(*config); ok && err != nil {
					_ = c.PMem2Config.SetSharing(pmem2.Private)
				}
				return m, err
			}
		})},
		{"delete: a hole in the reservation", "pmem2_map_delete/removes-mapping", false, otherwise(func(f *faults) {
			f.deleteMap = func(m *mapping) error {
				addr, n := m.Map.Address(), (m.Map.Size()+4095)&^4095
				err := m.Map.Delete()
				if err == nil && !m.wrap && f.inReservation(addr) {
					_ = f.on.Munmap(addr, n)
				}
				return err
			}
		})},
		{"source: closes the descriptor when deleted", "pmem2_source_delete/frees-and-nulls", false, otherwise(func(f *faults) {
			f.deleteSource = func(s *source) error {
				fd, err := s.Source.FD()
				if deleted := s.Source.Delete(); deleted != nil || err != nil {
					return deleted
				}
				return f.on.Close(fd)
			}
		})},
		{"source of a descriptor: usable when deleted", "pmem2_source_delete/frees-and-nulls", false, otherwise(func(f *faults) {
			f.deleteSource = func(*source) error { return nil }
		})},
		{"pread: a range that is refused is read as far as it goes", read + "PMEM2_E_LENGTH_OUT_OF_RANGE#1", false, otherwise(func(f *faults) {
			f.pread = func(s *source, p []byte, off uint64) error {
				err := s.Source.PreadMCSafe(p, off)
				if size, _ := s.Source.Size(); errors.Is(err, pmem2.ErrLengthOutOfRange) && off < size {
					_ = s.Source.PreadMCSafe(p[:size-off], off)
				}
				return err
			}
		})},
		{"pread: nothing at the end is out of range", read + "zero-on-success", false, otherwise(func(f *faults) {
			f.pread = func(s *source, p []byte, off uint64) error {
				if size, err := s.Source.Size(); err == nil && off == size {
					return pmem2.ErrLengthOutOfRange
				}
				return s.Source.PreadMCSafe(p, off)
			}
		})},
		{"pread: what is read at once is enough", read + "reads-size-bytes-at-offset", true, otherwise(func(f *faults) {
			f.pread = func(s *source, p []byte, off uint64) error {
				if size, err := s.Source.Size(); err != nil || !s.isFile() || off > size || uint64(len(p)) > size-off {
					return s.Source.PreadMCSafe(p, off)
				}
				_, err := f.on.Pread(s.descriptor, p, int64(off))
				return err
			}
		})},
		{"pwrite: what is written at once is enough", write + "writes-size-bytes-at-offset", true, otherwise(func(f *faults) {
			f.pwrite = func(s *source, p []byte, off uint64) error {
				if size, err := s.Source.Size(); err != nil || !s.isFile() || off > size || uint64(len(p)) > size-off {
					return s.Source.PwriteMCSafe(p, off)
				}
				_, err := f.on.Pwrite(s.descriptor, p, int64(off))
				return err
			}
		})},
		{"find: a range that wraps has nothing in it", "pmem2_vm_reservation_map_find/earliest-intersecting", true, otherwise(func(f *faults) {
			f.mapFind = func(r *reservation, offset, length uint64) (conformance.Map, error) {
				if offset+length < offset {
					return nil, pmem2.ErrMappingNotFound
				}
				return r.Reservation.MapFind(offset, length)
			}
		})},
		{"pwrite: stops at a bad block after half", write + "PMEM2_E_IO_FAIL#1", false, answers("Source.PwriteMCSafe", pmem2.ErrIOFail, syscall.EIO)},
		{"deep flush: the first page", "pmem2_deep_flush/most-reliable-domain", false, otherwise(func(f *faults) {
			f.deepFlush = func(m *mapping, addr uintptr, n uint64) error {
				if err := m.Map.DeepFlushRange(addr, 0); err != nil {
					return m.Map.DeepFlushRange(addr, n)
				}
				return m.Map.DeepFlushRange(addr, min(n, 64))
			}
		})},
		{"extend: a failure takes a page off", extend + "failure-leaves-reservation", false, otherwise(func(f *faults) {
			f.extend = func(r *reservation, size uint64) error {
				err := r.Reservation.Extend(size)
				if page := f.on.PageSize(); err != nil && r.Reservation.Size() > page {
					_ = r.Reservation.Shrink(r.Reservation.Size()-page, page)
				}
				return err
			}
		})},
		{"shrink: a failure takes a page off", shrink + "failure-leaves-reservation", false, otherwise(func(f *faults) {
			f.shrink = func(r *reservation, offset, size uint64) error {
				err := r.Reservation.Shrink(offset, size)
				if page := f.on.PageSize(); err != nil && r.Reservation.Size() > page {
					_ = r.Reservation.Shrink(r.Reservation.Size()-page, page)
				}
				return err
			}
		})},
		{"reservation: a failing deletion uses it up", "pmem2_vm_reservation_delete/-errno#1", false, otherwise(func(f *faults) {
			f.deleteReservation = func(r *reservation) error {
				err := r.Reservation.Delete()
				if errors.Is(err, syscall.EINVAL) {
					_ = r.Reservation.Delete()
				}
				return err
			}
		})},
		{"next: begins anew after the last", "pmem2_badblock_next/negative-when-exhausted", false, otherwise(func(f *faults) {
			f.newBadBlockContext = func(l *library, src conformance.Source) (conformance.BadBlocks, error) {
				b, err := l.Library.NewBadBlockContext(bare(src))
				if err != nil {
					return b, err
				}
				return &roundBadBlocks{b, func() (conformance.BadBlocks, error) { return l.Library.NewBadBlockContext(bare(src)) }}, nil
			}
		})},
		{"clear: no bytes will do", clearing + "-errno#1", false, otherwise(func(f *faults) {
			f.clearBlock = func(b *badBlocks, block pmem2.BadBlock) error {
				if block.Length == 0 {
					return nil
				}
				return b.BadBlocks.Clear(block)
			}
		})},
		{"perror: nothing without an error", "pmem2_perror/(none)#1", false, otherwise(func(f *faults) {
			f.perror = func(l *library, err error, format string, args ...any) {
				if err != nil {
					l.Library.Perror(err, format, args...)
				}
			}
		})},
		{"perror: in two writes", "pmem2_perror/colon-blank-message-newline", false, otherwise(func(f *faults) {
			f.perror = func(_ *library, err error, format string, args ...any) {
				fmt.Fprintf(os.Stderr, format+":", args...)
				fmt.Fprintln(os.Stderr, err)
			}
		})},
	}
}

// inReservation reports whether an address lies in a reservation of the case.
func (f *faults) inReservation(addr uintptr) (in bool) {
	f.objects.Range(func(_, o any) bool {
		r, ok := o.(*reservation)
		in = in || ok && addr >= r.Reservation.Address() && addr-r.Reservation.Address() < uintptr(r.Reservation.Size())
		return true
	})
	return in
}

// roundBadBlocks begins anew when there are no more.
type roundBadBlocks struct {
	conformance.BadBlocks
	again func() (conformance.BadBlocks, error)
}

func (b *roundBadBlocks) Next() (pmem2.BadBlock, error) {
	block, err := b.BadBlocks.Next()
	if !errors.Is(err, pmem2.ErrNoBadBlockFound) {
		return block, err
	}
	anew, wrong := b.again()
	if wrong != nil {
		return block, err
	}
	_ = b.Delete()
	b.BadBlocks = anew
	return pmem2.BadBlock{}, err
}

// subtleSetFaults are those of libpmemset.
func subtleSetFaults() []fault {
	const page, events_, xfiles = "pmemset_map/", "pmemset_config_set_event_callback/", "pmemset_xsource_from_file/"
	const removeRange, temporary, state = "pmemset_remove_range/", "pmemset_source_from_temporary/", "libpmemset_shutdown_state/"
	return []fault{
		{"set persist: the first of the parts", "pmemset_persist/same-rules-as-pmem2-persist", false, otherwise(func(f *faults) {
			f.persistSet = func(s *set, b []byte) error { return s.Set.Persist(s.firstPartOf(b)) }
		})},
		{"set flush: the first of the parts", "pmemset_flush/same-rules-as-pmem2-flush", false, otherwise(func(f *faults) {
			f.flushSet = func(s *set, b []byte) error { return s.Set.Flush(s.firstPartOf(b)) }
		})},
		{"set deep flush: the first line", "pmemset_deep_flush/most-reliable-domain", false, otherwise(func(f *faults) {
			f.deepFlushSet = func(s *set, addr uintptr, n uint64) error { return s.Set.DeepFlushRange(addr, min(n, 64)) }
		})},
		{"remove range: with references it removes the others", removeRange + "no-references-allowed", false, otherwise(func(f *faults) {
			f.removeRange = func(s *set, addr uintptr, n uint64) error {
				err := s.Set.RemoveRange(addr, n)
				if !errors.Is(err, pmemset.ErrPartMapPossibleUseAfterDrop) {
					return err
				}
				for _, d := range s.parts() {
					if d.Addr < addr+uintptr(n) && addr < d.Addr+uintptr(d.Size) {
						_ = s.Set.RemoveRange(d.Addr, 1)
					}
				}
				return err
			}
		})},
		{"remove range: to the end of the address space finds nothing", removeRange + "removes-overlapping-parts", false, otherwise(func(f *faults) {
			f.removeRange = func(s *set, addr uintptr, n uint64) error {
				if n > math.MaxUint64-uint64(addr) {
					return pmemset.ErrCannotFindPartMap
				}
				return s.Set.RemoveRange(addr, n)
			}
		})},
		{"next part: drops the one before", "pmemset_next_part_map/next-after-given", false, otherwise(func(f *faults) {
			f.nextPart = func(s *set, m conformance.PartMap) conformance.PartMap {
				next := s.Set.NextPartMap(bare(m))
				m.Drop()
				return next
			}
		})},
		{"first part: takes no reference", "pmemset_part_map_drop/pointer-from-lookups", false, otherwise(func(f *faults) {
			f.firstPart = func(s *set) conformance.PartMap {
				m := s.Set.FirstPartMap()
				if m == nil {
					return nil
				}
				return heldPart{m.Descriptor(), m}.released()
			}
		})},
		{"events: PART_ADD of a part that couldn't be mapped", events_ + "part-add-after-map", false, anyMap(func(*faults) mapFault {
			return func(call mapCall, healthy func() (pmemset.PartDescriptor, error)) (pmemset.PartDescriptor, error) {
				d, err := healthy()
				if err != nil {
					call.set.tell(conformance.SetEvent{Type: pmemset.EventPartAdd})
				}
				return d, err
			}
		})},
		{"events: PART_REMOVE when the set goes", "pmemset_delete/always-zero", false, otherwise(func(f *faults) {
			f.deleteSet = func(s *set) error {
				for _, d := range s.parts() {
					s.tell(conformance.SetEvent{Type: pmemset.EventPartRemove, Addr: d.Addr, Len: d.Size})
				}
				return s.Set.Delete()
			}
		})},
		{"events: with another set", events_ + "arg-passed-each-time", false, events(func(e conformance.SetEvent, tell eventTo) error {
			e.Set = &set{Set: e.Set}
			return tell(e)
		})},
		{"events: what a FLUSH returns counts", events_ + "flush-result-ignored", false, otherwise(func(f *faults) {
			counting(f, pmemset.EventFlush)
			f.flushSet = func(s *set, b []byte) error { return f.counted(s.Set.Flush(b)) }
			f.persistSet = func(s *set, b []byte) error { return f.counted(s.Set.Persist(b)) }
		})},
		{"events: what a PART_ADD returns counts", events_ + "nonzero-only-where-supported", false, otherwise(func(f *faults) {
			counting(f, pmemset.EventPartAdd)
			f.mapAny = func(call mapCall, healthy func() (pmemset.PartDescriptor, error)) (pmemset.PartDescriptor, error) {
				d, err := healthy()
				if err = f.counted(err); err != nil {
					return pmemset.PartDescriptor{}, err
				}
				return d, nil
			}
		})},
		{"shutdown state: a state that is refused isn't stored", page + "PMEMSET_E_UNDESIRABLE_PART_STATE#1", false, otherwise(func(f *faults) {
			var users *pmemset.PartState
			own := new(pmemset.PartState)
			f.setSDS = func(s *setSource, sds pmemset.SDS, state *pmemset.PartState) error {
				users = state
				return s.SetSource.SetSDS(sds, own)
			}
			f.mapAny = func(_ mapCall, healthy func() (pmemset.PartDescriptor, error)) (pmemset.PartDescriptor, error) {
				d, err := healthy()
				if err == nil && users != nil {
					*users = *own
				}
				return d, err
			}
		})},
		{"shutdown state: no update when the last part goes", state + "example-first-initialisation", false, events(func(e conformance.SetEvent, tell eventTo) error {
			if e.Type == pmemset.EventSDSUpdate && e.SDS.RefCount == 0 {
				return nil
			}
			return tell(e)
		})},
		{"source with flags: the mode is ignored", xfiles + "create-mode-applied-to-new-file", false, otherwise(func(f *faults) {
			f.machine = func(p platform.Platform) platform.Platform { return &modeless{p, 0o644} }
		})},
		{"source with flags: another default mode", xfiles + "default-mode", false, otherwise(func(f *faults) {
			f.machine = func(p platform.Platform) platform.Platform { return &modeless{p, 0o600} }
		})},
		{"temporary source: everybody may read it", temporary + "mode-0600", false, otherwise(func(f *faults) {
			f.machine = func(p platform.Platform) platform.Platform { return &modeless{p, 0o644} }
		})},
		{"temporary source: stays when deleted", temporary + "deleted-with-source", false, otherwise(func(f *faults) {
			f.deleteSetSource = func(s *setSource) error {
				if s.path == "" {
					return nil
				}
				return s.SetSource.Delete()
			}
		})},
		{"source of libpmem2: deletes that, too", "pmemset_source_from_pmem2/creates-source", false, otherwise(func(f *faults) {
			f.sourceFromPMem2 = func(l *setLibrary, src conformance.Source) (conformance.SetSource, error) {
				made, err := l.SetLibrary.SourceFromPMem2(bare(src))
				if err == nil {
					f.objects.Store([2]any{"of", f.setSource(made)}, bare(src))
				}
				return made, err
			}
			f.deleteSetSource = func(s *setSource) error {
				err := s.SetSource.Delete()
				if own, ok := f.objects.Load([2]any{"of", conformance.SetSource(s)}); ok && err == nil {
					_ = own.(conformance.Source).Delete()
				}
				return err
			}
		})},
		{"map config: keeps the length of the first part", "pmemset_map_config_set_length/default-file-size", false, anyMap(func(*faults) mapFault {
			return func(call mapCall, healthy func() (pmemset.PartDescriptor, error)) (pmemset.PartDescriptor, error) {
				d, err := healthy()
				if err == nil && call.cfg != nil && call.length == 0 {
					_ = call.cfg.MapConfig.SetLength(d.Size)
				}
				return d, err
			}
		})},
	}
}

// firstPartOf is b as far as the part map goes that it begins in.
func (s *set) firstPartOf(b []byte) []byte {
	for _, d := range s.parts() {
		if end, at := d.Addr+uintptr(d.Size), addressOf(b); d.Addr <= at && at < end && at+uintptr(len(b)) > end {
			return b[:end-at]
		}
	}
	return b
}

// heldPart is a part map whose reference was given back at once.
type heldPart struct {
	d pmemset.PartDescriptor
	conformance.PartMap
}

func (p heldPart) released() conformance.PartMap {
	p.Drop()
	return p
}

func (p heldPart) Descriptor() pmemset.PartDescriptor { return p.d }

// counting keeps what callbacks return for events of a type.
func counting(f *faults, of pmemset.EventType) {
	f.event = func(e conformance.SetEvent, tell eventTo) error {
		err := tell(e)
		if e.Type == of && err != nil {
			f.objects.Store("returned", err)
		}
		return err
	}
}

// counted is what a call returns if the results of callbacks count.
func (f *faults) counted(err error) error {
	if returned, ok := f.objects.LoadAndDelete("returned"); ok && err == nil {
		return returned.(error)
	}
	return err
}

// modeless is a machine that makes all files with one mode.
type modeless struct {
	platform.Platform
	mode uint32
}

func (m *modeless) Open(path string, flags int, mode uint32) (int, error) {
	return m.Platform.Open(path, flags, m.mode)
}
