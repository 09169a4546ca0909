package conformance

import (
	"bytes"
	"slices"

	"pmemlab/pmem2"
	"pmemlab/pmemset"
)

// setBadBlockCases are those of pmemset_source_set_badblock_detection(3) and
// pmemset_badblock_clear(3).
func setBadBlockCases() []Case {
	return slices.Concat(setDetectionCases(), setClearCases(), setNoClearCases())
}

// onBadSetMedia calls f with a source of libpmemset of a DAX file, and of a device DAX,
// both full of a pattern, on media that can go bad.
func onBadSetMedia(t *T, f func(o Object, own Source, src SetSource, content []byte, what string)) {
	onBadMedia(t, func(o Object, _ int, own Source, content []byte, what string) {
		f(o, own, t.SetSource(o.Path()), content, what)
	})
}

// whole is the length of a part that is all of a file, or one unit of a device.
func whole(content []byte) uint64 { return min(uint64(len(content)), daxAlign) }

func setDetectionCases() []Case {
	const page = "pmemset_source_set_badblock_detection/"
	return []Case{{
		Name: page + "part of the API",
		Rows: []string{page + "(link)#1"},
		Run: func(t *T) {
			_, file := t.SetFile(64 * kib)
			_, temporary := t.TemporarySetSource()
			for _, src := range []SetSource{file, temporary, t.SetSourceOf(t.FileSource(64 * kib))} {
				set, events := t.SetWithEvents()
				for _, on := range []bool{true, true, false, false, true} {
					t.Must(src.SetBadBlockDetection(on), "SetBadBlockDetection(%t)", on)
				}
				d := t.SetMap(Release112, set, src, 0, 64*kib)
				events.Name("A", d.Addr)
				t.Events(set, events, "PART_ADD A 64K")
			}
		},
	}, {
		Name: page + "off-by-default",
		Rows: []string{page + "off-by-default", page + "switches-on-and-off"},
		Run: func(t *T) {
			onBadSetMedia(t, func(o Object, own Source, src SetSource, content []byte, what string) {
				t.poison(o, 4096, 4096)
				n := whole(content)
				mapped := func(src SetSource) {
					set, events := t.SetWithEvents()
					d := t.SetMap(Release112, set, src, 0, n)
					events.Name("A", d.Addr)
					t.Events(set, events, "PART_ADD A "+amount(n))
				}
				found := func(src SetSource) {
					set, events := t.SetWithEvents()
					t.NoSetMap("PMEMSET_E_IO_FAIL", Release112, set, src, 0, n)
					t.Events(set, events, "BADBLOCK 4K 4K")
				}
				mapped(src)
				other := t.SetSourceOf(own)
				t.Must(src.SetBadBlockDetection(true), "SetBadBlockDetection(on)")
				found(src)
				mapped(other)
				found(src)
				t.Must(src.SetBadBlockDetection(false), "SetBadBlockDetection(off)")
				mapped(src)
				t.Must(other.SetBadBlockDetection(true), "SetBadBlockDetection(on) of the other source")
				mapped(src)
				found(other)
			})
		},
	}, {
		Name: page + "map-searches-and-fires",
		Rows: []string{page + "map-searches-and-fires"},
		Run:  badBlocksAreTold,
	}, {
		Name: page + "blocks-via-callback-and-clear",
		Rows: []string{page + "blocks-via-callback-and-clear", page + "cleared-event"},
		Run:  badBlocksAreCleared,
	}, {
		Name: page + "some are left",
		Rows: []string{page + "blocks-via-callback-and-clear", page + "cleared-event"},
		Run: func(t *T) {
			// Blocks that are left keep the source from being mapped, whichever they are.
			bad := []uint64{4096, 8 * 4096, 63 * 4096}
			for left := range bad {
				onBadSetMedia(t, func(o Object, own Source, src SetSource, content []byte, what string) {
					for _, at := range bad {
						t.poison(o, at, 4096)
					}
					t.Must(src.SetBadBlockDetection(true), "SetBadBlockDetection(on)")
					set, events := t.SetWithEvents()
					events.Answer = func(e SetEvent) error {
						if e.BadBlock.Offset == bad[left] {
							return nil
						}
						return e.Source.ClearBadBlock(e.BadBlock)
					}
					t.NoSetMap("PMEMSET_E_IO_FAIL", Release112, set, src, 0, whole(content))
					t.Events(set, events, "BADBLOCK 4K 4K", "BADBLOCK 32K 4K", "BADBLOCK 252K 4K")
					checkBadBlocks(t, own, pmem2.BadBlock{Offset: bad[left], Length: 4096})
					// The one that is left is cleared the next time.
					events.Answer = func(e SetEvent) error {
						if e.Type != pmemset.EventBadBlock {
							return nil
						}
						return e.Source.ClearBadBlock(e.BadBlock)
					}
					d := t.SetMap(Release112, set, src, 0, whole(content))
					events.Name("A", d.Addr)
					t.Events(set, events, "BADBLOCK "+amount(bad[left])+" 4K", "BADBLOCKS_CLEARED", "PART_ADD A "+amount(d.Size))
				})
			}
		},
	}, {
		Name: page + "cleared-event",
		Rows: []string{page + "cleared-event"},
		Run: func(t *T) {
			onBadSetMedia(t, func(o Object, own Source, src SetSource, content []byte, what string) {
				t.poison(o, 0, 4096)
				t.Must(src.SetBadBlockDetection(true), "SetBadBlockDetection(on)")
				set, events := t.SetWithEvents()
				// What the callback says of the whole is the end of the call, and nothing else is.
				events.Answer = func(e SetEvent) error {
					if e.BadBlock.Length > 0 {
						if err := e.Source.ClearBadBlock(e.BadBlock); err != nil {
							return nil
						}
					}
					return ErrCallback
				}
				t.NoSetMap("(callback)", Release112, set, src, 0, whole(content))
				all := t.Events(set, events, "BADBLOCK 0 4K", "BADBLOCKS_CLEARED")
				for _, e := range all {
					t.Check(e.Source == src, "%v comes with another source than the one that is mapped", e.Type)
				}
				checkBadBlocks(t, own)
				d := t.SetMap(Release112, set, src, 0, whole(content))
				events.Name("A", d.Addr)
				t.Events(set, events, "PART_ADD A "+amount(d.Size))
			})
		},
	}, {
		Name: page + "no callback",
		Rows: []string{page + "map-searches-and-fires"},
		Run: func(t *T) {
			onBadSetMedia(t, func(o Object, own Source, src SetSource, content []byte, what string) {
				t.poison(o, 4096, 4096)
				t.Must(src.SetBadBlockDetection(true), "SetBadBlockDetection(on)")
				set := t.Set()
				t.NoSetMap("PMEMSET_E_IO_FAIL", Release112, set, src, 0, whole(content))
				checkBadBlocks(t, own, pmem2.BadBlock{Offset: 4096, Length: 4096})
				t.Must(src.ClearBadBlock(pmem2.BadBlock{Offset: 4096, Length: 4096}), "ClearBadBlock(4K at 4K)")
				t.SetMap(Release112, set, src, 0, whole(content))
			})
		},
	}}
}

