package conformance

import (
	"pmemlab/pmem2"
	"pmemlab/pmem2/platform"
)

// mapNewReservationCases checks what pmem2_map_new(3) says of reservations.
func mapNewReservationCases() []Case {
	needs := []Need{NeedReservation}
	return []Case{
		{
			Name:  "pmem2_map_new/place in a reservation",
			Rows:  []string{"pmem2_map_new/optional-place-in-reservation"},
			Needs: needs,
			Run:   mapNewInReservation,
		},
		{
			Name:  "pmem2_map_new/exceeds the reservation",
			Rows:  []string{"pmem2_map_new/PMEM2_E_ADDRESS_UNALIGNED#3", "pmem2_map_new/PMEM2_E_LENGTH_OUT_OF_RANGE#1"},
			Needs: needs,
			Run:   mapNewExceedsReservation,
		},
		{
			Name:  "pmem2_map_new/wraps behind the reservation",
			Rows:  []string{"pmem2_map_new/0#1"},
			Needs: needs,
			Run:   mapNewWrapsReservation,
		},
		{
			Name:  "pmem2_map_new/reservation offset unaligned",
			Rows:  []string{"pmem2_map_new/PMEM2_E_OFFSET_UNALIGNED#3"},
			Needs: needs,
			Run:   mapNewReservationOffset,
		},
		{
			Name:  "pmem2_map_new/range of the reservation taken",
			Rows:  []string{"pmem2_map_new/PMEM2_E_MAPPING_EXISTS#1", "pmem2_map_new/PMEM2_E_MAPPING_EXISTS#2"},
			Needs: needs,
			Run:   mapNewReservationTaken,
		},
		{
			Name: "pmem2_map_new/range of the reservation taken by an existing mapping",
			Rows: []string{
				"pmem2_map_new/-EEXIST#1", "pmem2_map_new/PMEM2_E_MAPPING_EXISTS#1", "pmem2_map_new/PMEM2_E_MAPPING_EXISTS#2",
			},
			Needs: needs,
			Run:   mapNewReservationWrapped,
		},
		{
			Name:  "pmem2_map_new/existing mapping behind the last byte",
			Rows:  []string{"pmem2_map_new/0#2"},
			Needs: needs,
			Run:   mapNewWrappedInLastPage,
		},
	}
}

func mapNewInReservation(t *T) {
	page := t.Page()
	const size = 4 << 20
	r := t.Reservation(0, size)
	base := r.Address()
	fd, content := t.PatternFile(16*page, 0)
	odd, oddContent := t.PatternFile(page+1, 0x5a)
	checkEmpty(t, r)
	for _, c := range []struct {
		spec    mapSpec
		src     Source
		content []byte // nil: not compared
		n       uint64
	}{
		{mapSpec{at: 1 << 20}, t.Source(fd), content, 16 * page},
		{mapSpec{at: 0}, t.Source(fd), content, 16 * page},
		{mapSpec{at: page, offset: 3 * page, length: page}, t.Source(fd), content[3*page : 4*page], page},
		{mapSpec{at: size - page, length: page}, t.Source(fd), content[:page], page},
		{mapSpec{at: size - 16*page}, t.Source(fd), content, 16 * page},
		{mapSpec{at: 2 << 20, sharing: pmem2.Private}, t.Source(fd), content, 16 * page},
		{mapSpec{at: page}, t.Source(odd), oddContent, 2 * page}, // whole pages are taken
		{mapSpec{at: 5 * page}, t.AnonSource(3 * page), make([]byte, 3*page), 3 * page},
	} {
		c.spec.in = r
		m := t.MapAs(c.spec, c.src)
		want := base + uintptr(c.spec.at)
		t.Check(m.Address() == want, "the map is at %#x, want %#x in the reservation", m.Address(), want)
		checkMapped(t, want, c.n, "rw")
		checkBytes(t, m.Bytes(), c.content, "the map in the reservation")
		if c.spec.at > 0 {
			checkBlank(t, base, c.spec.at)
		}
		if end := c.spec.at + c.n; end < size {
			checkBlank(t, base+uintptr(end), size-end)
		}
		b := m.Bytes()
		b[0], b[len(b)-1] = ^b[0], ^b[len(b)-1]
		t.Must(m.Persist(b[:1]), "Persist(the first byte)")
		t.Must(m.Persist(b[len(b)-1:]), "Persist(the last byte)")
		b[0], b[len(b)-1] = ^b[0], ^b[len(b)-1]
		t.Delete(m)
		checkEmpty(t, r)
	}
	checkFile(t, fd, 0, content, "the file in the end")

	// Without a reservation in the config the kernel chooses, and doesn't choose there.
	m := t.MapAs(mapSpec{}, t.Source(fd))
	t.Check(m.Address() < base || m.Address()-base >= size, "a map lies in the reservation that its config doesn't name")
	checkEmpty(t, r)
}

