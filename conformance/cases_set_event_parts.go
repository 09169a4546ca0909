package conformance

import (
	"cmp"
	"math"
	"slices"

	"pmemlab/pmem2/platform"
	"pmemlab/pmemset"
)

// setPartEventCases are those of pmemset_config_set_event_callback(3) that are about
// the events of parts, and of sources.
func setPartEventCases() []Case {
	const page = eventPage
	reservation := []Need{NeedReservation}
	return slices.Concat(setSourceEventCases(), []Case{
		{Name: page + "PART_ADD", Needs: reservation, Rows: []string{page + "part-add-after-map"}, Run: ofGenerations(partAddAfterMap, Release112)},
		{Name: page + "PART_ADD, where", Needs: reservation, Rows: []string{page + "part-add-fields"}, Run: ofGenerations(partAddFields, Release112)},
		{Name: page + "PART_ADD, from what", Rows: []string{page + "part-add-source"}, Run: ofGenerations(partAddSource, Release112)},
		{
			Name: page + "PART_ADD, first generation", Needs: reservation, Rows: []string{page + "gen3-part-add"},
			Run: func(t *T) {
				for _, f := range []func(*T, Generation){partAddAfterMap, partAddFields, partAddSource} {
					ofGenerations(f, PartsAPI)(t)
				}
			},
		},
		{
			Name: page + "PART_REMOVE", Needs: reservation, Rows: []string{page + "part-remove-before-removal", page + "part-remove-fields"},
			Run: ofGenerations(partRemove, Release112),
		},
		{Name: page + "REMOVE_RANGE", Needs: reservation, Rows: []string{page + "remove-range-before-work"}, Run: ofGenerations(removeRangeBefore, Release112)},
		{
			Name: page + "REMOVE_RANGE, then PART_REMOVE", Needs: reservation,
			Rows: []string{page + "remove-range-fields", page + "remove-range-then-part-remove"},
			Run:  ofGenerations(removeRangeEvents, Release112),
		},
		{
			Name: page + "parts, second generation", Needs: reservation, Rows: []string{page + "gen2-part-events"},
			Run: func(t *T) {
				for _, f := range []func(*T, Generation){
					partAddAfterMap, partAddFields, partAddSource, partRemove, removeRangeBefore, removeRangeEvents,
				} {
					ofGenerations(f, MapAPI)(t)
				}
			},
		},
		{
			Name: page + "no removals, first generation", Needs: reservation, Rows: []string{page + "gen3-no-removal-events"},
			Run: ofGenerations(noRemovalEvents, PartsAPI),
		},
	})
}

// ofGenerations is a case that calls f for some generations.
func ofGenerations(f func(t *T, g Generation), generations ...Generation) func(t *T) {
	return func(t *T) { t.InGenerations(func(g Generation) { f(t, g) }, generations...) }
}

// setInReservation is a set whose events are recorded, in a reservation that begins at
// R: parts without coalescing lie there side by side.
func setInReservation(t *T) (Set, *SetEvents, Reservation) {
	r := t.Reservation(0, mib)
	set, told := t.SetWithEvents(t.SetConfigIn(r))
	told.Name("R", r.Address())
	return set, told, r
}

