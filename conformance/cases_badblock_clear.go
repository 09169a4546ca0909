package conformance

import (
	"bytes"
	"fmt"
	"math"

	"pmemlab/emu"
	"pmemlab/pmem2"
	"pmemlab/pmem2/platform"
)

const badBlockClear = "pmem2_badblock_clear/"

// hugeNumbers are above 2^63-1.
var hugeNumbers = []uint64{1 << 63, 1<<63 + 1, 1<<63 + 4096, math.MaxUint64 - 4095, math.MaxUint64}

func mustClear(t *T, c BadBlocks, offset, n uint64) {
	t.Must(c.Clear(pmem2.BadBlock{Offset: offset, Length: n}), "Clear(%d bytes at %d)", n, offset)
}

func noClear(t *T, want string, c BadBlocks, offset, n uint64) {
	t.Expect(want, c.Clear(pmem2.BadBlock{Offset: offset, Length: n}), "Clear(%#x bytes at %#x)", n, offset)
}

// checkHugeRefused expects Clear to refuse offsets and lengths above 2^63-1.
func checkHugeRefused(t *T, c BadBlocks, lengths bool) {
	for _, huge := range hugeNumbers {
		if lengths {
			noClear(t, "PMEM2_E_LENGTH_OUT_OF_RANGE", c, 0, huge)
			noClear(t, "PMEM2_E_LENGTH_OUT_OF_RANGE", c, 4096, huge)
			noClear(t, "PMEM2_E_LENGTH_OUT_OF_RANGE", c, math.MaxInt64, huge)
			continue
		}
		for _, n := range []uint64{0, 1, 512, 4096, -huge, math.MaxInt64} {
			noClear(t, "PMEM2_E_OFFSET_OUT_OF_RANGE", c, huge, n)
		}
	}
}

