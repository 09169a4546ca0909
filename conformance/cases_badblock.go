package conformance

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"pmemlab/emu"
	"pmemlab/pmem2"
	"pmemlab/pmem2/platform"
)

// badBlockCases checks pmem2_badblock_context_new(3), pmem2_badblock_next(3) and
// pmem2_badblock_clear(3).
func badBlockCases() []Case {
	return slices.Concat(badBlockContextCases(), badBlockDeleteCases(), badBlockNextCases(), badBlockClearCases(), badBlockClearDeviceCases())
}

// BadBlocks is a context of the bad blocks of a source.
func (t *T) BadBlocks(src Source) BadBlocks {
	c, err := t.Lib.NewBadBlockContext(src)
	t.Must(err, "NewBadBlockContext()")
	t.Check(c != nil, "NewBadBlockContext succeeds and returns no context")
	t.deleteAtEnd(c)
	return c
}

// noBadBlocks expects NewBadBlockContext to fail and to return no context.
func noBadBlocks(t *T, want string, src Source, what string) {
	c, err := t.Lib.NewBadBlockContext(src)
	if c != nil {
		t.deleteAtEnd(c)
	}
	ok := t.Expect(want, err, "NewBadBlockContext(%s)", what)
	t.Check(!ok || c == nil, "NewBadBlockContext fails and returns a context all the same")
}

// checkNext expects Next to give want and, if that is all, to say so ever after.
func checkNext(t *T, c BadBlocks, want ...pmem2.BadBlock) {
	for _, w := range want {
		got, err := c.Next()
		t.Must(err, "Next()")
		t.Note("the bad block", "%d bytes at offset %d", got.Length, got.Offset)
		t.Check(got == w, "the bad block is %d bytes at offset %d, want %d at %d", got.Length, got.Offset, w.Length, w.Offset)
	}
}

func checkNoNext(t *T, c BadBlocks) {
	for range 3 {
		got, err := c.Next()
		t.Expect("PMEM2_E_NO_BAD_BLOCK_FOUND", err, "Next()")
		t.Check(got == pmem2.BadBlock{}, "with the error comes the block %+v", got)
	}
}

// checkBadBlocks expects a new context of the source to list exactly these.
func checkBadBlocks(t *T, src Source, want ...pmem2.BadBlock) {
	c := t.BadBlocks(src)
	checkNext(t, c, want...)
	checkNoNext(t, c)
	t.Delete(c)
}

// onBadMedia calls f with a DAX file and with a device DAX, both full of a pattern, on
// media that can go bad.
func onBadMedia(t *T, f func(o Object, fd int, src Source, content []byte, what string)) {
	o, fd, src, content := t.badFile(64, knownRegion)
	f(o, fd, src, content, "a DAX file")
	o = t.made(t.Env.DevDaxOn(smallSize, knownRegion))
	fd = t.Open(o, platform.ORdwr)
	src = t.Source(fd)
	f(o, fd, src, patternDevice(t, src), "a device DAX")
}

