package conformance

import (
	"math"
	"slices"

	"pmemlab/pmem2"
	"pmemlab/pmem2/platform"
)

func configGranularityCases() []Case {
	return []Case{{
		Name: "pmem2_config_set_required_store_granularity/invalid",
		Rows: []string{"pmem2_config_set_required_store_granularity/PMEM2_E_GRANULARITY_NOT_SUPPORTED#1"},
		Run: func(t *T) {
			src := t.FileSource(t.Page())
			unset := t.NewConfig()
			set := t.Config()
			for _, g := range []pmem2.Granularity{3, -1, 4, 999, math.MaxInt32, math.MinInt32} {
				t.Expect("PMEM2_E_GRANULARITY_NOT_SUPPORTED", unset.SetRequiredStoreGranularity(g), "SetRequiredStoreGranularity(%d)", int(g))
				t.Expect("PMEM2_E_GRANULARITY_NOT_SUPPORTED", set.SetRequiredStoreGranularity(g), "SetRequiredStoreGranularity(%d)", int(g))
			}
			// Nothing was stored: PAGE still is what is required, or nothing is.
			t.NoMap("PMEM2_E_GRANULARITY_NOT_SET", unset, src, "no valid granularity set")
			t.Map(set, src)
		},
	}, {
		Name: "pmem2_config_set_required_store_granularity/three-values",
		Rows: []string{
			"pmem2_config_set_required_store_granularity/three-values",
			"pmem2_config_set_required_store_granularity/zero-on-success",
		},
		Run: func(t *T) {
			cfg := t.NewConfig()
			src := t.FileSource(t.Page())
			for _, g := range granularities {
				t.Must(cfg.SetRequiredStoreGranularity(g), "SetRequiredStoreGranularity(%v)", g)
			}
			t.Map(cfg, src) // PAGE came last
		},
	}, {
		Name: "pmem2_config_set_required_store_granularity/sets-maximum",
		Rows: []string{"pmem2_config_set_required_store_granularity/sets-maximum"},
		Run: func(t *T) {
			src := t.FileSource(t.Page())
			cfg := t.Config()
			for _, c := range []struct {
				sharing pmem2.Sharing
				have    pmem2.Granularity
			}{
				{pmem2.Shared, pmem2.GranularityPage},  // a file without DAX
				{pmem2.Private, pmem2.GranularityByte}, // nothing to make durable
			} {
				t.Must(cfg.SetSharing(c.sharing), "SetSharing(%d)", c.sharing)
				for _, g := range granularities {
					t.Must(cfg.SetRequiredStoreGranularity(g), "SetRequiredStoreGranularity(%v)", g)
					if c.have > g {
						t.NoMap("PMEM2_E_GRANULARITY_NOT_SUPPORTED", cfg, src, "%v required, %v to be had", g, c.have)
						continue
					}
					m := t.Map(cfg, src)
					t.Check(m.StoreGranularity() == c.have, "StoreGranularity is %v, not %v", m.StoreGranularity(), c.have)
				}
			}
		},
	}}
}

