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
	want, page := "-"+errno, mapPage(t)
	fd := t.FileFD(4 * page)
	t.Lib = t.Inject(fmt.Sprintf("(%s (And (FileBacked) (OnIndex 0)))", errno))
	cfg, src := mapSpec{}.config(t), t.Source(fd)
	mapRefusedWith(t, want, cfg, src, "the first time")
	t.Check(len(mapAreasOf(t, fd)) == 0, "NewMap fails and leaves the file mapped")
	// Since it fails no more the same source and config can be mapped.
	m := t.Map(cfg, src)
	m.Bytes()[0] = 'x'
	mapFileHolds(t, fd, []byte("x"), 0, "the file that could be mapped in the end")
	mapDeleted(t, m)

	mapNewMmapFailsAlways(t, errno, want)
}

// mapNewMmapFailsAlways lets mmap fail with MAP_SYNC and without.
func mapNewMmapFailsAlways(t *T, errno, want string) {
	page := mapPage(t)
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
			{reservation: r},
			{reservation: r, at: page, sharing: pmem2.Private},
		} {
			mapRefused(t, want, s, src)
			t.Check(len(mapAreasOf(t, fd)) == 0, "NewMap fails and leaves the file mapped")
			mapUnreserved(t, r, "the reservation after a failure")
		}
		// That the file can't be mapped is no matter of anonymous memory.
		mapDeleted(t, mapMade(t, mapSpec{}, mapAnon(t, page)))
		mapDeleted(t, mapMade(t, mapSpec{reservation: r}, mapAnon(t, page)))
	}
	t.Lib = t.Inject(fmt.Sprintf("(%s (Anonymous))", errno))
	mapRefused(t, want, mapSpec{}, mapAnon(t, page))
	mapRefused(t, want, mapSpec{sharing: pmem2.Private}, mapAnon(t, page))
}

func mapNewNotSupported(t *T) {
	const want = "PMEM2_E_NOSUPP"
	// With MAP_SYNC and without: this code, and no errno.
	mapNewMmapFailsAlways(t, "EOPNOTSUPP", want)

	page := mapPage(t)
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
			t.Must(c.SetProtection(prot), "SetProtection(%q)", mapProtName(prot))
			mapRefusedWith(t, want, c, src, "protection %q, sharing %d", mapProtName(prot), sharing)
		}
	}
	t.Check(len(mapAreasOf(t, fd)) == 0, "NewMap fails and leaves the file mapped")

	// Refused with MAP_SYNC only the mapping is made: one of pages.
	mapForce(t, "")
	t.Lib = t.Inject("(EOPNOTSUPP (Flags MAP_SYNC))")
	m := mapMade(t, mapSpec{}, t.Source(fd))
	t.Check(m.StoreGranularity() == pmem2.GranularityPage, "StoreGranularity() is %v without MAP_SYNC, want PAGE", m.StoreGranularity())
}

func mapNewNoAccess(t *T) {
	const want = "PMEM2_E_NO_ACCESS"
	page := mapPage(t)
	content := mapPattern(4*page, 0)
	o, err := t.Env.File(4 * page)
	t.suite(err, "file of %d bytes", 4*page)
	rw := t.Open(o, platform.ORdwr)
	mapWrite(t, rw, content, 0)
	src := t.Source(t.Open(o, platform.ORdonly))
	r := t.Reservation(0, 8*page)
	for _, s := range []mapSpec{
		{},
		{prot: pmem2.ProtRead | pmem2.ProtWrite},
		{prot: pmem2.ProtWrite},
		{offset: page, length: page},
		{reservation: r, at: page},
		{reservation: r, prot: pmem2.ProtWrite},
	} {
		mapRefused(t, want, s, src)
	}
	t.Check(len(mapAreasOf(t, rw)) == 0, "NewMap fails and leaves the file mapped")
	mapUnreserved(t, r, "the reservation after failures")

	// To read it the mode allows, and what nobody else sees may be written.
	for _, s := range []mapSpec{
		{prot: pmem2.ProtRead},
		{prot: pmem2.ProtRead, reservation: r},
		{sharing: pmem2.Private},
		{sharing: pmem2.Private, reservation: r},
	} {
		m := mapMade(t, s, src)
		mapSame(t, m.Bytes(), content, "the map of the file that is open for reading")
		t.Check(t.Faults(m.Address(), true) == (s.prot != 0), "writing to the map (%v) faults: %t", s, s.prot == 0)
		mapDeleted(t, m)
	}
	mapFileHolds(t, rw, content, 0, "the file in the end")
	// A descriptor of the same file that is open for both allows both.
	mapMade(t, mapSpec{}, t.Source(rw))
	mapMade(t, mapSpec{prot: pmem2.ProtWrite}, t.Source(rw))
}