// badBlockContextCases checks what a context needs and where it ends without one.
func badBlockContextCases() []Case {
	const page = "pmem2_badblock_context_new/"
	return []Case{{
		Name: page + "replaced-descriptor",
		Rows: []string{page + "PMEM2_E_INVALID_FILE_TYPE#1"},
		Run: func(t *T) {
			r, _ := openPipe(t)
			socket, _ := openSocketPair(t)
			replaced(t, socket, "a socket", noBadBlocks)
			replaced(t, r, "the read end of a pipe", noBadBlocks)
			replaced(t, t.Open(t.made(t.Env.Directory()), platform.ORdonly), "a directory", noBadBlocks)
			replaced(t, t.Open(t.made(t.Env.CharDevice()), platform.ORdonly), "a character device that isn't DAX", noBadBlocks)
		},
	}, {
		Name: page + "no-region",
		Rows: []string{page + "PMEM2_E_DAX_REGION_NOT_FOUND#1"},
		Run: func(t *T) {
			o, _, src := t.Device()
			_, _, other := t.Device()
			t.suite(t.Env.Sysfs().Remove(o.SysfsDir()+"/../../badblocks"), "remove the region's badblocks")
			checkBadBlocks(t, src) // a kernel that keeps no list
			removeFromBus(t, "region")
			noBadBlocks(t, "PMEM2_E_DAX_REGION_NOT_FOUND", src, "a device DAX without a region")
			noBadBlocks(t, "PMEM2_E_DAX_REGION_NOT_FOUND", other, "another one")
			// A file without a region has no bad blocks.
			checkBadBlocks(t, t.Source(t.OrdinaryFD(t.Page())))
			checkBadBlocks(t, t.Source(t.Open(t.made(t.Env.DAXFile(t.Page())), platform.ORdwr)))
		},
		Needs: []Need{NeedFSDax},
	}, {
		Name: page + "cannot-read-bounds",
		Rows: []string{page + "PMEM2_E_CANNOT_READ_BOUNDS#1"},
		Run: func(t *T) {
			const want = "PMEM2_E_CANNOT_READ_BOUNDS"
			for _, bound := range []string{"resource", "size"} {
				o, _, src := t.Device()
				checkBadBlocks(t, src)
				path := o.SysfsDir() + "/../" + bound // of the nd device
				for _, errno := range []syscall.Errno{syscall.EACCES, syscall.EIO, syscall.ENXIO} {
					failSysfs(t, path, errno)
					noBadBlocks(t, want, src, "device DAX")
					repairSysfs(t, path)
				}
				for _, text := range []string{"", "\n", "x\n", "-1\n", "0x10000000000000000\n", "1 2\n"} {
					setSysfsPath(t, path, text)
					noBadBlocks(t, want, src, "device DAX")
				}
				t.suite(t.Env.Sysfs().Remove(path), "remove %s", path)
				noBadBlocks(t, want, src, "device DAX without "+bound)
			}
		},
	}, {
		Name:  page + "no-sysfs",
		Rows:  []string{page + "PMEM2_E_NOSUPP#1"},
		Needs: []Need{NeedFaultInjection, NeedFSDax},
		Run: func(t *T) {
			for _, o := range []Object{
				t.made(t.Env.OrdinaryFile(t.Page())), t.made(t.Env.File(t.Page())), t.made(t.Env.DAXFile(t.Page())),
			} {
				fd := t.Open(o, platform.ORdwr)
				lib := t.Lib
				t.Lib = t.Inject("(ENOENT (Op sysfs))")
				noBadBlocks(t, "PMEM2_E_NOSUPP", t.Source(fd), "a file on a machine without sysfs")
				t.Lib = lib
				checkBadBlocks(t, t.Source(fd))
			}
		},
	}, {
		Name:  page + "bus-unreadable",
		Rows:  []string{page + "-errno#1"},
		Needs: []Need{NeedDIMM},
		Run: func(t *T) {
			onKnownRegion(t, func(_ Object, _ int, src Source, what string) {
				const bus = "bus/nd/devices"
				failSysfs(t, bus, syscall.EACCES)
				noBadBlocks(t, "-EACCES", src, what+" on a bus that can't be listed")
				failSysfs(t, bus, syscall.EIO)
				noBadBlocks(t, "-EIO", src, what+" on a bus that can't be listed")
				repairSysfs(t, bus)
				checkBadBlocks(t, src)
			})
		},
	}, {
		Name: page + "closed-descriptor-on-dax",
		Rows: []string{page + "-errno#2"},
		Run: func(t *T) {
			fd := t.Open(t.made(t.Env.DAXFile(t.Page())), platform.ORdwr)
			src := t.Source(fd)
			checkBadBlocks(t, src)
			t.Close(fd)
			noBadBlocks(t, "-EBADF", src, "a descriptor that is closed")
		},
	}, {
		Name: page + "closed-descriptor",
		Rows: []string{page + "-errno#3"},
		Run: func(t *T) {
			fd := t.OrdinaryFD(t.Page())
			src := t.Source(fd)
			checkBadBlocks(t, src)
			t.Close(fd)
			noBadBlocks(t, "-EBADF", src, "a descriptor that is closed")
		},
	}, {
		Name: page + "device-node-unreadable",
		Rows: []string{page + "-errno#4"},
		Run: func(t *T) {
			o, _, src := t.Device()
			checkBadBlocks(t, src)
			failSysfs(t, o.SysfsDir(), syscall.EACCES)
			noBadBlocks(t, "-EACCES", src, "a device DAX that sysfs doesn't tell of any more")
			failSysfs(t, o.SysfsDir(), syscall.EIO)
			noBadBlocks(t, "-EIO", src, "a device DAX that sysfs doesn't tell of any more")
			repairSysfs(t, o.SysfsDir())
			checkBadBlocks(t, src)
		},
	}, {
		Name:  page + "block-device-unreadable",
		Rows:  []string{page + "-errno#5", page + "-errno#6"},
		Needs: []Need{NeedDIMM},
		Run: func(t *T) {
			o, _, src := t.DAXFileOn(t.Page(), knownRegion)
			s := t.Storage(o)
			for _, path := range []string{s.Device, s.Device + "/badblocks"} {
				for _, c := range []struct {
					errno syscall.Errno
					want  string
				}{{syscall.EACCES, "-EACCES"}, {syscall.EIO, "-EIO"}} {
					failSysfs(t, path, c.errno)
					noBadBlocks(t, c.want, src, "a file on a block device that sysfs doesn't tell of")
				}
				repairSysfs(t, path)
				checkBadBlocks(t, src)
			}
		},
	}, {
		Name:  page + "region-unreadable",
		Rows:  []string{page + "-errno#7"},
		Needs: []Need{NeedDIMM},
		Run: func(t *T) {
			o, _, src := t.DeviceOn(knownRegion)
			dir := t.Storage(o).Region
			for _, path := range []string{dir + "/resource", dir + "/badblocks"} {
				for _, c := range []struct {
					errno syscall.Errno
					want  string
				}{{syscall.EACCES, "-EACCES"}, {syscall.EIO, "-EIO"}} {
					failSysfs(t, path, c.errno)
					noBadBlocks(t, c.want, src, "a device DAX whose region can't be read")
				}
				repairSysfs(t, path)
				checkBadBlocks(t, src)
			}
			setSysfsPath(t, dir+"/resource", "nowhere\n")
			noBadBlocks(t, "-EINVAL", src, "a device DAX whose region begins nowhere")
		},
	}, {
		Name:  page + "fiemap-fails",
		Rows:  []string{page + "-errno#8"},
		Needs: []Need{NeedFSDax},
		Run: func(t *T) {
			fd := t.Open(t.made(t.Env.DAXFile(t.Page())), platform.ORdwr)
			for _, c := range []struct{ errno, want string }{{"EOPNOTSUPP", "-EOPNOTSUPP"}, {"EIO", "-EIO"}, {"ENOTTY", "-ENOTTY"}} {
				t.Lib = t.Inject("(" + c.errno + " (And (Op fiemap) (OnIndex 0)))")
				src := t.Source(fd)
				noBadBlocks(t, c.want, src, "a file that tells no extents")
				checkBadBlocks(t, src)
			}
		},
	}, {
		Name: page + "anonymous",
		Rows: []string{page + "(text)#1", page + "PMEM2_E_NOSUPP#2", page + "null-on-failure"},
		Run: func(t *T) {
			for _, size := range []uint64{0, t.Page()} {
				noBadBlocks(t, "PMEM2_E_NOSUPP", t.AnonSource(size), "anonymous memory")
			}
		},
	}, {
		Name:  page + "dev-file-damaged",
		Rows:  []string{page + "PMEM2_E_INVALID_DEV_FORMAT#1"},
		Needs: []Need{NeedBadBlock},
		Run: func(t *T) {
			other := t.Storage(t.made(t.Env.DAXFileOn(t.Page(), emu.Region{})))
			onBadMedia(t, func(o Object, _ int, src Source, _ []byte, _ string) {
				t.poison(o, 8192, 4096)
				for _, device := range []string{other.Device, t.Storage(o).Device} {
					for _, text := range []string{"", "259:0", "\n", "x\n"} {
						setSysfsPath(t, device+"/dev", text)
						checkBadBlocks(t, src, pmem2.BadBlock{Offset: 8192, Length: 4096})
					}
				}
			})
		},
	}, {
		Name: page + "creates-context",
		Rows: []string{page + "creates-context", page + "zero-or-negative"},
		Run: func(t *T) {
			for _, size := range []uint64{0, 1, 3 * t.Page()} {
				fd := t.OrdinaryFD(size)
				src := t.Source(fd)
				c, another := t.BadBlocks(src), t.BadBlocks(src)
				checkNoNext(t, c)
				checkNoNext(t, another)
				t.Delete(c)
				checkNoNext(t, another)
			}
			readOnly := t.Source(t.Open(t.made(t.Env.OrdinaryFile(t.Page())), platform.ORdonly))
			checkBadBlocks(t, readOnly)
			noBadBlocks(t, "-EBADF", closedSource(t), "a descriptor that is closed")
		},
	}, {
		Name: page + "initialised-from-source",
		Rows: []string{page + "initialised-from-source"},
		Run: func(t *T) {
			onBadMedia(t, func(o Object, fd int, src Source, _ []byte, _ string) {
				before := t.BadBlocks(src)
				t.poison(o, 4096, 4096)
				t.poison(o, 5*4096, 2*4096)
				c := t.BadBlocks(src)
				t.poison(o, 9*4096, 4096)
				after := t.BadBlocks(src)
				t.Must(after.Clear(pmem2.BadBlock{Offset: 4096, Length: 4096}), "Clear(4096 bytes at 4096) by another context")
				checkNoNext(t, before)
				checkNext(t, c, pmem2.BadBlock{Offset: 4096, Length: 4096}, pmem2.BadBlock{Offset: 5 * 4096, Length: 2 * 4096})
				checkNoNext(t, c)
				checkBadBlocks(t, src, pmem2.BadBlock{Offset: 5 * 4096, Length: 2 * 4096}, pmem2.BadBlock{Offset: 9 * 4096, Length: 4096})
			})
		},
	}, {
		Name: page + "bad-block-means-sigbus",
		Rows: []string{page + "bad-block-means-sigbus"},
		Run:  badBlockFaults,
	}}
}