// mapNeither expects NewMap to fail for a file, shared and private, and for anonymous
// memory.
func mapNeither(t *T, want string, s mapSpec, file, anon Source) {
	t.NoMapAs(want, s, file)
	t.NoMapAs(want, s, anon)
	s.sharing = pmem2.Private
	t.NoMapAs(want, s, file)
}

func mapNewExceedsReservation(t *T) {
	const (
		want = "PMEM2_E_ADDRESS_UNALIGNED"
		size = 2 << 20
	)
	page := t.Page()
	r := t.Reservation(0, size)
	fd := t.FileFD(2 * size)
	src, anon := t.Source(fd), t.AnonSource(2*size)
	for _, s := range []mapSpec{
		{},
		{length: size + page},
		{at: page, length: size},
		{at: size / 2, length: size/2 + page},
		{at: size - page, length: 2 * page},
		{at: size - page},
		{at: size, length: page},
		{at: size + page, length: page},
		{at: 2 * size, length: page},
		{at: 1 << 62, length: page},
		{at: 1 << 63, length: page},
		{at: 1<<63 - page, length: 2 * page},
		{offset: size - page},
	} {
		s.in = r
		mapNeither(t, want, s, src, anon)
	}
	checkUnmapped(t, fd)
	checkEmpty(t, r)
	for _, s := range []mapSpec{{length: size}, {offset: size}, {at: size - page, length: page}, {at: page, length: size - page}} {
		s.in = r
		t.Delete(t.MapAs(s, src))
	}

	// A file takes whole pages of the reservation.
	one, two := t.Reservation(0, page), t.Reservation(0, 2*page)
	odd := t.FileSource(page + 1)
	t.NoMapAs(want, mapSpec{in: one}, odd)
	t.NoMapAs(want, mapSpec{in: two, at: page}, odd)
	t.MapAs(mapSpec{in: two}, odd)
	t.MapAs(mapSpec{in: one}, t.FileSource(1))
}

// mapReservationAbove is a reservation of n bytes with the case's own memory right
// below it: n bytes of the given content.
func mapReservationAbove(t *T, content []byte) (r Reservation, below []byte) {
	n := uint64(len(content))
	for range 10 {
		addr := t.Mmap(freeSpace(t, 2*n), n, readWrite, placeholderFlags|platform.MapFixedNoreplace, -1)
		r, err := t.Lib.NewVMReservation(addr+uintptr(n), n)
		if t.Lib.Outcome(err) == "PMEM2_E_MAPPING_EXISTS" {
			continue // another goroutine was given the place
		}
		t.Must(err, "NewVMReservation(%#x, %#x)", addr+uintptr(n), n)
		t.deleteAtEnd(r)
		below = platform.Bytes(addr, n)
		copy(below, content)
		return r, below
	}
	t.Brokenf("no place for a reservation right above other memory")
	return nil, nil
}

