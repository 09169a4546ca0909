package selftest

import (
	"pmemlab/conformance"
	"pmemlab/pmem2"
	"pmemlab/pmemset"
)

type (
	eventTo    = func(e conformance.SetEvent) error
	eventFault = func(e conformance.SetEvent, tell eventTo) error
)

// events is a library that tells events otherwise.
func events(fault eventFault) func() *faults {
	return otherwise(func(f *faults) { f.event = fault })
}

// without leaves events of a type out.
func without(of pmemset.EventType) func() *faults {
	return events(func(e conformance.SetEvent, tell eventTo) error {
		if e.Type == of {
			return nil
		}
		return tell(e)
	})
}

// changed changes events of a type.
func changed(of pmemset.EventType, change func(e *conformance.SetEvent)) func() *faults {
	return events(func(e conformance.SetEvent, tell eventTo) error {
		if e.Type == of {
			change(&e)
		}
		return tell(e)
	})
}

// held has the events of a type told when the call has returned.
func held(of pmemset.EventType, call func(f *faults, late func(c func() error) error)) func() *faults {
	return otherwise(func(f *faults) {
		var kept []func() error
		f.event = func(e conformance.SetEvent, tell eventTo) error {
			if e.Type == of {
				kept = append(kept, func() error { return tell(e) })
				return nil
			}
			return tell(e)
		}
		call(f, func(c func() error) error {
			err := c()
			for _, tell := range kept {
				_ = tell()
			}
			kept = nil
			return err
		})
	})
}

// tell tells the callback of a set.
func (s *set) tell(e conformance.SetEvent) {
	if s.callback != nil {
		e.Set = s
		_ = s.callback(e)
	}
}

