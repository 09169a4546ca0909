package conformance

import (
	"fmt"
	"math"
	"syscall"

	"pmemlab/emu"
	"pmemlab/emu/fault"
	"pmemlab/pmem2"
	"pmemlab/pmem2/platform"
)

// deepFlushCases checks pmem2_deep_flush(3).
func deepFlushCases() []Case {
	return []Case{{
		Name: "pmem2_deep_flush/range outside the mapping",
		Rows: []string{"pmem2_deep_flush/PMEM2_E_DEEP_FLUSH_RANGE#1"},
		Run: func(t *T) {
			trace := t.Recorded()
			size := 4 * t.Page()
			m := t.MapAs(mapSpec{offset: size, length: size}, t.FileSource(3*size))
			noDeepFlush(t, trace, m, outside(m))
			flushDeep(t, m, m.Address(), size)
		},
	}, {
		Name:  "pmem2_deep_flush/range outside the mapping, at every granularity",
		Rows:  []string{"pmem2_deep_flush/PMEM2_E_DEEP_FLUSH_RANGE#1", "pmem2_deep_flush/PMEM2_E_DEEP_FLUSH_RANGE#2"},
		Needs: []Need{NeedFile},
		Run: func(t *T) {
			trace := t.Recorded()
			src := t.FileSource(4 * t.Page())
			for _, g := range granularities {
				t.Force(g.String())
				m := t.MapAs(mapSpec{}, src)
				noDeepFlush(t, trace, m, append(outside(m), wrapping(m)...))
				t.Delete(m)
			}
		},
	}, {
		Name:  "pmem2_deep_flush/range outside the mapping, device DAX",
		Rows:  []string{"pmem2_deep_flush/PMEM2_E_DEEP_FLUSH_RANGE#1", "pmem2_deep_flush/PMEM2_E_DEEP_FLUSH_RANGE#2"},
		Needs: []Need{NeedDevDax},
		Run: func(t *T) {
			trace := t.Recorded()
			_, _, src := t.Device()
			m := t.MapAs(mapSpec{offset: daxAlign, length: daxAlign}, src)
			noDeepFlush(t, trace, m, append(outside(m), wrapping(m)...))
			flushDeep(t, m, m.Address(), daxAlign)
		},
	}, {
		Name: "pmem2_deep_flush/range that wraps",
		Rows: []string{"pmem2_deep_flush/PMEM2_E_DEEP_FLUSH_RANGE#2"},
		Run: func(t *T) {
			trace := t.Recorded()
			m := t.MapAs(mapSpec{}, t.FileSource(4*t.Page()))
			noDeepFlush(t, trace, m, wrapping(m))
			flushDeep(t, m, m.Address(), m.Size())
		},
	}, {
		Name: "pmem2_deep_flush/no region",
		Rows: []string{"pmem2_deep_flush/PMEM2_E_DAX_REGION_NOT_FOUND#1"},
		Run:  deepFlushNoRegion,
	}, {
		Name: "pmem2_deep_flush/msync fails",
		Rows: []string{"pmem2_deep_flush/-errno#1"},
		Run: func(t *T) {
			for _, g := range []pmem2.Granularity{pmem2.GranularityCacheLine, pmem2.GranularityByte} {
				t.Force(g.String())
				deepFlushMsyncFails(t, t.FileFD(4*t.Page()), g)
			}
		},
	}, {
		Name:  "pmem2_deep_flush/msync fails, DAX file",
		Rows:  []string{"pmem2_deep_flush/-errno#1"},
		Needs: []Need{NeedFSDax},
		Run: func(t *T) {
			t.withoutEADR()
			t.Force("")
			o := t.made(t.Env.DAXFile(4 * t.Page()))
			deepFlushMsyncFails(t, t.Open(o, platform.ORdwr), pmem2.GranularityCacheLine)
		},
	}, {
		Name: "pmem2_deep_flush/msync fails at PAGE granularity",
		Rows: []string{"pmem2_deep_flush/-errno#2"},
		Run: func(t *T) {
			t.Force("")
			deepFlushMsyncFails(t, t.FileFD(4*t.Page()), pmem2.GranularityPage)
			// Forced upon a map that the system has no part in.
			t.Force("PAGE")
			deepFlushMsyncFails(t, t.FileFD(4*t.Page()), pmem2.GranularityPage)
		},
	}, {
		Name: "pmem2_deep_flush/anonymous memory",
		Rows: []string{"pmem2_deep_flush/PMEM2_E_NOSUPP#1"},
		Run: func(t *T) {
			page := t.Page()
			src := t.AnonSource(4 * page)
			own := t.Mmap(0, 4*page, readWrite, placeholderFlags, -1)
			for _, c := range []struct {
				m    Map
				what string
			}{
				{t.MapAs(mapSpec{}, src), "anonymous memory"},
				{t.MapAs(mapSpec{sharing: pmem2.Private, length: 2 * page}, src), "private anonymous memory"},
				{t.Wrap(src, own, 4*page, pmem2.GranularityPage), "anonymous memory of its own, at PAGE"},
			} {
				for _, n := range []uint64{c.m.Size(), 1, page} {
					t.Expect("PMEM2_E_NOSUPP", c.m.DeepFlushRange(c.m.Address(), n), "DeepFlush(%d bytes of %s)", n, c.what)
				}
			}
		},
	}, {
		Name:  "pmem2_deep_flush/sysfs can't be read",
		Rows:  []string{"pmem2_deep_flush/-errno#3"},
		Needs: []Need{NeedDIMM},
		Run:   deepFlushSysfsFails,
	}, {
		Name: "pmem2_deep_flush/more expensive than persist",
		Rows: []string{"pmem2_deep_flush/more-expensive-than-persist"},
		Run:  deepFlushOfFile,
	}, {
		Name: "pmem2_deep_flush/returns zero",
		Rows: []string{"pmem2_deep_flush/returns-zero-or-error"},
		Run: func(t *T) {
			for _, g := range granularities {
				t.Force(g.String())
				fd := t.FileFD(4*t.Page() + 100)
				m := t.MapAs(mapSpec{}, t.Source(fd))
				want := pattern(m.Size(), byte(g)+1)
				copy(m.Bytes(), want)
				for _, r := range within(m) {
					flushDeep(t, m, r.addr, r.n)
				}
				checkFile(t, fd, 0, want, "the file after the deep flush")
				t.Delete(m)
				t.Check(m.DeepFlushRange(m.Address(), 1) != nil, "DeepFlush of a deleted map succeeds")
			}
		},
	}, {
		Name:  "pmem2_deep_flush/device DAX",
		Rows:  []string{"pmem2_deep_flush/returns-zero-or-error", "pmem2_deep_flush/more-expensive-than-persist"},
		Needs: []Need{NeedDIMM},
		Run:   deepFlushOfDevice,
	}, {
		Name:  "pmem2_deep_flush/deep_flush can't be written",
		Rows:  []string{"pmem2_deep_flush/returns-zero-or-error", "pmem2_deep_flush/-errno#3"},
		Needs: []Need{NeedDevDax, NeedFaultInjection},
		Run: func(t *T) {
			// What only root may do isn't an error for all others; else it is one.
			for _, c := range []struct{ errno, want string }{
				{"EACCES", "0"}, {"EPERM", "0"}, {"EROFS", "0"}, {"EIO", "-EIO"}, {"EINVAL", "-EINVAL"},
			} {
				t.Lib = t.Inject("(" + c.errno + " (Op write-attr))")
				_, _, src := t.Device()
				m := t.MapAs(mapSpec{}, src)
				t.Expect(c.want, m.DeepFlushRange(m.Address(), 100), "DeepFlush(100 bytes)")
				t.Delete(m)
			}
		},
	}}
}