func mapNewWrapsReservation(t *T) {
	const (
		want = "PMEM2_E_ADDRESS_UNALIGNED"
		size = 2 << 20
	)
	page := t.Page()
	content := pattern(size, 0x33)
	r, below := mapReservationAbove(t, content)
	fd := t.FileFD(2 * size)
	src, anon := t.Source(fd), t.AnonSource(2*size)
	for _, s := range []mapSpec{
		{at: -page, length: 2 * page}, // the row's own where a page has 4096 bytes
		{at: -page, length: page},     // 2^64 exactly
		{at: -page, length: size},
		{at: -page, length: size + page},
		{at: -page},
		{at: -(2 * page), length: page},
		{at: 1<<64 - size, length: size},
		{at: 1<<64 - size, length: size + page},
		{at: 1<<64 - size},
		{at: 1<<64 - size/2, length: size},
	} {
		s.in = r
		mapNeither(t, want, s, src, anon)
	}
	checkBytes(t, below, content, "the memory below the reservation")
	checkUnmapped(t, fd)
	checkEmpty(t, r)
}

func mapNewReservationOffset(t *T) {
	const (
		want = "PMEM2_E_OFFSET_UNALIGNED"
		size = 2 << 20
	)
	page := t.Page()
	r := t.Reservation(0, size)
	fd := t.FileFD(size / 2)
	src, anon := t.Source(fd), t.AnonSource(size/2)
	for _, at := range []uint64{100, 1, 512, page / 2, page - 1, page + 1, size/2 - 1} {
		for _, s := range []mapSpec{{}, {length: page}, {sharing: pmem2.Private}, {offset: page, length: page}} {
			s.in, s.at = r, at
			t.NoMapAs(want, s, src)
			t.NoMapAs(want, s, anon)
		}
	}
	checkUnmapped(t, fd)
	checkEmpty(t, r)
	for _, at := range []uint64{0, page, 2 * page, size / 2} {
		t.Delete(t.MapAs(mapSpec{in: r, at: at}, src))
	}
}

func mapNewReservationTaken(t *T) {
	const (
		want = "PMEM2_E_MAPPING_EXISTS"
		size = 2 << 20
		mid  = size / 4 // 512 KiB
	)
	page := t.Page()
	r := t.Reservation(0, size)
	firstFD, content := t.PatternFile(size/2, 0)
	otherFD := t.FileFD(size)
	other, anon := t.Source(otherFD), t.AnonSource(size)
	// at first at the start of the reservation, then amid it
	for _, at := range []uint64{0, mid} {
		first := t.MapAs(mapSpec{in: r, at: at}, t.Source(firstFD))
		end := at + size/2
		specs := []mapSpec{
			{at: at, length: size / 2},         // the same
			{at: at + mid, length: size / 2},   // its second half, and more
			{at: at, length: page},             // its first page
			{at: at + page, length: page},      // inside
			{at: end - page, length: page},     // its last page
			{at: end - page, length: 2 * page}, // its last page and the next
			{at: at, length: size - at},        // all of it, and more
			{at: 0},                            // the whole reservation
		}
		if at > 0 {
			specs = append(specs,
				mapSpec{at: at - page, length: 2 * page}, // its first page and the one before
				mapSpec{at: 0, length: at + page},
				mapSpec{at: at - page, length: size/2 + 2*page},
			)
		}
		for _, s := range specs {
			s.in = r
			mapNeither(t, want, s, other, anon)
		}
		t.NoMapAs(want, mapSpec{in: r, at: at}, t.Source(firstFD)) // its own file
		checkUnmapped(t, otherFD)

		// The map that was there is as it was.
		t.Check(first.Address() == r.Address()+uintptr(at), "the map has moved to %#x", first.Address())
		checkBytes(t, first.Bytes(), content, "the map that was there before")
		first.Bytes()[0], first.Bytes()[size/2-1] = 1, 2
		content[0], content[size/2-1] = 1, 2
		checkFile(t, firstFD, 0, content, "the file of the map that was there before")
		checkBlank(t, r.Address()+uintptr(end), size-end)

		// Next to it there is room, and once it is gone where it was.
		next := t.MapAs(mapSpec{in: r, at: end, length: page}, other)
		t.NoMapAs(want, mapSpec{in: r, at: end, length: page}, other)
		t.Delete(next)
		if at > 0 {
			t.Delete(t.MapAs(mapSpec{in: r, at: at - page, length: page}, other))
		}
		t.Delete(first)
		t.Delete(t.MapAs(mapSpec{in: r}, other))
	}
	checkEmpty(t, r)
}