// badBlockFaults touches a bad block through maps that were there before it and ones
// made behind it.
func badBlockFaults(t *T) {
	const page, at = 4096, 3 * 4096
	onBadMedia(t, func(o Object, _ int, src Source, content []byte, what string) {
		maps := []Map{t.MapAs(mapSpec{}, src), t.MapAs(mapSpec{prot: pmem2.ProtRead}, src)}
		for _, m := range maps {
			checkBytes(t, m.Bytes(), content, "%s before", what)
		}
		t.poison(o, at+1024, 512)
		maps = append(maps, t.MapAs(mapSpec{}, src))
		for i, m := range maps {
			for _, off := range []uint64{at, at + 1023, at + 1024, at + 1535, at + page - 1} {
				addr, faulted := faultAddress(func() { byteAt(m.Bytes(), off) })
				t.Note("load", "from offset %d of map %d of %s: fault %t at %#x", off, i, what, faulted, addr)
				t.Check(faulted, "a load from the bad page, at offset %d of map %d of %s, doesn't fault", off, i, what)
				t.Check(addr == m.Address()+uintptr(off), "the fault is at %#x, the load was from %#x", addr, m.Address()+uintptr(off))
			}
			if i != 1 {
				t.Check(t.Faults(m.Address()+at+1024, true), "a store to the bad page doesn't fault")
			}
			checkBytes(t, m.Bytes()[:at], content[:at], "%s before the bad page", what)
			checkBytes(t, m.Bytes()[at+page:], content[at+page:], "%s behind the bad page", what)
		}
		for _, m := range maps {
			t.Delete(m)
		}
	})
}