func mapNewAppendOnly(t *T) {
	page := mapPage(t)
	o, err := t.Env.AppendOnlyFile(4 * page)
	t.suite(err, "append-only file")
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
		{reservation: r, at: page},
	} {
		mapRefused(t, "-EACCES", s, src)
	}
	// Here the mode doesn't.
	readOnly := t.Source(t.Open(o, platform.ORdonly))
	for _, s := range []mapSpec{{}, {prot: pmem2.ProtWrite}, {offset: page, length: page}, {reservation: r}} {
		mapRefused(t, "PMEM2_E_NO_ACCESS", s, readOnly)
	}
	t.Check(len(mapAreasOf(t, fd)) == 0, "NewMap fails and leaves the file mapped")
	mapUnreserved(t, r, "the reservation after failures")

	mapMade(t, mapSpec{prot: pmem2.ProtRead}, readOnly)
	m := mapMade(t, mapSpec{sharing: pmem2.Private}, src)
	m.Bytes()[0] = 'x'
	mapFileHolds(t, fd, make([]byte, 1), 0, "the append-only file")
}

func mapNewOPath(t *T) {
	page := mapPage(t)
	o, err := t.Env.File(4 * page)
	t.suite(err, "file of %d bytes", 4*page)
	fd := t.Open(o, platform.OPath)
	src := t.Source(fd)
	r := t.Reservation(0, 8*page)
	for _, s := range []mapSpec{
		{prot: pmem2.ProtRead},
		{},
		{prot: pmem2.ProtRead, sharing: pmem2.Private},
		{sharing: pmem2.Private},
		{offset: page, length: page},
		{reservation: r, at: page},
		{reservation: r, sharing: pmem2.Private},
	} {
		mapRefused(t, "-EBADF", s, src)
	}
	t.Check(len(mapAreasOf(t, fd)) == 0, "NewMap fails and leaves the file mapped")
	mapUnreserved(t, r, "the reservation after failures")
	mapMade(t, mapSpec{}, t.Source(t.Open(o, platform.ORdwr)))
}

func mapNewClosed(t *T) {
	const want = "PMEM2_E_INVALID_FILE_HANDLE"
	page := mapPage(t)
	kept, content := mapPatternFile(t, page, 0)
	m := mapMade(t, mapSpec{}, t.Source(kept))
	fd := t.FileFD(4 * page)
	src := t.Source(fd)
	t.suite(t.Machine().Close(kept), "close")
	t.suite(t.Machine().Close(fd), "close")
	_, err := src.Size()
	t.Expect(want, err, "Size()")
	for _, s := range []mapSpec{
		{},
		{sharing: pmem2.Private},
		{prot: pmem2.ProtRead},
		{offset: 1, length: 1}, // before the checks of what is wanted
		{offset: 8 * page},
	} {
		mapRefused(t, want, s, src)
	}
	// A map doesn't need its descriptor.
	mapSame(t, m.Bytes(), content, "the map of a descriptor that was closed since")
	t.Must(m.Persist(m.Bytes()), "Persist(all of it)")
}