// badBlockClearCases checks pmem2_badblock_clear(3).
func badBlockClearCases() []Case {
	const page = badBlockClear
	var cases []Case
	for _, c := range []struct {
		name    string
		lengths bool
	}{{"OFFSET", false}, {"LENGTH", true}} {
		row := page + "PMEM2_E_" + c.name + "_OUT_OF_RANGE#"
		cases = append(cases, Case{
			Name: page + c.name + " out of range",
			Rows: []string{row + "1"},
			Run: func(t *T) {
				fd, content := t.PatternFile(3*t.Page(), 1)
				checkHugeRefused(t, t.BadBlocks(t.Source(fd)), c.lengths)
				checkFile(t, fd, 0, content, "the file")
			},
		}, Case{
			Name: page + c.name + " out of range, device DAX",
			Rows: []string{row + "2"},
			Run: func(t *T) {
				_, _, src := smallDevice(t)
				content := patternDevice(t, src)
				checkHugeRefused(t, t.BadBlocks(src), c.lengths)
				checkBytes(t, t.MapAs(mapSpec{length: smallSize}, src).Bytes(), content, "the device")
			},
		})
	}
	return append(cases, []Case{{
		Name: page + "no context",
		Rows: []string{page + "PMEM2_E_NOSUPP#1"},
		Run: func(t *T) {
			for _, n := range []uint64{0, 512, 1 << 63} {
				noClear(t, "PMEM2_E_NOSUPP", t.Lib.NilBadBlocks(), n, n)
			}
		},
	}, {
		Name: page + "fallocate fails",
		Rows: []string{page + "-errno#1"},
		Run: func(t *T) {
			size := 3 * t.Page()
			o := t.made(t.Env.File(size))
			fd, content := t.Open(o, platform.ORdwr), pattern(size, 1)
			t.WriteFile(fd, 0, content)
			c := t.BadBlocks(t.Source(fd))
			for _, at := range []uint64{0, 100, size, 1 << 40, math.MaxInt64} {
				noClear(t, "-EINVAL", c, at, 0)
			}
			readOnly := t.Source(t.Open(o, platform.ORdonly))
			rc := t.BadBlocks(readOnly)
			noClear(t, "-EBADF", rc, 0, t.Page())
			noClear(t, "-EBADF", rc, 100, 200)
			checkFile(t, fd, 0, content, "the file")
			// What surely can't be: a block whose end is no offset.
			noClear(t, "-EFBIG", c, math.MaxInt64, 1)
			noClear(t, "-EFBIG", c, t.Page(), math.MaxInt64)
			checkFile(t, fd, 0, content, "the file")
			checkSize(t, t.Source(fd), size, "the file")
		},
	}, {
		Name:  page + "fallocate is made to fail",
		Rows:  []string{page + "-errno#1"},
		Needs: []Need{NeedFile, NeedFaultInjection},
		Run: func(t *T) {
			fd, content := t.PatternFile(3*t.Page(), 1)
			for _, errno := range []string{"EIO", "EOPNOTSUPP", "ENOSPC"} {
				t.Lib = t.Inject("(" + errno + " (Op fallocate))")
				noClear(t, "-"+errno, t.BadBlocks(t.Source(fd)), 0, 4096)
				checkFile(t, fd, 0, content, "the file")
			}
			// The hole is punched, and can't be filled.
			t.Lib = t.Inject("(ENOSPC (And (Op fallocate) (OnIndex 1)))")
			c := t.BadBlocks(t.Source(fd))
			noClear(t, "-ENOSPC", c, 0, 4096)
			mustClear(t, c, 0, 4096)
		},
	}, {
		Name: page + "zero-on-success",
		Rows: []string{page + "zero-on-success"},
		Run: func(t *T) {
			size := 5 * t.Page()
			fd, content := t.PatternFile(size, 1)
			src := t.Source(fd)
			m := t.MapAs(mapSpec{}, src)
			c := t.BadBlocks(src)
			for _, r := range [][2]uint64{
				{100, 200}, {4096, 4096}, {4095, 2}, {2 * 4096, 1}, {3*4096 - 1, 1}, {size - 1, 1}, {3*4096 + 10, 5000}, {size - 50, 100}, {size, 4096}, {2 * size, 1}, {0, size},
			} {
				offset, n := r[0], r[1]
				mustClear(t, c, offset, n)
				if offset < size {
					clear(content[offset:min(offset+n, size)])
				}
				what := fmt.Sprintf("the file after %d bytes at %d were cleared", n, offset)
				checkFile(t, fd, 0, content, "%s", what)
				checkBytes(t, m.Bytes(), content, "a map of %s", what)
				checkSize(t, src, size, "the file")
			}
			checkNoNext(t, c)
		},
	}, {
		Name: page + "clears-given-block",
		Rows: []string{page + "clears-given-block", page + "replaced-by-healthy-blocks", page + "new-blocks-zeroed", page + "content-lost"},
		Run:  clearBadBlocks,
	}, {
		Name: page + "clears a part",
		Rows: []string{page + "clears-given-block", page + "new-blocks-zeroed"},
		Run: func(t *T) {
			// Two bad sectors of one page of a device, cleared one after the other.
			o, _, src := smallDevice(t)
			content := patternDevice(t, src)
			t.poison(o, 4096+512, 512)
			t.poison(o, 4096+2048, 512)
			c := t.BadBlocks(src)
			mustClear(t, c, 4096+512, 512)
			checkBadBlocks(t, src, pmem2.BadBlock{Offset: 4096 + 2048, Length: 512})
			m := t.MapAs(mapSpec{}, src)
			t.Check(t.Faults(m.Address()+4096, false), "a page with a sector that is still bad can be read")
			mustClear(t, c, 4096+2048, 512)
			checkBadBlocks(t, src)
			clear(content[4096+512:][:512])
			clear(content[4096+2048:][:512])
			checkBytes(t, m.Bytes(), content, "the device when both are cleared")
		},
	}, {
		Name: page + "clears beside another bad block",
		Rows: []string{page + "new-blocks-zeroed", page + "content-lost"},
		Run: func(t *T) {
			// The block begins in a page that can't be touched, and goes on behind it.
			o, _, src := smallDevice(t)
			content := patternDevice(t, src)
			t.poison(o, 4096, 512)
			mustClear(t, t.BadBlocks(src), 4096+512, 3*4096-512)
			checkBadBlocks(t, src, pmem2.BadBlock{Offset: 4096, Length: 512})
			clear(content[2*4096:][:2*4096])
			m := t.MapAs(mapSpec{}, src)
			checkBytes(t, m.Bytes()[:4096], content[:4096], "the device before the bad page")
			checkBytes(t, m.Bytes()[2*4096:], content[2*4096:], "the device behind the bad page")
		},
	}}...)
}