// byteAt isn't inlined: the compiler drops a load without a use.
//
//go:noinline
func byteAt(b []byte, i uint64) byte { return b[i] }

// faultAddress calls f, and says where it faults.
func faultAddress(f func()) (addr uintptr, faulted bool) {
	defer func() {
		if fault, ok := recover().(interface{ Addr() uintptr }); ok {
			addr, faulted = fault.Addr(), true
		}
	}()
	f()
	return 0, false
}

func badBlockDeleteCases() []Case {
	const page = "pmem2_badblock_context_delete/"
	return []Case{{
		Name: page + "no context",
		Rows: []string{page + "(void)#1", page + "null-is-noop"},
		Run: func(t *T) {
			for range 2 {
				t.Must(t.Lib.NilBadBlocks().Delete(), "Delete() of no context")
			}
		},
	}, {
		Name: page + "frees-and-nulls",
		Rows: []string{page + "frees-and-nulls"},
		Run: func(t *T) {
			page := t.Page()
			fd, content := t.PatternFile(page, 1)
			src := t.Source(fd)
			c, other := t.BadBlocks(src), t.BadBlocks(src)
			t.Delete(c)
			t.Note("types", "a method can't set the caller's variable to NULL: the object refuses further use instead")
			got, err := c.Next()
			t.Expect("-EINVAL", err, "Next() of the deleted context")
			t.Check(got == pmem2.BadBlock{}, "with the error comes the block %+v", got)
			t.Expect("-EINVAL", c.Clear(pmem2.BadBlock{Length: page}), "Clear() of the deleted context")
			checkFile(t, fd, 0, content, "the file")
			t.Must(c.Delete(), "Delete() again")
			// Neither the source nor another context is gone with it.
			checkNoNext(t, other)
			checkSize(t, src, page, "the source")
		},
	}}
}

