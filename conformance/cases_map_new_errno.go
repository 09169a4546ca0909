package conformance

import (
	"fmt"

	"pmemlab/pmem2"
	"pmemlab/pmem2/platform"
)

// mapNewErrnoCases checks what pmem2_map_new(3) makes of errors of the system: of
// mmap(2), and of the descriptor.
func mapNewErrnoCases() []Case {
	faults := []Need{NeedReservation, NeedFaultInjection}
	cases := []Case{
		{
			Name:  "pmem2_map_new/mmap doesn't support it",
			Rows:  []string{"pmem2_map_new/PMEM2_E_NOSUPP#1"},
			Needs: faults,
			Run:   mapNewNotSupported,
		},
		{
			Name:  "pmem2_map_new/open mode forbids the protection",
			Rows:  []string{"pmem2_map_new/PMEM2_E_NO_ACCESS#1"},
			Needs: []Need{NeedReservation},
			Run:   mapNewNoAccess,
		},
		{
			Name:  "pmem2_map_new/append-only file",
			Rows:  []string{"pmem2_map_new/-EACCES#1", "pmem2_map_new/PMEM2_E_NO_ACCESS#1"},
			Needs: []Need{NeedReservation, NeedAppendOnly},
			Run:   mapNewAppendOnly,
		},
		{
			Name:  "pmem2_map_new/descriptor opened with O_PATH",
			Rows:  []string{"pmem2_map_new/-EBADF#1"},
			Needs: []Need{NeedReservation},
			Run:   mapNewOPath,
		},
		{
			Name: "pmem2_map_new/descriptor closed",
			Rows: []string{"pmem2_map_new/(pmem2_source_size)#1"},
			Run:  mapNewClosed,
		},
		{
			Name:  "pmem2_map_new/size can't be had",
			Rows:  []string{"pmem2_map_new/(pmem2_source_size)#1"},
			Needs: []Need{NeedFaultInjection},
			Run:   mapNewSizeFails,
		},
		{
			Name:  "pmem2_map_new/alignment can't be read",
			Rows:  []string{"pmem2_map_new/(pmem2_source_alignment)#1"},
			Needs: []Need{NeedDevDax, NeedFaultInjection},
			Run:   mapNewAlignmentUnreadable,
		},
		{
			Name: "pmem2_map_new/descriptor of a directory",
			Rows: []string{"pmem2_map_new/-ENODEV#2"},
			Run:  mapNewDirectory,
		},
		{
			Name:  "pmem2_map_new/mremap fails",
			Rows:  []string{"pmem2_map_new/-errno#1"},
			Needs: faults,
			Run:   mapNewMremapFails,
		},
	}
	for _, c := range []struct{ errno, row string }{
		{"EAGAIN", "-EAGAIN#1"},
		{"ENFILE", "-ENFILE#1"},
		{"ENODEV", "-ENODEV#1"},
		{"ENOMEM", "-ENOMEM#1"},
		{"EPERM", "-EPERM#1"},
		{"ETXTBSY", "-ETXTBSY#1"},
		{"EOVERFLOW", "-errno#1"},
	} {
		cases = append(cases, Case{
			Name:  "pmem2_map_new/mmap answers " + c.errno,
			Rows:  []string{"pmem2_map_new/" + c.row},
			Needs: faults,
			Run:   func(t *T) { mapNewMmapFails(t, c.errno) },
		})
	}
	return cases
}

// mapNewMmapFails lets mmap fail once, then in every way in which NewMap may call it.
func mapNewMmapFails(t *T, errno string) {
	want, page := "-"+errno, t.Page()
	fd := t.FileFD(4 * page)
	t.Lib = t.Inject(fmt.Sprintf("(%s (And (FileBacked) (OnIndex 0)))", errno))
	cfg, src := mapSpec{}.config(t), t.Source(fd)
	t.NoMap(want, cfg, src, "the first time")
	checkUnmapped(t, fd)
	// Since it fails no more the same source and config can be mapped.
	m := t.Map(cfg, src)
	m.Bytes()[0] = 'x'
	checkFile(t, fd, 0, []byte("x"), "the file that could be mapped in the end")
	t.Delete(m)

	mapNewMmapFailsAlways(t, errno, want)
}

