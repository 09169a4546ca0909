package conformance

import (
	"syscall"

	"pmemlab/emu"
	"pmemlab/pmem2"
	"pmemlab/pmem2/platform"
	"pmemlab/pmemset"
)

// setMapBadBlockCases checks mapping of a source that looks for bad blocks.
func setMapBadBlockCases() []Case {
	return []Case{
		setMapCase("source-values-enable-features", setMapFeatures, newMap, "source-values-enable-features").needing(NeedBadBlock),
		setMapCase("badblocks-searched", setMapSearches, newMap, "badblocks-searched", "PMEMSET_E_IO_FAIL#1"),
		setMapCase("badblocks-clearable-in-callback", setMapClears, newMap, "badblocks-clearable-in-callback", "all-cleared-event"),
		setMapCase("all-cleared-event", setMapClearsAtOnce, newMap, "all-cleared-event"),
		setMapCase("callback fails", setMapCallbackFails, newMap, "(callback)#1"),
		setMapCase("no region", setMapNoRegion, newMap, "PMEMSET_E_DAX_REGION_NOT_FOUND#1").needing(NeedFSDax),
		setMapCase("no region, no detection", setMapNoRegionNeeded, newMap, "PMEM2_E_DAX_REGION_NOT_FOUND#1"),
		setMapCase("bounds unreadable", setMapNoBounds, newMap, "PMEMSET_E_CANNOT_READ_BOUNDS#1"),
		setMapCase("no sysfs", setMapNoSysfs, newMap, "PMEMSET_E_BADBLOCK_NOSUPP#1").needing(NeedFaultInjection),
		setMapCase("bus unreadable", setMapBusUnreadable, newMap, "-errno#1").needing(NeedDIMM),
	}
}

// searchingSource is a source of an object that looks for bad blocks.
func (t *T) searchingSource(o Object) SetSource {
	src := t.SetSource(o.Path())
	t.Must(src.SetBadBlockDetection(true), "SetBadBlockDetection(true)")
	return src
}

// twoBadBlocks is a DAX file of 256K with bad blocks of 4K at 64K and at 128K.
func (t *T) twoBadBlocks() (o Object, fd int, content []byte) {
	o, fd, _, content = t.badFile(256*kib/t.Page(), knownRegion)
	t.poison(o, 64*kib, 4096)
	t.poison(o, 128*kib, 4096)
	return o, fd, content
}

// clearing has the callback clear each bad block that it is told of, and return what
// answer does.
func clearing(t *T, events *SetEvents, answer func(e SetEvent) error) {
	events.Answer = func(e SetEvent) error {
		if e.Type == pmemset.EventBadBlock {
			if err := e.Source.ClearBadBlock(e.BadBlock); err != nil {
				t.Note("ClearBadBlock() in the callback", "%s", t.Lib.Outcome(err))
				return err
			}
		}
		return answer(e)
	}
}

func nothingWrong(SetEvent) error { return nil }