func badBlockNextCases() []Case {
	const page = "pmem2_badblock_next/"
	return []Case{{
		Name: page + "none",
		Rows: []string{page + "PMEM2_E_NO_BAD_BLOCK_FOUND#1", page + "negative-when-exhausted"},
		Run: func(t *T) {
			checkNoNext(t, t.BadBlocks(t.Source(t.OrdinaryFD(3*t.Page()))))
			checkNoNext(t, t.BadBlocks(t.FileSource(3*t.Page())))
		},
	}, {
		Name: page + "no context",
		Rows: []string{page + "PMEM2_E_NOSUPP#1"},
		Run: func(t *T) {
			got, err := t.Lib.NilBadBlocks().Next()
			t.Expect("PMEM2_E_NOSUPP", err, "Next() of no context")
			t.Check(got == pmem2.BadBlock{}, "with the error comes the block %+v", got)
		},
	}, {
		Name: page + "reads-next",
		Rows: []string{page + "reads-next", page + "zero-and-stored", page + "negative-when-exhausted"},
		Run: func(t *T) {
			onBadMedia(t, func(o Object, _ int, src Source, _ []byte, _ string) {
				// Not in order, the first block and the last.
				t.poison(o, 20*4096, 4096)
				t.poison(o, 63*4096, 4096)
				t.poison(o, 0, 4096)
				t.poison(o, 4*4096, 3*4096)
				want := []pmem2.BadBlock{
					{Offset: 0, Length: 4096}, {Offset: 4 * 4096, Length: 3 * 4096},
					{Offset: 20 * 4096, Length: 4096}, {Offset: 63 * 4096, Length: 4096},
				}
				checkBadBlocks(t, src, want...)
				// Two contexts don't take from each other.
				one, two := t.BadBlocks(src), t.BadBlocks(src)
				for _, w := range want {
					checkNext(t, one, w)
					checkNext(t, two, w)
				}
				checkNoNext(t, one)
				checkNoNext(t, two)
			})
		},
	}, {
		Name: page + "units",
		Rows: []string{page + "reads-next", page + "zero-and-stored"},
		Run: func(t *T) {
			// Of a file whole blocks of its file system, each once; of a device sectors.
			bad := []pmem2.BadBlock{{Offset: 2*4096 + 1536, Length: 512}, {Offset: 2*4096 + 2560, Length: 512}, {Offset: 5*4096 - 512, Length: 1024}}
			o, _, file, _ := t.badFile(8, emu.Region{})
			device, _, deviceSrc := t.Device()
			for _, b := range bad {
				t.poison(o, b.Offset, b.Length)
				t.poison(device, b.Offset, b.Length)
			}
			checkBadBlocks(t, deviceSrc, bad...)
			c := t.BadBlocks(file)
			covered := uint64(0)
			for {
				b, err := c.Next()
				if t.Lib.Outcome(err) == "PMEM2_E_NO_BAD_BLOCK_FOUND" {
					break
				}
				t.Must(err, "Next()")
				t.Note("the bad block", "%d bytes at offset %d", b.Length, b.Offset)
				t.Check(b.Offset%4096 == 0 && b.Length%4096 == 0 && b.Length > 0, "%+v isn't whole blocks of 4096 bytes", b)
				t.Check(b.Offset >= covered, "%+v was told of before, or comes before the block that ends at %d", b, covered)
				for at := b.Offset; at < b.Offset+b.Length; at += 4096 {
					t.Check(at == 2*4096 || at == 4*4096 || at == 5*4096, "the block at %d isn't bad", at)
				}
				covered = b.Offset + b.Length
			}
			t.Check(covered == 6*4096, "the last bad block ends at %d, not %d", covered, 6*4096)
		},
	}, {
		Name: page + "other files' blocks",
		Rows: []string{page + "reads-next"},
		Run: func(t *T) {
			// Two files of one file system, and a hole in the first.
			o1, fd1 := t.allocated(t.Env.DAXFile(8 * 4096))
			o2, fd2 := t.allocated(t.Env.DAXFile(8 * 4096))
			one, two := t.Source(fd1), t.Source(fd2)
			t.poison(o1, 4096, 512)
			t.poison(o1, 6*4096, 4096)
			t.poison(o2, 3*4096, 4096)
			first, last := pmem2.BadBlock{Offset: 4096, Length: 4096}, pmem2.BadBlock{Offset: 6 * 4096, Length: 4096}
			checkBadBlocks(t, one, first, last)
			checkBadBlocks(t, two, pmem2.BadBlock{Offset: 3 * 4096, Length: 4096})
			t.suite(t.Machine().Fallocate(fd1, platform.FallocPunchHole|platform.FallocKeepSize, 4096, 4096), "punch a hole")
			t.Note("the file", "has a hole where the bad block was")
			checkBadBlocks(t, one, last)
			t.Truncate(fd1, 6*4096)
			checkBadBlocks(t, one)
			checkBadBlocks(t, two, pmem2.BadBlock{Offset: 3 * 4096, Length: 4096})
		},
	}, {
		Name:  page + "what the kernel lists",
		Rows:  []string{page + "reads-next"},
		Needs: []Need{NeedDIMM, NeedSysfsEdit},
		Run:   badBlockLists,
	}, {
		Name: page + "file of many extents",
		Rows: []string{page + "reads-next"},
		Run: func(t *T) {
			// Every other block is there: more extents than one FIEMAP is asked for.
			const extents = 1200
			o := t.made(t.Env.DAXFile(2 * extents * 4096))
			fd := t.Open(o, platform.ORdwr)
			for i := range uint64(extents) {
				t.WriteFile(fd, 2*i*4096, []byte("data"))
			}
			var want []pmem2.BadBlock
			for _, i := range []uint64{0, 254, 255, 256, 257, 511, 512, 513, 1023, 1024, extents - 1} {
				want = append(want, pmem2.BadBlock{Offset: 2 * i * 4096, Length: 4096})
				t.poison(o, 2*i*4096, 512)
			}
			checkBadBlocks(t, t.Source(fd), want...)
		},
	}}
}

