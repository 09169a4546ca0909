package conformance

import (
	"pmemlab/pmem2"
	"pmemlab/pmem2/platform"
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

const (
	mapDeviceAlign = 2 << 20
	mapDeviceSize  = 16 << 20
)

// mapDevice is a device DAX with an alignment of 2 MiB, of 16 MiB at least. Nothing
// forces its granularity: at PAGE it couldn't be persisted.
func mapDevice(t *T) (o Object, fd int, src Source) {
	mapForce(t, "")
	o, err := t.Env.DevDax(mapDeviceSize, mapDeviceAlign)
	t.suite(err, "device DAX of %d bytes", mapDeviceSize)
	fd = t.Open(o, platform.ORdwr)
	return o, fd, t.Source(fd)
}

// mapDeviceWorks expects a map of device DAX to hold what is stored to it, and to
// show the device from the given offset on.
func mapDeviceWorks(t *T, src Source, m Map, offset uint64) {
	b := m.Bytes()
	last := len(b) - 1
	b[0], b[last] = 'a', 'z'
	t.Must(m.Persist(b[:1]), "Persist(the first byte)")
	t.Must(m.Persist(b[last:]), "Persist(the last byte)")
	whole := mapMade(t, mapSpec{}, src)
	seen := whole.Bytes()[offset:]
	t.Check(seen[0] == 'a' && seen[last] == 'z', "stores to the map are seen elsewhere than at offset %#x of the device", offset)
	b[0], b[last] = 0, 0
	mapDeleted(t, whole)
}

func mapNewDeviceOffset(t *T) {
	const want = "PMEM2_E_OFFSET_UNALIGNED"
	page := mapPage(t)
	_, fd, src := mapDevice(t)
	for _, offset := range []uint64{page, 1, 100, mapDeviceAlign / 2, mapDeviceAlign - page, mapDeviceAlign - 1, mapDeviceAlign + 1, mapDeviceAlign + page} {
		mapRefused(t, want, mapSpec{offset: offset}, src)
		mapRefused(t, want, mapSpec{offset: offset, length: mapDeviceAlign}, src)
		mapRefused(t, want, mapSpec{offset: offset, sharing: pmem2.Private}, src) // before the sharing
		mapRefused(t, want, mapSpec{offset: offset, length: page}, src)           // before the length
	}
	t.Check(len(mapAreasOf(t, fd)) == 0, "NewMap fails and leaves the device mapped")
	for _, offset := range []uint64{0, mapDeviceAlign, mapDeviceSize - mapDeviceAlign} {
		m := mapMade(t, mapSpec{offset: offset, length: mapDeviceAlign}, src)
		t.Check(m.Size() == mapDeviceAlign, "Size() is %d, want %d", m.Size(), mapDeviceAlign)
		mapDeviceWorks(t, src, m, offset)
		mapDeleted(t, m)
	}
}

func mapNewDeviceLength(t *T) {
	const want = "PMEM2_E_LENGTH_UNALIGNED"
	page := mapPage(t)
	_, fd, src := mapDevice(t)
	for _, length := range []uint64{mapDeviceAlign + page, page, 1, mapDeviceAlign / 2, mapDeviceAlign - page, mapDeviceAlign - 1, mapDeviceAlign + 1, 1<<63 + page} {
		mapRefused(t, want, mapSpec{length: length}, src)
		mapRefused(t, want, mapSpec{length: length, offset: mapDeviceAlign}, src)
		mapRefused(t, want, mapSpec{length: length, prot: pmem2.ProtRead}, src)
	}
	t.Check(len(mapAreasOf(t, fd)) == 0, "NewMap fails and leaves the device mapped")
	for _, length := range []uint64{mapDeviceAlign, 3 * mapDeviceAlign} {
		m := mapMade(t, mapSpec{length: length}, src)
		t.Check(m.Size() == length, "Size() is %d, want %d", m.Size(), length)
		mapDeviceWorks(t, src, m, 0)
		mapDeleted(t, m)
	}
}

func mapNewDevicePrivate(t *T) {
	const want = "PMEM2_E_SRC_DEVDAX_PRIVATE"
	page := mapPage(t)
	_, fd, src := mapDevice(t)
	for _, s := range []mapSpec{
		{},
		{length: mapDeviceAlign},
		{offset: mapDeviceAlign, length: mapDeviceAlign},
		{prot: pmem2.ProtRead},
		{length: page},                   // before the length's alignment
		{length: 1<<64 - mapDeviceAlign}, // and before the range
		{offset: 1 << 62},
		{length: mapDeviceSize + (1 << 40)},
	} {
		s.sharing = pmem2.Private
		mapRefused(t, want, s, src)
	}
	r := t.Reservation(0, mapDeviceSize)
	mapRefused(t, want, mapSpec{sharing: pmem2.Private, reservation: r, length: mapDeviceAlign}, src)
	mapUnreserved(t, r, "the reservation after a failure")
	t.Check(len(mapAreasOf(t, fd)) == 0, "NewMap fails and leaves the device mapped")
	mapDeviceWorks(t, src, mapMade(t, mapSpec{}, src), 0)
}

// mapDeviceReservation is a reservation in which four times the device's alignment
// can be used, and the offset of the first address there that is aligned.
func mapDeviceReservation(t *T) (r Reservation, aligned uint64) {
	r = t.Reservation(0, 5*mapDeviceAlign)
	return r, -uint64(r.Address()) % mapDeviceAlign
}

func mapNewDeviceAddress(t *T) {
	const want = "PMEM2_E_ADDRESS_UNALIGNED"
	page := mapPage(t)
	_, fd, src := mapDevice(t)
	r, aligned := mapDeviceReservation(t)
	for _, at := range []uint64{page, mapDeviceAlign / 2, mapDeviceAlign - page, mapDeviceAlign + page, 2*mapDeviceAlign - page} {
		mapRefused(t, want, mapSpec{length: mapDeviceAlign, reservation: r, at: aligned + at}, src)
		mapRefused(t, want, mapSpec{length: 2 * mapDeviceAlign, offset: mapDeviceAlign, reservation: r, at: aligned + at}, src)
	}
	t.Check(len(mapAreasOf(t, fd)) == 0, "NewMap fails and leaves the device mapped")
	mapUnreserved(t, r, "the reservation after failures")
	for _, at := range []uint64{0, mapDeviceAlign, 3 * mapDeviceAlign} {
		m := mapMade(t, mapSpec{length: mapDeviceAlign, offset: 2 * mapDeviceAlign, reservation: r, at: aligned + at}, src)
		t.Check(m.Address() == r.Address()+uintptr(aligned+at), "the map is at %#x, want %#x", m.Address(), r.Address()+uintptr(aligned+at))
		mapDeviceWorks(t, src, m, 2*mapDeviceAlign)
	}
}

func mapNewDeviceInsidePage(t *T) {
	const want = "PMEM2_E_ADDRESS_UNALIGNED"
	page := mapPage(t)
	_, fd, src := mapDevice(t)
	r, aligned := mapDeviceReservation(t)
	for _, at := range []uint64{100, 1, page - 1, page + 1, mapDeviceAlign - 1, mapDeviceAlign + 1} {
		mapRefused(t, want, mapSpec{length: mapDeviceAlign, reservation: r, at: aligned + at}, src)
		mapRefused(t, want, mapSpec{length: mapDeviceAlign, reservation: r, at: at}, src)
	}
	t.Check(len(mapAreasOf(t, fd)) == 0, "NewMap fails and leaves the device mapped")
	mapUnreserved(t, r, "the reservation after failures")
}

func mapNewAlignmentFails(t *T) {
	o, fd, src := mapDevice(t)
	sysfs, align, size := t.Env.Sysfs(), o.SysfsDir()+"/align", o.SysfsDir()+"/size"
	before, err := t.Machine().ReadAttr(align)
	t.suite(err, "reading %s", align)
	set := func(path, text string) { t.suite(sysfs.Set(path, text), "writing %q to %s", text, path) }
	same := func(want string, s mapSpec) {
		_, err := src.Alignment()
		t.Expect(want, err, "Alignment()")
		mapRefused(t, want, s, src)
	}
	specs := []mapSpec{
		{},
		{length: mapDeviceAlign},
		{offset: 1, length: 1, sharing: pmem2.Private}, // it comes first
	}
	for _, c := range []struct{ text, want string }{
		{"3145728\n", "PMEM2_E_INVALID_ALIGNMENT_VALUE"},
		{"0\n", "PMEM2_E_INVALID_ALIGNMENT_VALUE"},
		{"two\n", "PMEM2_E_INVALID_ALIGNMENT_FORMAT"},
		{"18446744073709551616\n", "-ERANGE"},
	} {
		set(align, c.text)
		t.Note("sysfs", "%s says %q", align, c.text)
		for _, s := range specs {
			same(c.want, s)
		}
	}
	// The alignment is asked before the size.
	sizeBefore, err := t.Machine().ReadAttr(size)
	t.suite(err, "reading %s", size)
	set(align, "3145728\n")
	set(size, "many\n")
	for _, s := range specs {
		same("PMEM2_E_INVALID_ALIGNMENT_VALUE", s)
	}
	set(align, before)
	mapRefused(t, "PMEM2_E_INVALID_SIZE_FORMAT", mapSpec{}, src)
	set(size, sizeBefore)

	t.Check(len(mapAreasOf(t, fd)) == 0, "NewMap fails and leaves the device mapped")
	mapDeviceWorks(t, src, mapMade(t, mapSpec{}, src), 0)
}
