package conformance

import (
	"math"

	"pmemlab/pmem2"
)

func reservationShrinkCases() []Case {
	return []Case{{
		Name: "pmem2_vm_reservation_shrink/shrinks-by-region",
		Rows: []string{"pmem2_vm_reservation_shrink/shrinks-by-region", "pmem2_vm_reservation_shrink/zero-on-success"},
		Run: func(t *T) {
			page := t.Page()
			at := freeSpace(t, 16*mib)
			size := uint64(8 * mib)
			r := t.Reservation(at, size)
			for _, n := range []uint64{page, mib, 3 * page, 2 * mib} {
				t.Must(r.Shrink(size-n, n), "Shrink(%d, %d), at the end", size-n, n)
				size -= n
				checkReservation(t, r, at, size)
				t.Must(r.Shrink(0, n), "Shrink(0, %d), at the start", n)
				size -= n
				at += uintptr(n)
				checkReservation(t, r, at, size)
				checkBlank(t, at, size)
			}
			// Down to a page.
			t.Must(r.Shrink(page, size-page), "Shrink(%d, %d), all but the first page", page, size-page)
			checkReservation(t, r, at, page)
			checkBlank(t, at, page)
			t.Must(r.Extend(page), "Extend(%d)", page)
			t.Must(r.Shrink(0, page), "Shrink(0, %d), all but the last page", page)
			checkReservation(t, r, at+uintptr(page), page)
		},
	}, {
		Name: "pmem2_vm_reservation_shrink/releases-range",
		Rows: []string{"pmem2_vm_reservation_shrink/releases-range"},
		Run: func(t *T) {
			page := t.Page()
			for _, n := range []uint64{page, 16 * page, mib, 2 * mib, 2*mib + page} {
				at := freeSpace(t, 16*mib)
				const size = 8 * mib
				r := t.Reservation(at, size)
				t.Must(r.Shrink(size-n, n), "Shrink(%d, %d)", size-n, n)
				checkWhollyFree(t, at+uintptr(size-n), n, "cut off at the end")
				checkWhollyFree(t, at+uintptr(size-n), n+mib, "cut off at the end, and behind it")
				t.Must(r.Shrink(0, n), "Shrink(0, %d)", n)
				checkWhollyFree(t, at, n, "cut off at the start")
				checkWhollyFree(t, at-mib, mib+n, "cut off at the start, and before it")
				if padded(t, at, n) || padded(t, at+uintptr(size-n), n) {
					continue
				}
				// Exactly that: the pages beside the cuts still are reserved.
				for _, offset := range []uint64{n, size - n - page} {
					t.Check(!isFree(t, at+uintptr(offset), page), "the page at %d, beside a cut, isn't reserved any more", offset)
				}
				checkBlank(t, at+uintptr(n), size-2*n)
				// Others can have what was cut off, and it stays theirs.
				start, end := occupy(t, at, n), occupy(t, at+uintptr(size-n), n)
				t.Delete(r)
				t.Check(start() && end(), "deleting the reservation has touched what was cut off before")
				checkWhollyFree(t, at+uintptr(n), size-2*n, "where the rest was deleted")
			}
		},
	}, {
		Name: "pmem2_vm_reservation_shrink/mappings-preserved",
		Rows: []string{"pmem2_vm_reservation_shrink/mappings-preserved"},
		Run: func(t *T) {
			page := t.Page()
			const size = 4 * mib
			fd := t.FileFD(2 * page)
			src := t.Source(fd)
			r := t.Reservation(0, size)
			first, last := t.MapAs(mapSpec{in: r, at: mib}, src), t.MapAs(mapSpec{in: r, at: 2 * mib, length: page}, src)
			firstAt, lastAt := first.Address(), last.Address()
			copy(first.Bytes(), "marker")
			t.Must(r.Shrink(0, mib), "Shrink(0, %d), up to the first map", mib)
			t.Must(r.Shrink(mib+page, 2*mib-page), "Shrink(%d, %d), from the end of the last map on", mib+page, 2*mib-page)
			t.Check(first.Address() == firstAt && last.Address() == lastAt, "a map has moved")
			t.Check(first.Size() == 2*page && last.Size() == page, "a map has another size")
			t.Check(string(first.Bytes()[:6]) == "marker" && string(last.Bytes()[:6]) == "marker", "the data is gone")
			copy(last.Bytes(), "MARKER")
			checkFile(t, fd, 0, []byte("MARKER"), "the file after another store")
			// Offsets count from the new start.
			checkReservation(t, r, firstAt, mib+page)
			checkFound(t, r, 0, 1, first)
			checkFound(t, r, 2*page-1, 1, first)
			checkFound(t, r, 2*page, mib, last)
			checkFound(t, r, mib, 1, last)
			checkNoneFound(t, r, 2*page, mib-2*page)
			t.MapAs(mapSpec{in: r, at: 2 * page}, src)
		},
	}, {
		Name: "pmem2_vm_reservation_shrink/not-empty",
		Rows: []string{
			"pmem2_vm_reservation_shrink/PMEM2_E_VM_RESERVATION_NOT_EMPTY#1", "pmem2_vm_reservation_shrink/region-must-be-empty",
		},
		Run: func(t *T) {
			page := t.Page()
			const size = mib
			at := freeSpace(t, 4*mib)
			src := t.FileSource(2 * page)
			r := t.Reservation(at, size)
			for _, c := range []struct{ mapAt, offset, n uint64 }{
				{0, 0, 2 * page}, {0, 0, page}, {page, 0, 2 * page}, {page, 0, 3 * page}, {size / 2, 0, size - page},
				{size - 2*page, size - 2*page, 2 * page}, {size - 2*page, size - page, page}, {size / 2, size/2 + page, size/2 - page},
				{0, page, size - page},
			} {
				m := t.MapAs(mapSpec{in: r, at: c.mapAt}, src)
				m.Bytes()[2*page-1] = 9
				t.Expect("PMEM2_E_VM_RESERVATION_NOT_EMPTY", r.Shrink(c.offset, c.n), "Shrink(%d, %d) with a map of %d bytes at %d",
					c.offset, c.n, 2*page, c.mapAt)
				checkReservation(t, r, at, size)
				t.Check(m.Bytes()[2*page-1] == 9, "the map's data is gone")
				checkFound(t, r, c.mapAt, 1, m)
				t.Must(m.Delete(), "Delete() of the map")
				checkBlank(t, at, size)
			}
			// Beside the region a map is no hindrance.
			t.MapAs(mapSpec{in: r, at: size / 2}, src)
			t.Must(r.Shrink(size/2+2*page, size/2-2*page), "Shrink(%d, %d), beside the map", size/2+2*page, size/2-2*page)
			t.Must(r.Shrink(0, size/2), "Shrink(0, %d), beside the map", size/2)
			checkReservation(t, r, at+size/2, 2*page)
		},
	}, {
		Name: "pmem2_vm_reservation_shrink/existing-map",
		Rows: []string{"pmem2_vm_reservation_shrink/0#1"},
		Run: func(t *T) {
			page := t.Page()
			const size, cut = 8 * mib, 4 * mib // a cut of less C may leave mapped
			at := freeSpace(t, 16*mib)
			r := t.Reservation(at, size)
			src := t.AnonSource(page)
			// The last page of it is memory of the caller's own.
			own := inReservation(t, at+uintptr(size-page), page)
			for _, c := range []struct{ mapAt, mapSize, offset uint64 }{
				{size - page, page, size - cut},
				{0, 1, 0}, {cut - 1, 1, 0}, {cut / 2, page, 0}, {0, size, 0}, {cut - 1, 2, 0}, // cut off at the start
				{size - cut, 1, size - cut}, {size - 1, 2, size - cut}, {size - cut - 1, 2, size - cut}, {0, size, size - cut}, // at the end
			} {
				m := t.Wrap(src, at+uintptr(c.mapAt), c.mapSize, pmem2.GranularityPage)
				if !t.Expect("PMEM2_E_VM_RESERVATION_NOT_EMPTY", r.Shrink(c.offset, cut), "Shrink(%d, %d) with an existing map of %d bytes at %d",
					c.offset, cut, c.mapSize, c.mapAt) {
					return
				}
				checkReservation(t, r, at, size)
				checkBlank(t, at, size-page)
				t.Check(own(), "the caller's own memory has been touched")
				t.Delete(m)
			}
			// Beside the region a map is no hindrance, in the reservation or outside of it.
			t.Wrap(src, at-1, 1, pmem2.GranularityPage)
			t.Wrap(src, at+uintptr(size-page-1), 1, pmem2.GranularityPage)
			t.Must(r.Shrink(size-page, page), "Shrink(%d, %d), behind an existing map", size-page, page)
			t.Must(r.Shrink(0, page), "Shrink(0, %d), between existing maps", page)
			checkReservation(t, r, at+uintptr(page), size-2*page)
			checkFree(t, at+uintptr(size-page), page, "cut off behind an existing map")
		},
	}, {
		Name: "pmem2_vm_reservation_shrink/munmap-fails",
		Rows: []string{"pmem2_vm_reservation_shrink/-EAGAIN#1", "pmem2_vm_reservation_shrink/-ENOMEM#1"},
		Run: func(t *T) {
			page := t.Page()
			for _, errno := range []string{"EAGAIN", "ENOMEM"} {
				for _, offset := range []uint64{0, mib - page} {
					at := freeSpace(t, 4*mib)
					t.Lib = t.Inject("(" + errno + " (And (Op munmap) (OnIndex 0)))")
					r := t.Reservation(at, mib)
					t.Expect("-"+errno, r.Shrink(offset, page), "Shrink(%d, %d) with munmap failing", offset, page)
					checkReservation(t, r, at, mib)
					checkBlank(t, at, mib)
					t.Must(r.Shrink(offset, page), "Shrink(%d, %d) again", offset, page)
					t.Check(r.Size() == mib-page, "Size is %d, not %d", r.Size(), mib-page)
					checkFree(t, at+uintptr(offset), page, "cut off at the second attempt")
					t.Delete(r)
				}
			}
		},
	}}
}

