package conformance

import (
	"bytes"
	"fmt"
	"log/slog"
	"strings"
	"syscall"

	"pmemlab/pmem2"
	"pmemlab/pmem2/platform"
	"pmemlab/pmemset"
)

// setNewCases are those of pmemset_new(3) and pmemset_get_store_granularity(3).
func setNewCases() []Case {
	const page, del = "pmemset_new/", "pmemset_delete/"
	return append([]Case{{
		Name: page + "creates-set",
		Rows: []string{
			page + "creates-set", page + "zero-or-negative", page + "null-on-failure", page + "PMEMSET_E_GRANULARITY_NOT_SET#1",
		},
		Needs: []Need{NeedFile},
		Run:   setNew,
	}, {
		Name: page + "config-is-copied",
		Rows: []string{page + "config-is-copied"},
		Run:  setConfigIsCopied,
	}, {
		Name:  page + "config-is-copied, acceptable states",
		Rows:  []string{page + "config-is-copied"},
		Needs: []Need{NeedDIMM},
		Run: func(t *T) {
			onSDSRegion(t, func(r *sdsRegion) {
				cfg := t.SetConfig()
				before := t.Set(cfg)
				t.Must(cfg.SetAcceptableStates(pmemset.PartStateCorrupted), "SetAcceptableStates(CORRUPTED)")
				after := t.Set(cfg)
				t.Must(cfg.SetAcceptableStates(0), "SetAcceptableStates(none)")
				var state pmemset.PartState
				r.refuses(after, r.source(pmemset.SDS{}, &state), &state, pmemset.PartStateOK)
				r.accepts(before, r.source(pmemset.SDS{}, &state), &state, pmemset.PartStateOK)
				r.accepts(after, r.source(r.sds(knownUSC-1, 1), &state), &state, pmemset.PartStateCorrupted)
			})
		},
	}, {
		Name: page + "delete",
		Rows: []string{del + "frees-and-nulls", del + "always-zero"},
		Run:  setDelete,
	}, {
		Name: page + "delete, in a reservation",
		Rows: []string{del + "frees-and-nulls", del + "always-zero"},
		Run:  setDeleteInReservation,
	}, {
		Name:  page + "delete, no set",
		Rows:  []string{del + "null-is-noop", del + "always-zero"},
		Needs: []Need{NeedFile},
		Run:   setDeleteTwice,
	}, {
		Name:  page + "delete, a part can't be unmapped",
		Rows:  []string{del + "0#1", del + "always-zero"},
		Needs: []Need{NeedFile},
		Run:   setDeleteOfStuckPart,
	}}, setGranularityCases()...)
}

func setNew(t *T) {
	t.EachGeneration(func(g Generation) {
		cfg := t.NewSetConfig()
		for range 3 {
			t.NoSet("PMEMSET_E_GRANULARITY_NOT_SET", cfg, "a config without a granularity")
		}
		_, src := t.SetFile(64 * kib)
		t.Force("BYTE")
		for _, required := range granularities {
			t.Must(cfg.SetRequiredStoreGranularity(required), "SetRequiredStoreGranularity(%v)", required)
			one, other := t.Set(cfg), t.Set(cfg)
			t.Check(one != other, "two calls of NewSet return one set")
			t.CheckParts(one)
			t.CheckParts(other)
			d := t.SetMap(g, one, src, 0, 64*kib)
			t.CheckParts(one, d)
			t.CheckParts(other)
		}
		t.NoSet("PMEMSET_E_GRANULARITY_NOT_SET", t.NewSetConfig(), "another config, without a granularity")
	})
}

func setConfigIsCopied(t *T) {
	t.EachGeneration(func(g Generation) {
		_, src := t.SetFile(64 * kib)
		t.Force("PAGE")
		r := t.Reservation(0, mib)
		cfg := t.SetConfigIn(r)
		old, oldEvents := t.SetWithEvents(cfg)

		t.Must(cfg.SetReservation(nil), "SetReservation(none)")
		later, laterEvents := t.SetWithEvents(cfg)
		t.Must(cfg.SetRequiredStoreGranularity(pmem2.GranularityByte), "SetRequiredStoreGranularity(BYTE)")
		t.Must(cfg.SetEventCallback(nil), "SetEventCallback(none)")
		last := t.Set(cfg)
		for range 2 {
			a := t.SetMap(g, old, src, 0, 64*kib)
			t.Check(a.Addr >= r.Address() && a.Addr < r.Address()+mib, "%s isn't in the reservation that the config had", partText(a))
			oldEvents.Name("A", a.Addr)
			t.Events(old, oldEvents, "PART_ADD A 64K")
			b := t.SetMap(g, later, src, 0, 64*kib)
			t.Check(b.Addr < r.Address() || b.Addr >= r.Address()+mib, "%s is in the reservation that the config had no more", partText(b))
			laterEvents.Name("B", b.Addr)
			t.Events(later, laterEvents, "PART_ADD B 64K")
			t.Check(len(oldEvents.Take()) == 0, "the first set tells of a part of the second")
			t.NoSetMap("PMEMSET_E_INVALID_PMEM2_MAP", g, last, src, 0, 64*kib) // which wants BYTE
			t.Must(cfg.Delete(), "Delete() of the config")                     // and once more
		}
	})
}