// memoryRange is n bytes at addr.
type memoryRange struct {
	addr uintptr
	n    uint64
}

func (r memoryRange) String() string { return fmt.Sprintf("%#x, %#x", r.addr, r.n) }

// outside are ranges that have a byte, or their place, outside of a map. None wraps.
func outside(m Map) []memoryRange {
	addr, size := m.Address(), m.Size()
	const page = 4096
	return []memoryRange{
		{addr, size + 1}, {addr - 1, 1}, {addr - 1, 2}, {addr - 1, size + 2},
		{addr + 1, size}, {addr + uintptr(size) - 1, 2}, {addr + uintptr(size), 1},
		{addr + uintptr(size) + 1, 0}, {addr - 1, 0}, {addr - page, page}, {addr - page, size},
		{addr, 1 << 47}, {0, 1}, {0, 0}, {0, uint64(addr) + size},
	}
}

// wrapping are ranges that go past the end of the address space, back into the map.
func wrapping(m Map) []memoryRange {
	addr, size := m.Address(), m.Size()
	return []memoryRange{
		{addr, math.MaxUint64}, {addr + 1, math.MaxUint64}, {addr + uintptr(size), math.MaxUint64},
		{addr + uintptr(size), -size}, {addr + uintptr(size/2), -(size / 2)}, {addr + uintptr(size/2), -(size / 4)},
		{addr, -uint64(addr)}, {addr, -uint64(addr) + 1}, {addr + uintptr(size) + 1, math.MaxUint64},
		{addr - 1, math.MaxUint64}, {math.MaxUint64, 2}, {math.MaxUint64, uint64(addr) + 2},
	}
}