// mapNewMmapFailsAlways lets mmap fail with MAP_SYNC and without.
func mapNewMmapFailsAlways(t *T, errno, want string) {
	page := t.Page()
	fd := t.FileFD(4 * page)
	for _, plan := range []string{
		fmt.Sprintf("(%s (FileBacked))", errno),
		// MAP_SYNC is refused, and the mmap without it fails.
		fmt.Sprintf("(EOPNOTSUPP (Flags MAP_SYNC)) (%s (FileBacked))", errno),
	} {
		t.Lib = t.Inject(plan)
		src := t.Source(fd)
		r := t.Reservation(0, 8*page)
		for _, s := range []mapSpec{
			{},
			{offset: page, length: page},
			{sharing: pmem2.Private},
			{prot: pmem2.ProtRead},
			{in: r},
			{in: r, at: page, sharing: pmem2.Private},
		} {
			t.NoMapAs(want, s, src)
			checkUnmapped(t, fd)
			checkEmpty(t, r)
		}
		// That the file can't be mapped is no matter of anonymous memory.
		t.Delete(t.MapAs(mapSpec{}, t.AnonSource(page)))
		t.Delete(t.MapAs(mapSpec{in: r}, t.AnonSource(page)))
	}
	t.Lib = t.Inject(fmt.Sprintf("(%s (Anonymous))", errno))
	for _, s := range []mapSpec{{}, {sharing: pmem2.Private}} {
		m, err := t.Lib.NewMap(s.config(t), t.AnonSource(page))
		either := want
		if t.Lib.Outcome(err) == "-"+errno {
			either = "-" + errno // what failed may be the search for a place, in memory of no source
		}
		t.gotNoMap(either, m, err, "NewMap(%v) of anonymous memory", s)
	}
}

func mapNewNotSupported(t *T) {
	const want = "PMEM2_E_NOSUPP"
	// With MAP_SYNC and without: this code, and no errno.
	mapNewMmapFailsAlways(t, "EOPNOTSUPP", want)

	page := t.Page()
	fd := t.FileFD(page)
	t.Lib = t.Inject("(EOPNOTSUPP (FileBacked))")
	src := t.Source(fd)
	for p := range 8 {
		prot := pmem2.ProtNone
		for i, flag := range []pmem2.Prot{pmem2.ProtRead, pmem2.ProtWrite, pmem2.ProtExec} {
			if p&(1<<i) != 0 {
				prot |= flag
			}
		}
		for _, sharing := range []pmem2.Sharing{pmem2.Shared, pmem2.Private} {
			c := mapSpec{sharing: sharing}.config(t)
			t.Must(c.SetProtection(prot), "SetProtection(%q)", protName(prot))
			t.NoMap(want, c, src, "protection %q, sharing %d", protName(prot), sharing)
		}
	}
	checkUnmapped(t, fd)

	// Refused with MAP_SYNC only the mapping is made: one of pages.
	t.Force("")
	t.Lib = t.Inject("(EOPNOTSUPP (Flags MAP_SYNC))")
	m := t.MapAs(mapSpec{}, t.Source(fd))
	t.Check(m.StoreGranularity() == pmem2.GranularityPage, "StoreGranularity() is %v without MAP_SYNC, want PAGE", m.StoreGranularity())
}