// badBlockLists edits the list of a region, which counts in sectors from its beginning.
func badBlockLists(t *T) {
	o, _, src := t.DeviceOn(knownRegion)
	s := t.Storage(o)
	address := func(path string) uint64 {
		text, err := t.Machine().ReadAttr(path)
		t.suite(err, "read %s", path)
		n, err := strconv.ParseUint(strings.TrimSuffix(text, "\n"), 0, 64)
		t.suite(err, "%s says %q", path, text)
		return n
	}
	first := (address(s.Device+"/../resource") - address(s.Region+"/resource")) / 512
	end := first + daxSize/512
	list := s.Region + "/badblocks"
	for _, c := range []struct {
		text string
		want []pmem2.BadBlock
	}{
		{"", nil},
		{fmt.Sprintf("%d 1\n", first), []pmem2.BadBlock{{Offset: 0, Length: 512}}},
		{fmt.Sprintf("%d 8\n%d 1\n", first+16, first), []pmem2.BadBlock{{Offset: 0, Length: 512}, {Offset: 8192, Length: 4096}}},
		// What lies before the device, behind it, and on its edges.
		{fmt.Sprintf("0 1\n%d 1\n%d 1\n%d 100\n", first-1, end, end+1), nil},
		{fmt.Sprintf("%d 2\n%d 2\n", first-1, end-1), []pmem2.BadBlock{{Offset: 0, Length: 512}, {Offset: daxSize - 512, Length: 512}}},
		{fmt.Sprintf("0 %d\n", end+100), []pmem2.BadBlock{{Offset: 0, Length: daxSize}}},
		{fmt.Sprintf("%d 0\n", first), nil},
	} {
		setSysfsPath(t, list, c.text)
		checkBadBlocks(t, src, c.want...)
	}
	for _, text := range []string{"x\n", "1\n", "1 \n", " 1\n", "-1 1\n", "1 -1\n", "1 2 3\n", "18446744073709551615 1\n", "1 36028797018963968\n", "36028797018963968 1\n"} {
		setSysfsPath(t, list, text)
		noBadBlocks(t, "-EINVAL", src, "device DAX whose region has a list that is none")
	}
}

// allocated opens a file and fills it with a pattern.
func (t *T) allocated(o Object, err error) (Object, int) {
	fd := t.Open(t.made(o, err), platform.ORdwr)
	st, err := t.Machine().Fstat(fd)
	t.suite(err, "fstat")
	t.WriteFile(fd, 0, pattern(uint64(st.Size), 1))
	return o, fd
}
