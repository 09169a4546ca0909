package conformance

import (
	"fmt"
	"math"
	"strings"

	"pmemlab/pmem2"
	"pmemlab/pmem2/platform"
)

// mapDeleteCases checks pmem2_map_delete(3).
func mapDeleteCases() []Case {
	return []Case{
		{
			Name: "pmem2_map_delete/removes the mapping",
			Rows: []string{"pmem2_map_delete/removes-mapping", "pmem2_map_delete/zero-on-success"},
			Run:  mapDeleteRemoves,
		},
		{
			Name:  "pmem2_map_delete/puts the reservation's placeholder back",
			Rows:  []string{"pmem2_map_delete/removes-mapping", "pmem2_map_delete/zero-on-success"},
			Needs: []Need{NeedReservation},
			Run:   mapDeleteInReservation,
		},
		{
			Name:  "pmem2_map_delete/releases the object",
			Rows:  []string{"pmem2_map_delete/releases-object-and-nulls"},
			Needs: []Need{NeedReservation},
			Run:   mapDeleteReleases,
		},
		{
			Name:  "pmem2_map_delete/deleted twice",
			Rows:  []string{"pmem2_map_delete/PMEM2_E_MAPPING_NOT_FOUND#1", "pmem2_map_delete/zero-on-success"},
			Needs: []Need{NeedReservation},
			Run:   mapDeleteTwice,
		},
		{
			Name: "pmem2_map_delete/munmap fails",
			Rows: []string{
				"pmem2_map_delete/-EINVAL#1", "pmem2_map_delete/failure-changes-nothing", "pmem2_map_delete/zero-on-success",
			},
			Needs: []Need{NeedFaultInjection},
			Run:   mapDeleteMunmapFails,
		},
		{
			Name:  "pmem2_map_delete/placeholder can't be mapped",
			Rows:  []string{"pmem2_map_delete/-ENOMEM#1", "pmem2_map_delete/failure-changes-nothing"},
			Needs: []Need{NeedReservation, NeedFaultInjection},
			Run:   mapDeletePlaceholderFails,
		},
		{
			Name:  "pmem2_map_delete/placeholder can't be moved",
			Rows:  []string{"pmem2_map_delete/failure-changes-nothing"},
			Needs: []Need{NeedReservation, NeedFaultInjection},
			Run:   mapDeleteMremapFails,
		},
		{
			Name: "pmem2_map_delete/keeps the caller's own mapping",
			Rows: []string{"pmem2_map_delete/keeps-user-mapping", "pmem2_map_from_existing/delete-only-frees-object"},
			Run:  mapDeleteKeepsOwn,
		},
		{
			Name: "pmem2_map_delete/many of the caller's own mapping",
			Rows: []string{"pmem2_map_delete/(abort)#1"},
			Run:  mapDeleteMany,
		},
	}
}

func mapDeleteRemoves(t *T) {
	page := t.Page()
	fd, content := t.PatternFile(16*page, 0)
	src := t.Source(fd)
	witness := t.MapAs(mapSpec{}, src)
	for _, s := range []mapSpec{
		{},
		{length: page},
		{offset: 15 * page},
		{offset: page, length: 3 * page},
		{sharing: pmem2.Private},
		{prot: pmem2.ProtRead},
	} {
		m := t.MapAs(s, src)
		addr, n := m.Address(), m.Size()
		if s.prot == 0 {
			m.Bytes()[0] ^= 0xff
			t.Must(m.Persist(m.Bytes()[:1]), "Persist(1 byte)")
		}
		if s.prot == 0 && s.sharing == pmem2.Shared {
			content[s.offset] ^= 0xff
		}
		t.Delete(m)
		checkGone(t, fd, addr, n)
		// The data is in the file, and another map of it is left alone.
		checkFile(t, fd, 0, content, "the file after a map was deleted")
		checkBytes(t, witness.Bytes(), content, "another map of the file")
	}
	addr := witness.Address()
	t.Delete(witness)
	checkGone(t, fd, addr, 16*page)
	checkUnmapped(t, fd)

	// An unaligned file is unmapped to the end of its last page.
	odd := t.FileFD(page + 1)
	t.Delete(t.MapAs(mapSpec{}, t.Source(odd)))
	checkUnmapped(t, odd)

	// Anonymous memory is shared with nobody, so that nothing of it may be seen again.
	src = t.AnonSource(16 * page)
	m := t.MapAs(mapSpec{}, src)
	addr = m.Address()
	copy(m.Bytes(), pattern(16*page, 0))
	t.Delete(m)
	if t.Faults(addr, false) {
		t.Note("reading the deleted anonymous map", "a memory fault")
	}
	checkBytes(t, t.MapAs(mapSpec{}, src).Bytes(), make([]byte, 16*page), "a new anonymous map")
}

