package conformance

import (
	"math"
	"slices"

	"pmemlab/pmem2"
	"pmemlab/pmemset"
)

// setConfigCases are those of pmemset_config_new(3) and of the pages of the setters of
// the granularity and the reservation.
func setConfigCases() []Case {
	return slices.Concat(setConfigObjectCases(), setConfigGranularityCases(), setConfigReservationCases())
}

func setConfigObjectCases() []Case {
	return []Case{{
		Name: "pmemset_config_new/creates-config",
		Rows: []string{"pmemset_config_new/creates-config"},
		Run: func(t *T) {
			fine, coarse := t.NewSetConfig(), t.NewSetConfig()
			t.NoSet("PMEMSET_E_GRANULARITY_NOT_SET", fine, "a fresh config")
			t.Must(fine.SetRequiredStoreGranularity(pmem2.GranularityByte), "SetRequiredStoreGranularity(BYTE)")
			t.NoSet("PMEMSET_E_GRANULARITY_NOT_SET", coarse, "a fresh config, while the other one has a granularity")
			t.Must(coarse.SetRequiredStoreGranularity(pmem2.GranularityPage), "SetRequiredStoreGranularity(PAGE)")
			// Two objects, each with its own values.
			_, src := t.SetFile(64 * kib)
			t.Force("PAGE")
			t.NoSetMap("PMEMSET_E_INVALID_PMEM2_MAP", Release112, t.Set(fine), src, 0, 0)
			t.SetMap(Release112, t.Set(coarse), src, 0, 0)
		},
	}, {
		Name: "pmemset_config_new/result-and-object",
		Rows: []string{"pmemset_config_new/zero-or-negative", "pmemset_config_new/null-on-failure"},
		Run: func(t *T) {
			t.Note("types", "in Go NewConfig has no way to fail: what is checked is that an object comes exactly with success")
			for range 100 {
				cfg, err := t.Sets().NewSetConfig()
				t.Check((cfg != nil) == (err == nil), "NewSetConfig returns the object %v with the error %v", cfg, err)
				t.Must(err, "NewSetConfig()")
				t.Delete(cfg)
			}
		},
	}, {
		Name: "pmemset_config_new/delete leaves sets alone",
		Rows: []string{"pmemset_config_delete/frees-and-nulls"},
		Run: func(t *T) {
			t.EachGeneration(func(g Generation) {
				cfg := t.SetConfig()
				set, events := t.SetWithEvents(cfg)
				_, src := t.SetFile(128 * kib)
				first := t.SetMap(g, set, src, 0, 64*kib)
				t.Delete(cfg)
				t.Expect("-EINVAL", cfg.SetRequiredStoreGranularity(pmem2.GranularityPage), "SetRequiredStoreGranularity() of the deleted config")
				t.Expect("-EINVAL", cfg.SetAcceptableStates(pmemset.PartStateOK), "SetAcceptableStates() of the deleted config")
				t.NoSet("-EINVAL", cfg, "the deleted config")
				second := t.SetMap(g, set, src, 64*kib, 64*kib)
				t.CheckParts(set, first, second)
				events.Name("A", first.Addr)
				events.Name("B", second.Addr)
				t.Events(set, events, "PART_ADD A 64K", "PART_ADD B 64K")
			})
		},
	}, {
		Name: "pmemset_config_new/delete always succeeds",
		Rows: []string{
			"pmemset_config_delete/0#1", "pmemset_config_delete/null-is-noop", "pmemset_config_delete/always-zero",
		},
		Run: func(t *T) {
			t.Delete(t.NewSetConfig())
			cfg := t.SetConfig()
			t.Delete(cfg)
			t.Must(cfg.Delete(), "Delete() again")
			t.Must(t.Sets().NilSetConfig().Delete(), "Delete() of no config")
		},
	}}
}

