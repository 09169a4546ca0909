package conformance

import (
	"pmemlab/pmem2"
)

// mapNewDeviceCases checks what pmem2_map_new(3) says of device DAX.
func mapNewDeviceCases() []Case {
	return []Case{
		{
			Name:  "pmem2_map_new/device DAX, offset unaligned",
			Rows:  []string{"pmem2_map_new/PMEM2_E_OFFSET_UNALIGNED#2"},
			Needs: []Need{NeedDevDax},
			Run:   mapNewDeviceOffset,
		},
		{
			Name:  "pmem2_map_new/device DAX, length unaligned",
			Rows:  []string{"pmem2_map_new/PMEM2_E_LENGTH_UNALIGNED#2"},
			Needs: []Need{NeedDevDax},
			Run:   mapNewDeviceLength,
		},
		{
			Name:  "pmem2_map_new/device DAX, private",
			Rows:  []string{"pmem2_map_new/PMEM2_E_SRC_DEVDAX_PRIVATE#1"},
			Needs: []Need{NeedDevDax},
			Run:   mapNewDevicePrivate,
		},
		{
			Name:  "pmem2_map_new/device DAX at an unaligned address",
			Rows:  []string{"pmem2_map_new/PMEM2_E_ADDRESS_UNALIGNED#1"},
			Needs: []Need{NeedDevDax, NeedReservation},
			Run:   mapNewDeviceAddress,
		},
		{
			Name:  "pmem2_map_new/device DAX inside a page",
			Rows:  []string{"pmem2_map_new/PMEM2_E_ADDRESS_UNALIGNED#2"},
			Needs: []Need{NeedDevDax, NeedReservation},
			Run:   mapNewDeviceInsidePage,
		},
		{
			Name:  "pmem2_map_new/alignment can't be had",
			Rows:  []string{"pmem2_map_new/(pmem2_source_alignment)#1"},
			Needs: []Need{NeedDevDax, NeedSysfsEdit},
			Run:   mapNewAlignmentFails,
		},
	}
}

// mapDeviceWorks expects a map of device DAX to hold what is stored to it, and to
// show the device from the given offset on.
func mapDeviceWorks(t *T, src Source, m Map, offset uint64) {
	b := m.Bytes()
	last := len(b) - 1
	b[0], b[last] = 'a', 'z'
	t.Must(m.Persist(b[:1]), "Persist(the first byte)")
	t.Must(m.Persist(b[last:]), "Persist(the last byte)")
	whole := t.MapAs(mapSpec{}, src)
	seen := whole.Bytes()[offset:]
	t.Check(seen[0] == 'a' && seen[last] == 'z', "stores to the map are seen elsewhere than at offset %#x of the device", offset)
	b[0], b[last] = 0, 0
	t.Delete(whole)
}

func mapNewDeviceOffset(t *T) {
	const want = "PMEM2_E_OFFSET_UNALIGNED"
	page := t.Page()
	_, fd, src := t.Device()
	for _, offset := range []uint64{page, 1, 100, daxAlign / 2, daxAlign - page, daxAlign - 1, daxAlign + 1, daxAlign + page} {
		t.NoMapAs(want, mapSpec{offset: offset}, src)
		t.NoMapAs(want, mapSpec{offset: offset, length: daxAlign}, src)
		t.NoMapAs(want, mapSpec{offset: offset, sharing: pmem2.Private}, src) // before the sharing
		t.NoMapAs(want, mapSpec{offset: offset, length: page}, src)           // before the length
	}
	checkUnmapped(t, fd)
	for _, offset := range []uint64{0, daxAlign, daxSize - daxAlign} {
		m := t.MapAs(mapSpec{offset: offset, length: daxAlign}, src)
		t.Check(m.Size() == daxAlign, "Size() is %d, want %d", m.Size(), daxAlign)
		mapDeviceWorks(t, src, m, offset)
		t.Delete(m)
	}
}

func mapNewDeviceLength(t *T) {
	const want = "PMEM2_E_LENGTH_UNALIGNED"
	page := t.Page()
	_, fd, src := t.Device()
	for _, length := range []uint64{daxAlign + page, page, 1, daxAlign / 2, daxAlign - page, daxAlign - 1, daxAlign + 1, 1<<63 + page} {
		t.NoMapAs(want, mapSpec{length: length}, src)
		t.NoMapAs(want, mapSpec{length: length, offset: daxAlign}, src)
		t.NoMapAs(want, mapSpec{length: length, prot: pmem2.ProtRead}, src)
	}
	checkUnmapped(t, fd)
	for _, length := range []uint64{daxAlign, 3 * daxAlign} {
		m := t.MapAs(mapSpec{length: length}, src)
		t.Check(m.Size() == length, "Size() is %d, want %d", m.Size(), length)
		mapDeviceWorks(t, src, m, 0)
		t.Delete(m)
	}
}

