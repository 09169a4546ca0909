package conformance

import (
	"math"

	"pmemlab/pmem2"
)

func sourceAnonCases() []Case {
	return []Case{{
		Name: "pmem2_source_from_anon/creates-anonymous-source",
		Rows: []string{"pmem2_source_from_anon/creates-anonymous-source", "pmem2_source_from_anon/zero-on-success"},
		Run: func(t *T) {
			page := t.Page()
			for _, size := range []uint64{0, 1, page, 3*page + 1, 1 << 63, math.MaxUint64} {
				t.AnonSource(size)
			}
			m := t.Map(t.Config(), t.AnonSource(2*page))
			m.Bytes()[0], m.Bytes()[2*page-1] = 1, 2
			t.Check(m.Bytes()[0] == 1 && m.Bytes()[2*page-1] == 2, "a map of the source isn't memory")
		},
	}, {
		Name: "pmem2_source_from_anon/no-file-behind",
		Rows: []string{"pmem2_source_from_anon/no-file-behind"},
		Run: func(t *T) {
			page := t.Page()
			src := t.AnonSource(page)
			_, err := src.FD()
			t.Expect("PMEM2_E_FILE_DESCRIPTOR_NOT_SET", err, "FD()")
			cfg := t.Config()
			for _, s := range sharings {
				t.Must(cfg.SetSharing(s.sharing), "SetSharing(%s)", s.name)
				m := t.Map(cfg, src)
				e := checkMapped(t, m.Address(), page, "rw-"+s.letter)[0]
				// "/dev/zero (deleted)" is how Linux shows shared anonymous memory.
				switch e.Path {
				case "", "/dev/zero (deleted)":
				default:
					t.Check(e.Path[0] == '[', "a %s mapping is one of the file %s", s.name, e.Path)
				}
				t.Note("/proc/self/maps", "a %s mapping has the path %q", s.name, e.Path)
			}
		},
	}, {
		Name: "pmem2_source_from_anon/zero-initialised",
		Rows: []string{"pmem2_source_from_anon/zero-initialised"},
		Run: func(t *T) {
			size := 4*t.Page() + 1
			src := t.AnonSource(size)
			zeroes := make([]byte, size)
			cfg := t.Config()
			for _, s := range sharings {
				t.Must(cfg.SetSharing(s.sharing), "SetSharing(%s)", s.name)
				for range 3 { // the first leaves something behind that the others could find
					m := t.Map(cfg, src)
					checkBytes(t, m.Bytes(), zeroes, "a new %s map", s.name)
					copy(m.Bytes(), pattern(size, 1))
				}
				m := t.Map(cfg, src)
				copy(m.Bytes(), pattern(size, 1))
				t.Delete(m)
				checkBytes(t, t.Map(cfg, src).Bytes(), zeroes, "a new %s map after a deleted one", s.name)
			}
		},
	}, {
		Name: "pmem2_source_from_anon/size-reported-by-source-size",
		Rows: []string{"pmem2_source_from_anon/size-reported-by-source-size"},
		Run: func(t *T) {
			for _, size := range []uint64{0, 1, 4096, 12345, 1 << 47, 1 << 63, math.MaxUint64} {
				src := t.AnonSource(size)
				n, err := src.Size()
				t.Must(err, "Size()")
				t.Check(n == size, "Size is %d, not %d", n, size)
			}
		},
	}, {
		Name: "pmem2_source_from_anon/size-at-least-mapping",
		Rows: []string{"pmem2_source_from_anon/size-at-least-mapping"},
		Run: func(t *T) {
			page := t.Page()
			size := 4 * page
			src := t.AnonSource(size)
			cfg := t.Config()
			for _, n := range []uint64{size + page, 2 * size, 1 << 63, math.MaxUint64 - page + 1} {
				t.Must(cfg.SetLength(n), "SetLength(%d)", n)
				t.NoMap("PMEM2_E_MAP_RANGE", cfg, src, "length %d of %d", n, size)
			}
			for _, n := range []uint64{page, size - page, size} {
				t.Must(cfg.SetLength(n), "SetLength(%d)", n)
				m := t.Map(cfg, src)
				t.Check(m.Size() == n, "Size is %d, not %d", m.Size(), n)
				m.Bytes()[n-1] = 1
			}
			// A size within a page: the page that holds it is too long.
			src = t.AnonSource(page + 1)
			t.Must(cfg.SetLength(2*page), "SetLength(%d)", 2*page)
			t.NoMap("PMEM2_E_MAP_RANGE", cfg, src, "length %d of %d", 2*page, page+1)
			t.Must(cfg.SetLength(0), "SetLength(0)")
			t.Check(t.Map(cfg, src).Size() == page+1, "the default length isn't the size of the source")
		},
	}, {
		Name: "pmem2_source_from_anon/offset-unaligned",
		Rows: []string{"pmem2_source_from_anon/(text)#1"},
		Run: func(t *T) {
			page := t.Page()
			src := t.AnonSource(2 * page)
			for _, offset := range []uint64{1, 100, page - 1, page + 1, 2*page - 1} {
				checkOffsetIgnored(t, src, offset, page, page)
			}
		},
	}, {
		Name: "pmem2_source_from_anon/offset-past-the-end",
		Rows: []string{"pmem2_source_from_anon/(text)#2"},
		Run: func(t *T) {
			page := t.Page()
			src := t.AnonSource(2 * page)
			for _, offset := range []uint64{page, 2 * page, 3 * page, 1<<63 - page} {
				checkOffsetIgnored(t, src, offset, 2*page, 2*page)
			}
			// The size limits the length all the same.
			cfg := t.Config()
			t.Must(cfg.SetOffset(page), "SetOffset(%d)", page)
			t.Must(cfg.SetLength(3*page), "SetLength(%d)", 3*page)
			t.NoMap("PMEM2_E_MAP_RANGE", cfg, src, "length %d of %d", 3*page, 2*page)
		},
	}, {
		Name: "pmem2_source_from_anon/offset-ignored",
		Rows: []string{"pmem2_source_from_anon/offset-ignored"},
		Run: func(t *T) {
			page := t.Page()
			src := t.AnonSource(2 * page)
			for _, offset := range []uint64{0, 1, page, 2*page - 1, 2 * page, 2*page + 1, 1 << 62, math.MaxInt64} {
				checkOffsetIgnored(t, src, offset, 0, 2*page)
			}
		},
	}}
}

// checkOffsetIgnored maps an anonymous source with an offset, shared and private:
// want bytes of zeroed memory is what comes.
func checkOffsetIgnored(t *T, src Source, offset, length, want uint64) {
	cfg := t.Config()
	t.Must(cfg.SetOffset(offset), "SetOffset(%#x)", offset)
	t.Must(cfg.SetLength(length), "SetLength(%d)", length)
	for _, s := range sharings {
		t.Must(cfg.SetSharing(s.sharing), "SetSharing(%s)", s.name)
		m, err := t.Lib.NewMap(cfg, src)
		if !t.Must(err, "NewMap(offset %#x, length %d, %s)", offset, length, s.name) {
			continue
		}
		t.deleteAtEnd(m)
		t.Check(m.Size() == want, "with offset %#x and length %d Size is %d, not %d", offset, length, m.Size(), want)
		checkBytes(t, m.Bytes(), make([]byte, want), "the map with offset %#x", offset)
		m.Bytes()[0], m.Bytes()[want-1] = 1, 2
		t.Check(m.StoreGranularity() == pmem2.GranularityByte, "the granularity is %v, not %v", m.StoreGranularity(), pmem2.GranularityByte)
		t.Delete(m)
	}
}
