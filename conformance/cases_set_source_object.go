package conformance

import (
	"fmt"
	"slices"
	"syscall"

	"pmemlab/pmem2"
	"pmemlab/pmem2/platform"
	"pmemlab/pmemset"
)

// setSourceObjectCases are those of pmemset_source_from_pmem2(3),
// pmemset_source_alignment(3) and pmemset_source_delete(3).
func setSourceObjectCases() []Case {
	return slices.Concat(setSourceOfPMem2Cases(), setSourceAlignmentCases(), setSourceDeleteCases())
}

func setSourceOfPMem2Cases() []Case {
	const (
		page    = "pmemset_source_from_pmem2/"
		invalid = "PMEMSET_E_INVALID_PMEM2_SOURCE"
	)
	return []Case{{
		Name: page + "no source",
		Rows: []string{page + invalid + "#1"},
		Run: func(t *T) {
			t.NoSetSourceOf(invalid, nil, "NULL")
			t.NoSetSourceOf(invalid, t.Lib.NilSource(), "no source")
			deleted := t.FileSource(t.Page())
			t.Must(deleted.Delete(), "Delete() of the source of libpmem2")
			t.NoSetSourceOf(invalid, deleted, "a source that has been deleted")
		},
	}, {
		Name: page + "anonymous",
		Rows: []string{page + "PMEM2_E_FILE_DESCRIPTOR_NOT_SET#1"},
		Run: func(t *T) {
			for _, size := range []uint64{0, t.Page(), gib} {
				cause := t.NoSetSourceOf(invalid, t.AnonSource(size), "anonymous memory")
				t.Check(cause == "PMEM2_E_FILE_DESCRIPTOR_NOT_SET", "below it is %q from libpmem2", cause)
			}
		},
	}, {
		Name: page + "creates-source",
		Rows: []string{page + "creates-source"},
		Run:  setSourceOfPMem2,
	}, {
		Name:  page + "device",
		Rows:  []string{page + "creates-source"},
		Needs: []Need{NeedDevDax},
		Run: func(t *T) {
			t.EachGeneration(func(g Generation) {
				o, fd, own := smallDevice(t)
				content := patternDevice(t, own)
				set, src := t.Set(), t.SetSourceOf(own)
				d := t.SetMap(g, set, src, daxAlign, daxAlign)
				checkBytes(t, d.Bytes(), content[daxAlign:][:daxAlign], "the part of the device")
				storeAndCheck(t, set, src, d, daxAlign)
				t.Delete(set)
				t.Delete(src)
				checkUnmapped(t, fd)
				checkSize(t, own, sysfsNumber(t, o, "size"), "the device's source of libpmem2")
			})
		},
	}, {
		Name: page + "zero-or-negative",
		Rows: []string{page + "zero-or-negative"},
		Run: func(t *T) {
			t.EachGeneration(func(g Generation) {
				set := t.Set()
				t.NoSetSourceOf(invalid, nil, "NULL")
				src := t.SetSourceOf(t.FileSource(64 * kib))
				t.NoSetSourceOf(invalid, t.AnonSource(t.Page()), "anonymous memory")
				d := t.SetMap(g, set, src, 0, 64*kib)
				storeAndCheck(t, set, src, d, 0)
				t.CheckParts(set, d)
			})
		},
	}}
}

// NoSetSourceOf expects SourceFromPMem2 to fail and to return no source. What it returns
// names libpmem2's error below, or is "".
func (t *T) NoSetSourceOf(want string, own Source, what string) (cause string) {
	src, err := t.Sets().SourceFromPMem2(own)
	t.gotNoSetSource(want, src, err, "SourceFromPMem2(%s)", what)
	return t.Sets().Cause(err)
}