// setMapFeatures maps the same file, with bad blocks in it, by sources that ask for
// nothing, for one of the two features, and for both.
func setMapFeatures(t *T, g Generation) {
	o, _, _ := t.twoBadBlocks()
	set, events := t.SetWithEvents()
	named := func(want string, d pmemset.PartDescriptor, rest ...string) {
		events.Name(want, d.Addr)
		t.Events(set, events, append([]string{"PART_ADD " + want + " 4K"}, rest...)...)
	}
	plain := t.SetSource(o.Path())
	named("A", t.SetMap(g, set, plain, 0, 4*kib))
	counted, state := t.sdsSource(o, pmemset.SDS{})
	named("B", t.SetMap(g, set, counted, 0, 4*kib), "SDS_UPDATE usc 12 ref 1")
	checkState(t, state, pmemset.PartStateOK)

	blocks := []string{"BADBLOCK 64K 4K", "BADBLOCK 128K 4K"}
	searching := t.searchingSource(o)
	t.NoSetMap("PMEMSET_E_IO_FAIL", g, set, searching, 0, 4*kib)
	t.Events(set, events, blocks...)
	t.Must(searching.SetBadBlockDetection(false), "SetBadBlockDetection(false)")
	named("C", t.SetMap(g, set, searching, 0, 4*kib))

	// The state comes first, the bad blocks next.
	both, state := t.sdsSource(o, pmemset.SDS{})
	t.Must(both.SetBadBlockDetection(true), "SetBadBlockDetection(true)")
	t.NoSetMap("PMEMSET_E_IO_FAIL", g, set, both, 0, 4*kib)
	checkState(t, state, pmemset.PartStateOK)
	t.Events(set, events, blocks...)
	refused, state := t.sdsSource(o, sdsOf(knownID, knownUSC, 1))
	t.Must(refused.SetBadBlockDetection(true), "SetBadBlockDetection(true)")
	t.NoSetMap(undesirable, g, set, refused, 0, 4*kib)
	checkState(t, state, interrupted)
	t.Events(set, events)
	clearing(t, events, nothingWrong)
	d := t.SetMap(g, set, both, 0, 4*kib)
	events.Name("D", d.Addr)
	t.Events(set, events, append(blocks, "BADBLOCKS_CLEARED", "PART_ADD D 4K", "SDS_UPDATE usc 12 ref 1")...)
}

// setMapSearches: all of the source is searched, whatever is mapped of it, and nothing
// is mapped or grown with a bad block left.
func setMapSearches(t *T, g Generation) {
	const code = "PMEMSET_E_IO_FAIL"
	o, _, _ := t.twoBadBlocks()
	src := t.searchingSource(o)
	set, events := t.SetWithEvents()
	for _, r := range []struct{ offset, length uint64 }{{0, 4 * kib}, {64 * kib, 4 * kib}, {192 * kib, 64 * kib}, {0, 0}, {0, mib}, {100, 100}} {
		t.NoSetMap(code, g, set, src, r.offset, r.length)
		for _, e := range t.Events(set, events, "BADBLOCK 64K 4K", "BADBLOCK 128K 4K") {
			t.Check(e.Source == src, "the event has another source than was mapped")
		}
	}
	t.CheckFileSize(o.Path(), 256*kib, "after the failures")
	t.NoSetMap(code, g, t.Set(), src, 0, 4*kib) // nobody to tell

	// One of two isn't all.
	events.Answer = func(e SetEvent) error {
		if e.Type == pmemset.EventBadBlock && e.BadBlock.Offset == 64*kib {
			return e.Source.ClearBadBlock(e.BadBlock)
		}
		return nil
	}
	t.NoSetMap(code, g, set, src, 0, 4*kib)
	t.Events(set, events, "BADBLOCK 64K 4K", "BADBLOCK 128K 4K")
	t.NoSetMap(code, g, set, src, 0, 4*kib)
	t.Events(set, events, "BADBLOCK 128K 4K")

	// The same of a device DAX, and a healthy source.
	device, _, _ := t.DeviceOn(knownRegion)
	src = t.searchingSource(device)
	events.Answer = nil
	d := t.SetMap(g, set, src, 0, daxAlign)
	events.Name("A", d.Addr)
	t.Events(set, events, "PART_ADD A 2M")
	t.poison(device, 4*mib, 512)
	t.NoSetMap(code, g, set, src, 0, daxAlign)
	t.Events(set, events, "BADBLOCK 4M 512")
	t.CheckParts(set, d)
}