func mapNewDevicePrivate(t *T) {
	const want = "PMEM2_E_SRC_DEVDAX_PRIVATE"
	page := t.Page()
	_, fd, src := t.Device()
	for _, s := range []mapSpec{
		{},
		{length: daxAlign},
		{offset: daxAlign, length: daxAlign},
		{prot: pmem2.ProtRead},
		{length: page},             // before the length's alignment
		{length: 1<<64 - daxAlign}, // and before the range
		{offset: 1 << 62},
		{length: daxSize + (1 << 40)},
	} {
		s.sharing = pmem2.Private
		t.NoMapAs(want, s, src)
	}
	r := t.Reservation(0, daxSize)
	t.NoMapAs(want, mapSpec{sharing: pmem2.Private, in: r, length: daxAlign}, src)
	checkEmpty(t, r)
	checkUnmapped(t, fd)
	mapDeviceWorks(t, src, t.MapAs(mapSpec{}, src), 0)
}

// mapDeviceReservation is a reservation in which four times the device's alignment
// can be used, and the offset of the first address there that is aligned.
func mapDeviceReservation(t *T) (r Reservation, aligned uint64) {
	r = t.Reservation(0, 5*daxAlign)
	return r, -uint64(r.Address()) % daxAlign
}

func mapNewDeviceAddress(t *T) {
	const want = "PMEM2_E_ADDRESS_UNALIGNED"
	page := t.Page()
	_, fd, src := t.Device()
	r, aligned := mapDeviceReservation(t)
	for _, at := range []uint64{page, daxAlign / 2, daxAlign - page, daxAlign + page, 2*daxAlign - page} {
		t.NoMapAs(want, mapSpec{length: daxAlign, in: r, at: aligned + at}, src)
		t.NoMapAs(want, mapSpec{length: 2 * daxAlign, offset: daxAlign, in: r, at: aligned + at}, src)
	}
	checkUnmapped(t, fd)
	checkEmpty(t, r)
	for _, at := range []uint64{0, daxAlign, 3 * daxAlign} {
		m := t.MapAs(mapSpec{length: daxAlign, offset: 2 * daxAlign, in: r, at: aligned + at}, src)
		mapDeviceWorks(t, src, m, 2*daxAlign)
	}
}

func mapNewDeviceInsidePage(t *T) {
	const want = "PMEM2_E_ADDRESS_UNALIGNED"
	page := t.Page()
	_, fd, src := t.Device()
	r, aligned := mapDeviceReservation(t)
	for _, at := range []uint64{100, 1, page - 1, page + 1, daxAlign - 1, daxAlign + 1} {
		t.NoMapAs(want, mapSpec{length: daxAlign, in: r, at: aligned + at}, src)
		t.NoMapAs(want, mapSpec{length: daxAlign, in: r, at: at}, src)
	}
	checkUnmapped(t, fd)
	checkEmpty(t, r)
}

func mapNewAlignmentFails(t *T) {
	o, fd, src := t.Device()
	align, size := readSysfs(t, o, "align"), readSysfs(t, o, "size")
	same := func(want string, s mapSpec) {
		noAlignment(t, want, src, "the device")
		t.NoMapAs(want, s, src)
	}
	specs := []mapSpec{
		{},
		{length: daxAlign},
		{offset: 1, length: 1, sharing: pmem2.Private}, // it comes first
	}
	for _, c := range []struct{ text, want string }{
		{"3145728\n", "PMEM2_E_INVALID_ALIGNMENT_VALUE"},
		{"0\n", "PMEM2_E_INVALID_ALIGNMENT_VALUE"},
		{"two\n", "PMEM2_E_INVALID_ALIGNMENT_FORMAT"},
		{"18446744073709551616\n", "-ERANGE"},
	} {
		setSysfs(t, o, "align", c.text)
		for _, s := range specs {
			same(c.want, s)
		}
	}
	// The alignment is asked before the size.
	setSysfs(t, o, "align", "3145728\n")
	setSysfs(t, o, "size", "many\n")
	for _, s := range specs {
		same("PMEM2_E_INVALID_ALIGNMENT_VALUE", s)
	}
	setSysfs(t, o, "align", align)
	t.NoMapAs("PMEM2_E_INVALID_SIZE_FORMAT", mapSpec{}, src)
	setSysfs(t, o, "size", size)

	checkUnmapped(t, fd)
	mapDeviceWorks(t, src, t.MapAs(mapSpec{}, src), 0)
}