// within are ranges inside a map, empty ones at its end too.
func within(m Map) []memoryRange {
	addr, size := m.Address(), m.Size()
	return []memoryRange{
		{addr, size}, {addr, 1}, {addr + 1, size - 1}, {addr + 100, 100}, {addr + 4095, 2}, {addr + uintptr(size) - 1, 1},
		{addr, 0}, {addr + 100, 0}, {addr + uintptr(size), 0},
	}
}

func flushDeep(t *T, m Map, addr uintptr, n uint64) {
	t.Must(m.DeepFlushRange(addr, n), "DeepFlush(%#x, %d)", addr, n)
}

// noDeepFlush expects ranges to be refused before the system is asked anything.
func noDeepFlush(t *T, trace *fault.Platform, m Map, ranges []memoryRange) {
	t.Note("the map", "%d bytes at %#x, granularity %v", m.Size(), m.Address(), m.StoreGranularity())
	for _, r := range ranges {
		before := len(trace.Log())
		from := fmt.Sprintf("%+#x", int64(r.addr-m.Address()))
		if r.addr == 0 {
			from = " at 0"
		}
		if !t.Expect("PMEM2_E_DEEP_FLUSH_RANGE", m.DeepFlushRange(r.addr, r.n), "DeepFlush(map%s, %#x)", from, r.n) {
			continue
		}
		made := trace.Log()[before:]
		t.Check(len(made) == 0, "a range that is refused (%v) leads to %v", r, made)
	}
}

