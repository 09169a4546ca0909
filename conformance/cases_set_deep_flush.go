package conformance

import (
	"fmt"
	"math"

	"pmemlab/emu"
	"pmemlab/emu/fault"
	"pmemlab/pmem2"
	"pmemlab/pmem2/platform"
	"pmemlab/pmemset"
)

// setDeepFlushCases are those of pmemset_deep_flush(3).
func setDeepFlushCases() []Case {
	const page = "pmemset_deep_flush/"
	const failing = page + "PMEMSET_E_DEEP_FLUSH_FAIL"
	return []Case{{
		Name: page + "msync fails",
		Rows: []string{failing + "#1"},
		Run: func(t *T) {
			setDeepFlushMsyncFails(t, pmem2.GranularityCacheLine, Release112)
			setDeepFlushMsyncFails(t, pmem2.GranularityByte, Release112)
		},
	}, {
		Name: page + "msync fails at PAGE granularity",
		Rows: []string{failing + "#2"},
		Run:  func(t *T) { setDeepFlushMsyncFails(t, pmem2.GranularityPage, Release112) },
	}, {
		Name: page + "no region", Needs: []Need{NeedSysfsEdit, NeedDevDax},
		Rows: []string{failing + "#1"},
		Run:  setDeepFlushNoRegion,
	}, {
		Name: page + "holes leave no reference behind", Needs: []Need{NeedReservation},
		Rows: []string{page + "(side-effect)#1"},
		Run:  func(t *T) { t.InGenerations(func(g Generation) { setDeepFlushHoles(t, g) }, Release112) },
	}, {
		Name: page + "more expensive than persist", Needs: []Need{NeedReservation},
		Rows: []string{page + "more-expensive-than-persist"},
		Run:  setDeepFlushCalls,
	}, {
		Name: page + "device DAX", Needs: []Need{NeedDIMM},
		Rows: []string{page + "more-expensive-than-persist"},
		Run:  setDeepFlushOfDevices,
	}, {
		Name: page + "returns zero", Needs: []Need{NeedReservation},
		Rows: []string{page + "zero-or-negative"},
		Run: func(t *T) {
			t.EachGeneration(func(g Generation) {
				setDeepFlushHoles(t, g)
				setDeepFlushLeavesPartsAlone(t, g)
			})
			for _, set := range []Set{t.Set(), deletedSet(t)} {
				want := "0"
				if set.Drain() != nil { // it has been deleted
					want = "-EINVAL"
				}
				for _, n := range []uint64{0, 1, 1 << 20, math.MaxUint64} {
					t.Expect(want, set.DeepFlushRange(4096, n), "DeepFlush(4096, %#x) of a set without parts", n)
				}
				t.Expect(want, set.DeepFlush(make([]byte, 100)), "DeepFlush(100 bytes of the program's own)")
			}
		},
	}, {
		Name: page + "returns an error", Needs: []Need{NeedFaultInjection},
		Rows: []string{page + "zero-or-negative"},
		Run: func(t *T) {
			for _, at := range granularities {
				setDeepFlushMsyncFails(t, at, Generations()...)
			}
		},
	}}
}

// deletedSet is a set that is no more.
func deletedSet(t *T) Set {
	set := t.Set()
	t.Delete(set)
	return set
}

const deepFlushFails = "PMEMSET_E_DEEP_FLUSH_FAIL"

// noSetDeepFlush expects a deep flush to fail, and names what libpmem2 says.
func noSetDeepFlush(t *T, set Set, addr uintptr, n uint64, cause string) {
	err := set.DeepFlushRange(addr, n)
	t.Expect(deepFlushFails, err, "DeepFlush(%#x, %d)", addr, n)
	got := t.Sets().Cause(err)
	t.Check(got == cause, "below it is %q from libpmem2, want %q", got, cause)
}