// clearBadBlocks clears what Next gives, and looks at it through all that there is.
func clearBadBlocks(t *T) {
	const page = 4096
	onBadMedia(t, func(o Object, fd int, src Source, content []byte, what string) {
		want := bytes.Clone(content)
		early := t.MapAs(mapSpec{}, src)
		bad := []pmem2.BadBlock{{Offset: page, Length: page}, {Offset: 10 * page, Length: 3 * page}, {Offset: 63 * page, Length: page}}
		for _, b := range bad {
			t.poison(o, b.Offset, b.Length)
			t.Expect("PMEM2_E_IO_FAIL", src.PreadMCSafe(make([]byte, 1), b.Offset), "PreadMCSafe(1 byte at %d)", b.Offset)
		}
		c := t.BadBlocks(src)
		late := t.MapAs(mapSpec{}, src)
		for i, b := range bad {
			checkNext(t, c, b)
			mustClear(t, c, b.Offset, b.Length)
			clear(want[b.Offset:][:b.Length])
			checkBadBlocks(t, src, bad[i+1:]...)
			got := make([]byte, b.Length+2*512)
			t.Must(src.PreadMCSafe(got[:b.Length+512], b.Offset-512), "PreadMCSafe(%d bytes at %d)", b.Length+512, b.Offset-512)
			checkBytes(t, got[:b.Length+512], want[b.Offset-512:][:b.Length+512], "%s, what was cleared and what is before it", what)
		}
		checkNoNext(t, c)
		for _, m := range []Map{early, late, t.MapAs(mapSpec{}, src)} {
			checkBytes(t, m.Bytes(), want, "a map of %s when all is cleared", what)
			// The new blocks keep what is stored in them.
			copy(m.Bytes()[page:], "healthy")
			t.Must(m.Persist(m.Bytes()[page:][:7]), "Persist(7 bytes at %d)", page)
			checkBytes(t, late.Bytes()[page:][:7], []byte("healthy"), "the map of the new blocks")
			clear(m.Bytes()[page:][:7])
		}
		st, err := t.Machine().Fstat(fd)
		t.suite(err, "fstat")
		if st.Type() == platform.SIFREG {
			checkFile(t, fd, 0, want, "%s when all is cleared", what)
			t.Check(uint64(st.Size) == uint64(len(content)), "%s has %d bytes, had %d", what, st.Size, len(content))
			checkNoHole(t, fd)
		}
		// A healthy block is cleared like any other.
		mustClear(t, c, 20*page, page)
		clear(want[20*page:][:page])
		checkBytes(t, late.Bytes(), want, "a map of %s when a healthy block was cleared, too", what)
	})
}

// checkNoHole expects a file to be allocated from its beginning to its end.
func checkNoHole(t *T, fd int) {
	st, err := t.Machine().Fstat(fd)
	t.suite(err, "fstat")
	extents := make([]platform.FiemapExtent, 1000)
	n, err := t.Machine().Fiemap(fd, 0, uint64(st.Size), platform.FiemapFlagSync, extents)
	t.suite(err, "FIEMAP")
	at := uint64(0)
	for _, e := range extents[:n] {
		t.Check(e.Logical <= at, "the file has a hole from %d to %d", at, e.Logical)
		at = e.Logical + e.Length
	}
	t.Note("FIEMAP", "%d extents without a hole", n)
	t.Check(at >= uint64(st.Size), "the file has a hole from %d to %d", at, st.Size)
}