func mapDeleteInReservation(t *T) {
	page := t.Page()
	r := t.Reservation(0, 32*page)
	base := r.Address()
	fd, content := t.PatternFile(8*page, 0)
	src := t.Source(fd)
	place := func(at uint64) Map { return t.MapAs(mapSpec{in: r, at: at}, src) }
	for range 3 { // the place can be mapped again
		before, amid, behind := place(0), place(8*page), place(16*page)
		t.Delete(amid)
		checkBlank(t, base+uintptr(8*page), 8*page)
		checkBytes(t, before.Bytes(), content, "the map before it")
		checkBytes(t, behind.Bytes(), content, "the map behind it")
		checkNoneFound(t, r, 8*page, 8*page)
		t.Expect("PMEM2_E_VM_RESERVATION_NOT_EMPTY", r.Delete(), "reservation.Delete()")

		// Another may lie there now, across its borders only when they are free.
		t.NoMapAs("PMEM2_E_MAPPING_EXISTS", mapSpec{in: r, at: 7 * page, length: 2 * page}, src)
		t.Delete(place(8 * page))
		t.Delete(before)
		t.Delete(behind)
		checkEmpty(t, r)
	}
	for _, src := range []Source{t.FileSource(page + 1), t.AnonSource(page + 1)} {
		t.Delete(t.MapAs(mapSpec{in: r, at: page}, src))
		checkEmpty(t, r)
	}
	checkUnmapped(t, fd)
	t.Delete(r)
}

// checkDeleted expects a map to be as one that has been deleted: no object.
func checkDeleted(t *T, m Map) {
	t.Check(m.Address() == 0, "Address() of a deleted map is %#x, want 0", m.Address())
	t.Check(m.Size() == 0, "Size() of a deleted map is %d, want 0", m.Size())
	t.Check(len(m.Bytes()) == 0, "Bytes() of a deleted map has %d bytes", len(m.Bytes()))
	b, source := []byte("mine"), []byte("more")
	for _, call := range []struct {
		name string
		f    func() error
	}{
		{"Persist", func() error { return m.Persist(b) }},
		{"Flush", func() error { return m.Flush(b) }},
		{"Drain", m.Drain},
		{"Memmove", func() error { return m.Memmove(b, source, 0) }},
		{"Memcpy", func() error { return m.Memcpy(b, source, 0) }},
		{"Memset", func() error { return m.Memset(b, 'x', 0) }},
	} {
		err := call.f()
		t.Note(call.name+" of a deleted map", "%s", t.Lib.Outcome(err))
		t.Check(err != nil, "%s of a deleted map succeeds", call.name)
		t.Check(string(b) == "mine", "%s of a deleted map stores", call.name)
	}
}

func mapDeleteReleases(t *T) {
	page := t.Page()
	fd := t.FileFD(4 * page)
	src := t.Source(fd)
	cfg := mapSpec{}.config(t)
	r := t.Reservation(0, 8*page)
	first, second := t.Map(cfg, src), t.Map(cfg, src)
	reserved := t.MapAs(mapSpec{in: r}, src)
	wrapped := t.Wrap(src, t.OwnMapping(fd, page), page, pmem2.GranularityPage)
	for _, m := range []Map{first, reserved, wrapped} {
		t.Delete(m)
		checkDeleted(t, m)
	}
	// Only the map is gone: not the others, the source or the config.
	t.Check(second.Address() != 0 && second.Size() == 4*page, "the other map is %d bytes at %#x", second.Size(), second.Address())
	second.Bytes()[0] = 'x'
	t.Must(second.Persist(second.Bytes()[:1]), "Persist(1 byte) of the other map")
	t.Delete(t.Map(cfg, src))
}