// partAddAfterMap sees that a part is there when it is told of.
func partAddAfterMap(t *T, g Generation) {
	set, r, _ := setInReservation(t)
	path, src := t.SetFile(256 * kib)
	content := pattern(256*kib, 1)
	t.WriteFile(t.Open(t.FileAt(path), platform.ORdwr), 0, content)
	var there []pmemset.PartDescriptor
	var memory []byte
	var failure error
	r.Answer = func(e SetEvent) error {
		m, err := e.Set.PartMapByAddress(e.Added.Addr)
		if err != nil {
			failure = err
			return nil
		}
		there = append(there, m.Descriptor())
		m.Drop()
		memory = slices.Clone(e.Added.Bytes())
		return nil
	}
	offset := uint64(0)
	for i, c := range []struct {
		coalescing pmemset.Coalescing
		size       uint64
	}{
		{pmemset.CoalescingNone, 64 * kib}, {pmemset.CoalescingNone, 32 * kib}, {pmemset.CoalescingFull, 64 * kib},
		{pmemset.CoalescingOpportunistic, 16 * kib}, {pmemset.CoalescingNone, 16 * kib},
	} {
		t.Coalesce(set, c.coalescing)
		t.NoSetMap("PMEMSET_E_LENGTH_UNALIGNED", g, set, src, 0, 64*kib+1)
		t.Events(set, r)
		d := t.SetMap(g, set, src, offset, c.size)
		t.Must(failure, "look-up of the part in the callback")
		t.Check(len(there) == i+1, "after %d parts there were %d events", i+1, len(there))
		t.Check(there[i] == d, "in the callback the part map is %s, behind the call %s", partText(there[i]), partText(d))
		checkBytes(t, memory, content[offset:offset+c.size], "the new part in the callback")
		told := r.Take()
		t.Check(len(told) == 1 && told[0].Type == pmemset.EventPartAdd && told[0].Set == set, "the events are %+v, want one PART_ADD", told)
		offset += c.size
	}
	t.Note("PART_ADD", "one for each of 5 parts, which can be looked up and read by then")
}

// partAddFields sees where the new part is, and where the whole part map.
func partAddFields(t *T, g Generation) {
	set, r, in := setInReservation(t)
	_, src := t.SetFile(256 * kib)
	for _, c := range []struct {
		coalescing   pmemset.Coalescing
		size         uint64
		whole, added pmemset.PartDescriptor // the addresses count from R
	}{
		{pmemset.CoalescingNone, 64 * kib, pmemset.PartDescriptor{Size: 64 * kib}, pmemset.PartDescriptor{Size: 64 * kib}},
		{pmemset.CoalescingFull, 128 * kib, pmemset.PartDescriptor{Size: 192 * kib}, pmemset.PartDescriptor{Addr: 64 * kib, Size: 128 * kib}},
		{pmemset.CoalescingOpportunistic, 32 * kib, pmemset.PartDescriptor{Size: 224 * kib}, pmemset.PartDescriptor{Addr: 192 * kib, Size: 32 * kib}},
		{pmemset.CoalescingNone, 16 * kib, pmemset.PartDescriptor{Addr: 224 * kib, Size: 16 * kib}, pmemset.PartDescriptor{Addr: 224 * kib, Size: 16 * kib}},
		{pmemset.CoalescingFull, 16 * kib, pmemset.PartDescriptor{Addr: 224 * kib, Size: 32 * kib}, pmemset.PartDescriptor{Addr: 240 * kib, Size: 16 * kib}},
	} {
		c.whole.Addr += in.Address()
		c.added.Addr += in.Address()
		t.Coalesce(set, c.coalescing)
		t.SetMap(g, set, src, 0, c.size)
		told := r.Take()
		t.Check(len(told) == 1 && told[0].Type == pmemset.EventPartAdd, "the events are %+v, want one PART_ADD", told)
		whole := pmemset.PartDescriptor{Addr: told[0].Addr, Size: told[0].Len}
		t.Note("PART_ADD", "%s added, which makes %s", partText(told[0].Added), partText(whole))
		t.Check(told[0].Added == c.added, "the new part is %s, want %s", partText(told[0].Added), partText(c.added))
		t.Check(whole == c.whole, "the part map is %s, want %s", partText(whole), partText(c.whole))
	}
}

// partAddSource sees which source of libpmem2 a part was made from.
func partAddSource(t *T, g Generation) {
	set, r := t.SetWithEvents()
	added := func(src SetSource) Source {
		t.SetMap(g, set, src, 0, 64*kib)
		told := r.Take()
		t.Check(len(told) == 1 && told[0].Type == pmemset.EventPartAdd, "the events are %+v, want one PART_ADD", told)
		t.Check(told[0].PMem2Source != nil, "PART_ADD has no source of libpmem2")
		return told[0].PMem2Source
	}
	first, second := t.FileSource(64*kib), t.FileSource(128*kib)
	for _, own := range []Source{first, second, first} {
		t.Check(added(t.SetSourceOf(own)) == own, "the source isn't the one that the set's source was made from")
	}
	_, file := t.SetFile(192 * kib)
	_, other := t.SetFile(256 * kib)
	a, b := added(file), added(other)
	t.Check(a != b && a != first && b != first, "sources of different files are the same")
	t.Check(added(file) == a, "two parts of one source have different sources of libpmem2")
	for _, c := range []struct {
		src  Source
		size uint64
	}{{a, 192 * kib}, {b, 256 * kib}} {
		checkSize(t, c.src, c.size, "the source of libpmem2 within the set's")
	}
}