func setDeepFlushMsyncFails(t *T, at pmem2.Granularity, generations ...Generation) {
	page := t.Page()
	lib := t.Lib
	defer func() { t.Lib = lib }()
	t.InGenerations(func(g Generation) {
		t.Force(at.String())
		for _, errno := range []string{"EIO", "ENOMEM", "EBUSY"} {
			path, _ := t.SetFile(4 * page)
			t.Lib = t.Inject("(" + errno + " (Op msync))")
			set, r := t.SetWithEvents()
			d := t.SetMap(g, set, t.SetSource(path), 0, 0)
			checkSetGranularity(t, set, at)
			r.Take()
			for _, n := range []uint64{d.Size, 1, page + 1} {
				noSetDeepFlush(t, set, d.Addr, n, "-"+errno)
				t.Expect(deepFlushFails, set.DeepFlush(d.Bytes()[:n]), "DeepFlush(%d bytes)", n)
			}
			noSetDeepFlush(t, set, d.Addr-4096, 8192, "-"+errno)
			t.Must(set.DeepFlushRange(d.Addr, 0), "DeepFlush(nothing)")
			t.Must(set.DeepFlushRange(d.Addr+uintptr(d.Size), 1), "DeepFlush(1 byte behind the part)")
			t.Events(set, r)
			// What is removed isn't held by the failures.
			removeByHandle(t, set, d)
		}
		// A failure isn't remembered, nor is it overlooked later.
		path, _ := t.SetFile(4 * page)
		t.Lib = t.Inject("(EIO (And (Op msync) (Or (OnIndex 0) (OnIndex 2))))")
		set := t.Set()
		d := t.SetMap(g, set, t.SetSource(path), 0, 0)
		for _, want := range []string{deepFlushFails, "0", deepFlushFails, "0"} {
			t.Expect(want, set.DeepFlushRange(d.Addr, d.Size), "DeepFlush(all, granularity %v)", at)
		}
		// Also in the second part of a range.
		t.Lib = t.Inject("(EIO (And (Op msync) (OnIndex 1)))")
		r := t.Reservation(0, 8*page)
		set = t.Set(t.SetConfigIn(r))
		src := t.SetSource(path)
		d = t.SetMap(g, set, src, 0, page)
		t.SetMap(g, set, src, page, 2*page)
		noSetDeepFlush(t, set, d.Addr, 3*page, "-EIO")
		t.Must(set.DeepFlushRange(d.Addr, 3*page), "DeepFlush(two parts)")
	}, generations...)
}

// removeByHandle expects a part map to go: nobody else holds a reference.
func removeByHandle(t *T, set Set, d pmemset.PartDescriptor) {
	m, err := set.PartMapByAddress(d.Addr)
	t.mustQuietly(err, "PartMapByAddress(%#x)", d.Addr)
	t.Must(set.RemovePartMap(m), "RemovePartMap(%s)", partText(d))
}

func setDeepFlushNoRegion(t *T) {
	t.InGenerations(func(g Generation) {
		const want = "PMEM2_E_DAX_REGION_NOT_FOUND"
		o, _, _ := t.Device()
		other, _, _ := t.Device()
		set := t.Set()
		d := t.SetMap(g, set, t.SetSource(o.Path()), 0, daxAlign)
		dOther := t.SetMap(g, set, t.SetSource(other.Path()), 0, daxAlign)
		t.Must(set.DeepFlushRange(d.Addr, d.Size), "DeepFlush(a device)")

		t.suite(t.Env.Sysfs().Remove(o.SysfsDir()), "remove %s", o.SysfsDir())
		t.Note("sysfs", "%s is gone", o.SysfsDir())
		for _, n := range []uint64{d.Size, 1} {
			noSetDeepFlush(t, set, d.Addr, n, want)
		}
		t.Must(set.DeepFlushRange(dOther.Addr, dOther.Size), "DeepFlush(another device)")
		removeFromBus(t, "region")
		noSetDeepFlush(t, set, dOther.Addr, dOther.Size, want)
		t.Must(set.DeepFlushRange(d.Addr+uintptr(d.Size), 100), "DeepFlush(behind the part)")
		removeByHandle(t, set, d)
		removeByHandle(t, set, dOther)
	}, Release112)
}