func mapDeleteTwice(t *T) {
	const want = "PMEM2_E_MAPPING_NOT_FOUND"
	page := t.Page()
	fd, content := t.PatternFile(4*page, 0)
	src := t.Source(fd)
	m := t.MapAs(mapSpec{}, src)
	t.Delete(m)
	for range 3 {
		t.Expect(want, m.Delete(), "Delete() of a deleted map")
	}

	// Nor does it touch what has taken the place since.
	r := t.Reservation(0, 8*page)
	old := t.MapAs(mapSpec{in: r, at: page}, src)
	t.Delete(old)
	t.Expect(want, old.Delete(), "Delete() of a deleted map in a reservation")
	checkEmpty(t, r)
	heir := t.MapAs(mapSpec{in: r, at: page}, src)
	t.Expect(want, old.Delete(), "Delete() of a deleted map whose place is taken")
	checkBytes(t, heir.Bytes(), content, "the map that has taken the place")
	checkMapped(t, heir.Address(), 4*page, "rw-s")
	found, err := r.MapFindFirst()
	t.Must(err, "MapFindFirst()")
	checkSame(t, found, heir, "MapFindFirst")
	t.Delete(heir)

	own := t.OwnMapping(fd, 4*page)
	old = t.Wrap(src, own, 4*page, pmem2.GranularityPage)
	t.Delete(old)
	t.Expect(want, old.Delete(), "Delete() of a deleted map of the caller's own memory")
	heir = t.Wrap(src, own, 4*page, pmem2.GranularityPage)
	t.Expect(want, old.Delete(), "Delete() of a deleted map whose memory is wrapped again")
	t.NoWrap("PMEM2_E_MAPPING_EXISTS", src, own, page, pmem2.GranularityPage) // still registered
	t.Delete(heir)
	checkBytes(t, platform.Bytes(own, 4*page), content, "the caller's own memory")
}

// mapFailingDelete makes a map whose Delete fails, at the n-th of the calls that the
// predicate names and as many more of them as a library may try instead, for the first n
// at which that is so. It returns nil if no such call is part of Delete. The fault is
// over when it returns.
func mapFailingDelete(t *T, fd int, errno, predicate string, more int, reserved bool) (Map, Reservation) {
	page := t.Page()
	for n := range 10 {
		t.Lib = t.Inject(fmt.Sprintf("(%s (And %s (FromIndex %d) (Not (FromIndex %d))))", errno, predicate, n, 1+more))
		src, s := t.Source(fd), mapSpec{offset: page, length: 2 * page}
		if reserved {
			r, err := t.Lib.NewVMReservation(0, 8*page)
			if err != nil {
				continue // the n-th call is one of the reservation's
			}
			t.deleteAtEnd(r)
			s.in, s.at = r, 3*page
		}
		m, err := t.Lib.NewMap(s.config(t), src)
		if err != nil {
			continue // or one of NewMap's
		}
		t.deleteAtEnd(m)
		addr, g := m.Address(), m.StoreGranularity()
		if err = m.Delete(); err == nil {
			return nil, s.in
		}
		t.Expect("-"+errno, err, "Delete()")
		t.Check(m.Address() == addr && m.Size() == 2*page && m.StoreGranularity() == g,
			"a failing Delete leaves a map of %d bytes at %#x with granularity %v; it had %d at %#x with %v",
			m.Size(), m.Address(), m.StoreGranularity(), 2*page, addr, g)
		return m, s.in
	}
	t.Brokenf("the first 10 calls of %s are none of Delete's", predicate)
	return nil, nil
}

// mapStillUsable expects the map of mapFailingDelete to be as good as before, and to
// be deleted by another call.
func mapStillUsable(t *T, fd int, content []byte, m Map, r Reservation) {
	page := t.Page()
	checkMapped(t, m.Address(), 2*page, "rw-s")
	checkMappedOnce(t, fd)
	checkBytes(t, m.Bytes(), content[page:3*page], "the map that couldn't be deleted")
	m.Bytes()[0] ^= 0xff
	content[page] ^= 0xff
	t.Must(m.Persist(m.Bytes()[:1]), "Persist(1 byte)")
	t.Must(m.Memset(m.Bytes()[page:page+100], 7, 0), "Memset(100 bytes)")
	for i := range 100 {
		content[2*page+uint64(i)] = 7
	}
	checkFile(t, fd, 0, content, "the file of the map that couldn't be deleted")
	// It is still registered, so that nobody else gets the place.
	src := t.Source(fd)
	t.NoWrap("PMEM2_E_MAPPING_EXISTS", src, m.Address(), 1, pmem2.GranularityPage)
	addr := m.Address()
	if r == nil {
		t.Delete(m)
		checkGone(t, fd, addr, 2*page)
		checkUnmapped(t, fd)
		return
	}
	t.NoMapAs("PMEM2_E_MAPPING_EXISTS", mapSpec{in: r, at: 4 * page, length: page}, src)
	checkFound(t, r, 3*page, 0, m)
	checkBlank(t, r.Address(), 3*page)
	checkBlank(t, r.Address()+uintptr(5*page), 3*page)
	t.Delete(m)
	checkEmpty(t, r)
	t.Delete(r)
}

