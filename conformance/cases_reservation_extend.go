package conformance

import (
	"fmt"
	"math"
)

func reservationExtendCases() []Case {
	return []Case{{
		Name: "pmem2_vm_reservation_extend/grows-by-size",
		Rows: []string{"pmem2_vm_reservation_extend/grows-by-size", "pmem2_vm_reservation_extend/zero-on-success"},
		Run: func(t *T) {
			page := t.Page()
			at := freeSpace(t, 64*mib)
			r := t.Reservation(at, 8*mib)
			size := uint64(8 * mib)
			for _, n := range []uint64{16 * mib, page, 0, 3 * page, 2 * mib} {
				t.Must(r.Extend(n), "Extend(%d)", n)
				size += n
				checkReservation(t, r, at, size)
				checkBlank(t, at, size)
				checkFree(t, at+uintptr(size), mib, "behind the reservation")
			}
			t.Delete(r)
			checkFree(t, at, 64*mib, "where all of it was deleted")
		},
	}, {
		Name: "pmem2_vm_reservation_extend/new-range-starts-at-old-end",
		Rows: []string{"pmem2_vm_reservation_extend/new-range-starts-at-old-end"},
		Run: func(t *T) {
			page := t.Page()
			at := freeSpace(t, 8*mib)
			r := t.Reservation(at, mib)
			t.Must(r.Extend(mib), "Extend(%d)", mib)
			t.Check(r.Address() == at, "Address is %#x, not %#x", r.Address(), at)
			checkBlank(t, at+mib, mib)
			checkBlank(t, at+uintptr(2*mib-page), page)
			fd := t.FileFD(2 * page)
			src := t.Source(fd)
			// Across the old end, and at the new one.
			t.MapAs(mapSpec{in: r, at: mib - page}, src).Bytes()[page] = 1
			checkFile(t, fd, page, []byte{1}, "the file under the map across the old end")
			t.MapAs(mapSpec{in: r, at: 2*mib - 2*page}, src).Bytes()[2*page-1] = 2
			checkFile(t, fd, 2*page-1, []byte{2}, "the file under the map at the new end")
		},
	}, {
		Name: "pmem2_vm_reservation_extend/mappings-preserved",
		Rows: []string{"pmem2_vm_reservation_extend/mappings-preserved"},
		Run: func(t *T) {
			page := t.Page()
			at := freeSpace(t, 8*mib)
			fd := t.FileFD(2 * page)
			src := t.Source(fd)
			r := t.Reservation(at, mib)
			first, last := t.MapAs(mapSpec{in: r, at: 0, length: page}, src), t.MapAs(mapSpec{in: r, at: mib - 2*page}, src)
			copy(last.Bytes(), "marker")
			t.Must(r.Extend(mib), "Extend(%d)", mib)
			t.Check(string(first.Bytes()[:6]) == "marker" && string(last.Bytes()[:6]) == "marker", "the data is gone")
			copy(first.Bytes(), "MARKER")
			checkFile(t, fd, 0, []byte("MARKER"), "the file after another store")
			t.Check(first.Address() == at && last.Address() == at+uintptr(mib-2*page), "a map has moved")
			checkFound(t, r, 0, 1, first)
			checkFound(t, r, mib-1, 1, last)
			checkFound(t, r, page, 2*mib, last)
			t.Must(last.Delete(), "Delete() of a map")
			checkBlank(t, at+uintptr(mib-2*page), mib+2*page)
		},
	}, {
		Name: "pmem2_vm_reservation_extend/mapping-exists",
		Rows: []string{"pmem2_vm_reservation_extend/PMEM2_E_MAPPING_EXISTS#1", "pmem2_vm_reservation_extend/failure-leaves-reservation"},
		Run: func(t *T) {
			page := t.Page()
			at := freeSpace(t, 64*mib)
			r := t.Reservation(at, 4*mib)
			src := t.FileSource(page)
			// At the old end, inside, and in the last page of the new range.
			for _, from := range []uint64{4 * mib, 16 * mib, 36*mib - page} {
				if padded(t, at+uintptr(from), page) {
					t.Note("mapping of a page at "+fmt.Sprint(from), "impossible: the library pads reservations")
					continue
				}
				untouched := occupy(t, at+uintptr(from), page)
				t.Expect("PMEM2_E_MAPPING_EXISTS", r.Extend(32*mib), "Extend(%d) with a page occupied at %d", 32*mib, from)
				t.Check(untouched(), "the failing call has touched what was in the way")
				checkReservation(t, r, at, 4*mib)
				checkBlank(t, at, 4*mib)
				if from > 4*mib {
					checkFree(t, at+4*mib, from-4*mib, "between the reservation and what is in the way")
				}
				checkFree(t, at+uintptr(from+page), mib, "behind what is in the way")
				t.Must(t.MapAs(mapSpec{in: r, at: 4*mib - page}, src).Delete(), "Delete() of a map in the reservation")
				t.Munmap(at+uintptr(from), page)
			}
			// Up to what is in the way there is room.
			untouched := occupy(t, at+8*mib, page)
			t.Must(r.Extend(4*mib), "Extend(%d) up to an occupied page", 4*mib)
			checkReservation(t, r, at, 8*mib)
			t.Check(untouched(), "the neighbour has been touched")
			t.Expect("PMEM2_E_MAPPING_EXISTS", r.Extend(page), "Extend(%d) into an occupied page", page)
			checkReservation(t, r, at, 8*mib)
		},
	}, {
		Name: "pmem2_vm_reservation_extend/mmap-fails",
		Rows: []string{"pmem2_vm_reservation_extend/-EAGAIN#1"},
		Run: func(t *T) {
			at := freeSpace(t, 32*mib)
			// The first mmap is that of the reservation.
			t.Lib = t.Inject("(EAGAIN (And (Op mmap) (OnIndex 1)))")
			r := t.Reservation(at, mib)
			const more = 8 * mib // what is less may fit into padding
			t.Expect("-EAGAIN", r.Extend(more), "Extend(%d) with mmap failing", more)
			checkReservation(t, r, at, mib)
			checkBlank(t, at, mib)
			checkFree(t, at+mib, 4*mib, "behind the reservation")
			t.Must(r.Extend(more), "Extend(%d) again", more)
			checkReservation(t, r, at, mib+more)
		},
	}, {
		Name: "pmem2_vm_reservation_extend/size-aligned",
		Rows: []string{"pmem2_vm_reservation_extend/PMEM2_E_LENGTH_UNALIGNED#1", "pmem2_vm_reservation_extend/size-aligned"},
		Run: func(t *T) {
			page := t.Page()
			at := freeSpace(t, 8*mib)
			r := t.Reservation(at, mib)
			for _, n := range []uint64{1, page / 2, page - 1, page + 1, mib - page/2, mib - 1, 1<<63 + 1, math.MaxUint64} {
				t.Expect("PMEM2_E_LENGTH_UNALIGNED", r.Extend(n), "Extend(%d)", n)
				checkReservation(t, r, at, mib)
			}
			checkFree(t, at+mib, 4*mib, "behind the reservation")
			t.Must(r.Extend(page), "Extend(%d)", page)
			checkReservation(t, r, at, mib+page)
		},
	}, {
		Name: "pmem2_vm_reservation_extend/no-such-range",
		Rows: []string{"pmem2_vm_reservation_extend/-ENOMEM#1"},
		Run: func(t *T) {
			at := freeSpace(t, 8*mib)
			r := t.Reservation(at, mib)
			for _, n := range []uint64{tooLarge(t, at+mib), 1 << 60, 1 << 62, 1<<63 - gib} {
				t.Expect("-ENOMEM", r.Extend(n), "Extend(%#x)", n)
				checkReservation(t, r, at, mib)
			}
			checkBlank(t, at, mib)
			checkFree(t, at+mib, 4*mib, "behind the reservation")
		},
	}, {
		Name: "pmem2_vm_reservation_extend/size-wraps",
		Rows: []string{"pmem2_vm_reservation_extend/0#1"},
		Run: func(t *T) {
			page := t.Page()
			at := freeSpace(t, 8*mib)
			r := t.Reservation(at, mib)
			end := uint64(at + mib)
			for _, n := range []uint64{
				math.MaxUint64 - page + 1, math.MaxUint64 - mib + 1, math.MaxUint64 - 2*mib + 1, 1 << 63, // with the size
				-end - page, -end, -end + page, // with the end
			} {
				t.Expect("-ENOMEM", r.Extend(n), "Extend(%#x)", n)
				checkReservation(t, r, at, mib)
			}
			checkBlank(t, at, mib)
			checkFree(t, at+mib, 4*mib, "behind the reservation")
			t.Must(r.Extend(page), "Extend(%d)", page)
		},
	}}
}