// setDeepFlushHoles has a deep flush meet parts, holes, or nothing, and removes the
// parts then.
func setDeepFlushHoles(t *T, g Generation) {
	page := t.Page()
	for _, at := range granularities {
		t.Force(at.String())
		r := t.Reservation(0, 16*page)
		set, told := t.SetWithEvents(t.SetConfigIn(r))
		_, src := t.SetFile(4 * page)
		below := t.SetMap(g, set, src, 0, page)
		gap := t.SetMap(g, set, src, 0, 4*page)
		above := t.SetMap(g, set, src, page, 2*page)
		t.Must(set.RemoveRange(gap.Addr, gap.Size), "RemoveRange()")
		told.Take()
		end := above.Addr + uintptr(above.Size)
		for _, m := range []memoryRange{
			{gap.Addr, gap.Size}, {gap.Addr, page}, {above.Addr - 1, 1}, {above.Addr - 4096, 4096}, // below a part
			{gap.Addr, 1}, {end, 1}, {end, 8 * page}, {end, math.MaxUint64}, // behind one
			{gap.Addr, gap.Size + 1}, {above.Addr - 1, 2}, {end - 1, 2}, {end - 1, math.MaxUint64}, // at an edge
			{below.Addr, 1}, {below.Addr, gap.Size + 2*page}, {below.Addr - 4096, 16 * page}, {0, math.MaxUint64}, // parts and holes
			{0, 1}, {4096, 0}, {above.Addr, 0}, {math.MaxUint64, 1}, {math.MaxUint64, math.MaxUint64},
		} {
			t.Must(set.DeepFlushRange(m.addr, m.n), "DeepFlush(%v) at %v, part maps %s and %s", m, at, partText(below), partText(above))
		}
		t.Must(set.DeepFlush(make([]byte, 5000)), "DeepFlush(5000 bytes of the program's own)")
		t.Events(set, told)
		t.CheckParts(set, below, above)
		// A reference that is left behind makes these fail.
		removeByHandle(t, set, above)
		t.Must(set.DeepFlushRange(gap.Addr, gap.Size), "DeepFlush(a hole)")
		t.Must(set.RemoveRange(below.Addr, 1), "RemoveRange(the other part)")
		t.CheckParts(set)
		t.Delete(set)
	}
}

// setDeepFlushLeavesPartsAlone flushes a part in ranges of any kind.
func setDeepFlushLeavesPartsAlone(t *T, g Generation) {
	for _, at := range granularities {
		t.Force(at.String())
		path, src := t.SetFile(partSize(t))
		set := t.Set()
		d := t.SetMap(g, set, src, 0, 0)
		b := d.Bytes()
		for i, r := range oddRanges(t.Page()) {
			copy(b[r.off:r.off+r.n], pattern(r.n, byte(i)))
			want := string(b)
			t.Must(set.DeepFlush(b[r.off:r.off+r.n]), "DeepFlush(%d bytes at %d) at %v", r.n, r.off, at)
			t.Check(string(b) == want, "DeepFlush changes the part")
		}
		checkFile(t, t.Open(t.FileAt(path), platform.ORdonly), 0, b, "the file after the deep flush")
	}
}

// setDeepFlushCalls holds the system calls of a deep flush against those of a persist,
// in a part map of two parts and one at its side.
func setDeepFlushCalls(t *T) {
	page := t.Page()
	t.EachGeneration(func(g Generation) {
		for _, at := range granularities {
			t.Force(at.String())
			log := t.Recorded()
			r := t.Reservation(0, 8*page)
			set := t.Set(t.SetConfigIn(r))
			_, src := t.SetFile(4 * page)
			t.SetMap(g, set, src, 0, 2*page)
			t.Coalesce(set, pmemset.CoalescingFull)
			t.SetMap(g, set, src, 3*page, page)
			t.Coalesce(set, pmemset.CoalescingNone)
			t.SetMap(g, set, src, page, 2*page)
			edges := []uint64{0, 2 * page, 3 * page, 5 * page} // of the three parts
			for _, m := range []struct{ off, n uint64 }{
				{0, 1}, {1, 100}, {page - 1, 2}, {0, 2 * page}, {2*page - 1, 1}, {2 * page, page}, {2*page + 5, 0},
				{2*page - 1, 2}, {page + 7, page}, {3*page - 10, 20}, {100, 3 * page}, {0, 5 * page}, {5*page - 1, 1},
			} {
				b := platform.Bytes(r.Address()+uintptr(m.off), m.n)
				before := len(log.Log())
				t.mustQuietly(set.Persist(b), "Persist(%d bytes at %d) at %v", m.n, m.off, at)
				persist := log.Log()[before:]
				before += len(persist)
				t.mustQuietly(set.DeepFlush(b), "DeepFlush(%d bytes at %d) at %v", m.n, m.off, at)
				deep := log.Log()[before:]
				t.Note(fmt.Sprintf("%d bytes at %d, %v", m.n, m.off, at), "Persist makes the calls %v, DeepFlush %v", persist, deep)
				if at != pmem2.GranularityPage {
					t.Check(len(persist) == 0, "Persist at %v makes the calls %v", at, persist)
				}
				checkDeepFlushCalls(t, deep, r.Address(), edges, m.off, m.n)
			}
			t.Delete(set)
		}
	})
}