func setConfigGranularityCases() []Case {
	const page = "pmemset_config_set_required_store_granularity/"
	return []Case{{
		Name: page + "values",
		Rows: []string{page + "three-values", page + "zero-on-success", page + "PMEMSET_E_GRANULARITY_NOT_SUPPORTED#1"},
		Run:  setGranularityValues,
	}, {
		Name: page + "sets-maximum-for-set",
		Rows: []string{page + "sets-maximum-for-set"},
		Run: func(t *T) {
			t.EachGeneration(func(g Generation) {
				_, src := t.SetFile(64 * kib)
				for _, required := range granularities {
					for _, effective := range granularities {
						cfg := t.NewSetConfig()
						t.Must(cfg.SetRequiredStoreGranularity(required), "SetRequiredStoreGranularity(%v)", required)
						t.Force(effective.String())
						set := t.Set(cfg)
						if effective <= required {
							t.SetMap(g, set, src, 0, 64*kib)
							checkSetGranularity(t, set, effective)
							continue
						}
						cause := t.NoSetMap("PMEMSET_E_INVALID_PMEM2_MAP", g, set, src, 0, 64*kib)
						t.Check(cause == "PMEM2_E_GRANULARITY_NOT_SUPPORTED", "below it is %q from libpmem2", cause)
					}
				}
			})
		},
	}, {
		Name: page + "same-effective-granularity-for-all-parts",
		Rows: []string{page + "same-effective-granularity-for-all-parts"},
		Run: func(t *T) {
			t.EachGeneration(func(g Generation) {
				_, src := t.SetFile(64 * kib)
				for _, first := range granularities {
					t.Force(first.String())
					set := t.Set()
					a := t.SetMap(g, set, src, 0, 64*kib)
					for _, second := range granularities {
						if second == first {
							continue
						}
						t.Force(second.String())
						t.NoSetMap("PMEMSET_E_GRANULARITY_MISMATCH", g, set, src, 0, 64*kib)
						checkSetGranularity(t, set, first)
					}
					t.Force(first.String())
					b := t.SetMap(g, set, src, 0, 64*kib)
					t.CheckParts(set, a, b)
				}
			})
		},
	}, {
		Name: page + "read-after-first-map",
		Rows: []string{page + "read-after-first-map"},
		Run: func(t *T) {
			t.EachGeneration(func(g Generation) {
				_, src := t.SetFile(64 * kib)
				for _, effective := range granularities {
					t.Force(effective.String())
					set := t.Set()
					_, err := set.StoreGranularity()
					t.Expect("PMEMSET_E_NO_PART_MAPPED", err, "StoreGranularity() of an empty set")
					t.SetMap(g, set, src, 0, 64*kib)
					checkSetGranularity(t, set, effective)
				}
			})
		},
	}, {
		Name: page + "libpmem2-maps-all-source-types",
		Rows: []string{page + "libpmem2-maps-all-source-types"},
		Run:  setSourcesAreMappedAlike,
	}}
}

func setGranularityValues(t *T) {
	const code = "PMEMSET_E_GRANULARITY_NOT_SUPPORTED"
	invalid := []pmem2.Granularity{-1, 3, 4, 999, math.MinInt32, math.MaxInt32}
	cfg := t.NewSetConfig()
	for _, g := range invalid {
		t.Expect(code, cfg.SetRequiredStoreGranularity(g), "SetRequiredStoreGranularity(%d)", int(g))
	}
	t.NoSet("PMEMSET_E_GRANULARITY_NOT_SET", cfg, "a config whose setter has failed")
	_, src := t.SetFile(64 * kib)
	t.Force("PAGE")
	for _, g := range granularities {
		t.Must(cfg.SetRequiredStoreGranularity(g), "SetRequiredStoreGranularity(%d)", int(g))
		for _, bad := range invalid {
			t.Expect(code, cfg.SetRequiredStoreGranularity(bad), "SetRequiredStoreGranularity(%d)", int(bad))
		}
		// The refused values have left the one before in force.
		if g == pmem2.GranularityPage {
			t.SetMap(Release112, t.Set(cfg), src, 0, 0)
		} else {
			t.NoSetMap("PMEMSET_E_INVALID_PMEM2_MAP", Release112, t.Set(cfg), src, 0, 0)
		}
	}
}

// checkSetGranularity expects a set to have that effective granularity.
func checkSetGranularity(t *T, set Set, want pmem2.Granularity) {
	got, err := set.StoreGranularity()
	t.Must(err, "StoreGranularity()")
	t.Check(got == want, "the set's granularity is %v, want %v", got, want)
}

// setSourcesAreMappedAlike finds libpmem2's rules with each kind of source.
func setSourcesAreMappedAlike(t *T) {
	const size = 128 * kib
	t.EachGeneration(func(g Generation) {
		_, file := t.SetFile(size)
		_, temporary := t.TemporarySetSource()
		sources := []struct {
			name string
			src  SetSource
		}{{"a file", file}, {"a temporary file", temporary}, {"a source of libpmem2", t.SetSourceOf(t.FileSource(size))}}
		for _, s := range sources {
			t.Note("source", "%s", s.name)
			t.Force("CACHE_LINE")
			set := t.Set()
			d := t.SetMap(g, set, s.src, 64*kib, 64*kib)
			checkSetGranularity(t, set, pmem2.GranularityCacheLine)
			checkMapped(t, d.Addr, d.Size, "rw-s")

			cause := t.NoSetMap("PMEMSET_E_INVALID_PMEM2_MAP", g, set, s.src, 100, 64*kib)
			t.Check(cause == "PMEM2_E_OFFSET_UNALIGNED", "%s at offset 100: below it is %q from libpmem2", s.name, cause)
			t.NoSetMap("PMEMSET_E_LENGTH_UNALIGNED", g, set, s.src, 0, 64*kib+1)
			t.CheckParts(set, d)

			t.Force("PAGE")
			cfg := t.NewSetConfig()
			t.Must(cfg.SetRequiredStoreGranularity(pmem2.GranularityByte), "SetRequiredStoreGranularity(BYTE)")
			cause = t.NoSetMap("PMEMSET_E_INVALID_PMEM2_MAP", g, t.Set(cfg), s.src, 0, 64*kib)
			t.Check(cause == "PMEM2_E_GRANULARITY_NOT_SUPPORTED", "%s at PAGE: below it is %q from libpmem2", s.name, cause)
		}
	})
}