// badBlocksAreTold maps what has bad blocks everywhere, and none, with nobody who clears
// them.
func badBlocksAreTold(t *T) {
	onBadSetMedia(t, func(o Object, own Source, src SetSource, content []byte, what string) {
		t.Must(src.SetBadBlockDetection(true), "SetBadBlockDetection(on)")
		set, events := t.SetWithEvents()
		n := whole(content)
		d := t.SetMap(Release112, set, src, 0, n)
		events.Name("A", d.Addr)
		t.Events(set, events, "PART_ADD A "+amount(n))

		// Not in the order of their offsets; the last isn't in the part.
		t.poison(o, 20*4096, 4096)
		t.poison(o, 63*4096, 4096)
		t.poison(o, 0, 4096)
		t.poison(o, 4*4096, 3*4096)
		want := []string{"BADBLOCK 0 4K", "BADBLOCK 16K 12K", "BADBLOCK 80K 4K", "BADBLOCK 252K 4K"}
		if uint64(len(content)) > n {
			t.poison(o, uint64(len(content))-4096, 4096)
			want = append(want, "BADBLOCK "+amount(uint64(len(content))-4096)+" 4K")
		}
		for _, r := range [][2]uint64{{0, n}, {0, 0}} {
			t.NoSetMap("PMEMSET_E_IO_FAIL", Release112, set, src, r[0], r[1])
			for _, e := range t.Events(set, events, want...) {
				t.Check(e.Source == src, "BADBLOCK comes with another source than the one that is mapped")
			}
		}
		checkSize(t, own, uint64(len(content)), what+" that wasn't mapped")
		// What is mapped stays mapped.
		t.CheckParts(set, d)
		checkBytes(t, d.Bytes()[7*4096:20*4096], content[7*4096:20*4096], "%s between bad blocks", what)
	})
	// All of a file is searched, and it doesn't grow for a part that isn't mapped.
	o, _, own, content := t.badFile(16, knownRegion)
	t.poison(o, 15*4096, 4096)
	src := t.SetSource(o.Path())
	t.Must(src.SetBadBlockDetection(true), "SetBadBlockDetection(on)")
	set, events := t.SetWithEvents()
	for _, r := range [][2]uint64{{0, 4096}, {4096, 4096}, {0, 32 * 4096}, {64 * 4096, 4096}} {
		t.NoSetMap("PMEMSET_E_IO_FAIL", Release112, set, src, r[0], r[1])
		t.Events(set, events, "BADBLOCK 60K 4K")
		checkSize(t, own, uint64(len(content)), "the file that wasn't mapped")
	}
}