// setSourceOfPMem2 expects a source of libpmem2 to be borrowed.
func setSourceOfPMem2(t *T) {
	watch := t.Watch("")
	t.EachGeneration(func(g Generation) {
		fd, content := t.PatternFile(128*kib, 1)
		own := t.Source(fd)
		src, other := t.SetSourceOf(own), t.SetSourceOf(own)
		watch.checkHeld(t, "after SourceFromPMem2")
		set, events := t.SetWithEvents()
		d := t.SetMap(g, set, src, 64*kib, 64*kib)
		events.Name("A", d.Addr)
		for _, e := range t.Events(set, events, "PART_ADD A 64K") {
			t.Check(e.PMem2Source == own, "PART_ADD comes with %v, want the source that was given", e.PMem2Source)
		}
		checkBytes(t, d.Bytes(), content[64*kib:], "the part")
		storeAndCheck(t, set, src, d, 64*kib)
		copy(content[64*kib:], pattern(200, 77))

		// No flag can be given: only the last generation lets it grow.
		size := uint64(128 * kib)
		if g == Release112 {
			size = 192 * kib
			t.SetMap(g, set, src, 0, size)
		} else {
			t.NoSetMap("PMEMSET_E_INVALID_PMEM2_MAP", g, set, src, 0, 192*kib)
		}
		checkSize(t, own, size, "after a part beyond its end, the file")

		t.Delete(src)
		checkSize(t, own, size, "after Delete, the file")
		got, err := own.FD()
		t.Must(err, "FD() of the source of libpmem2")
		t.Check(got == fd, "FD is %d, not %d", got, fd)
		checkFile(t, fd, 0, content, "the file after Delete")
		all := t.SetMap(g, t.Set(), other, 0, 0)
		checkBytes(t, all.Bytes()[:len(content)], content, "the part of another source")
		t.MapAs(mapSpec{}, own)
		// A source whose owner has deleted it can't be mapped any more.
		t.Must(own.Delete(), "Delete() of the source of libpmem2")
		_, err = g.Map(t, t.Set(), other, 0, 64*kib)
		t.Check(err != nil, "a source is mapped whose source of libpmem2 is gone")
	})
}

func setSourceAlignmentCases() []Case {
	const (
		page    = "pmemset_source_alignment/"
		invalid = "PMEMSET_E_INVALID_ALIGNMENT_VALUE"
	)
	return []Case{{
		Name: page + "invalid",
		Rows: []string{page + invalid + "#1", page + "unmodified-on-failure"},
		Run: func(t *T) {
			o, _, own := t.Device()
			sources := []SetSource{t.SetSource(o.Path()), t.SetSourceOf(own)}
			right := readSysfs(t, o, "align")
			fails := func(want string) {
				for _, src := range sources {
					cause := t.noSetAlignment(invalid, src, "device DAX")
					t.Check(cause == want, "below it is %q from libpmem2, want %q", cause, want)
				}
			}
			for _, c := range []sysfsText{
				{"3145728\n", "PMEM2_E_INVALID_ALIGNMENT_VALUE"}, {"0\n", "PMEM2_E_INVALID_ALIGNMENT_VALUE"},
				{"2097151\n", "PMEM2_E_INVALID_ALIGNMENT_VALUE"}, {"", "PMEM2_E_INVALID_ALIGNMENT_FORMAT"},
				{"2M\n", "PMEM2_E_INVALID_ALIGNMENT_FORMAT"}, {"-1\n", "PMEM2_E_INVALID_ALIGNMENT_FORMAT"},
				{"18446744073709551616\n", "-ERANGE"},
			} {
				setSysfs(t, o, "align", c.text)
				fails(c.want)
			}
			setSysfs(t, o, "align", right)
			for _, errno := range []syscall.Errno{syscall.EACCES, syscall.EIO} {
				failSysfs(t, o.SysfsDir()+"/align", errno)
				fails("-" + errnoName(errno))
			}
			repairSysfs(t, o.SysfsDir()+"/align")
			for _, src := range sources {
				t.checkSetAlignment(src, daxAlign, "device DAX with the right text again")
			}
		},
	}, {
		Name: page + "closed descriptor",
		Rows: []string{page + "unmodified-on-failure"},
		Run: func(t *T) {
			fd := t.FileFD(64 * kib)
			src := t.SetSourceOf(t.Source(fd))
			t.checkSetAlignment(src, t.Page(), "a file")
			t.Close(fd)
			cause := t.noSetAlignment(invalid, src, "a descriptor that is closed")
			t.Check(cause == "-EBADF", "below it is %q from libpmem2", cause)
			t.noSetAlignment(invalid, src, "a descriptor that is closed, again")
		},
	}, {
		Name: page + "alignment-map-needs",
		Rows: []string{page + "alignment-map-needs", page + "zero-on-success"},
		Run: func(t *T) {
			page := t.Page()
			path, src := t.SetFile(4 * page)
			_, temporary := t.TemporarySetSource()
			_, odd := t.SetFile(page + 1)
			_, empty := t.SetFile(0)
			for _, c := range []struct {
				what string
				src  SetSource
			}{
				{"a file", src}, {"a file with flags", t.XSetSource(path, createIfNeeded|doNotGrow)}, {"a temporary file", temporary},
				{"a source of libpmem2", t.SetSourceOf(t.FileSource(2 * page))}, {"a file of a page and a byte", odd}, {"an empty file", empty},
			} {
				t.checkSetAlignment(c.src, page, c.what)
			}
			checkSetAlignmentNeeded(t, src, page, "PMEMSET_E_LENGTH_UNALIGNED")
			checkSetAlignmentNeeded(t, temporary, page, "PMEMSET_E_LENGTH_UNALIGNED")
		},
	}, {
		Name:  page + "devices",
		Rows:  []string{page + "alignment-map-needs", page + "zero-on-success"},
		Needs: []Need{NeedSysfsEdit}, // a machine that can have any device
		Run: func(t *T) {
			t.Force("")
			for _, align := range []uint64{4096, daxAlign, gib} {
				src := t.SetSource(t.made(t.Env.DevDax(4*align, align)).Path())
				t.checkSetAlignment(src, align, fmt.Sprintf("device DAX of alignment %s", amount(align)))
				unaligned := "PMEMSET_E_INVALID_PMEM2_MAP"
				if align == t.Page() {
					unaligned = "PMEMSET_E_LENGTH_UNALIGNED"
				}
				checkSetAlignmentNeeded(t, src, align, unaligned)
			}
		},
	}}
}

