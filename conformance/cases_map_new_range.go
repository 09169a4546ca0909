package conformance

import (
	"math"

	"pmemlab/pmem2"
	"pmemlab/pmem2/platform"
)

// mapNewRangeCases checks which offsets and lengths pmem2_map_new(3) takes of a
// file or of anonymous memory.
func mapNewRangeCases() []Case {
	return []Case{
		{
			Name: "pmem2_map_new/range overflows",
			Rows: []string{"pmem2_map_new/PMEM2_E_MAP_RANGE#1"},
			Run:  mapNewRangeOverflows,
		},
		{
			Name: "pmem2_map_new/range past the end",
			Rows: []string{"pmem2_map_new/PMEM2_E_MAP_RANGE#2"},
			Run:  mapNewRangePastEnd,
		},
		{
			Name: "pmem2_map_new/range empty at the end",
			Rows: []string{"pmem2_map_new/-EINVAL#1"},
			Run:  mapNewRangeEmpty,
		},
		{
			Name: "pmem2_map_new/source empty",
			Rows: []string{"pmem2_map_new/PMEM2_E_SOURCE_EMPTY#1"},
			Run:  mapNewSourceEmpty,
		},
		{
			Name: "pmem2_map_new/offset unaligned",
			Rows: []string{"pmem2_map_new/PMEM2_E_OFFSET_UNALIGNED#1"},
			Run:  mapNewOffsetUnaligned,
		},
		{
			Name: "pmem2_map_new/length unaligned",
			Rows: []string{"pmem2_map_new/PMEM2_E_LENGTH_UNALIGNED#1"},
			Run:  mapNewLengthUnaligned,
		},
	}
}

func mapNewRangeOverflows(t *T) {
	const want = "PMEM2_E_MAP_RANGE"
	page := t.Page()
	fd := t.FileFD(4 << 20)
	src := t.Source(fd)
	top := uint64(math.MaxInt64+1) - page // the highest offset that is one
	for _, s := range []mapSpec{
		{offset: top, length: -page},             // the row's own where a page has 4096 bytes
		{offset: page, length: -page},            // 2^64: wraps to 0
		{offset: 2 * page, length: -page},        // wraps to one page, which the file has
		{offset: page, length: -(2 * page)},      // 2^64-page: just doesn't wrap
		{offset: 2 << 20, length: 1<<64 - 2<<20}, // 2^64 again, from amid the file
		{offset: 4 << 20, length: 1<<64 - 4<<20},
		{offset: top, length: 1<<63 + page},
		{offset: top, length: 1 << 63},
		{offset: 0, length: -page},
		{offset: 0, length: 1 << 63},
	} {
		t.NoMapAs(want, s, src)
		s.sharing = pmem2.Private
		t.NoMapAs(want, s, src)
	}
	// An anonymous source has no offset, so that only a length can be too much.
	t.NoMapAs(want, mapSpec{length: -page}, t.AnonSource(4<<20))
	checkUnmapped(t, fd)
}

func mapNewRangePastEnd(t *T) {
	const (
		want = "PMEM2_E_MAP_RANGE"
		size = 4 << 20
	)
	page := t.Page()
	fd, content := t.PatternFile(size, 0)
	src := t.Source(fd)
	for _, s := range []mapSpec{
		{offset: 2 << 20, length: 4 << 20},
		{offset: 8 << 20},
		{offset: size + page},
		{offset: size, length: page},
		{offset: size - page, length: 2 * page},
		{offset: page, length: size},
		{length: size + page},
		{offset: math.MaxInt64 + 1 - page},
		{offset: math.MaxInt64 + 1 - page, length: page},
	} {
		t.NoMapAs(want, s, src)
	}
	checkUnmapped(t, fd)
	// What ends exactly at the end is mapped.
	for _, s := range []mapSpec{
		{length: size},
		{offset: 2 << 20, length: 2 << 20},
		{offset: size - page, length: page},
		{offset: size - page},
	} {
		m := t.MapAs(s, src)
		checkBytes(t, m.Bytes(), content[s.offset:], "the map up to the end")
		t.Delete(m)
	}

	// The end is that of the file as it is when NewMap is called.
	t.Truncate(fd, size/2)
	t.NoMapAs(want, mapSpec{length: size}, src)
	t.Truncate(fd, 2*size)
	t.Delete(t.MapAs(mapSpec{offset: size, length: size}, src))

	// The end of an unaligned file isn't that of its last page.
	odd, content := t.PatternFile(page+904, 0)
	src = t.Source(odd)
	t.NoMapAs(want, mapSpec{length: 2 * page}, src)
	t.NoMapAs(want, mapSpec{offset: page, length: page}, src)
	t.NoMapAs(want, mapSpec{offset: 2 * page}, src)
	checkBytes(t, t.MapAs(mapSpec{length: page}, src).Bytes(), content[:page], "the first page of the unaligned file")
	checkBytes(t, t.MapAs(mapSpec{offset: page}, src).Bytes(), content[page:], "the rest of the unaligned file")

	anon := t.AnonSource(2 * page)
	t.NoMapAs(want, mapSpec{length: 3 * page}, anon)
	t.MapAs(mapSpec{length: 2 * page}, anon)
}