func mapNewReservationWrapped(t *T) {
	const (
		want = "PMEM2_E_MAPPING_EXISTS"
		size = 2 << 20
	)
	page := t.Page()
	r := t.Reservation(0, size)
	base := r.Address()
	fd := t.FileFD(size)
	src := t.Source(fd)
	for _, c := range []struct{ at, n uint64 }{
		{0, size},         // all of it
		{0, size / 2},     // the lower half
		{size / 2, page},  // one page amid
		{size/2 + 100, 1}, // one byte amid
		{size - 1, 1},     // the last byte
		{0, 1},            // the first one
	} {
		wrapped := t.Wrap(t.FileSource(page), base+uintptr(c.at), c.n, pmem2.GranularityPage)
		first := c.at &^ (page - 1) // the page of the first byte
		for _, s := range []mapSpec{{}, {at: first, length: page}, {at: first}} {
			if s.at != 0 && s.length == 0 {
				s.length = size - s.at
			}
			s.in = r
			t.NoMapAs(want, s, src)
			s.sharing = pmem2.Private
			t.NoMapAs(want, s, src)
		}
		checkUnmapped(t, fd)
		checkBlank(t, base, size)
		t.Check(wrapped.Address() == base+uintptr(c.at) && wrapped.Size() == c.n, "the existing map has become %d bytes at %#x",
			wrapped.Size(), wrapped.Address())
		// Beside it there is room.
		if end := (c.at + c.n + page - 1) &^ (page - 1); end < size {
			t.Delete(t.MapAs(mapSpec{in: r, at: end, length: page}, src))
		}
		t.Delete(wrapped)
		t.Delete(t.MapAs(mapSpec{in: r}, src))
	}
}

// mapNewWrappedInLastPage has an existing mapping behind the last byte of the file, in the
// page that this byte is in.
func mapNewWrappedInLastPage(t *T) {
	const want = "PMEM2_E_MAPPING_EXISTS"
	page := t.Page()
	size := 8 * page
	r := t.Reservation(0, size)
	base := r.Address()
	odd, content := t.PatternFile(page+100, 0)
	tiny := t.FileFD(1)
	oddSource, tinySource, own := t.Source(odd), t.Source(tiny), t.FileSource(page)
	for _, c := range []struct{ at, n uint64 }{
		{page + 100, 1},          // the first byte behind it
		{2*page - 1, 1},          // the last of the page
		{page + 100, page - 100}, // all of the rest
		{2*page - 1, 2},          // and into the next page
	} {
		wrapped := t.Wrap(own, base+uintptr(c.at), c.n, pmem2.GranularityPage)
		for _, s := range []mapSpec{{in: r}, {in: r, at: page, offset: page}, {in: r, sharing: pmem2.Private}} {
			t.NoMapAs(want, s, oddSource)
			checkUnmapped(t, odd)
		}
		t.NoMapAs(want, mapSpec{in: r, at: page}, tinySource)
		checkUnmapped(t, tiny)
		checkBlank(t, base, size)
		t.Check(wrapped.Address() == base+uintptr(c.at) && wrapped.Size() == c.n, "the existing map has become %d bytes at %#x",
			wrapped.Size(), wrapped.Address())
		t.Delete(wrapped)
	}
	// From the next page on it isn't in the way.
	t.Wrap(own, base+uintptr(2*page), 1, pmem2.GranularityPage)
	checkBytes(t, t.MapAs(mapSpec{in: r}, oddSource).Bytes(), content, "the map beside an existing mapping")
}