// withMemory has the callback keep what is at the address of the events of a type.
func withMemory(r *SetEvents, kind pmemset.EventType) (kept *[][]byte) {
	kept = new([][]byte)
	r.Answer = func(e SetEvent) error {
		if e.Type == kind {
			*kept = append(*kept, slices.Clone(platform.Bytes(e.Addr, e.Len)))
		}
		return nil
	}
	return kept
}

func partRemove(t *T, g Generation) {
	set, r, in := setInReservation(t)
	path, src := t.SetFile(256 * kib)
	content := pattern(256*kib, 1)
	t.WriteFile(t.Open(t.FileAt(path), platform.ORdwr), 0, content)
	remove := func(d pmemset.PartDescriptor) {
		m, err := set.PartMapByAddress(d.Addr)
		t.Must(err, "PartMapByAddress(%#x)", d.Addr)
		t.Must(set.RemovePartMap(m), "RemovePartMap(%s)", partText(d))
	}
	removeRange := func(d pmemset.PartDescriptor) {
		t.Must(set.RemoveRange(d.Addr, d.Size), "RemoveRange(%s)", partText(d))
	}
	for _, c := range []struct {
		how    func(d pmemset.PartDescriptor)
		pieces []uint64
		told   []string
	}{
		{remove, []uint64{64 * kib}, []string{"PART_REMOVE R 64K"}},
		{remove, []uint64{64 * kib, 96 * kib, 32 * kib}, []string{"PART_REMOVE R 192K"}},
		{removeRange, []uint64{32 * kib}, []string{"REMOVE_RANGE R 32K", "PART_REMOVE R 32K"}},
		{removeRange, []uint64{96 * kib, 64 * kib}, []string{"REMOVE_RANGE R 160K", "PART_REMOVE R 160K"}},
	} {
		memory := withMemory(r, pmemset.EventPartRemove)
		var size uint64
		for i, n := range c.pieces {
			t.Coalesce(set, []pmemset.Coalescing{pmemset.CoalescingNone, pmemset.CoalescingFull}[min(i, 1)])
			t.SetMap(g, set, src, size, n)
			size += n
		}
		whole := pmemset.PartDescriptor{Addr: in.Address(), Size: size}
		t.CheckParts(set, whole)
		r.Take()
		c.how(whole)
		t.Events(set, r, c.told...)
		t.Check(len(*memory) == 1, "the memory was seen %d times", len(*memory))
		checkBytes(t, (*memory)[0], content[:size], "the part in the callback")
		t.CheckParts(set)
		checkBlank(t, whole.Addr, size)
	}
	// A call that fails removes nothing and tells nothing.
	r.Answer = nil
	t.Coalesce(set, pmemset.CoalescingNone)
	d := t.SetMap(g, set, src, 0, 64*kib)
	m, err := set.PartMapByAddress(d.Addr)
	t.Must(err, "PartMapByAddress()")
	other, err := set.PartMapByAddress(d.Addr)
	t.Must(err, "PartMapByAddress() again")
	r.Take()
	t.Expect("PMEMSET_E_PART_MAP_POSSIBLE_USE_AFTER_DROP", set.RemovePartMap(m), "RemovePartMap(a part map with two references)")
	t.Events(set, r)
	other.Drop()
	m.Drop()
	// Deleting a set tells nothing either.
	t.SetMap(g, set, src, 0, 32*kib)
	t.Events(set, r, "PART_ADD R+64K 32K")
	t.Delete(set)
	t.Events(set, r)
	checkBlank(t, in.Address(), mib)
}