func mapDeleteMunmapFails(t *T) {
	fd, content := t.PatternFile(4*t.Page(), 0)
	for _, errno := range []string{"EINVAL", "ENOMEM"} {
		m, _ := mapFailingDelete(t, fd, errno, "(Op munmap)", 0, false)
		t.Check(m != nil, "Delete succeeds though munmap answers %s", errno)
		mapStillUsable(t, fd, content, m, nil)
		t.Expect("PMEM2_E_MAPPING_NOT_FOUND", m.Delete(), "Delete() of a deleted map")
	}
}

func mapDeletePlaceholderFails(t *T) {
	fd, content := t.PatternFile(4*t.Page(), 0)
	for errno, more := range map[string]int{"ENOMEM": 3, "EAGAIN": 0} { // without memory another way may be tried
		if t.foreign() {
			more = 0 // and isn't
		}
		m, r := mapFailingDelete(t, fd, errno, "(Anonymous)", more, true)
		t.Check(m != nil, "Delete succeeds though mmap of the placeholder answers %s", errno)
		mapStillUsable(t, fd, content, m, r)
	}
}

// mapDeleteMremapFails is about libraries that move the placeholder. For another
// there is nothing that could fail.
func mapDeleteMremapFails(t *T) {
	fd, content := t.PatternFile(4*t.Page(), 0)
	for _, errno := range []string{"ENOMEM", "EINVAL", "EFAULT"} {
		m, r := mapFailingDelete(t, fd, errno, "(Op mremap)", 0, true)
		if m == nil {
			checkEmpty(t, r)
			continue
		}
		mapStillUsable(t, fd, content, m, r)
	}
}

func mapDeleteKeepsOwn(t *T) {
	page := t.Page()
	size := 4 * page
	fd, content := t.PatternFile(size, 0)
	src := t.Source(fd)
	own := t.OwnMapping(fd, size)
	memory := platform.Bytes(own, size)
	for _, c := range []struct{ at, n uint64 }{{0, size}, {page, page}, {0, page}, {100, 1}, {size - 1, 1}} {
		for _, g := range granularities {
			m := t.Wrap(src, own+uintptr(c.at), c.n, g)
			t.Delete(m)
			checkDeleted(t, m)
			checkMapped(t, own, size, "rw-s")
			checkBytes(t, memory, content, "the caller's own mapping")
			memory[c.at] ^= 0xff
			content[c.at] ^= 0xff
			checkFile(t, fd, 0, content, "the file of the caller's own mapping")
		}
	}
	// The object only: neither the descriptor nor the source goes with it.
	t.Delete(t.MapAs(mapSpec{}, src))
	t.Munmap(own, size)
	checkUnmapped(t, fd)

	// Memory that isn't mapped at all can be deleted too: nothing is unmapped.
	m := t.Wrap(src, own, size, pmem2.GranularityPage)
	t.Delete(m)
}

// mapDeleteMany deletes more maps of the caller's own mapping than a C program has keys for
// what belongs to a thread: 1024. Each kind of call is made with an error before and after.
func mapDeleteMany(t *T) {
	const times = 1100
	page := t.Page()
	fd, content := t.PatternFile(4*page, 0)
	src, own := t.Source(fd), t.OwnMapping(fd, 4*page)
	cfg := t.Config()
	fails := func(when string) {
		err := cfg.SetOffset(1 << 63)
		t.Expect("PMEM2_E_OFFSET_OUT_OF_RANGE", err, "SetOffset(2^63), %s", when)
		t.Note("errormsg", "%s", err)
		t.Check(strings.TrimSpace(err.Error()) != "", "%s an error has no text", when)
	}
	fails("before")
	for i := range times {
		m, err := t.Lib.MapFromExisting(src, own, 4*page, pmem2.GranularityPage)
		t.mustQuietly(err, "MapFromExisting(%#x, %#x, PAGE), for the time %d", own, 4*page, i+1)
		t.mustQuietly(m.Delete(), "Delete(), for the time %d", i+1)
	}
	t.Note("MapFromExisting() and Delete()", "0, %d times", times)
	fails("after as many maps of the caller's own")

	// Other maps aren't any worse for it.
	for range 2 {
		m := t.Map(cfg, src)
		checkBytes(t, m.Bytes(), content, "the map")
		t.Must(m.Persist(m.Bytes()), "Persist(all of it)")
		t.Delete(m)
		fails("after another map")
	}
	t.NoWrap("PMEM2_E_LENGTH_OUT_OF_RANGE", src, own, math.MaxUint64, pmem2.GranularityPage)
	t.Delete(t.Wrap(src, own, 4*page, pmem2.GranularityPage))
	fails("in the end")
}