func mapNewNoAccess(t *T) {
	const want = "PMEM2_E_NO_ACCESS"
	page := t.Page()
	content := pattern(4*page, 0)
	o := t.made(t.Env.File(4 * page))
	rw := t.Open(o, platform.ORdwr)
	t.WriteFile(rw, 0, content)
	src := t.Source(t.Open(o, platform.ORdonly))
	r := t.Reservation(0, 8*page)
	for _, s := range []mapSpec{
		{},
		{prot: pmem2.ProtRead | pmem2.ProtWrite},
		{prot: pmem2.ProtWrite},
		{offset: page, length: page},
		{in: r, at: page},
		{in: r, prot: pmem2.ProtWrite},
	} {
		t.NoMapAs(want, s, src)
	}
	checkUnmapped(t, rw)
	checkEmpty(t, r)

	// To read it the mode allows, and what nobody else sees may be written.
	for _, s := range []mapSpec{
		{prot: pmem2.ProtRead},
		{prot: pmem2.ProtRead, in: r},
		{sharing: pmem2.Private},
		{sharing: pmem2.Private, in: r},
	} {
		m := t.MapAs(s, src)
		checkBytes(t, m.Bytes(), content, "the map of the file that is open for reading")
		t.Check(t.Faults(m.Address(), true) == (s.prot != 0), "writing to the map (%v) faults: %t", s, s.prot == 0)
		t.Delete(m)
	}
	checkFile(t, rw, 0, content, "the file in the end")
	// A descriptor of the same file that is open for both allows both.
	t.MapAs(mapSpec{}, t.Source(rw))
	t.MapAs(mapSpec{prot: pmem2.ProtWrite}, t.Source(rw))
}

func mapNewAppendOnly(t *T) {
	page := t.Page()
	o := t.made(t.Env.AppendOnlyFile(4 * page))
	fd := t.Open(o, platform.ORdwr|platform.OAppend)
	src := t.Source(fd)
	r := t.Reservation(0, 8*page)
	// The mode allows it all, the file doesn't.
	for _, s := range []mapSpec{
		{},
		{prot: pmem2.ProtRead | pmem2.ProtWrite},
		{prot: pmem2.ProtWrite},
		{prot: pmem2.ProtRead},
		{offset: page, length: page},
		{in: r, at: page},
	} {
		t.NoMapAs("-EACCES", s, src)
	}
	// Here the mode doesn't.
	readOnly := t.Source(t.Open(o, platform.ORdonly))
	for _, s := range []mapSpec{{}, {prot: pmem2.ProtWrite}, {offset: page, length: page}, {in: r}} {
		t.NoMapAs("PMEM2_E_NO_ACCESS", s, readOnly)
	}
	checkUnmapped(t, fd)
	checkEmpty(t, r)

	t.MapAs(mapSpec{prot: pmem2.ProtRead}, readOnly)
	m := t.MapAs(mapSpec{sharing: pmem2.Private}, src)
	m.Bytes()[0] = 'x'
	checkFile(t, fd, 0, make([]byte, 1), "the append-only file")
}

func mapNewOPath(t *T) {
	page := t.Page()
	o := t.made(t.Env.File(4 * page))
	fd := t.Open(o, platform.OPath)
	src := t.Source(fd)
	r := t.Reservation(0, 8*page)
	for _, s := range []mapSpec{
		{prot: pmem2.ProtRead},
		{},
		{prot: pmem2.ProtRead, sharing: pmem2.Private},
		{sharing: pmem2.Private},
		{offset: page, length: page},
		{in: r, at: page},
		{in: r, sharing: pmem2.Private},
	} {
		t.NoMapAs("-EBADF", s, src)
	}
	checkUnmapped(t, fd)
	checkEmpty(t, r)
	t.MapAs(mapSpec{}, t.Source(t.Open(o, platform.ORdwr)))
}

func mapNewClosed(t *T) {
	const want = "PMEM2_E_INVALID_FILE_HANDLE"
	page := t.Page()
	kept, content := t.PatternFile(page, 0)
	m := t.MapAs(mapSpec{}, t.Source(kept))
	fd := t.FileFD(4 * page)
	src := t.Source(fd)
	t.Close(kept)
	t.Close(fd)
	noSize(t, want, src, "a descriptor that is closed")
	for _, s := range []mapSpec{
		{},
		{sharing: pmem2.Private},
		{prot: pmem2.ProtRead},
		{offset: 1, length: 1}, // before the checks of what is wanted
		{offset: 8 * page},
	} {
		t.NoMapAs(want, s, src)
	}
	// A map doesn't need its descriptor.
	checkBytes(t, m.Bytes(), content, "the map of a descriptor that was closed since")
	t.Must(m.Persist(m.Bytes()), "Persist(all of it)")
}