// removeRangeBefore sees that everything is there at the event.
func removeRangeBefore(t *T, g Generation) {
	set, r, in := setInReservation(t)
	_, src := t.SetFile(256 * kib)
	var there []pmemset.PartDescriptor
	var memory [][]byte
	r.Answer = func(e SetEvent) error {
		if e.Type == pmemset.EventRemoveRange {
			there = t.PartMaps(e.Set)
			memory = nil
			for _, d := range there {
				memory = append(memory, slices.Clone(d.Bytes()))
			}
		}
		return nil
	}
	var parts []pmemset.PartDescriptor
	for i := range uint64(3) {
		d := t.SetMap(g, set, src, i*64*kib, 64*kib)
		copy(d.Bytes(), pattern(64*kib, byte(i)))
		parts = append(parts, d)
	}
	r.Take()
	t.Must(set.RemoveRange(parts[0].Addr+100, 64*kib), "RemoveRange(100 bytes into the first part, 64K)")
	t.Events(set, r, "REMOVE_RANGE R+100 64K", "PART_REMOVE R 64K", "PART_REMOVE R+64K 64K")
	t.Check(slices.Equal(there, parts), "at the event the part maps are %s, want %s", partsText(there), partsText(parts))
	for i, b := range memory {
		checkBytes(t, b, pattern(64*kib, byte(i)), "part %d at the event", i)
	}
	t.CheckParts(set, parts[2])
	checkBlank(t, in.Address(), 128*kib)
	// It is told before anything is looked at.
	t.Expect("PMEMSET_E_CANNOT_FIND_PART_MAP", set.RemoveRange(parts[0].Addr, 128*kib), "RemoveRange(nothing there)")
	t.Events(set, r, "REMOVE_RANGE R 128K")
	m, err := set.PartMapByAddress(parts[2].Addr)
	t.Must(err, "PartMapByAddress()")
	t.Expect("PMEMSET_E_PART_MAP_POSSIBLE_USE_AFTER_DROP", set.RemoveRange(parts[2].Addr, 1), "RemoveRange(a part map with a reference)")
	t.Events(set, r, "REMOVE_RANGE R+128K 1")
	m.Drop()
	t.CheckParts(set, parts[2])
}