// badBlocksAreCleared has the callback clear every block, and complain of each.
func badBlocksAreCleared(t *T) {
	onBadSetMedia(t, func(o Object, own Source, src SetSource, content []byte, what string) {
		bad := []pmem2.BadBlock{{Offset: 0, Length: 4096}, {Offset: 4 * 4096, Length: 3 * 4096}, {Offset: 63 * 4096, Length: 4096}}
		for _, b := range bad {
			t.poison(o, b.Offset, b.Length)
		}
		t.Must(src.SetBadBlockDetection(true), "SetBadBlockDetection(on)")
		set, events := t.SetWithEvents()
		var told []pmem2.BadBlock
		var outcomes []string
		events.Answer = func(e SetEvent) error {
			if e.Type != pmemset.EventBadBlock {
				return nil
			}
			told = append(told, e.BadBlock)
			outcomes = append(outcomes, t.Lib.Outcome(e.Source.ClearBadBlock(e.BadBlock)))
			return ErrCallback
		}
		d := t.SetMap(Release112, set, src, 0, whole(content))
		t.Check(slices.Equal(told, bad), "the blocks are %v, want %v", told, bad)
		t.Check(slices.Equal(outcomes, []string{"0", "0", "0"}), "ClearBadBlock in the callback returns %v", outcomes)
		events.Name("A", d.Addr)
		all := t.Events(set, events, "BADBLOCK 0 4K", "BADBLOCK 16K 12K", "BADBLOCK 252K 4K", "BADBLOCKS_CLEARED", "PART_ADD A "+amount(d.Size))
		for _, e := range all[:4] {
			t.Check(e.Source == src, "%v comes with another source than the one that is mapped", e.Type)
		}
		want := bytes.Clone(content[:d.Size])
		for _, b := range bad {
			clear(want[b.Offset:][:b.Length])
		}
		checkBytes(t, d.Bytes(), want, "%s when all is cleared", what)
		checkBadBlocks(t, own)
		second := t.SetMap(Release112, set, src, 0, whole(content))
		events.Name("B", second.Addr)
		t.Events(set, events, "PART_ADD B "+amount(d.Size))
	})
}
