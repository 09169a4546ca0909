package conformance

import (
	"bytes"
	"math"
	"slices"

	"pmemlab/pmem2"
)

// configCases are those of pmem2_config_new(3) and of the pages of the setters.
func configCases() []Case {
	return slices.Concat(configObjectCases(), configLengthCases(), configOffsetCases(), configProtectionCases(),
		configGranularityCases(), configSharingCases(), configReservationCases())
}

// Each case ends with what a map made from the config is like: a setter that
// returns 0 and does nothing would pass otherwise.

func configObjectCases() []Case {
	return []Case{{
		Name: "pmem2_config_new/creates-config",
		Rows: []string{"pmem2_config_new/creates-config"},
		Run: func(t *T) {
			src := t.FileSource(4 * t.Page())
			page := t.Page()
			first, second := t.Config(), t.Config()
			t.Must(first.SetLength(page), "SetLength(%d) of the first config", page)
			t.Must(second.SetLength(2*page), "SetLength(%d) of the second config", 2*page)
			// Two objects, each with its own values.
			t.Check(t.Map(first, src).Size() == page, "the first config's length isn't its own")
			t.Check(t.Map(second, src).Size() == 2*page, "the second config's length isn't its own")
		},
	}, {
		Name: "pmem2_config_new/result-and-object",
		Rows: []string{"pmem2_config_new/returns-zero-or-negative", "pmem2_config_new/null-on-failure"},
		Run: func(t *T) {
			t.Note("types", "in Go NewConfig has no way to fail: what is checked is that an object comes exactly with success")
			var made []PMem2Config
			for range 100 {
				cfg, err := t.Lib.NewConfig()
				t.Check((cfg != nil) == (err == nil), "NewConfig returns the object %v with the error %v", cfg, err)
				t.Must(err, "NewConfig()")
				made = append(made, cfg)
			}
			for _, cfg := range made {
				t.Delete(cfg)
			}
		},
	}, {
		Name: "pmem2_config_new/defaults-filled-in",
		Rows: []string{"pmem2_config_new/defaults-filled-in"},
		Run: func(t *T) {
			page := t.Page()
			size := 2*page + 100
			fd, want := t.PatternFile(size, 1)
			src := t.Source(fd)
			cfg := t.Config()
			m, other := t.Map(cfg, src), t.Map(cfg, src)
			t.Check(m.Size() == size, "the size is %d, not that of the source, %d", m.Size(), size)
			checkBytes(t, m.Bytes(), want, "the map of the whole source")
			checkMapped(t, m.Address(), size, "rw-s")
			m.Bytes()[0] = ^want[0]
			checkFile(t, fd, 0, m.Bytes()[:1], "the file after a store with the default sharing")
			t.Check(m.Address() != 0 && m.Address() != other.Address(), "two maps lie at %#x and %#x: the system hasn't chosen",
				m.Address(), other.Address())
		},
	}, {
		Name: "pmem2_config_new/granularity-left-unset",
		Rows: []string{"pmem2_config_new/granularity-left-unset"},
		Run: func(t *T) {
			src := t.FileSource(t.Page())
			cfg := t.NewConfig()
			t.NoMap("PMEM2_E_GRANULARITY_NOT_SET", cfg, src, "a fresh config")
			t.Must(cfg.SetSharing(pmem2.Private), "SetSharing(PRIVATE)")
			t.NoMap("PMEM2_E_GRANULARITY_NOT_SET", cfg, src, "a private mapping")
			t.Must(cfg.SetRequiredStoreGranularity(pmem2.GranularityPage), "SetRequiredStoreGranularity(PAGE)")
			t.Map(cfg, src)
		},
	}, {
		Name: "pmem2_config_delete/frees-and-nulls",
		Rows: []string{"pmem2_config_delete/frees-and-nulls"},
		Run: func(t *T) {
			page := t.Page()
			fd := t.FileFD(page)
			src := t.Source(fd)
			cfg := t.Config()
			m := t.Map(cfg, src)
			t.Delete(cfg)
			// A map outlives its config.
			copy(m.Bytes(), "still here")
			t.Must(m.Persist(m.Bytes()[:10]), "Persist(10 bytes) of a map made before")
			checkFile(t, fd, 0, []byte("still here"), "the file of a map made before")
			t.Note("types", "a method can't set the caller's variable to NULL: the object refuses further use instead")
			t.Expect("-EINVAL", cfg.SetLength(page), "SetLength(%d) of the deleted config", page)
			t.Expect("-EINVAL", cfg.SetOffset(0), "SetOffset(0) of the deleted config")
			t.Expect("-EINVAL", cfg.SetProtection(pmem2.ProtRead), "SetProtection(READ) of the deleted config")
			t.Expect("-EINVAL", cfg.SetSharing(pmem2.Shared), "SetSharing(SHARED) of the deleted config")
			t.Expect("-EINVAL", cfg.SetRequiredStoreGranularity(pmem2.GranularityPage), "SetRequiredStoreGranularity(PAGE) of the deleted config")
			t.Expect("-EINVAL", cfg.SetVMReservation(nil, 0), "SetVMReservation(nil, 0) of the deleted config")
			t.NoMap("-EINVAL", cfg, src, "the deleted config")
		},
	}, {
		Name: "pmem2_config_delete/always-zero",
		Rows: []string{"pmem2_config_delete/0#1", "pmem2_config_delete/null-is-noop", "pmem2_config_delete/always-zero"},
		Run: func(t *T) {
			cfg := t.Config()
			t.Delete(cfg)
			t.Must(cfg.Delete(), "Delete() again")
			t.Must(t.Lib.NilConfig().Delete(), "Delete() of no config")
			t.Must(t.Lib.NilConfig().Delete(), "Delete() of no config again")
			t.Map(t.Config(), t.FileSource(t.Page())) // others are as they were
		},
	}}
}

