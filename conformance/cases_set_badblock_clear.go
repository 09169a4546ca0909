package conformance

import (
	"bytes"
	"slices"
	"syscall"

	"pmemlab/emu/fault"
	"pmemlab/pmem2"
	"pmemlab/pmem2/platform"
)

// clearSet is ClearBadBlock that succeeds, noClearSet one that fails.
func clearSet(t *T, src SetSource, offset, n uint64) {
	t.Must(src.ClearBadBlock(pmem2.BadBlock{Offset: offset, Length: n}), "ClearBadBlock(%d bytes at %d)", n, offset)
}

func noClearSet(t *T, want string, src SetSource, offset, n uint64) (cause string) {
	err := src.ClearBadBlock(pmem2.BadBlock{Offset: offset, Length: n})
	t.Expect(want, err, "ClearBadBlock(%#x bytes at %#x)", n, offset)
	return t.Sets().Cause(err)
}

func setClearCases() []Case {
	const page = "pmemset_badblock_clear/"
	return []Case{{
		Name: page + "zero-on-success",
		Rows: []string{page + "(link)#1", page + "zero-on-success"},
		Run: func(t *T) {
			path, content := t.FreshPath(), pattern(64*kib, 1)
			t.Put(path, 0o600, content)
			src := t.SetSource(path)
			d := t.SetMap(Release112, t.Set(), src, 0, 0)
			for _, r := range [][2]uint64{
				{4096, 4096}, {100, 200}, {4095, 2}, {3*4096 - 1, 1}, {3*4096 + 10, 5000}, {64*kib - 50, 100}, {64 * kib, 4096}, {mib, 1}, {0, 64 * kib},
			} {
				clearSet(t, src, r[0], r[1])
				if r[0] < 64*kib {
					clear(content[r[0]:min(r[0]+r[1], 64*kib)])
				}
				checkContent(t, path, content, "after a block was cleared")
				checkBytes(t, d.Bytes(), content, "the part after a block was cleared")
			}
		},
	}, {
		Name: page + "clears-block",
		Rows: []string{page + "clears-block", page + "content-lost"},
		Run: func(t *T) {
			onBadSetMedia(t, func(o Object, own Source, src SetSource, content []byte, what string) {
				bad := []pmem2.BadBlock{{Offset: 4096, Length: 4096}, {Offset: 10 * 4096, Length: 3 * 4096}, {Offset: 63 * 4096, Length: 4096}}
				n, want := whole(content), bytes.Clone(content)
				d := t.SetMap(Release112, t.Set(), src, 0, n)
				for _, b := range bad {
					t.poison(o, b.Offset, b.Length)
				}
				for i, b := range bad {
					t.Check(t.Faults(d.Addr+uintptr(b.Offset), false), "a load from the bad block of %s doesn't fault", what)
					clearSet(t, src, b.Offset, b.Length)
					clear(want[b.Offset:][:b.Length])
					checkBadBlocks(t, own, bad[i+1:]...)
					got := make([]byte, b.Length+512)
					t.Must(src.PreadMCSafe(got, b.Offset-512), "PreadMCSafe(%d bytes at %d)", len(got), b.Offset-512)
					checkBytes(t, got, want[b.Offset-512:][:len(got)], "%s, what was cleared and what is before it", what)
				}
				checkBytes(t, d.Bytes(), want[:n], "the part of %s when all is cleared", what)
				// A healthy block loses its content like any other.
				clearSet(t, src, 20*4096, 4096)
				clear(want[20*4096:][:4096])
				checkBytes(t, d.Bytes(), want[:n], "the part of %s when a healthy block was cleared, too", what)
				checkSize(t, own, uint64(len(content)), what)
			})
		},
	}, {
		Name:  page + "uses-pmem2-functions",
		Rows:  []string{page + "uses-pmem2-functions"},
		Needs: []Need{NeedFaultInjection}, // for the record
		Run: func(t *T) {
			onBadMedia(t, func(o Object, fd int, _ Source, _ []byte, what string) {
				record := t.Recorded()
				own := t.Source(fd)
				src := t.SetSourceOf(own)
				recorded := func(do func(b pmem2.BadBlock) error, b pmem2.BadBlock) (calls []string) {
					t.poison(o, b.Offset, b.Length)
					record.StartRecording(0)
					t.Must(do(b), "clearing %d bytes at %d", b.Length, b.Offset)
					for _, c := range record.Log() {
						calls = append(calls, clearingCall(c))
					}
					checkBadBlocks(t, own)
					return calls
				}
				for _, b := range []pmem2.BadBlock{{Offset: 4096, Length: 4096}, {Offset: 8 * 4096, Length: 3 * 4096}} {
					want := recorded(func(b pmem2.BadBlock) error {
						c, err := t.Lib.NewBadBlockContext(own)
						if err != nil {
							return err
						}
						defer func() { _ = c.Delete() }()
						return c.Clear(b)
					}, b)
					got := recorded(src.ClearBadBlock, b)
					t.Note("system calls for "+what, "%d", len(got))
					t.Check(slices.Equal(got, want), "the machine is asked for %v, libpmem2's functions ask it for %v", got, want)
				}
			})
		},
	}}
}