// checkSetDead expects a set that has been deleted to be no object any more.
func checkSetDead(t *T, set Set) {
	for _, call := range []struct {
		name string
		f    func() error
	}{
		{"StoreGranularity", func() error { _, err := set.StoreGranularity(); return err }},
		{"SetContiguousPartCoalescing", func() error { return set.SetContiguousPartCoalescing(pmemset.CoalescingFull) }},
		{"PartMapByAddress", func() error { _, err := set.PartMapByAddress(4096); return err }},
		{"RemoveRange", func() error { return set.RemoveRange(0, 1<<64-1) }},
		{"Drain", set.Drain},
	} {
		t.Expect("-EINVAL", call.f(), "%s of a set that has been deleted", call.name)
	}
	t.Check(set.FirstPartMap() == nil, "a set that has been deleted has a part map")
}

func setDelete(t *T) {
	t.EachGeneration(func(g Generation) {
		path, src := t.SetFile(256 * kib)
		fd := t.Open(t.FileAt(path), platform.ORdwr)
		content := pattern(256*kib, 3)
		t.WriteFile(fd, 0, content)
		set, events := t.SetWithEvents()
		other := t.Set()
		kept := t.SetMap(g, other, src, 0, 64*kib)
		var parts []pmemset.PartDescriptor
		for i, c := range []pmemset.Coalescing{pmemset.CoalescingNone, pmemset.CoalescingNone, pmemset.CoalescingOpportunistic} {
			t.Coalesce(set, c)
			parts = append(parts, t.SetMap(g, set, src, uint64(i)*64*kib, 64*kib))
		}
		held := set.FirstPartMap()
		also, err := set.PartMapByAddress(parts[2].Addr)
		t.Must(err, "PartMapByAddress()")
		parts[0].Bytes()[0] ^= 0xff
		content[0] ^= 0xff
		events.Take()

		t.Delete(set) // whatever references there are
		t.Events(set, events)
		for _, d := range parts {
			checkGone(t, fd, d.Addr, d.Size)
		}
		checkSetDead(t, set)
		for _, m := range []PartMap{held, also} {
			d := m.Descriptor()
			t.Check(d == pmemset.PartDescriptor{}, "a reference into a set that has been deleted has the descriptor %s", partText(d))
			m.Drop()
		}
		// The source, the file and the other set stay.
		t.CheckParts(other, kept)
		checkMappedOnce(t, fd)
		checkBytes(t, kept.Bytes(), content[:64*kib], "the part of another set")
		t.SetMap(g, other, src, 64*kib, 64*kib)
		t.Delete(other)
		checkUnmapped(t, fd)
		checkFile(t, fd, 0, content, "the file")
	})
}

func setDeleteInReservation(t *T) {
	t.EachGeneration(func(g Generation) {
		r := t.Reservation(0, mib)
		addr := r.Address()
		_, src := t.SetFile(64 * kib)
		own := t.MapAs(mapSpec{in: r, at: 512 * kib}, t.FileSource(64*kib))
		first, second := t.Set(t.SetConfigIn(r)), t.Set(t.SetConfigIn(r))
		t.Coalesce(first, pmemset.CoalescingOpportunistic)
		for range 2 {
			t.SetMap(g, first, src, 0, 64*kib)
		}
		stays := t.SetMap(g, second, src, 0, 64*kib)
		t.SetMap(g, first, src, 0, 64*kib)
		t.Delete(first)
		checkReservation(t, r, addr, mib)
		checkBlank(t, addr, 128*kib)
		checkBlank(t, addr+192*kib, 320*kib)
		t.CheckParts(second, stays)
		checkMapped(t, stays.Addr, stays.Size, "rw-s")
		checkMapped(t, own.Address(), own.Size(), "rw-s")
		checkFound(t, r, 512*kib, 0, own)
		t.Expect("PMEM2_E_VM_RESERVATION_NOT_EMPTY", r.Delete(), "Delete() of the reservation")

		t.Delete(second)
		t.Delete(own)
		checkEmpty(t, r)
		checkReservation(t, r, addr, mib)
		t.Delete(t.Set(t.SetConfigIn(r))) // a set without parts
		t.Delete(r)
	})
}