// removeRangeEvents has ranges over whole part maps and over pieces.
func removeRangeEvents(t *T, g Generation) {
	const none, full = pmemset.CoalescingNone, pmemset.CoalescingFull
	type piece struct {
		c    pmemset.Coalescing
		size uint64
	}
	for _, c := range []struct {
		pieces []piece
		off, n uint64 // from R
		want   string // "" is success
		told   []string
		left   [][2]uint64
	}{
		{[]piece{{none, 256 * kib}}, 100 * kib, 1, "", []string{"REMOVE_RANGE R+100K 1", "PART_REMOVE R 256K"}, nil},
		{
			[]piece{{none, 32 * kib}, {none, 32 * kib}, {none, 32 * kib}}, 32*kib - 1, 2, "",
			[]string{"REMOVE_RANGE R+32767 2", "PART_REMOVE R 32K", "PART_REMOVE R+32K 32K"}, [][2]uint64{{64 * kib, 32 * kib}},
		},
		{
			[]piece{{none, 32 * kib}, {none, 64 * kib}, {none, 16 * kib}}, 0, 112 * kib, "",
			[]string{"REMOVE_RANGE R 112K", "PART_REMOVE R 32K", "PART_REMOVE R+32K 64K", "PART_REMOVE R+96K 16K"}, nil,
		},
		{ // all of a part map of three pieces
			[]piece{{none, 32 * kib}, {full, 32 * kib}, {full, 32 * kib}}, 32*kib - 1, 32*kib + 2, "",
			[]string{"REMOVE_RANGE R+32767 32770", "PART_REMOVE R 96K"}, nil,
		},
		{ // its end, its beginning, its middle
			[]piece{{none, 32 * kib}, {full, 32 * kib}, {full, 32 * kib}}, 64 * kib, 4 * kib, "",
			[]string{"REMOVE_RANGE R+64K 4K"}, [][2]uint64{{0, 64 * kib}},
		},
		{
			[]piece{{none, 32 * kib}, {full, 32 * kib}, {full, 32 * kib}}, 0, 1, "",
			[]string{"REMOVE_RANGE R 1"}, [][2]uint64{{32 * kib, 64 * kib}},
		},
		{
			[]piece{{none, 32 * kib}, {full, 32 * kib}, {full, 32 * kib}}, 40 * kib, 8 * kib, "",
			[]string{"REMOVE_RANGE R+40K 8K"}, [][2]uint64{{0, 32 * kib}, {64 * kib, 32 * kib}},
		},
		{ // pieces of one, and a whole one
			[]piece{{none, 32 * kib}, {full, 32 * kib}, {none, 64 * kib}}, 32 * kib, 33 * kib, "",
			[]string{"REMOVE_RANGE R+32K 33K", "PART_REMOVE R+64K 64K"}, [][2]uint64{{0, 32 * kib}},
		},
		{ // none
			[]piece{{none, 64 * kib}}, 64 * kib, 512 * kib, "PMEMSET_E_CANNOT_FIND_PART_MAP",
			[]string{"REMOVE_RANGE R+64K 512K"}, [][2]uint64{{0, 64 * kib}},
		},
		{[]piece{{none, 64 * kib}}, 5, 0, "", []string{"REMOVE_RANGE R+5 0"}, [][2]uint64{{0, 64 * kib}}},
	} {
		set, r, in := setInReservation(t)
		_, src := t.SetFile(256 * kib)
		for _, p := range c.pieces {
			t.Coalesce(set, p.c)
			t.SetMap(g, set, src, 0, p.size)
		}
		r.Take()
		var left []pmemset.PartDescriptor
		for _, l := range c.left {
			left = append(left, pmemset.PartDescriptor{Addr: in.Address() + uintptr(l[0]), Size: l[1]})
		}
		t.Expect(cmp.Or(c.want, "0"), set.RemoveRange(in.Address()+uintptr(c.off), c.n), "RemoveRange(R+%s, %s)", amount(c.off), amount(c.n))
		t.Events(set, r, c.told...)
		t.CheckParts(set, left...)
		t.Delete(set)
	}
	// The arguments as they are given, however far they go.
	set, r, _ := setInReservation(t)
	_, src := t.SetFile(64 * kib)
	t.SetMap(g, set, src, 0, 64*kib)
	r.Take()
	t.Must(set.RemoveRange(0, math.MaxUint64), "RemoveRange(0, 2^64-1)")
	told := r.Take()
	t.Check(len(told) == 2 && told[0].Type == pmemset.EventRemoveRange && told[0].Addr == 0 && told[0].Len == math.MaxUint64,
		"the events are %+v, want REMOVE_RANGE with the arguments, and PART_REMOVE", told)
}

// noRemovalEvents removes parts in every way.
func noRemovalEvents(t *T, g Generation) {
	set, r, in := setInReservation(t)
	_, src := t.SetFile(64 * kib)
	t.SetMap(g, set, src, 0, 32*kib)
	t.Coalesce(set, pmemset.CoalescingFull)
	t.SetMap(g, set, src, 0, 32*kib)
	t.Coalesce(set, pmemset.CoalescingNone)
	for range 3 {
		t.SetMap(g, set, src, 0, 32*kib)
	}
	t.Events(set, r, "PART_ADD R 32K", "PART_ADD R 64K", "PART_ADD R+64K 32K", "PART_ADD R+96K 32K", "PART_ADD R+128K 32K")
	at := func(off uintptr) uintptr { return in.Address() + off }
	t.Must(set.RemoveRange(at(32*kib), 1), "RemoveRange(a piece)")
	t.Must(set.RemoveRange(at(64*kib), 100), "RemoveRange(a part map)")
	t.Must(set.RemoveRange(at(0), 128*kib), "RemoveRange(two part maps)")
	t.Expect("PMEMSET_E_CANNOT_FIND_PART_MAP", set.RemoveRange(at(0), 1), "RemoveRange(nothing there)")
	t.CheckParts(set, pmemset.PartDescriptor{Addr: at(128 * kib), Size: 32 * kib})
	removeByHandle(t, set, pmemset.PartDescriptor{Addr: at(128 * kib), Size: 32 * kib})
	t.CheckParts(set)
	t.SetMap(g, set, src, 0, 32*kib)
	t.Events(set, r, "PART_ADD R 32K")
	t.Delete(set)
	t.Events(set, r)
}