func setConfigReservationCases() []Case {
	const page = "pmemset_config_set_reservation/"
	return []Case{{
		Name: page + "none",
		Rows: []string{page + "(void)#1"},
		Run: func(t *T) {
			cfg := t.SetConfig()
			r := t.Reservation(0, mib)
			_, src := t.SetFile(64 * kib)
			t.Must(cfg.SetReservation(nil), "SetReservation(none) of a config that has none")
			t.Must(cfg.SetReservation(r), "SetReservation()")
			inside := t.Set(cfg)
			t.Must(cfg.SetReservation(nil), "SetReservation(none)")
			outside := t.Set(cfg)
			a := t.SetMap(Release112, inside, src, 0, 0)
			t.Check(a.Addr == r.Address(), "the part is at %#x, want %#x, where the reservation begins", a.Addr, r.Address())
			b := t.SetMap(Release112, outside, src, 0, 0)
			t.Check(b.Addr+uintptr(b.Size) <= r.Address() || b.Addr >= r.Address()+mib,
				"the part is at %#x, in the reservation that was taken back", b.Addr)
		},
	}, {
		Name: page + "reservation-for-whole-set",
		Rows: []string{page + "reservation-for-whole-set"},
		Run: func(t *T) {
			t.EachGeneration(func(g Generation) {
				r := t.Reservation(0, mib)
				start := r.Address()
				cfg := t.SetConfigIn(r)
				set := t.Set(cfg)
				_, first := t.SetFile(256 * kib)
				_, second := t.SetFile(256 * kib)
				// Parts of two sources, whatever the coalescing.
				var parts []pmemset.PartDescriptor
				for i, c := range []pmemset.Coalescing{pmemset.CoalescingNone, pmemset.CoalescingOpportunistic, pmemset.CoalescingFull} {
					t.Coalesce(set, c)
					parts = append(parts, t.SetMap(g, set, []SetSource{first, second}[i%2], 0, 128*kib))
				}
				t.Check(parts[0] == pmemset.PartDescriptor{Addr: start, Size: 128 * kib}, "the first part is %s, not where the reservation begins",
					partText(parts[0]))
				t.CheckParts(set, pmemset.PartDescriptor{Addr: start, Size: 384 * kib})
				checkReservation(t, r, start, mib)
				t.Expect("PMEM2_E_VM_RESERVATION_NOT_EMPTY", r.Delete(), "Delete() of the reservation with a set in it")
				t.Delete(set)
				checkReservation(t, r, start, mib)
				checkEmpty(t, r)
			})
		},
	}, {
		Name: page + "limits-later-mappings",
		Rows: []string{page + "limits-later-mappings"},
		Run: func(t *T) {
			t.EachGeneration(func(g Generation) {
				r := t.Reservation(0, 192*kib)
				set := t.Set(t.SetConfigIn(r))
				_, src := t.SetFile(256 * kib)
				t.NoSetMap("PMEMSET_E_CANNOT_FIT_PART_MAP", g, set, src, 0, 256*kib)
				var parts []pmemset.PartDescriptor
				for i := range uint64(3) {
					parts = append(parts, t.SetMap(g, set, src, i*64*kib, 64*kib))
				}
				for _, c := range []pmemset.Coalescing{pmemset.CoalescingNone, pmemset.CoalescingOpportunistic, pmemset.CoalescingFull} {
					t.Coalesce(set, c)
					t.NoSetMap("PMEMSET_E_CANNOT_FIT_PART_MAP", g, set, src, 0, t.Page())
				}
				t.CheckParts(set, parts...)
				checkReservation(t, r, parts[0].Addr, 192*kib)
			})
		},
	}, {
		Name: page + "every-part-goes-there",
		Rows: []string{page + "every-part-goes-there"},
		Run: func(t *T) {
			t.EachGeneration(func(g Generation) {
				r := t.Reservation(0, mib)
				set := t.Set(t.SetConfigIn(r))
				_, src := t.SetFile(mib)
				at := func(offset, size uint64) pmemset.PartDescriptor {
					return pmemset.PartDescriptor{Addr: r.Address() + uintptr(offset), Size: size}
				}
				place := func(want pmemset.PartDescriptor) {
					got := t.SetMap(g, set, src, 0, want.Size)
					t.Check(got == want, "%s, want %s, the lowest place that is free", partText(got), partText(want))
				}
				place(at(0, 128*kib))
				place(at(128*kib, 256*kib))
				place(at(384*kib, 64*kib))
				t.Must(set.RemoveRange(r.Address()+128*kib, 256*kib), "RemoveRange() of the second part")
				place(at(128*kib, 192*kib))
				place(at(448*kib, 128*kib)) // what is left of the hole has room for 64K
				place(at(320*kib, 64*kib))
				t.CheckParts(set, at(0, 128*kib), at(128*kib, 192*kib), at(320*kib, 64*kib), at(384*kib, 64*kib), at(448*kib, 128*kib))
				checkMapped(t, r.Address(), 576*kib, "rw-s")
			})
		},
	}}
}