func mapNewSizeFails(t *T) {
	page := mapPage(t)
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
		_, err := src.Size()
		t.Expect(want, err, "Size()")
		mapRefused(t, want, mapSpec{}, src)
		mapRefused(t, want, mapSpec{offset: 1, length: 1}, src)
		t.Check(len(mapAreasOf(t, fd)) == 0, "NewMap fails and leaves the file mapped")
	}
}

func mapNewAlignmentUnreadable(t *T) {
	o, err := t.Env.DevDax(mapDeviceSize, mapDeviceAlign)
	t.suite(err, "device DAX of %d bytes", mapDeviceSize)
	fd := t.Open(o, platform.ORdwr)
	for _, errno := range []string{"EIO", "ENOENT", "EACCES"} {
		t.Lib = t.Inject(fmt.Sprintf(`(%s (And (Op read-attr) (PathMatch "*/align")))`, errno))
		src := t.Source(fd)
		_, err := src.Alignment()
		t.Expect("-"+errno, err, "Alignment()")
		mapRefused(t, "-"+errno, mapSpec{}, src)
		mapRefused(t, "-"+errno, mapSpec{offset: 1, length: 1, sharing: pmem2.Private}, src)
	}
	t.Check(len(mapAreasOf(t, fd)) == 0, "NewMap fails and leaves the device mapped")
}

func mapNewDirectory(t *T) {
	const want = "PMEM2_E_INVALID_FILE_TYPE"
	page := mapPage(t)
	o, err := t.Env.File(4 * page)
	t.suite(err, "file of %d bytes", 4*page)
	fd, file := t.Open(o, platform.ORdwr), t.Open(o, platform.ORdwr)
	directory, err := t.Env.Directory()
	t.suite(err, "directory")
	dir := t.Open(directory, platform.ORdonly)
	src := t.Source(fd)

	t.suite(dup2(dir, fd), "dup2 of a directory over the descriptor")
	t.Cleanup(func() { _ = dup2(file, fd) })
	_, err = src.Size()
	t.Expect(want, err, "Size()")
	for _, s := range []mapSpec{
		{prot: pmem2.ProtRead},
		{},
		{prot: pmem2.ProtRead, sharing: pmem2.Private},
		{prot: pmem2.ProtRead, length: page},
		{offset: 1, length: 1}, // before the checks of what is wanted
	} {
		mapRefused(t, want, s, src)
	}
	// It is the descriptor that counts: with the file back in its place it can be mapped.
	t.suite(dup2(file, fd), "dup2 of the file over the descriptor")
	t.Check(mapMade(t, mapSpec{}, src).Size() == 4*page, "the map hasn't the size of the file")
}

// mapNewMremapFails is about libraries that move a mapping into the reservation. One
// that doesn't has nothing that fails and must succeed.
func mapNewMremapFails(t *T) {
	page := mapPage(t)
	fd, content := mapPatternFile(t, 4*page, 0)
	for _, errno := range []string{"EOVERFLOW", "ENOMEM", "EINVAL"} {
		t.Lib = t.Inject(fmt.Sprintf("(%s (Op mremap))", errno))
		src := t.Source(fd)
		r := t.Reservation(0, 8*page)
		for _, s := range []mapSpec{{reservation: r}, {reservation: r, at: 4 * page}, {reservation: r, at: page, sharing: pmem2.Private}} {
			m, err := t.Lib.NewMap(s.config(t), src)
			if m != nil {
				t.Must(err, "NewMap(%v)", s)
				mapSame(t, m.Bytes(), content, "the map")
				mapDeleted(t, m)
				continue
			}
			t.Expect("-"+errno, err, "NewMap(%v)", s)
			t.Check(len(mapAreasOf(t, fd)) == 0, "NewMap fails and leaves the file mapped")
			mapUnreserved(t, r, "the reservation after a failure")
		}
	}
}