func setMapClears(t *T, g Generation) {
	o, fd, content := t.twoBadBlocks()
	src := t.searchingSource(o)
	set, events := t.SetWithEvents()
	clearing(t, events, nothingWrong)
	d := t.SetMap(g, set, src, 0, 0)
	events.Name("A", d.Addr)
	told := t.Events(set, events, "BADBLOCK 64K 4K", "BADBLOCK 128K 4K", "BADBLOCKS_CLEARED", "PART_ADD A 256K")
	t.Check(told[2].Source == src, "BADBLOCKS_CLEARED has another source than was mapped")
	clear(content[64*kib : 68*kib])
	clear(content[128*kib : 132*kib])
	checkPart(t, d, content, "the part, with zeroes where the bad blocks were")
	checkFile(t, fd, 0, content, "the file")
	d = t.SetMap(g, set, src, 0, 64*kib)
	events.Name("B", d.Addr)
	t.Events(set, events, "PART_ADD B 64K")
}

// setMapClearsAtOnce: the first event is enough to clear all.
func setMapClearsAtOnce(t *T, g Generation) {
	o, _, _ := t.twoBadBlocks()
	src := t.searchingSource(o)
	set, events := t.SetWithEvents()
	cleared := false
	events.Answer = func(e SetEvent) error {
		if cleared || e.Type != pmemset.EventBadBlock {
			return nil
		}
		cleared = true
		for _, offset := range []uint64{64 * kib, 128 * kib} {
			if err := e.Source.ClearBadBlock(pmem2.BadBlock{Offset: offset, Length: 4096}); err != nil {
				t.Note("ClearBadBlock() in the callback", "%s", t.Lib.Outcome(err))
			}
		}
		return nil
	}
	d := t.SetMap(g, set, src, 0, 0)
	events.Name("A", d.Addr)
	t.Events(set, events, "BADBLOCK 64K 4K", "BADBLOCK 128K 4K", "BADBLOCKS_CLEARED", "PART_ADD A 256K")
}

// setMapCallbackFails: of what the callback returns only the answer to
// BADBLOCKS_CLEARED counts, which is the call's.
func setMapCallbackFails(t *T, g Generation) {
	o, _, _ := t.twoBadBlocks()
	src, state := t.sdsSource(o, pmemset.SDS{})
	t.Must(src.SetBadBlockDetection(true), "SetBadBlockDetection(true)")
	set, events := t.SetWithEvents()
	clearing(t, events, func(e SetEvent) error {
		if e.Type == pmemset.EventBadBlocksCleared {
			return ErrCallback
		}
		return nil
	})
	t.NoSetMap("(callback)", g, set, src, 0, mib)
	t.Events(set, events, "BADBLOCK 64K 4K", "BADBLOCK 128K 4K", "BADBLOCKS_CLEARED")
	t.CheckFileSize(o.Path(), 256*kib, "after the failure")
	checkState(t, state, pmemset.PartStateOK)
	t.CheckParts(set)
	// Now there is nothing to clear any more.
	d := t.SetMap(g, set, src, 0, 64*kib)
	events.Name("A", d.Addr)
	t.Events(set, events, "PART_ADD A 64K", "SDS_UPDATE usc 12 ref 1")

	t.poison(o, 64*kib, 4096)
	t.poison(o, 128*kib, 4096)
	clearing(t, events, func(e SetEvent) error {
		if e.Type == pmemset.EventBadBlocksCleared {
			return nil
		}
		return ErrCallback
	})
	d = t.SetMap(g, set, src, 0, 64*kib)
	events.Name("B", d.Addr)
	t.Events(set, events, "BADBLOCK 64K 4K", "BADBLOCK 128K 4K", "BADBLOCKS_CLEARED", "PART_ADD B 64K", "SDS_UPDATE usc 12 ref 2")
}

func setMapNoRegion(t *T, g Generation) {
	device, _, _ := t.Device()
	src := t.searchingSource(device)
	set, events := t.SetWithEvents()
	d := t.SetMap(g, set, src, 0, daxAlign)
	events.Take()
	removeFromBus(t, "region")
	cause := t.NoSetMap("PMEMSET_E_DAX_REGION_NOT_FOUND", g, set, src, 0, daxAlign)
	t.Check(cause == "PMEM2_E_DAX_REGION_NOT_FOUND", "below it is %q from libpmem2", cause)
	t.CheckParts(set, d)
	t.Events(set, events)
	for _, o := range []Object{t.made(t.Env.DAXFile(64 * kib)), t.made(t.Env.OrdinaryFile(64 * kib))} {
		t.SetMap(g, t.Set(), t.searchingSource(o), 0, 64*kib)
	}
}