func (t *T) checkSetAlignment(src SetSource, want uint64, what string) {
	n, err := src.Alignment()
	t.Must(err, "Alignment() of %s", what)
	t.Note("Alignment() of "+what, "%d", n)
	t.Check(n == want, "Alignment of %s is %d, not %d", what, n, want)
}

// noSetAlignment expects Alignment to fail. What Go returns beside the error is the zero
// value: it stands for the output that a failing call leaves alone. What it returns
// names libpmem2's error below.
func (t *T) noSetAlignment(want string, src SetSource, what string) (cause string) {
	n, err := src.Alignment()
	t.Expect(want, err, "Alignment() of %s", what)
	t.Check(n == 0, "with the error comes the alignment %d", n)
	return t.Sets().Cause(err)
}

// checkSetAlignmentNeeded expects parts of a source to take multiples of align for their
// offset and length, and nothing less. The source has four at least, or grows.
func checkSetAlignmentNeeded(t *T, src SetSource, align uint64, unalignedLength string) {
	set := t.Set()
	for _, n := range []uint64{align / 2, align - 1, align + 1} {
		cause := t.NoSetMap("PMEMSET_E_INVALID_PMEM2_MAP", Release112, set, src, n, align)
		t.Check(cause == "PMEM2_E_OFFSET_UNALIGNED", "at offset %d below it is %q from libpmem2", n, cause)
	}
	t.NoSetMap(unalignedLength, Release112, set, src, 0, align/2)
	for _, n := range []uint64{align - 1, align + 1} {
		t.NoSetMap("PMEMSET_E_LENGTH_UNALIGNED", Release112, set, src, 0, n)
	}
	for _, offset := range []uint64{0, align} {
		d := t.SetMap(Release112, set, src, offset, align)
		t.Check(d.Size == align, "%s are mapped, want %s", amount(d.Size), amount(align))
		d.Bytes()[align-1] = 1
	}
}