func setDeleteTwice(t *T) {
	for range 3 {
		t.Must(t.Sets().NilSet().Delete(), "Delete() of no set")
	}
	t.EachGeneration(func(g Generation) {
		t.Delete(t.Set()) // nothing was ever mapped
		_, src := t.SetFile(64 * kib)
		set := t.Set()
		t.NoSetMap("PMEMSET_E_INVALID_PMEM2_MAP", g, set, src, 100, 0x1000)
		t.Delete(set) // mapping has failed
		set, heir := t.Set(), t.Set()
		d := t.SetMap(g, set, src, 0, 64*kib)
		t.Delete(set)
		stays := t.SetMap(g, heir, src, 0, d.Size) // perhaps where the other was
		for range 2 {
			t.Delete(set)
		}
		t.CheckParts(heir, stays)
		checkMapped(t, stays.Addr, stays.Size, "rw-s")
	})
}

// stuckRange is a machine that, while a range is set, refuses with ENOMEM to unmap it
// or to map anything over it. It is set while no call is under way.
type stuckRange struct {
	platform.Platform
	addr    uintptr
	n       uint64
	refused int
}

func (s *stuckRange) refuses(addr uintptr, n uint64) bool {
	if addr >= s.addr+uintptr(s.n) || addr+uintptr(n) <= s.addr {
		return false
	}
	s.refused++
	return true
}

// Mmap is platform.Memory.Mmap.
func (s *stuckRange) Mmap(addr uintptr, n uint64, prot, flags, fd int, off int64) (uintptr, error) {
	if flags&platform.MapFixed != 0 && s.refuses(addr, n) {
		return 0, syscall.ENOMEM
	}
	return s.Platform.Mmap(addr, n, prot, flags, fd, off)
}

// Munmap is platform.Memory.Munmap.
func (s *stuckRange) Munmap(addr uintptr, n uint64) error {
	if s.refuses(addr, n) {
		return syscall.ENOMEM
	}
	return s.Platform.Munmap(addr, n)
}

// Mremap is platform.Memory.Mremap.
func (s *stuckRange) Mremap(addr uintptr, n, to uint64, flags int, at uintptr) (uintptr, error) {
	if s.refuses(addr, n) || flags&platform.MremapFixed != 0 && s.refuses(at, to) {
		return 0, syscall.ENOMEM
	}
	return s.Platform.Mremap(addr, n, to, flags, at)
}

// setDeleteOfStuckPart deletes a set of three parts of which one can't be unmapped:
// the others go, and nothing is lost.
func setDeleteOfStuckPart(t *T) {
	machine := &stuckRange{Platform: t.Machine()}
	t.Lib = t.subject.On(machine)
	var log bytes.Buffer
	t.Sets().SetLogger(slog.New(slog.NewTextHandler(&log, nil)))
	t.Cleanup(func() { t.Sets().SetLogger(nil) })
	t.EachGeneration(func(g Generation) {
		path, src := t.SetFile(192 * kib)
		fd := t.Open(t.FileAt(path), platform.ORdwr)
		for stuck := range 3 {
			set := t.Set()
			var parts []pmemset.PartDescriptor
			for i := range uint64(3) {
				parts = append(parts, t.SetMap(g, set, src, i*64*kib, 64*kib))
			}
			log.Reset()
			machine.addr, machine.n, machine.refused = parts[stuck].Addr, parts[stuck].Size, 0
			t.Must(set.Delete(), "Delete() where part %d can't be unmapped", stuck)
			machine.n = 0
			t.Check(machine.refused > 0, "Delete() doesn't try to unmap part %d", stuck)
			t.Note("the log", "%s", strings.TrimSpace(log.String()))
			t.Check(strings.Contains(log.String(), "level=ERROR") && strings.Contains(log.String(), fmt.Sprintf("%#x", parts[stuck].Addr)),
				"the log doesn't name the part at %#x: %s", parts[stuck].Addr, log.String())
			for i, d := range parts {
				if i != stuck {
					checkGone(t, fd, d.Addr, d.Size)
				}
			}
			checkSetDead(t, set)
			t.Must(set.Delete(), "Delete() again, where everything can be unmapped")
			checkUnmapped(t, fd)
		}
	})
}