func setMapNoRegionNeeded(t *T, g Generation) {
	device, _, own := t.Device()
	removeFromBus(t, "region")
	set := t.Set()
	src := t.SetSource(device.Path())
	a := t.SetMap(g, set, src, 0, daxAlign)
	b := t.SetMap(g, set, t.SetSourceOf(own), daxAlign, daxAlign)
	checkMapped(t, a.Addr, daxAlign, "rw-s")
	t.CheckParts(set, a, b)
}

func setMapNoBounds(t *T, g Generation) {
	const code = "PMEMSET_E_CANNOT_READ_BOUNDS"
	for _, bound := range []string{"resource", "size"} {
		device, _, _ := t.Device()
		src := t.searchingSource(device)
		set, events := t.SetWithEvents()
		path := device.SysfsDir() + "/../" + bound // of the nd device
		for _, errno := range []syscall.Errno{syscall.EACCES, syscall.EIO} {
			failSysfs(t, path, errno)
			cause := t.NoSetMap(code, g, set, src, 0, daxAlign)
			t.Check(cause == "PMEM2_E_CANNOT_READ_BOUNDS", "below it is %q from libpmem2", cause)
			repairSysfs(t, path)
		}
		setSysfsPath(t, path, "x\n")
		t.NoSetMap(code, g, set, src, 0, daxAlign)
		t.Events(set, events)
		// Only who looks for bad blocks needs them.
		t.SetMap(g, set, t.SetSource(device.Path()), 0, daxAlign)
	}
}

func setMapNoSysfs(t *T, g Generation) {
	const code = "PMEMSET_E_BADBLOCK_NOSUPP"
	for _, o := range []Object{
		t.made(t.Env.OrdinaryFile(64 * kib)), t.made(t.Env.File(64 * kib)), t.made(t.Env.DAXFile(64 * kib)),
	} {
		src, err := t.Inject("(ENOENT (Op sysfs))").Sets().SourceFromFile(o.Path())
		src = t.gotSetSource(src, err, "SourceFromFile(%s) on a machine without sysfs", o.Path())
		t.Must(src.SetBadBlockDetection(true), "SetBadBlockDetection(true)")
		set, events := t.SetWithEvents()
		cause := t.NoSetMap(code, g, set, src, 0, 64*kib)
		t.Check(cause == "PMEM2_E_NOSUPP", "below it is %q from libpmem2", cause)
		t.Events(set, events)
		t.Must(src.SetBadBlockDetection(false), "SetBadBlockDetection(false)")
		t.SetMap(g, set, src, 0, 64*kib)
		t.SetMap(g, t.Set(), t.searchingSource(o), 0, 64*kib)
	}
}

func setMapBusUnreadable(t *T, g Generation) {
	const bus = "bus/nd/devices"
	file := t.made(t.Env.DAXFileOn(64*kib, emu.Region{}))
	t.WriteFile(t.Open(file, platform.ORdwr), 0, pattern(64*kib, 1))
	device, _, _ := t.DeviceOn(knownRegion)
	for _, o := range []Object{file, device} {
		length := uint64(64 * kib)
		if o == device {
			length = daxAlign
		}
		src := t.searchingSource(o)
		set, events := t.SetWithEvents()
		for _, c := range []struct {
			errno syscall.Errno
			want  string
		}{{syscall.EACCES, "-EACCES"}, {syscall.EIO, "-EIO"}} {
			failSysfs(t, bus, c.errno)
			t.NoSetMap(c.want, g, set, src, 0, length)
		}
		repairSysfs(t, bus)
		t.Events(set, events)
		t.SetMap(g, set, src, 0, length)
	}
}