func configSharingCases() []Case {
	return []Case{{
		Name: "pmem2_config_set_sharing/invalid",
		Rows: []string{"pmem2_config_set_sharing/PMEM2_E_INVALID_SHARING_VALUE#1"},
		Run: func(t *T) {
			page := t.Page()
			src := t.FileSource(page)
			for _, s := range sharings {
				cfg := t.Config()
				t.Must(cfg.SetSharing(s.sharing), "SetSharing(%s)", s.name)
				for _, bad := range []pmem2.Sharing{2, -1, 777, math.MaxInt32, math.MinInt32} {
					t.Expect("PMEM2_E_INVALID_SHARING_VALUE", cfg.SetSharing(bad), "SetSharing(%d)", int(bad))
				}
				checkMapped(t, t.Map(cfg, src).Address(), page, "rw-"+s.letter)
			}
		},
	}, {
		Name: "pmem2_config_set_sharing/zero-on-success",
		Rows: []string{"pmem2_config_set_sharing/zero-on-success"},
		Run: func(t *T) {
			page := t.Page()
			src := t.FileSource(page)
			cfg := t.Config()
			for _, s := range slices.Concat(sharings, sharings) {
				t.Must(cfg.SetSharing(s.sharing), "SetSharing(%s)", s.name)
				checkMapped(t, t.Map(cfg, src).Address(), page, "rw-"+s.letter)
			}
		},
	}, {
		Name: "pmem2_config_set_sharing/shared-writes-reach-memory",
		Rows: []string{"pmem2_config_set_sharing/shared-writes-reach-memory"},
		Run: func(t *T) {
			size := 2 * t.Page()
			fd := t.FileFD(size)
			cfg := t.Config()
			t.Must(cfg.SetSharing(pmem2.Shared), "SetSharing(SHARED)")
			storeReachesFile(t, t.Map(cfg, t.Source(fd)), fd)
		},
	}, {
		Name: "pmem2_config_set_sharing/default-shared",
		Rows: []string{"pmem2_config_set_sharing/default-shared"},
		Run: func(t *T) {
			size := 2 * t.Page()
			fd := t.FileFD(size)
			storeReachesFile(t, t.Map(t.Config(), t.Source(fd)), fd)
		},
	}, {
		Name: "pmem2_config_set_sharing/shared-visible-to-other-mappings",
		Rows: []string{"pmem2_config_set_sharing/shared-visible-to-other-mappings"},
		Run: func(t *T) {
			page := t.Page()
			fd := t.FileFD(2 * page)
			cfg := t.Config()
			t.Must(cfg.SetSharing(pmem2.Shared), "SetSharing(SHARED)")
			one, two := t.Map(cfg, t.Source(fd)), t.Map(cfg, t.Source(fd))
			t.Must(cfg.SetOffset(page), "SetOffset(%d)", page)
			second := t.Map(cfg, t.Source(fd))
			for _, at := range []uint64{0, page - 1, page, 2*page - 1} {
				one.Bytes()[at] = 11
				t.Check(two.Bytes()[at] == 11, "a store to byte %d isn't seen in another mapping", at)
				two.Bytes()[at] = 22
				t.Check(one.Bytes()[at] == 22, "a store to byte %d isn't seen in the first mapping", at)
			}
			t.Check(second.Bytes()[0] == 22 && second.Bytes()[page-1] == 22, "stores aren't seen in a mapping of the second page alone")
			raw := platform.Bytes(t.OwnMapping(fd, 2*page), 2*page)
			one.Bytes()[1] = 33
			t.Check(raw[1] == 33, "a store isn't seen in a mapping that isn't the library's")
		},
	}, {
		Name: "pmem2_config_set_sharing/private-leaves-memory-alone",
		Rows: []string{"pmem2_config_set_sharing/private-leaves-memory-alone"},
		Run: func(t *T) {
			size := 2 * t.Page()
			fd, before := t.PatternFile(size, 5)
			same := func(when string) {
				checkFile(t, fd, 0, before, "the file %s", when)
			}
			cfg := t.Config()
			t.Must(cfg.SetSharing(pmem2.Private), "SetSharing(PRIVATE)")
			m := t.Map(cfg, t.Source(fd))
			checkBytes(t, m.Bytes(), before, "the map")
			for i := range m.Bytes() {
				m.Bytes()[i] = ^before[i]
			}
			same("after stores")
			t.Must(m.Persist(m.Bytes()), "Persist(%d bytes)", size)
			same("after Persist")
			t.Must(m.Memset(m.Bytes(), 0, 0), "Memset(%d bytes)", size)
			same("after Memset")
			t.Check(m.Bytes()[0] == 0 && m.Bytes()[size-1] == 0, "the stores aren't in the mapping")
			t.Delete(m)
			same("after Delete")
		},
	}, {
		Name: "pmem2_config_set_sharing/private-invisible-to-others",
		Rows: []string{"pmem2_config_set_sharing/private-invisible-to-others"},
		Run: func(t *T) {
			page := t.Page()
			fd := t.FileFD(2 * page)
			t.WriteFile(fd, 0, pattern(2*page, 5))
			src := t.Source(fd)
			cfg := t.Config()
			shared := t.Map(cfg, src)
			t.Must(cfg.SetSharing(pmem2.Private), "SetSharing(PRIVATE)")
			one, two := t.Map(cfg, src), t.Map(cfg, src)
			for _, at := range []uint64{0, page - 1, page, 2*page - 1} {
				old := shared.Bytes()[at]
				one.Bytes()[at] = ^old
				t.Check(shared.Bytes()[at] == old, "a private store to byte %d is seen in a shared mapping", at)
				t.Check(two.Bytes()[at] == old, "a private store to byte %d is seen in another private mapping", at)
				t.Check(one.Bytes()[at] == ^old, "a private store to byte %d isn't seen where it was made", at)
			}
		},
	}}
}