// setGranularityCases are those of pmemset_get_store_granularity(3).
func setGranularityCases() []Case {
	const page = "pmemset_get_store_granularity/"
	return []Case{{
		Name: page + "effective-granularity",
		Rows: []string{page + "effective-granularity", page + "zero-or-negative"},
		Run: func(t *T) {
			t.EachGeneration(func(g Generation) {
				src := t.SetSource(t.made(t.Env.OrdinaryFile(64 * kib)).Path())
				t.Force("")
				set := t.Set()
				t.SetMap(g, set, src, 0, 64*kib)
				checkSetGranularity(t, set, pmem2.GranularityPage) // storage without DAX
				for _, effective := range granularities {
					for _, required := range granularities[effective:] {
						t.Force(effective.String())
						cfg := t.NewSetConfig()
						t.Must(cfg.SetRequiredStoreGranularity(required), "SetRequiredStoreGranularity(%v)", required)
						set, other := t.Set(cfg), t.Set()
						t.SetMap(g, set, src, 0, 64*kib)
						checkSetGranularity(t, set, effective) // not the required one
						t.Force("PAGE")
						t.SetMap(g, other, src, 0, 64*kib)
						checkSetGranularity(t, set, effective)
						checkSetGranularity(t, other, pmem2.GranularityPage)
					}
				}
			})
		},
	}, {
		Name:  page + "effective-granularity, DAX",
		Rows:  []string{page + "effective-granularity"},
		Needs: []Need{NeedFSDax, NeedDevDax, NeedEADR},
		Run: func(t *T) {
			t.EachGeneration(func(g Generation) {
				t.Force("")
				for _, o := range []Object{t.made(t.Env.DAXFile(2 * mib)), t.made(t.Env.DevDax(daxSize, daxAlign))} {
					src := t.SetSource(o.Path())
					for _, eADR := range []bool{true, false} {
						t.suite(t.Env.SetEADR(eADR), "set eADR to %t", eADR)
						set, want := t.Set(), pmem2.GranularityCacheLine
						if eADR {
							want = pmem2.GranularityByte
						}
						t.SetMap(g, set, src, 0, 2*mib)
						t.Note("eADR", "%t", eADR)
						checkSetGranularity(t, set, want)
					}
				}
			})
		},
	}, {
		Name: page + "needs-a-mapped-part",
		Rows: []string{
			page + "needs-a-mapped-part", page + "zero-or-negative",
			page + "PMEMSET_E_NO_PART_MAPPED#1", page + "PMEMSET_E_NO_PART_MAPPED#2",
		},
		Run: setGranularityNeedsPart,
	}}
}

// noSetGranularity expects a set to have no granularity.
func noSetGranularity(t *T, set Set, what string) {
	g, err := set.StoreGranularity()
	t.Expect("PMEMSET_E_NO_PART_MAPPED", err, "StoreGranularity() of %s", what)
	t.Check(g == 0, "with the error comes the granularity %v", g)
}

func setGranularityNeedsPart(t *T) {
	t.EachGeneration(func(g Generation) {
		_, src := t.SetFile(192 * kib)
		for i, first := range granularities {
			second := granularities[(i+1)%3]
			set := t.Set()
			noSetGranularity(t, set, "a new set")
			t.Force(first.String())
			t.NoSetMap("PMEMSET_E_INVALID_PMEM2_MAP", g, set, src, 100, 64*kib)
			t.NoSetMap("PMEMSET_E_LENGTH_UNALIGNED", g, set, src, 0, 100)
			noSetGranularity(t, set, "a set whose map calls have failed")

			a := t.SetMap(g, set, src, 0, 64*kib)
			b := t.SetMap(g, set, src, 64*kib, 64*kib)
			t.Must(set.RemoveRange(a.Addr, 1), "RemoveRange() of the first part")
			checkSetGranularity(t, set, first) // one is left
			t.Force(second.String())
			t.NoSetMap("PMEMSET_E_GRANULARITY_MISMATCH", g, set, src, 0, 64*kib)
			m := set.FirstPartMap()
			t.Must(set.RemovePartMap(m), "RemovePartMap() of the last part, at %#x", b.Addr)
			noSetGranularity(t, set, "a set without parts")

			// It has begun anew: the next part decides.
			c := t.SetMap(g, set, src, 0, 64*kib)
			checkSetGranularity(t, set, second)
			t.Force(first.String())
			t.NoSetMap("PMEMSET_E_GRANULARITY_MISMATCH", g, set, src, 0, 64*kib)
			t.Must(set.RemoveRange(c.Addr, c.Size), "RemoveRange() of the part")
			noSetGranularity(t, set, "a set without parts")
			t.Delete(set)
		}
	})
}