func setSourceDeleteCases() []Case {
	const page = "pmemset_source_delete/"
	return []Case{{
		Name:  page + "always 0",
		Rows:  []string{page + "0#1", page + "null-is-noop", page + "always-zero"},
		Needs: []Need{NeedFile},
		Run: func(t *T) {
			t.EachGeneration(func(g Generation) {
				_, src := t.SetFile(64 * kib)
				_, temporary := t.TemporarySetSource()
				own := t.FileSource(64 * kib)
				set := t.Set()
				for range 2 {
					t.Must(t.Sets().NilSetSource().Delete(), "Delete() of no source")
				}
				for _, s := range []SetSource{src, temporary, t.SetSourceOf(own)} {
					t.SetMap(g, set, s, 0, 64*kib)
					for range 3 {
						t.Must(s.Delete(), "Delete()")
					}
				}
				t.Check(len(t.PartMaps(set)) == 3, "the set has lost part maps")
			})
		},
	}, {
		Name:  page + "close fails",
		Rows:  []string{page + "0#1", page + "always-zero"},
		Needs: []Need{NeedFile, NeedFaultInjection},
		Run: func(t *T) {
			t.EachGeneration(func(g Generation) {
				closes := &failingClose{Platform: t.Machine()}
				t.Lib = t.subject.On(closes)
				_, src := t.SetFile(64 * kib)
				_, temporary := t.TemporarySetSource()
				for _, s := range []SetSource{src, temporary} {
					t.SetMap(g, t.Set(), s, 0, 64*kib)
					closes.fails = true
					t.Must(s.Delete(), "Delete() when close(2) answers EIO")
					t.Must(s.Delete(), "Delete() again")
					closes.fails = false
				}
				t.Check(closes.failed == 2, "close(2) was called %d times for two files", closes.failed)
			})
		},
	}, {
		Name: page + "frees-source",
		Rows: []string{page + "frees-source"},
		Run:  setSourceFreed,
	}, {
		Name: page + "nulls-pointer",
		Rows: []string{page + "nulls-pointer"},
		Run: func(t *T) {
			t.Note("types", "a method can't set the caller's variable to NULL: the object refuses further use instead")
			t.EachGeneration(func(g Generation) {
				fd, content := t.PatternFile(64*kib, 1)
				path, file := t.SetFile(64 * kib)
				_, temporary := t.TemporarySetSource()
				for _, src := range []SetSource{file, temporary, t.SetSourceOf(t.Source(fd))} {
					set := t.Set()
					part, err := t.Sets().NewPart(set, src, 0, 64*kib)
					t.Must(err, "NewPart()")
					t.Delete(src)
					n, err := src.Alignment()
					t.Expect("-EINVAL", err, "Alignment() of the deleted source")
					t.Check(n == 0, "with the error comes the alignment %d", n)
					t.Expect("-EINVAL", src.PreadMCSafe(make([]byte, 1), 0), "PreadMCSafe() of the deleted source")
					t.Expect("-EINVAL", src.PwriteMCSafe([]byte("x"), 0), "PwriteMCSafe() of the deleted source")
					t.Expect("-EINVAL", src.SetSDS(pmemset.SDS{}, nil), "SetSDS() of the deleted source")
					t.Expect("-EINVAL", src.SetBadBlockDetection(true), "SetBadBlockDetection() of the deleted source")
					t.Expect("-EINVAL", src.ClearBadBlock(pmem2.BadBlock{Length: t.Page()}), "ClearBadBlock() of the deleted source")
					t.NoSetMap("PMEMSET_E_INVALID_SOURCE_TYPE", g, set, src, 0, 64*kib)
					_, err = part.Map()
					t.Expect("PMEMSET_E_INVALID_SOURCE_TYPE", err, "Part.Map() of a part of the deleted source")
					t.Delete(part)
				}
				checkFile(t, fd, 0, content, "the file")
				checkContent(t, path, make([]byte, 64*kib), "whose source is deleted")
			})
		},
	}}
}

// failingClose is a machine that closes descriptors and says that it hasn't.
type failingClose struct {
	platform.Platform
	fails  bool
	failed int
}

// Close is platform.Files.Close.
func (c *failingClose) Close(fd int) error {
	err := c.Platform.Close(fd)
	if c.fails && err == nil {
		c.failed++
		return syscall.EIO
	}
	return err
}

// setSourceFreed deletes sources of each kind while parts of them are mapped.
func setSourceFreed(t *T) {
	watch := t.Watch("")
	t.EachGeneration(func(g Generation) {
		path, file := t.SetFile(128 * kib)
		dir, temporary := t.TemporarySetSource()
		fd, _ := t.PatternFile(128*kib, 1)
		own := t.Source(fd)
		borrowed := t.SetSourceOf(own)
		watch.checkHeld(t, "of three sources", path, dir.Path())
		set := t.Set()
		var parts []pmemset.PartDescriptor
		for _, src := range []SetSource{file, temporary, borrowed} {
			parts = append(parts, t.SetMap(g, set, src, 0, 128*kib))
			t.Delete(src)
		}
		watch.checkHeld(t, "after Delete")
		checkSize(t, own, 128*kib, "the source that was given")
		checkReadWrite(t, fd)

		// What is mapped doesn't need the source.
		t.CheckParts(set, slices.Clone(parts)...)
		for i, d := range parts {
			b := d.Bytes()[100:300]
			t.Must(set.Memcpy(b, pattern(200, byte(i)), 0), "Memcpy(200 bytes into part %d)", i)
			t.Must(set.Persist(b), "Persist(200 bytes of part %d)", i)
			t.Must(set.DeepFlush(b), "DeepFlush(200 bytes of part %d)", i)
		}
		checkFile(t, fd, 100, pattern(200, 2), "the file that was given")
		reader := t.Open(t.FileAt(path), platform.ORdonly)
		checkFile(t, reader, 100, pattern(200, 0), "the file of the path")
		t.Close(reader)
		m, err := set.PartMapByAddress(parts[0].Addr)
		t.Must(err, "PartMapByAddress()")
		t.Must(set.RemovePartMap(m), "RemovePartMap() of a part without a source")
		t.Must(set.RemoveRange(parts[1].Addr, 1), "RemoveRange() of a part without a source")
		t.CheckParts(set, parts[2])
		t.Delete(set)
		checkUnmapped(t, fd)
		checkSize(t, own, 128*kib, "the source that was given")
	})
}