// deepFlushMsyncFails lets msync fail for a file that is mapped at the granularity g.
func deepFlushMsyncFails(t *T, fd int, g pmem2.Granularity) {
	page := t.Page()
	mapIt := func() Map {
		m := t.MapAs(mapSpec{}, t.Source(fd))
		t.Check(m.StoreGranularity() == g, "the granularity is %v, not %v", m.StoreGranularity(), g)
		return m
	}
	lib := t.Lib
	defer func() { t.Lib = lib }()
	for _, errno := range []string{"EIO", "ENOMEM", "EBUSY"} {
		t.Lib = t.Inject("(" + errno + " (Op msync))")
		m := mapIt()
		for _, n := range []uint64{m.Size(), 1, page + 1} {
			t.Expect("-"+errno, m.DeepFlushRange(m.Address(), n), "DeepFlush(%d bytes, granularity %v)", n, g)
		}
		if err := m.DeepFlushRange(m.Address(), 0); t.Lib.Outcome(err) != "-"+errno { // msync may be asked all the same
			t.Must(err, "DeepFlush(nothing, granularity %v)", g)
		}
		t.Delete(m)
	}
	// A failure isn't remembered, and nor is it overlooked later.
	t.Lib = t.Inject("(EIO (And (Op msync) (Or (OnIndex 0) (OnIndex 2))))")
	m := mapIt()
	for _, want := range []string{"-EIO", "0", "-EIO", "0"} {
		t.Expect(want, m.DeepFlushRange(m.Address(), m.Size()), "DeepFlush(all, granularity %v)", g)
	}
}

func deepFlushNoRegion(t *T) {
	const want = "PMEM2_E_DAX_REGION_NOT_FOUND"
	o, _, src := t.Device()
	m := t.MapAs(mapSpec{}, src)
	_, _, other := t.Device()
	mOther := t.MapAs(mapSpec{}, other)
	flushDeep(t, m, m.Address(), m.Size())

	t.suite(t.Env.Sysfs().Remove(o.SysfsDir()), "remove %s", o.SysfsDir())
	t.Note("sysfs", "%s is gone", o.SysfsDir())
	for _, n := range []uint64{m.Size(), 1} {
		t.Expect(want, m.DeepFlushRange(m.Address(), n), "DeepFlush(%d bytes of a device that sysfs doesn't know)", n)
	}
	flushDeep(t, mOther, mOther.Address(), mOther.Size())

	removeFromBus(t, "region")
	for _, n := range []uint64{m.Size(), 1} {
		t.Expect(want, mOther.DeepFlushRange(mOther.Address(), n), "DeepFlush(%d bytes of a device without a region)", n)
	}
}

func deepFlushSysfsFails(t *T) {
	o, _, src := t.Device()
	m := t.MapAs(mapSpec{}, src)
	dir := t.Storage(o)
	for _, path := range []string{o.SysfsDir(), "bus/nd/devices", dir.Region + "/deep_flush"} {
		for _, c := range []struct {
			errno syscall.Errno
			want  string
		}{{syscall.EACCES, "-EACCES"}, {syscall.EIO, "-EIO"}} {
			failSysfs(t, path, c.errno)
			t.Expect(c.want, m.DeepFlushRange(m.Address(), m.Size()), "DeepFlush(all)")
			t.Expect(c.want, m.DeepFlushRange(m.Address(), 1), "DeepFlush(1 byte)")
		}
		t.suite(t.Env.Sysfs().Fail(path, syscall.Errno(0)), "make %s work again", path)
		before := dir.DeepFlushes()
		flushDeep(t, m, m.Address(), m.Size())
		t.Check(dir.DeepFlushes() == before+1, "after the failures the region isn't flushed")
	}
	// That a kernel doesn't have the attribute, or that it can't be written, is no error.
	setSysfsPath(t, dir.Region+"/deep_flush", "0\n")
	before := dir.DeepFlushes()
	flushDeep(t, m, m.Address(), m.Size())
	t.Check(dir.DeepFlushes() == before, "deep_flush is written although it reads 0")
	t.suite(t.Env.Sysfs().Remove(dir.Region+"/deep_flush"), "remove deep_flush")
	flushDeep(t, m, m.Address(), m.Size())
}