// storeReachesFile stores into a map of all of a file.
func storeReachesFile(t *T, m Map, fd int) {
	want := pattern(m.Size(), 8)
	copy(m.Bytes(), want)
	checkFile(t, fd, 0, want, "the file after stores")
	t.Must(m.Persist(m.Bytes()), "Persist(%d bytes)", len(want))
	t.Delete(m)
	checkFile(t, fd, 0, want, "the file without the map")
}

func configReservationCases() []Case {
	return []Case{{
		Name: "pmem2_config_set_vm_reservation/always-zero",
		Rows: []string{"pmem2_config_set_vm_reservation/0#1", "pmem2_config_set_vm_reservation/always-zero"},
		Run: func(t *T) {
			page := t.Page()
			src := t.AnonSource(page)
			r := t.Reservation(0, 4*page)
			cfg := t.Config()
			for _, offset := range []uint64{0, 1, 100, page, 3 * page, 4 * page, 1 << 63, math.MaxUint64 - page + 1, math.MaxUint64} {
				t.Must(cfg.SetVMReservation(nil, offset), "SetVMReservation(nil, %d)", offset)
				t.Must(cfg.SetVMReservation(r, offset), "SetVMReservation(r, %d)", offset)
			}
			t.Must(cfg.SetVMReservation(r, 2*page), "SetVMReservation(r, %d)", 2*page)
			t.Check(t.Map(cfg, src).Address() == r.Address()+uintptr(2*page), "the place isn't the one set last")
		},
	}, {
		Name: "pmem2_config_set_vm_reservation/places-mapping",
		Rows: []string{
			"pmem2_config_set_vm_reservation/places-mapping",
			"pmem2_config_set_vm_reservation/offset-in-reservation",
		},
		Run: func(t *T) {
			page := t.Page()
			const size = 4 << 20
			fd := t.FileFD(2 * page)
			src := t.Source(fd)
			r := t.Reservation(0, size)
			cfg := t.Config()
			for i, offset := range []uint64{1 << 20, 0, size - 2*page, 3 * page} {
				t.Must(cfg.SetVMReservation(r, offset), "SetVMReservation(r, %d)", offset)
				m := t.Map(cfg, src)
				t.Check(m.Address() == r.Address()+uintptr(offset), "the map lies at %#x, not at offset %d of the reservation at %#x",
					m.Address(), offset, r.Address())
				t.Check(m.Size() == 2*page, "Size is %d, not %d", m.Size(), 2*page)
				// The same file lies there, not just memory.
				mark := byte(100 + i)
				m.Bytes()[2*page-1] = mark
				checkFile(t, fd, 2*page-1, []byte{mark}, "the file under the map at offset %d", offset)
				checkMapped(t, m.Address(), 2*page, "rw-s")
			}
			// Beside the maps the reservation is what it was.
			checkBlank(t, r.Address()+uintptr(5*page), page)
			checkBlank(t, r.Address()+uintptr(size-3*page), page)
		},
	}, {
		Name: "pmem2_config_set_vm_reservation/reservation-must-exist",
		Rows: []string{"pmem2_config_set_vm_reservation/reservation-must-exist"},
		Run: func(t *T) {
			page := t.Page()
			src := t.AnonSource(page)
			r := t.Reservation(0, 2*page)
			cfg := t.Config()
			t.Must(cfg.SetVMReservation(r, page), "SetVMReservation(r, %d)", page)
			t.Check(t.Map(cfg, src).Address() == r.Address()+uintptr(page), "the map isn't in the reservation")
			t.Must(cfg.SetVMReservation(nil, 0), "SetVMReservation(nil, 0)")
			m := t.Map(cfg, src)
			t.Check(m.Address()+uintptr(page) <= r.Address() || m.Address() >= r.Address()+uintptr(2*page),
				"with no reservation set the map lies in the old one, at %#x", m.Address())
			checkBlank(t, r.Address(), page)
		},
	}}
}