// checkDeepFlushCalls expects one msync for each part that has a byte of n at off, of
// the pages in it and no more. edges are where the parts begin, and the end.
func checkDeepFlushCalls(t *T, calls []fault.Call, base uintptr, edges []uint64, off, n uint64) {
	page := t.Page()
	for i, start := range edges[:len(edges)-1] {
		from, to := max(start, off), min(edges[i+1], off+n)
		if from >= to {
			continue
		}
		t.Check(len(calls) > 0, "DeepFlush(%d bytes at %d): there is no call for the part at %d", n, off, start)
		c := calls[0]
		calls = calls[1:]
		t.Check(c.Op == fault.OpMsync && c.Flags == platform.MsSync, "DeepFlush(%d bytes at %d) makes the call %v, want msync with MS_SYNC", n, off, c)
		first, last := uint64(c.Addr-base), uint64(c.Addr-base)+c.Length
		t.Check(first == from/page*page && unitUp(last, page) == unitUp(to, page),
			"msync of [%#x, %#x), want the pages of [%#x, %#x) and no more", first, last, from, to)
	}
	t.Check(len(calls) == 0, "DeepFlush(%d bytes at %d) also makes the calls %v", n, off, calls)
}

// setDeepFlushOfDevices counts what reaches the regions of device DAX.
func setDeepFlushOfDevices(t *T) {
	t.EachGeneration(func(g Generation) {
		log := t.Recorded()
		set := t.Set()
		var parts []pmemset.PartDescriptor
		var flushed []func() uint64
		for range 2 {
			o, _, _ := t.DeviceOn(emu.Region{})
			parts = append(parts, t.SetMap(g, set, t.SetSource(o.Path()), 0, daxAlign))
			flushed = append(flushed, t.Storage(o).DeepFlushes)
		}
		for i, d := range parts {
			for _, n := range []uint64{d.Size, 1, 100} {
				before := [2]uint64{flushed[0](), flushed[1]()}
				calls := len(log.Log())
				t.Must(set.Persist(d.Bytes()[:n]), "Persist(%d bytes)", n)
				t.Check(len(log.Log()) == calls, "Persist makes the calls %v", log.Log()[calls:])
				t.Must(set.DeepFlush(d.Bytes()[:n]), "DeepFlush(%d bytes)", n)
				before[i]++
				now := [2]uint64{flushed[0](), flushed[1]()}
				t.Note("deep_flush of the two regions", "written %v times", now)
				t.Check(now == before, "deep_flush of the two regions was written %v times, want %v", now, before)
			}
		}
		first := min(parts[0].Addr, parts[1].Addr)
		before := [2]uint64{flushed[0](), flushed[1]()}
		t.Must(set.DeepFlushRange(first, uint64(max(parts[0].Addr, parts[1].Addr)-first)+1), "DeepFlush(both devices)")
		now := [2]uint64{flushed[0](), flushed[1]()}
		t.Check(now == [2]uint64{before[0] + 1, before[1] + 1}, "deep_flush of the two regions was written %v times, %v before", now, before)
	})
}