// answeringBus is a machine whose nvdimm bus answers otherwise.
type answeringBus struct {
	platform.Platform
	status  uint32 // of ARSCapabilities
	unit    uint32 // of ClearError; 0: the machine's
	lacking uint64 // how many bytes ClearError falls short of what is asked
	asked   int    // calls of ClearError
}

func (b *answeringBus) ARSCapabilities(fd int, addr, length uint64) (platform.ARSCap, error) {
	c, err := b.Platform.ARSCapabilities(fd, addr, length)
	if b.status != 0 {
		c.Status = b.status
	}
	if b.unit != 0 {
		c.ClearErrorUnit = b.unit
	}
	return c, err
}

func (b *answeringBus) ClearError(fd int, addr, length uint64) (uint64, error) {
	b.asked++
	short := min(b.lacking, length)
	if short == length {
		return 0, nil
	}
	n, err := b.Platform.ClearError(fd, addr, length-short)
	return n, err
}

// badBlockClearDeviceCases are about the commands to the nvdimm bus.
func badBlockClearDeviceCases() []Case {
	const page = badBlockClear
	var cases []Case
	for _, c := range []struct {
		row, op, want string
		errnos        []string
	}{
		{"-errno#2", "ars-capabilities", "ARS capability command fails", []string{"EIO", "ENOTTY", "EACCES"}},
		{"-errno#3", "clear-error", "clear-error command fails", []string{"ENXIO", "EIO", "EACCES"}},
		{"-errno#3", "ars-capabilities", "ARS capability command fails when submitted", []string{"ENXIO", "EBUSY"}},
		{"-errno#5", "clear-error", "no clear-error command", []string{"EOPNOTSUPP", "ENOTTY"}},
	} {
		cases = append(cases, Case{
			Name: page + c.want, Rows: []string{page + c.row}, Needs: []Need{NeedDevDax},
			Run: func(t *T) {
				o, _, _ := smallDevice(t)
				t.clearable(o)
				fd := t.Open(o, platform.ORdwr)
				patternDevice(t, t.Source(fd))
				for _, errno := range c.errnos {
					t.Lib = t.Inject("(" + errno + " (And (Op " + c.op + ") (OnIndex 0)))")
					src := t.Source(fd)
					content := bytes.Clone(t.MapAs(mapSpec{length: smallSize}, src).Bytes())
					b := t.BadBlocks(src)
					noClear(t, "-"+errno, b, 4096, 512)
					checkBytes(t, t.MapAs(mapSpec{length: smallSize}, src).Bytes(), content, "the device that couldn't be cleared")
					mustClear(t, b, 4096, 512)
				}
			},
		})
	}
	return append(cases, []Case{{
		Name: page + "bus can't be opened", Rows: []string{page + "-errno#2"}, Needs: []Need{NeedDevDax},
		Run: func(t *T) {
			_, fd, _ := smallDevice(t)
			for _, errno := range []string{"EACCES", "ENOENT"} {
				t.Lib = t.Inject("(" + errno + ` (And (Op open) (PathMatch "/dev/ndctl*")))`)
				noClear(t, "-"+errno, t.BadBlocks(t.Source(fd)), 4096, 512)
			}
		},
	}, {
		Name: page + "no ARS range", Rows: []string{page + "-errno#4"}, Needs: []Need{NeedDevDax},
		Run: func(t *T) {
			o, fd, src := smallDevice(t)
			t.clearable(o)
			content := patternDevice(t, src)
			for _, status := range []uint32{1, 2, 0x20001, 0x80000001, 0xffff} {
				bus := &answeringBus{Platform: t.Machine(), status: status}
				t.Lib = t.subject.On(bus)
				t.Note("the bus", "ARS capabilities have the status %#x", status)
				noClear(t, "-EINVAL", t.BadBlocks(t.Source(fd)), 4096, 512)
				t.Check(bus.asked == 0, "the bus is asked to clear what it can't")
			}
			checkBytes(t, t.MapAs(mapSpec{length: smallSize}, src).Bytes(), content, "the device")
		},
	}, {
		Name: page + "not everything cleared", Rows: []string{page + "-ENXIO#1"}, Needs: []Need{NeedDevDax},
		Run: func(t *T) {
			o, fd, src := smallDevice(t)
			t.clearable(o)
			content := patternDevice(t, src)
			for _, c := range []struct{ n, lacking uint64 }{{512, 512}, {4096, 512}, {4096, 4096}, {8192, 4096}} {
				t.Lib = t.subject.On(&answeringBus{Platform: t.Machine(), lacking: c.lacking})
				t.Note("the bus", "clears %d of %d bytes", c.n-c.lacking, c.n)
				noClear(t, "-ENXIO", t.BadBlocks(t.Source(fd)), 4096, c.n)
			}
			m := t.MapAs(mapSpec{}, src)
			checkBytes(t, m.Bytes()[:4096], content[:4096], "the device before the blocks")
			checkBytes(t, m.Bytes()[4096+8192:smallSize], content[4096+8192:], "the device behind the blocks")
		},
	}, {
		Name:  page + "not everything cleared, bad block",
		Rows:  []string{page + "-ENXIO#1", page + "-errno#3"},
		Needs: []Need{NeedBadBlock},
		Run: func(t *T) {
			o, _, _ := smallDevice(t)
			fd := t.Open(o, platform.ORdwr)
			t.poison(o, 4096, 8192)
			whole := pmem2.BadBlock{Offset: 4096, Length: 8192}
			t.Lib = t.Inject("(ENXIO (And (Op clear-error) (OnIndex 0)))")
			noClear(t, "-ENXIO", t.BadBlocks(t.Source(fd)), 4096, 8192)
			checkBadBlocks(t, t.Source(fd), whole)
			t.Lib = t.subject.On(&answeringBus{Platform: t.Machine(), lacking: 4096})
			src := t.Source(fd)
			noClear(t, "-ENXIO", t.BadBlocks(src), 4096, 8192)
			checkBadBlocks(t, src, pmem2.BadBlock{Offset: 8192, Length: 4096})
		},
	}, {
		Name: page + "device blocks of other units",
		Rows: []string{page + "zero-on-success"}, Needs: []Need{NeedDIMM},
		Run: func(t *T) {
			o := t.made(t.Env.DevDaxOn(smallSize, emu.Region{}))
			fd := t.Open(o, platform.ORdwr)
			src := t.Source(fd)
			content := patternDevice(t, src)
			bus := &answeringBus{Platform: t.Machine(), unit: 4096}
			t.Lib = t.subject.On(bus)
			c := t.BadBlocks(t.Source(fd))
			for _, r := range [][2]uint64{{0, 0}, {4096, 0}, {0, 512}, {512, 4096}, {1, 4096}, {4096, 4095}} {
				noClear(t, "-EINVAL", c, r[0], r[1])
			}
			for _, r := range [][2]uint64{{0, smallSize + 4096}, {smallSize, 4096}, {smallSize - 4096, 8192}, {1 << 62, 4096}, {4096, math.MaxInt64}} {
				noClear(t, "PMEM2_E_LENGTH_OUT_OF_RANGE", c, r[0], r[1])
			}
			t.Check(bus.asked == 0, "the bus was asked to clear what is refused")
			m := t.MapAs(mapSpec{}, src)
			checkBytes(t, m.Bytes(), content, "the device")
			for _, r := range [][2]uint64{{0, 4096}, {daxAlign - 4096, 8192}, {smallSize - 4096, 4096}} {
				mustClear(t, c, r[0], r[1])
				clear(content[r[0]:][:r[1]])
				checkBytes(t, m.Bytes(), content, "the device")
			}
		},
	}}...)
}