// deepFlushOfFile holds the system calls of a deep flush against those of a persist.
func deepFlushOfFile(t *T) {
	page := t.Page()
	for _, g := range granularities {
		t.Force(g.String())
		trace := t.Recorded()
		m := t.MapAs(mapSpec{}, t.FileSource(4*page))
		for _, r := range within(m) {
			addr := uint64(r.addr)
			b := m.Bytes()[r.addr-m.Address():][:r.n]
			before := len(trace.Log())
			t.Must(m.Persist(b), "Persist(%v, granularity %v)", r, g)
			persist := trace.Log()[before:]
			before += len(persist)
			flushDeep(t, m, r.addr, r.n)
			deep := trace.Log()[before:]
			t.Note("calls", "Persist: %v, DeepFlush: %v", persist, deep)
			if g != pmem2.GranularityPage {
				t.Check(len(persist) == 0, "Persist at granularity %v makes the calls %v", g, persist)
			}
			if r.n == 0 {
				t.Check(len(deep) == 0 || deep[0].Op == fault.OpMsync && deep[0].Length < page, "DeepFlush of nothing makes the calls %v", deep)
				continue
			}
			if one := len(deep) == 1 && deep[0].Op == fault.OpMsync && deep[0].Flags == platform.MsSync; !one {
				t.Check(one, "DeepFlush at granularity %v makes the calls %v, want one msync with MS_SYNC", g, deep)
				continue
			}
			from, to := uint64(deep[0].Addr), uint64(deep[0].Addr)+deep[0].Length
			t.Check(from == addr/page*page && (to+page-1)/page == (addr+r.n+page-1)/page,
				"msync of [%#x, %#x), want the pages of [%#x, %#x) and no more", from, to, addr, addr+r.n)
		}
		t.Delete(m)
	}
}

// deepFlushOfDevice counts what reaches the regions of device DAX.
func deepFlushOfDevice(t *T) {
	for _, eADR := range []bool{false, true} {
		for _, c := range []struct {
			name   string
			region emu.Region
			writes uint64 // for each flush
		}{
			{"flush hints", emu.Region{}, 1},
			{"flush hints, two DIMMs", emu.Region{DIMMs: make([]emu.DIMM, 2)}, 1},
			{"no flush hints", emu.Region{NoFlushHints: true}, 0},
			{"no attribute deep_flush", emu.Region{NoDeepFlush: true}, 0},
		} {
			t.suite(t.Env.SetEADR(eADR), "eADR %t", eADR)
			trace := t.Recorded()
			o, _, src := t.DeviceOn(c.region)
			m := t.MapAs(mapSpec{}, src)
			other := t.Storage(t.made(t.Env.DevDaxOn(daxSize, emu.Region{})))
			s := t.Storage(o)
			for _, r := range within(m) {
				want := c.writes
				if r.n == 0 {
					want = 0
				}
				persisted := len(trace.Log())
				t.Must(m.Persist(m.Bytes()[r.addr-m.Address():][:r.n]), "Persist(%v)", r)
				t.Check(len(trace.Log()) == persisted, "Persist makes the calls %v", trace.Log()[persisted:])
				before := s.DeepFlushes()
				flushDeep(t, m, r.addr, r.n)
				written := s.DeepFlushes() - before
				t.Note(s.Region+"/deep_flush, "+c.name, "written %d times", written)
				t.Check(written == want, "%s: deep_flush of the region was written %d times, want %d", c.name, written, want)
			}
			t.Check(other.DeepFlushes() == 0, "deep_flush of another region was written")
			for _, call := range trace.Log() {
				t.Check(call.Op != fault.OpMsync, "device DAX is synced: %v", call)
				t.Check(call.Op != fault.OpWriteAttr || c.writes > 0, "%s: the call %v", c.name, call)
			}
			t.Delete(m)
		}
	}
	t.suite(t.Env.SetEADR(false), "ADR")
	// A map of device DAX that is forced to PAGE can't be persisted, and this can.
	o, _, src := t.DeviceOn(emu.Region{})
	t.Force("PAGE")
	m := t.MapAs(mapSpec{}, src)
	flushDeep(t, m, m.Address(), m.Size())
	t.Check(t.Storage(o).DeepFlushes() == 1, "deep_flush was written %d times, want once", t.Storage(o).DeepFlushes())
}