func mapNewRangeEmpty(t *T) {
	const want = "PMEM2_E_MAP_RANGE"
	page := t.Page()
	for _, size := range []uint64{4 << 20, page, 2 * page} {
		fd := t.FileFD(size)
		src := t.Source(fd)
		t.NoMapAs(want, mapSpec{offset: size}, src)
		t.NoMapAs(want, mapSpec{offset: size, sharing: pmem2.Private}, src)
		t.NoMapAs(want, mapSpec{offset: size, prot: pmem2.ProtRead}, src)
		checkUnmapped(t, fd)
		// One page earlier there is one.
		m := t.MapAs(mapSpec{offset: size - page}, src)
		t.Check(m.Size() == page, "the map of the last page has %d bytes, want %d", m.Size(), page)
	}
	// The offset of an anonymous source counts for nothing.
	m := t.MapAs(mapSpec{offset: 2 * page}, t.AnonSource(2*page))
	t.Check(m.Size() == 2*page, "the anonymous map has %d bytes, want %d", m.Size(), 2*page)
}

func mapNewSourceEmpty(t *T) {
	const want = "PMEM2_E_SOURCE_EMPTY"
	page := t.Page()
	fd := t.FileFD(0)
	src, anon := t.Source(fd), t.AnonSource(0)
	for _, s := range []mapSpec{
		{},
		{length: page},
		{offset: page},
		{offset: page, length: page},
		{length: 1}, // before the length's alignment
		{sharing: pmem2.Private},
		{prot: pmem2.ProtRead},
	} {
		t.NoMapAs(want, s, src)
		t.NoMapAs(want, s, anon)
	}
	t.NoMapAs("PMEM2_E_OFFSET_UNALIGNED", mapSpec{offset: 1}, src) // but after the offset's
	checkUnmapped(t, fd)

	// One byte is enough, and the size is that of the moment.
	t.Truncate(fd, 1)
	m := t.MapAs(mapSpec{}, src)
	t.Check(m.Size() == 1, "the map of a file of one byte has %d bytes", m.Size())
	m.Bytes()[0] = 'x'
	checkFile(t, fd, 0, []byte("x"), "the file of one byte")
	t.Delete(m)
	t.Truncate(fd, 0)
	t.NoMapAs(want, mapSpec{}, src)
	t.MapAs(mapSpec{}, t.AnonSource(1))
}

func mapNewOffsetUnaligned(t *T) {
	const want = "PMEM2_E_OFFSET_UNALIGNED"
	page := t.Page()
	size := 16 * page
	fd, content := t.PatternFile(size, 0)
	src := t.Source(fd)
	for _, offset := range []uint64{100, 1, 512, page / 2, page - 1, page + 1, 2*page - 1, size - 1, size + 1, math.MaxInt64} {
		for _, s := range []mapSpec{
			{},
			{length: page},
			{length: 1},        // before the length's alignment
			{length: 2 * size}, // and before the range
			{sharing: pmem2.Private},
			{prot: pmem2.ProtRead},
		} {
			s.offset = offset
			t.NoMapAs(want, s, src)
		}
	}
	checkUnmapped(t, fd)
	for _, offset := range []uint64{0, page, 2 * page, size - page} {
		m := t.MapAs(mapSpec{offset: offset}, src)
		checkBytes(t, m.Bytes(), content[offset:], "the map from an aligned offset on")
		t.Delete(m)
	}
}

func mapNewLengthUnaligned(t *T) {
	const want = "PMEM2_E_LENGTH_UNALIGNED"
	page := t.Page()
	size := 16 * page
	fd := t.FileFD(size)
	src, anon := t.Source(fd), t.AnonSource(size)
	for _, length := range []uint64{100, 1, 512, page / 2, page - 1, page + 1, size - 1, size + 1, 1<<63 + 1, math.MaxUint64} {
		for _, s := range []mapSpec{
			{},
			{offset: page},
			{offset: size}, // before the range
			{sharing: pmem2.Private},
			{prot: pmem2.ProtRead},
		} {
			s.length = length
			t.NoMapAs(want, s, src)
		}
		t.NoMapAs(want, mapSpec{length: length}, anon)
	}
	checkUnmapped(t, fd)
	for _, length := range []uint64{page, 2 * page, size} {
		m := t.MapAs(mapSpec{length: length}, src)
		t.Check(m.Size() == length, "Size() is %d, want %d", m.Size(), length)
		t.Delete(m)
	}

	// A length that is unset isn't one that has to be aligned: the file maps whole,
	// whatever its size. One that is set has to, even if it is the size of the file.
	for _, odd := range []uint64{5000, 1, page - 1, page + 1, 3*page - 1} {
		fd, content := t.PatternFile(odd, 0)
		src := t.Source(fd)
		t.NoMapAs(want, mapSpec{length: odd}, src)
		for _, s := range []mapSpec{{}, {sharing: pmem2.Private}, {prot: pmem2.ProtRead}} {
			m := t.MapAs(s, src)
			t.Check(m.Size() == odd, "the map of a file of %d bytes has %d", odd, m.Size())
			checkBytes(t, m.Bytes(), content, "the map of an unaligned file")
			if s.prot == 0 {
				m.Bytes()[odd-1] ^= 0xff
			}
			if s.prot == 0 && s.sharing == pmem2.Shared {
				content[odd-1] ^= 0xff
			}
			checkFile(t, fd, 0, content, "the unaligned file")
			addr := m.Address()
			t.Delete(m)
			checkGone(t, fd, addr, odd)
		}
		st, err := t.Machine().Fstat(fd)
		t.suite(err, "fstat")
		t.Check(st.Type() == platform.SIFREG && uint64(st.Size) == odd, "the file had %d bytes and has %d", odd, st.Size)
	}
	m := t.MapAs(mapSpec{}, t.AnonSource(5000))
	t.Check(m.Size() == 5000, "the map of 5000 anonymous bytes has %d", m.Size())
}