func configLengthCases() []Case {
	return []Case{{
		Name: "pmem2_config_set_length/always-zero",
		Rows: []string{"pmem2_config_set_length/0#1", "pmem2_config_set_length/always-zero"},
		Run: func(t *T) {
			page := t.Page()
			cfg := t.Config()
			for _, n := range []uint64{0, 1, 100, page - 1, page, page + 1, math.MaxInt64, 1 << 63, math.MaxUint64 - page + 1, math.MaxUint64} {
				t.Must(cfg.SetLength(n), "SetLength(%d)", n)
			}
			t.Must(cfg.SetLength(page), "SetLength(%d)", page)
			t.Check(t.Map(cfg, t.FileSource(2*page)).Size() == page, "the length isn't the one set last")
		},
	}, {
		Name: "pmem2_config_set_length/sets-mapping-length",
		Rows: []string{"pmem2_config_set_length/sets-mapping-length"},
		Run: func(t *T) {
			const size, length = 1 << 20, 1 << 16
			cfg := t.Config()
			t.Must(cfg.SetLength(length), "SetLength(%d)", length)
			m := t.Map(cfg, t.FileSource(size))
			t.Check(m.Size() == length, "Size is %d, not %d", m.Size(), length)
			t.Check(len(m.Bytes()) == length, "Bytes has %d bytes, not %d", len(m.Bytes()), length)
			checkMapped(t, m.Address(), length, "rw-s")
			m.Bytes()[length-1] = 1
			// 0 is the default again.
			t.Must(cfg.SetLength(0), "SetLength(0)")
			m = t.Map(cfg, t.FileSource(size))
			t.Check(m.Size() == size, "with length 0 Size is %d, not %d", m.Size(), size)
		},
	}, {
		Name: "pmem2_config_set_length/multiple-of-source-alignment",
		Rows: []string{"pmem2_config_set_length/multiple-of-source-alignment"},
		Run: func(t *T) {
			const size = 1 << 20
			src := t.FileSource(size)
			align, err := src.Alignment()
			t.Must(err, "Alignment()")
			cfg := t.Config()
			for _, n := range []uint64{1, align / 2, align - 1, align + 1, 2*align - 1, size - 1} {
				t.Must(cfg.SetLength(n), "SetLength(%d)", n)
				t.NoMap("PMEM2_E_LENGTH_UNALIGNED", cfg, src, "length %d", n)
			}
			for _, n := range []uint64{align, 2 * align, size} {
				t.Must(cfg.SetLength(n), "SetLength(%d)", n)
				m := t.Map(cfg, src)
				t.Check(m.Size() == n, "Size is %d, not %d", m.Size(), n)
			}
		},
	}, {
		Name: "pmem2_config_set_length/default-is-file-size",
		Rows: []string{"pmem2_config_set_length/default-is-file-size"},
		Run: func(t *T) {
			page := t.Page()
			cfg := t.Config() // for all files: none leaves its length there
			for _, c := range []struct{ size, offset uint64 }{
				{1 << 20, 0}, {5000, 0}, {1, 0}, {page, 0}, {page + 1, 0},
				{1 << 20, 1 << 16}, {1 << 20, 1<<20 - page}, {2*page + 100, 2 * page}, {page + 1, page},
			} {
				fd := t.FileFD(c.size)
				t.WriteFile(fd, c.size-1, []byte{42})
				t.Must(cfg.SetOffset(c.offset), "SetOffset(%d)", c.offset)
				m := t.Map(cfg, t.Source(fd))
				want := c.size - c.offset
				t.Check(m.Size() == want, "a file of %d bytes from offset %d on: Size is %d, not %d", c.size, c.offset, m.Size(), want)
				t.Check(m.Bytes()[want-1] == 42, "the last byte of the mapping isn't the last of the file (%d bytes, offset %d)", c.size, c.offset)
			}
		},
	}}
}