// setEventFaults are those of events.
func setEventFaults() []fault {
	const page = "pmemset_config_set_event_callback/"
	addresses := func(e *conformance.SetEvent) { e.Addr += 64 }
	lengths := func(e *conformance.SetEvent) { e.Len++ }
	return []fault{
		{"events: DRAIN with NOFLUSH", page + "(text)#2", true, otherwise(func(f *faults) {
			drained := func(s *set, flags pmem2.MemFlags, err error) error {
				if flags&pmem2.MemNoFlush != 0 && flags&pmem2.MemNoDrain == 0 && err == nil {
					s.tell(conformance.SetEvent{Type: pmemset.EventDrain})
				}
				return err
			}
			f.memmoveSet = func(s *set, dst, src []byte, flags pmem2.MemFlags) error {
				return drained(s, flags, s.Set.Memmove(dst, src, flags))
			}
			f.memcpySet = func(s *set, dst, src []byte, flags pmem2.MemFlags) error {
				return drained(s, flags, s.Set.Memcpy(dst, src, flags))
			}
			f.memsetSet = func(s *set, dst []byte, c byte, flags pmem2.MemFlags) error {
				return drained(s, flags, s.Set.Memset(dst, c, flags))
			}
		})},
		{"events: none", page + "called-on-each-event", false, events(func(conformance.SetEvent, eventTo) error { return nil })},
		{"events: what the callback returns is lost", page + "(text)#1", false, events(func(e conformance.SetEvent, tell eventTo) error {
			_ = tell(e)
			return nil
		})},
		{"events: each is told twice", page + "called-on-each-event", false, events(func(e conformance.SetEvent, tell eventTo) error {
			_ = tell(e)
			return tell(e)
		})},
		{"events: no FLUSH", page + "flush-before-work", false, without(pmemset.EventFlush)},
		{"events: FLUSH of another address", page + "flush-carries-addr-len", false, changed(pmemset.EventFlush, addresses)},
		{"events: FLUSH of another length", page + "flush-carries-addr-len", false, changed(pmemset.EventFlush, lengths)},
		{"events: FLUSH after the work", page + "flush-before-work", false, held(pmemset.EventFlush, func(f *faults, late func(func() error) error) {
			f.flushSet = func(s *set, b []byte) error { return late(func() error { return s.Set.Flush(b) }) }
		})},
		{"events: FLUSH after DRAIN", page + "persist-flush-then-drain", false, held(pmemset.EventFlush, func(f *faults, late func(func() error) error) {
			f.persistSet = func(s *set, b []byte) error { return late(func() error { return s.Set.Persist(b) }) }
		})},
		{"events: PERSIST", page + "persist-flush-then-drain", false, otherwise(func(f *faults) {
			f.persistSet = func(s *set, b []byte) error {
				s.tell(conformance.SetEvent{Type: pmemset.EventPersist, Addr: addressOf(b), Len: uint64(len(b))})
				return s.Set.Persist(b)
			}
		})},
		{"events: no DRAIN", page + "drain-after-work", false, without(pmemset.EventDrain)},
		{"events: DRAIN before the work", page + "drain-after-work", false, otherwise(func(f *faults) {
			f.drainSet = func(s *set) error {
				s.tell(conformance.SetEvent{Type: pmemset.EventDrain})
				f.objects.Store("drained", true)
				err := s.Set.Drain()
				f.objects.Delete("drained")
				return err
			}
			f.event = func(e conformance.SetEvent, tell eventTo) error {
				if _, told := f.objects.Load("drained"); told && e.Type == pmemset.EventDrain {
					return nil
				}
				return tell(e)
			}
		})},
		{"events: a FLUSH within a copy", page + "no-inner-events", false, otherwise(func(f *faults) {
			f.memcpySet = func(s *set, dst, src []byte, flags pmem2.MemFlags) error {
				err := s.Set.Memcpy(dst, src, flags)
				s.tell(conformance.SetEvent{Type: pmemset.EventFlush, Addr: addressOf(dst), Len: uint64(len(dst))})
				return err
			}
		})},
		{"events: COPY for MOVE", page + "copy-move-set-before-work", false, changed(pmemset.EventMove, func(e *conformance.SetEvent) { e.Type = pmemset.EventCopy })},
		{"events: COPY without its flags", page + "copy-move-set-carry-arguments", false, changed(pmemset.EventCopy, func(e *conformance.SetEvent) { e.Flags = 0 })},
		{"events: SET without its value", page + "copy-move-set-carry-arguments", false, changed(pmemset.EventSet, func(e *conformance.SetEvent) { e.Value = 0 })},
		{"events: COPY after the work", page + "copy-move-set-before-work", false, held(pmemset.EventCopy, func(f *faults, late func(func() error) error) {
			f.memcpySet = func(s *set, dst, src []byte, flags pmem2.MemFlags) error {
				return late(func() error { return s.Set.Memcpy(dst, src, flags|pmem2.MemNoDrain) })
			}
		})},
		{"events: no DRAIN behind a copy", page + "single-drain-at-end", false, otherwise(func(f *faults) {
			f.memcpySet = func(s *set, dst, src []byte, flags pmem2.MemFlags) error {
				return s.Set.Memcpy(dst, src, flags|pmem2.MemNoDrain)
			}
		})},
		{"events: no PART_ADD", page + "part-add-after-map", false, without(pmemset.EventPartAdd)},
		{"events: PART_ADD of another length", page + "part-add-fields", false, changed(pmemset.EventPartAdd, func(e *conformance.SetEvent) {
			e.Added.Size++
			e.Len++
		})},
		{"events: PART_ADD without its source", page + "part-add-source", false, changed(pmemset.EventPartAdd, func(e *conformance.SetEvent) { e.PMem2Source, e.Source = nil, nil })},
		{"events: PART_REMOVE twice", page + "part-remove-before-removal", false, events(func(e conformance.SetEvent, tell eventTo) error {
			if e.Type == pmemset.EventPartRemove {
				_ = tell(e)
			}
			return tell(e)
		})},
		{"events: PART_REMOVE of another address", page + "part-remove-fields", false, changed(pmemset.EventPartRemove, addresses)},
		{"events: no REMOVE_RANGE", page + "remove-range-before-work", false, without(pmemset.EventRemoveRange)},
		{"events: REMOVE_RANGE of the whole part", page + "remove-range-fields", false, changed(pmemset.EventRemoveRange, func(e *conformance.SetEvent) { e.Len = 1 << 16 })},
		{"events: REMOVE_RANGE behind PART_REMOVE", page + "remove-range-then-part-remove", false, held(pmemset.EventRemoveRange, func(f *faults, late func(func() error) error) {
			f.removeRange = func(s *set, addr uintptr, n uint64) error {
				return late(func() error { return s.Set.RemoveRange(addr, n) })
			}
		})},
		{"events: no SDS_UPDATE", page + "sds-update-after-change", false, without(pmemset.EventSDSUpdate)},
		{"events: SDS_UPDATE without the SDS", page + "sds-update-fields", false, changed(pmemset.EventSDSUpdate, func(e *conformance.SetEvent) { e.SDS = nil })},
		{"events: one BADBLOCK for all", page + "badblock-for-each", false, otherwise(func(f *faults) {
			f.event = func(e conformance.SetEvent, tell eventTo) error {
				if _, told := f.objects.LoadOrStore("bad block", true); told && e.Type == pmemset.EventBadBlock {
					return nil
				}
				return tell(e)
			}
		})},
		{"events: BADBLOCK a sector on", page + "badblock-offset-length", false, changed(pmemset.EventBadBlock, func(e *conformance.SetEvent) { e.BadBlock.Offset += 512 })},
		{"events: no BADBLOCKS_CLEARED", page + "badblocks-cleared", false, without(pmemset.EventBadBlocksCleared)},
		{"shutdown state: no update is told", "libpmemset_shutdown_state/update-event-on-each-change", false, without(pmemset.EventSDSUpdate)},
	}
}