// clearingCall names a call and what it is about, without the number of a descriptor
// that is opened on the way.
func clearingCall(c fault.Call) string {
	c.FD, c.Seq, c.Index = 0, 0, 0
	return c.String()
}

// setNoClearCases are about blocks that can't be cleared.
func setNoClearCases() []Case {
	const page = "pmemset_badblock_clear/"
	var cases []Case
	for _, c := range []struct {
		code    string
		lengths bool
	}{{"PMEMSET_E_OFFSET_OUT_OF_RANGE", false}, {"PMEMSET_E_LENGTH_OUT_OF_RANGE", true}} {
		cases = append(cases, Case{
			Name: page + c.code,
			Rows: []string{page + c.code + "#1"},
			Run: func(t *T) {
				path, content := t.FreshPath(), pattern(64*kib, 1)
				t.Put(path, 0o600, content)
				checkHugeSetRefused(t, t.SetSource(path), c.lengths)
				checkContent(t, path, content, "after blocks that were refused")
			},
		}, Case{
			Name: page + c.code + ", device DAX",
			Rows: []string{page + c.code + "#2"},
			Run: func(t *T) {
				o, _, own := smallDevice(t)
				content := patternDevice(t, own)
				checkHugeSetRefused(t, t.SetSource(o.Path()), c.lengths)
				checkBytes(t, t.MapAs(mapSpec{length: smallSize}, own).Bytes(), content, "the device")
			},
		})
	}
	return append(cases, []Case{{
		Name:  page + "no region",
		Rows:  []string{page + "PMEMSET_E_DAX_REGION_NOT_FOUND#1"},
		Needs: []Need{NeedFSDax},
		Run: func(t *T) {
			const want = "PMEMSET_E_DAX_REGION_NOT_FOUND"
			o, _, own := t.Device()
			sources := []SetSource{t.SetSource(o.Path()), t.SetSourceOf(own)}
			for _, src := range sources {
				clearSet(t, src, 0, 4096)
			}
			removeFromBus(t, "region")
			for _, src := range sources {
				cause := noClearSet(t, want, src, 0, 4096)
				t.Check(cause == "PMEM2_E_DAX_REGION_NOT_FOUND", "below it is %q from libpmem2", cause)
				// Mapping looks for bad blocks in the same way.
				t.SetMap(Release112, t.Set(), src, 0, daxAlign)
				t.Must(src.SetBadBlockDetection(true), "SetBadBlockDetection(on)")
				t.NoSetMap(want, Release112, t.Set(), src, 0, daxAlign)
			}
			// A file needs no region.
			for _, file := range []Object{t.made(t.Env.OrdinaryFile(64 * kib)), t.made(t.Env.DAXFile(64 * kib))} {
				clearSet(t, t.SetSource(file.Path()), 0, 4096)
			}
		},
	}, {
		Name: page + "no bounds",
		Rows: []string{page + "PMEMSET_E_CANNOT_READ_BOUNDS#1"},
		Run: func(t *T) {
			const want = "PMEMSET_E_CANNOT_READ_BOUNDS"
			for _, bound := range []string{"resource", "size"} {
				o, _, _ := t.Device()
				src := t.SetSource(o.Path())
				clearSet(t, src, 0, 4096)
				path := o.SysfsDir() + "/../" + bound // of the nd device
				for _, errno := range []syscall.Errno{syscall.EACCES, syscall.EIO} {
					failSysfs(t, path, errno)
					cause := noClearSet(t, want, src, 0, 4096)
					t.Check(cause == "PMEM2_E_CANNOT_READ_BOUNDS", "below it is %q from libpmem2", cause)
					repairSysfs(t, path)
				}
				setSysfsPath(t, path, "x\n")
				noClearSet(t, want, src, 0, 4096)
				t.Must(src.SetBadBlockDetection(true), "SetBadBlockDetection(on)")
				t.NoSetMap(want, Release112, t.Set(), src, 0, daxAlign)
			}
		},
	}, {
		Name:  page + "no sysfs",
		Rows:  []string{page + "PMEMSET_E_BADBLOCK_NOSUPP#1"},
		Needs: []Need{NeedFaultInjection, NeedFSDax},
		Run: func(t *T) {
			const want = "PMEMSET_E_BADBLOCK_NOSUPP"
			for _, o := range []Object{
				t.made(t.Env.OrdinaryFile(64 * kib)), t.made(t.Env.File(64 * kib)), t.made(t.Env.DAXFile(64 * kib)),
			} {
				lib, fd := t.Lib, t.Open(o, platform.ORdonly)
				t.Lib = t.Inject("(ENOENT (Op sysfs))")
				src := t.SetSource(o.Path())
				t.Must(src.PwriteMCSafe([]byte("data"), 0), "PwriteMCSafe(4 bytes at 0)")
				cause := noClearSet(t, want, src, 0, 4096)
				t.Check(cause == "PMEM2_E_NOSUPP", "below it is %q from libpmem2", cause)
				checkFile(t, fd, 0, []byte("data"), "the file")
				t.Must(src.SetBadBlockDetection(true), "SetBadBlockDetection(on)")
				t.NoSetMap(want, Release112, t.Set(), src, 0, 64*kib)
				t.Lib = lib
				clearSet(t, t.SetSource(o.Path()), 0, 4096)
			}
		},
	}, {
		Name:  page + "no list",
		Rows:  []string{page + "-errno#1"},
		Needs: []Need{NeedDIMM},
		Run: func(t *T) {
			onKnownRegion(t, func(o Object, _ int, _ Source, what string) {
				src := t.SetSource(o.Path())
				const bus = "bus/nd/devices"
				for _, errno := range []syscall.Errno{syscall.EACCES, syscall.EIO} {
					failSysfs(t, bus, errno)
					noClearSet(t, "-"+errnoName(errno), src, 0, 4096)
				}
				repairSysfs(t, bus)
				clearSet(t, src, 0, 4096)
			})
		},
	}, {
		Name: page + "nothing to clear",
		Rows: []string{page + "-errno#2"},
		Run: func(t *T) {
			path, content := t.FreshPath(), pattern(64*kib, 1)
			t.Put(path, 0o600, content)
			src := t.SetSource(path)
			for _, at := range []uint64{0, 100, 64 * kib, 1 << 40, 1<<63 - 1} {
				noClearSet(t, "-EINVAL", src, at, 0)
			}
			// A block whose end is no offset.
			noClearSet(t, "-EFBIG", src, 1<<63-1, 1)
			noClearSet(t, "-EFBIG", src, 4096, 1<<63-1)
			readOnly := t.SetSourceOf(t.Source(t.Open(t.FileAt(path), platform.ORdonly)))
			noClearSet(t, "-EBADF", readOnly, 0, 4096)
			checkContent(t, path, content, "after blocks that weren't cleared")
		},
	}, {
		Name:  page + "system call fails",
		Rows:  []string{page + "-errno#2"},
		Needs: []Need{NeedFaultInjection},
		Run: func(t *T) {
			path, content := t.FreshPath(), pattern(64*kib, 1)
			t.Put(path, 0o600, content)
			for _, errno := range []string{"EIO", "EOPNOTSUPP", "ENOSPC", "EACCES"} {
				t.Lib = t.Inject("(" + errno + " (Op fallocate))")
				noClearSet(t, "-"+errno, t.SetSource(path), 0, 4096)
			}
			checkContent(t, path, content, "that couldn't be cleared")
		},
	}, {
		Name:  page + "command to the bus fails",
		Rows:  []string{page + "-errno#2"},
		Needs: []Need{NeedBadBlock, NeedFaultInjection},
		Run: func(t *T) {
			o, _, own := smallDevice(t)
			t.poison(o, 4096, 4096)
			for _, errno := range []string{"ENXIO", "EIO", "EACCES"} {
				t.Lib = t.Inject("(" + errno + " (And (Op clear-error) (OnIndex 0)))")
				noClearSet(t, "-"+errno, t.SetSource(o.Path()), 4096, 4096)
				checkBadBlocks(t, own, pmem2.BadBlock{Offset: 4096, Length: 4096})
			}
		},
	}}...)
}

// checkHugeSetRefused expects offsets, or lengths, above 2^63-1 to be refused.
func checkHugeSetRefused(t *T, src SetSource, lengths bool) {
	for _, huge := range hugeNumbers {
		if lengths {
			for _, at := range []uint64{0, 4096, 1<<63 - 1} {
				noClearSet(t, "PMEMSET_E_LENGTH_OUT_OF_RANGE", src, at, huge)
			}
			continue
		}
		for _, n := range []uint64{0, 1, 512, 4096, -huge, 1<<63 - 1} {
			noClearSet(t, "PMEMSET_E_OFFSET_OUT_OF_RANGE", src, huge, n)
		}
	}
}