func mapNewSizeFails(t *T) {
	page := t.Page()
	fd := t.FileFD(4 * page)
	for _, errno := range []string{"EIO", "EOVERFLOW", "ENOMEM", "EBADF"} {
		want := "-" + errno
		if errno == "EBADF" {
			want = "PMEM2_E_INVALID_FILE_HANDLE"
		}
		// From the first fstat on that comes after those of SourceFromFD.
		var src Source
		for n := 0; src == nil; n++ {
			if n == 10 {
				t.Brokenf("SourceFromFD calls fstat %d times or more", n)
			}
			t.Lib = t.Inject(fmt.Sprintf("(%s (And (Op fstat) (FromIndex %d)))", errno, n))
			var err error
			if src, err = t.Lib.SourceFromFD(fd); err == nil {
				t.Must(err, "SourceFromFD(%d)", fd)
			}
		}
		noSize(t, want, src, "a file whose fstat fails")
		t.NoMapAs(want, mapSpec{}, src)
		t.NoMapAs(want, mapSpec{offset: 1, length: 1}, src)
		checkUnmapped(t, fd)
	}
}

func mapNewAlignmentUnreadable(t *T) {
	o := t.made(t.Env.DevDax(daxSize, daxAlign))
	fd := t.Open(o, platform.ORdwr)
	for _, errno := range []string{"EIO", "ENOENT", "EACCES"} {
		t.Lib = t.Inject(fmt.Sprintf(`(%s (And (Op read-attr) (PathMatch "*/align")))`, errno))
		src := t.Source(fd)
		noAlignment(t, "-"+errno, src, "a device whose alignment can't be read")
		t.NoMapAs("-"+errno, mapSpec{}, src)
		t.NoMapAs("-"+errno, mapSpec{offset: 1, length: 1, sharing: pmem2.Private}, src)
	}
	checkUnmapped(t, fd)
}

func mapNewDirectory(t *T) {
	const want = "PMEM2_E_INVALID_FILE_TYPE"
	page := t.Page()
	o := t.made(t.Env.File(4 * page))
	fd := t.Open(o, platform.ORdwr)
	directory := t.made(t.Env.Directory())
	dir := t.Open(directory, platform.ORdonly)
	src := t.Source(fd)

	back := t.Replace(fd, o, dir)
	noSize(t, want, src, "a descriptor that has become a directory")
	for _, s := range []mapSpec{
		{prot: pmem2.ProtRead},
		{},
		{prot: pmem2.ProtRead, sharing: pmem2.Private},
		{prot: pmem2.ProtRead, length: page},
		{offset: 1, length: 1}, // before the checks of what is wanted
	} {
		t.NoMapAs(want, s, src)
	}
	// It is the descriptor that counts: with the file back in its place it can be mapped.
	back()
	t.Check(t.MapAs(mapSpec{}, src).Size() == 4*page, "the map hasn't the size of the file")
}

// mapNewMremapFails is about libraries that move a mapping into the reservation. One
// that doesn't has nothing that fails and must succeed.
func mapNewMremapFails(t *T) {
	page := t.Page()
	fd, content := t.PatternFile(4*page, 0)
	for _, errno := range []string{"EOVERFLOW", "ENOMEM", "EINVAL"} {
		t.Lib = t.Inject(fmt.Sprintf("(%s (Op mremap))", errno))
		src := t.Source(fd)
		r := t.Reservation(0, 8*page)
		for _, s := range []mapSpec{{in: r}, {in: r, at: 4 * page}, {in: r, at: page, sharing: pmem2.Private}} {
			m, err := t.Lib.NewMap(s.config(t), src)
			if m != nil {
				t.Must(err, "NewMap(%v)", s)
				checkBytes(t, m.Bytes(), content, "the map")
				t.Delete(m)
				continue
			}
			t.Expect("-"+errno, err, "NewMap(%v)", s)
			checkUnmapped(t, fd)
			checkEmpty(t, r)
		}
	}
}