func configOffsetCases() []Case {
	return []Case{{
		Name: "pmem2_config_set_offset/out-of-range",
		Rows: []string{"pmem2_config_set_offset/PMEM2_E_OFFSET_OUT_OF_RANGE#1"},
		Run: func(t *T) {
			page := t.Page()
			fd := t.FileFD(2 * page)
			t.WriteFile(fd, page, []byte("second page"))
			cfg := t.Config()
			t.Must(cfg.SetOffset(page), "SetOffset(%d)", page)
			for _, n := range []uint64{1 << 63, 1<<63 + 1, 1<<63 + page, math.MaxUint64 - page + 1, math.MaxUint64} {
				t.Expect("PMEM2_E_OFFSET_OUT_OF_RANGE", cfg.SetOffset(n), "SetOffset(%#x)", n)
			}
			m := t.Map(cfg, t.Source(fd))
			t.Check(bytes.HasPrefix(m.Bytes(), []byte("second page")), "a refused offset has replaced the one set before")
		},
	}, {
		Name: "pmem2_config_set_offset/zero-on-success",
		Rows: []string{"pmem2_config_set_offset/zero-on-success"},
		Run: func(t *T) {
			page := t.Page()
			src := t.FileSource(page)
			cfg := t.Config()
			for _, n := range []uint64{1, 100, page - 1, page + 1, math.MaxInt64 - 1, math.MaxInt64} {
				t.Must(cfg.SetOffset(n), "SetOffset(%#x)", n)
				t.NoMap("PMEM2_E_OFFSET_UNALIGNED", cfg, src, "offset %#x", n)
			}
			n := uint64(1<<63) - page
			t.Must(cfg.SetOffset(n), "SetOffset(%#x)", n)
			t.NoMap("PMEM2_E_MAP_RANGE", cfg, src, "offset %#x", n)
			t.Must(cfg.SetOffset(0), "SetOffset(0)")
			t.Map(cfg, src)
		},
	}, {
		Name: "pmem2_config_set_offset/sets-start-in-source",
		Rows: []string{"pmem2_config_set_offset/sets-start-in-source"},
		Run: func(t *T) {
			const size = 1 << 20
			page := t.Page()
			fd, content := t.PatternFile(size, 7)
			src := t.Source(fd)
			cfg := t.Config()
			for _, offset := range []uint64{page, 1 << 16, size - page} {
				t.Must(cfg.SetOffset(offset), "SetOffset(%d)", offset)
				m := t.Map(cfg, src)
				checkBytes(t, m.Bytes(), content[offset:], "the map from offset %d on", offset)
				m.Bytes()[0]++
				content[offset]++
				checkFile(t, fd, 0, content, "the file after a store at offset %d", offset)
			}
		},
	}, {
		Name: "pmem2_config_set_offset/multiple-of-source-alignment",
		Rows: []string{"pmem2_config_set_offset/multiple-of-source-alignment"},
		Run: func(t *T) {
			const size = 1 << 20
			src := t.FileSource(size)
			align, err := src.Alignment()
			t.Must(err, "Alignment()")
			cfg := t.Config()
			for _, n := range []uint64{1, 100, align / 2, align - 1, align + 1, size - 1} {
				t.Must(cfg.SetOffset(n), "SetOffset(%d)", n)
				t.NoMap("PMEM2_E_OFFSET_UNALIGNED", cfg, src, "offset %d", n)
			}
			for _, n := range []uint64{0, align, 2 * align, size - align} {
				t.Must(cfg.SetOffset(n), "SetOffset(%d)", n)
				t.Check(t.Map(cfg, src).Size() == size-n, "the map doesn't start at offset %d", n)
			}
		},
	}, {
		Name: "pmem2_config_set_offset/default-zero",
		Rows: []string{"pmem2_config_set_offset/default-zero"},
		Run: func(t *T) {
			size := 3 * t.Page()
			fd, content := t.PatternFile(size, 3)
			cfg := t.Config()
			checkBytes(t, t.Map(cfg, t.Source(fd)).Bytes(), content, "the map")
			t.Must(cfg.SetLength(t.Page()), "SetLength(a page)")
			t.Check(t.Map(cfg, t.Source(fd)).Bytes()[0] == content[0], "with a length set the mapping doesn't begin with byte 0 of the file")
		},
	}}
}