func reservationShrinkRangeCases() []Case {
	const size = mib
	// refused is a case about arguments that are refused.
	refused := func(name string, rows []string, want string, args func(page uint64) [][2]uint64) Case {
		return Case{Name: "pmem2_vm_reservation_shrink/" + name, Rows: rows, Run: func(t *T) {
			page := t.Page()
			at := freeSpace(t, 4*mib)
			r := t.Reservation(at, size)
			for _, a := range args(page) {
				t.Expect(want, r.Shrink(a[0], a[1]), "Shrink(%#x, %#x) of %#x bytes", a[0], a[1], size)
				checkReservation(t, r, at, size)
			}
			checkBlank(t, at, size)
			checkFree(t, at-mib, mib, "before the reservation")
			checkFree(t, at+size, mib, "behind the reservation")
			t.Must(r.Shrink(0, page), "Shrink(0, %#x)", page) // it can be shrunk still
			checkReservation(t, r, at+uintptr(page), size-page)
		}}
	}
	return []Case{
		refused("offset-unaligned", []string{
			"pmem2_vm_reservation_shrink/PMEM2_E_OFFSET_UNALIGNED#1", "pmem2_vm_reservation_shrink/offset-and-size-aligned",
		}, "PMEM2_E_OFFSET_UNALIGNED", func(page uint64) [][2]uint64 {
			return [][2]uint64{{1, page}, {100, page}, {page / 2, page}, {page - 1, page}, {page + 1, page}, {size - 1, page}, {size - page + 1, page}}
		}),
		refused("length-unaligned", []string{
			"pmem2_vm_reservation_shrink/PMEM2_E_LENGTH_UNALIGNED#1", "pmem2_vm_reservation_shrink/offset-and-size-aligned",
		}, "PMEM2_E_LENGTH_UNALIGNED", func(page uint64) [][2]uint64 {
			return [][2]uint64{{0, 1}, {0, 100}, {0, page / 2}, {0, page - 1}, {0, page + 1}, {0, size - 1}, {size - page, page - 1}, {size - page, page + 1}}
		}),
		refused("offset-out-of-range", []string{
			"pmem2_vm_reservation_shrink/PMEM2_E_OFFSET_OUT_OF_RANGE#1", "pmem2_vm_reservation_shrink/region-inside-reservation",
		}, "PMEM2_E_OFFSET_OUT_OF_RANGE", func(page uint64) [][2]uint64 {
			return [][2]uint64{{size, page}, {size + page, page}, {2 * size, size}, {1 << 63, page}, {math.MaxUint64 - page + 1, page}}
		}),
		refused("length-out-of-range", []string{
			"pmem2_vm_reservation_shrink/PMEM2_E_LENGTH_OUT_OF_RANGE#1", "pmem2_vm_reservation_shrink/region-inside-reservation",
		}, "PMEM2_E_LENGTH_OUT_OF_RANGE", func(page uint64) [][2]uint64 {
			return [][2]uint64{
				{0, 0}, {page, 0}, {size - page, 0}, {0, size + page}, {0, 2 * size}, {page, size}, {size - page, 2 * page}, {0, 1 << 63},
			}
		}),
		refused("range-wraps", []string{
			"pmem2_vm_reservation_shrink/PMEM2_E_LENGTH_OUT_OF_RANGE#2", "pmem2_vm_reservation_shrink/region-inside-reservation",
		}, "PMEM2_E_LENGTH_OUT_OF_RANGE", func(page uint64) [][2]uint64 {
			return [][2]uint64{
				{page, math.MaxUint64 - page + 1}, // to 0
				{2 * page, math.MaxUint64 - page + 1}, {size - page, math.MaxUint64 - page + 1},
				{page, math.MaxUint64 - page + 1 - page}, {size - page, math.MaxUint64 - size + 1 + 2*page}, // just below, just above

			}
		}),
		refused("only-start-or-end", []string{
			"pmem2_vm_reservation_shrink/PMEM2_E_NOSUPP#1", "pmem2_vm_reservation_shrink/only-start-or-end",
		}, "PMEM2_E_NOSUPP", func(page uint64) [][2]uint64 {
			return [][2]uint64{
				{0, size}, // the whole
				{page, page}, {page, size - 2*page}, {size / 2, page}, {size - 2*page, page}, {page, size - 3*page},
			}
		}),
		{
			Name: "pmem2_vm_reservation_shrink/failure-leaves-reservation",
			Rows: []string{"pmem2_vm_reservation_shrink/failure-leaves-reservation"},
			Run: func(t *T) {
				page := t.Page()
				at := freeSpace(t, 4*mib)
				r := t.Reservation(at, size)
				m := t.MapAs(mapSpec{in: r}, t.AnonSource(page))
				m.Bytes()[0] = 5
				for _, c := range []struct {
					offset, n uint64
					want      string
				}{
					{100, page, "PMEM2_E_OFFSET_UNALIGNED"}, {0, 100, "PMEM2_E_LENGTH_UNALIGNED"},
					{size, page, "PMEM2_E_OFFSET_OUT_OF_RANGE"}, {page, size, "PMEM2_E_LENGTH_OUT_OF_RANGE"},
					{page, page, "PMEM2_E_NOSUPP"}, {0, size, "PMEM2_E_NOSUPP"}, {0, page, "PMEM2_E_VM_RESERVATION_NOT_EMPTY"},
				} {
					t.Expect(c.want, r.Shrink(c.offset, c.n), "Shrink(%d, %d)", c.offset, c.n)
					checkReservation(t, r, at, size)
					t.Check(m.Bytes()[0] == 5, "the map's data is gone")
					checkFound(t, r, 0, size, m)
					checkBlank(t, at+uintptr(page), size-page)
				}
				checkFree(t, at+size, mib, "behind the reservation")
			},
		},
	}
}
