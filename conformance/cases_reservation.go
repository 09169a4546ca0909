package conformance

import (
	"errors"
	"math"
	"slices"
	"syscall"

	"pmemlab/pmem2"
	"pmemlab/pmem2/platform"
)

// reservationCases are those of pmem2_vm_reservation_new(3),
// pmem2_vm_reservation_extend(3), pmem2_vm_reservation_get_address(3),
// pmem2_vm_reservation_get_size(3) and pmem2_vm_reservation_map_find(3).
func reservationCases() []Case {
	return slices.Concat(reservationNewCases(), reservationPlaceCases(), reservationTooLargeCases(), reservationDeleteCases(),
		reservationExtendCases(), reservationShrinkCases(), reservationShrinkRangeCases(), reservationFindCases(),
		reservationFindNeighbourCases())
}

func reservationNewCases() []Case {
	return []Case{{
		Name: "pmem2_vm_reservation_new/blank-mapping",
		Rows: []string{"pmem2_vm_reservation_new/blank-mapping"},
		Run: func(t *T) {
			page := t.Page()
			for _, size := range []uint64{page, 5 * page, 4 * mib} {
				r := t.Reservation(0, size)
				t.Check(!isFree(t, r.Address(), page), "nothing is mapped at the start")
				checkBlank(t, r.Address(), size)
			}
			at := freeSpace(t, mib)
			t.Reservation(at, mib)
			checkBlank(t, at, mib)
		},
	}, {
		Name: "pmem2_vm_reservation_new/result-and-object",
		Rows: []string{"pmem2_vm_reservation_new/object-through-pointer", "pmem2_vm_reservation_new/zero-on-success"},
		Run: func(t *T) {
			page := t.Page()
			one, two := t.Reservation(0, page), t.Reservation(0, 2*page)
			t.Check(one.Address() != 0 && two.Address() != 0, "a reservation lies at 0")
			t.Check(one.Size() == page && two.Size() == 2*page, "the objects are mixed up")
			t.Check(one.Address()+uintptr(page) <= two.Address() || two.Address()+uintptr(2*page) <= one.Address(),
				"the reservations at %#x and %#x overlap", one.Address(), two.Address())
			t.NoReservation("PMEM2_E_LENGTH_UNALIGNED", 0, 1)
			t.NoReservation("PMEM2_E_ADDRESS_UNALIGNED", 1, page)
			t.NoReservation("PMEM2_E_MAPPING_EXISTS", one.Address(), page)
		},
	}, {
		Name: "pmem2_vm_reservation_new/address",
		Rows: []string{
			"pmem2_vm_reservation_new/PMEM2_E_ADDRESS_UNALIGNED#1", "pmem2_vm_reservation_new/addr-aligned-or-null",
		},
		Run: func(t *T) {
			page := t.Page()
			at := freeSpace(t, mib)
			for _, addr := range []uintptr{
				1, uintptr(page - 1), uintptr(page + 1), at + 1, at - 1, at + uintptr(page/2), math.MaxUint - uintptr(page) + 2, math.MaxUint,
			} {
				t.NoReservation("PMEM2_E_ADDRESS_UNALIGNED", addr, page)
			}
			checkFree(t, at-mib, 3*mib, "around the refused addresses")
			for _, off := range []uintptr{0, uintptr(page), mib - uintptr(page)} {
				addr := freeSpace(t, 2*mib) + off
				checkReservation(t, t.Reservation(addr, page), addr, page)
			}
			t.Check(t.Reservation(0, page).Address()%uintptr(page) == 0, "the address that the system chose is no multiple of the page size")
		},
	}, {
		Name: "pmem2_vm_reservation_new/size-aligned",
		Rows: []string{"pmem2_vm_reservation_new/PMEM2_E_LENGTH_UNALIGNED#1", "pmem2_vm_reservation_new/size-aligned"},
		Run: func(t *T) {
			page := t.Page()
			at := freeSpace(t, mib)
			for _, size := range []uint64{1, page / 2, page - 1, page + 1, mib - page/2, mib - 1, mib + 1, 1<<63 + 1, math.MaxUint64} {
				t.NoReservation("PMEM2_E_LENGTH_UNALIGNED", 0, size)
				t.NoReservation("PMEM2_E_LENGTH_UNALIGNED", at, size)
			}
			checkFree(t, at, mib, "where the refused sizes began")
			for _, size := range []uint64{page, 2 * page, mib - page} {
				at := freeSpace(t, mib)
				checkReservation(t, t.Reservation(at, size), at, size)
				t.Check(t.Reservation(0, size).Size() == size, "Size isn't %d", size)
			}
		},
	}, {
		Name: "pmem2_vm_reservation_new/size-zero",
		Rows: []string{"pmem2_vm_reservation_new/0#1"},
		Run: func(t *T) {
			at := freeSpace(t, mib)
			t.NoReservation("PMEM2_E_LENGTH_OUT_OF_RANGE", 0, 0)
			t.NoReservation("PMEM2_E_LENGTH_OUT_OF_RANGE", at, 0)
			checkFree(t, at, mib, "where the empty reservation was refused")
		},
	}, {
		Name: "pmem2_vm_reservation_new/placeholder-for-sources",
		Rows: []string{"pmem2_vm_reservation_new/placeholder-for-sources"},
		Run: func(t *T) {
			page := t.Page()
			fd := t.FileFD(page)
			src, anonymous := t.Source(fd), t.AnonSource(page)
			r := t.Reservation(0, 4*mib)
			// Side by side, apart, at both ends.
			for i, offset := range []uint64{0, page, 2 * mib, 3*mib + page, 4*mib - page} {
				m := t.MapAs(mapSpec{in: r, at: offset}, src)
				m.Bytes()[page-1] = byte(i + 1)
				checkFile(t, fd, page-1, []byte{byte(i + 1)}, "the file under the map at offset %d", offset)
			}
			m := t.MapAs(mapSpec{in: r, at: mib}, anonymous)
			t.Check(m.Bytes()[0] == 0, "anonymous memory isn't zeroed")
			m.Bytes()[0] = 1
			checkBlank(t, r.Address()+uintptr(2*page), mib-2*page)
			checkBlank(t, r.Address()+uintptr(mib+page), mib-page)
		},
	}}
}

func reservationPlaceCases() []Case {
	return []Case{{
		Name: "pmem2_vm_reservation_new/mapping-exists",
		Rows: []string{"pmem2_vm_reservation_new/PMEM2_E_MAPPING_EXISTS#1", "pmem2_vm_reservation_new/error-on-failure"},
		Run: func(t *T) {
			page := t.Page()
			const size = mib
			at := freeSpace(t, 16*mib)
			// A page at the start, inside, at the end; more than the whole range.
			for _, c := range []struct{ from, n uint64 }{
				{mib, page}, {mib + size/2, page}, {mib + size - page, page}, {mib - page, size + 2*page}, {mib - page, 2 * page},
			} {
				untouched := occupy(t, at+uintptr(c.from), c.n)
				t.NoReservation("PMEM2_E_MAPPING_EXISTS", at+mib, size)
				t.Check(untouched(), "the failing call has touched what was in the way")
				checkMapped(t, at+uintptr(c.from), c.n, "rw-p")
				// Nothing of the range was taken.
				if c.from > mib {
					checkFree(t, at, c.from, "before what is in the way")
				}
				end := c.from + c.n
				checkFree(t, at+uintptr(end), 4*mib-end, "behind what is in the way")
				t.Munmap(at+uintptr(c.from), c.n)
			}
			// A reservation is in the way of another.
			r := t.Reservation(at, size)
			for _, addr := range []uintptr{at, at + uintptr(size-page), at - uintptr(size-page)} {
				t.NoReservation("PMEM2_E_MAPPING_EXISTS", addr, size)
			}
			checkReservation(t, r, at, size)
			checkBlank(t, at, size)
		},
	}, {
		Name: "pmem2_vm_reservation_new/neighbours-occupied",
		Rows: []string{"pmem2_vm_reservation_new/PMEM2_E_MAPPING_EXISTS#2"},
		Run: func(t *T) {
			page := t.Page()
			at := freeSpace(t, 16*mib)
			// A C library that rounds up to 2 MiB and adds as much takes 4 MiB.
			far := occupy(t, at+3*mib, page)
			checkReservation(t, t.Reservation(at, mib), at, mib)
			t.Check(far(), "the mapping 3 MiB up has been touched")
			checkWhollyFree(t, at+mib, 2*mib, "between the reservation and the mapping 3 MiB up")
			checkFree(t, at-4*mib, 4*mib, "before the reservation")
			// Neighbours on both sides, without a gap.
			at += 8 * mib
			before, behind := occupy(t, at-uintptr(page), page), occupy(t, at+uintptr(2*page), page)
			checkReservation(t, t.Reservation(at, 2*page), at, 2*page)
			checkBlank(t, at, 2*page)
			t.Check(before() && behind(), "a neighbour has been touched")
		},
	}, {
		Name: "pmem2_vm_reservation_new/mmap-fails",
		Rows: []string{"pmem2_vm_reservation_new/-EAGAIN#1", "pmem2_vm_reservation_new/-EPERM#1"},
		Run: func(t *T) {
			at := freeSpace(t, mib)
			for _, errno := range []string{"EAGAIN", "EPERM"} {
				for _, addr := range []uintptr{at, 0} {
					if addr != 0 {
						at = freeSpace(t, mib)
						addr = at
					}
					t.Lib = t.Inject("(" + errno + " (And (Op mmap) (OnIndex 0)))")
					t.NoReservation("-"+errno, addr, mib)
					checkFree(t, at, mib, "where no reservation came about")
					r := t.Reservation(addr, mib) // the next mmap works
					t.Check(addr == 0 || r.Address() == addr, "Address is %#x, not %#x", r.Address(), addr)
					t.Delete(r)
				}
			}
		},
	}, {
		Name: "pmem2_vm_reservation_new/largest-page-alignment",
		Rows: []string{"pmem2_vm_reservation_new/largest-page-alignment"},
		Run: func(t *T) {
			page := t.Page()
			for _, c := range []struct{ size, align uint64 }{
				{2 * mib, 2 * mib}, {2*mib + page, 2 * mib}, {5 * mib, 2 * mib}, {512*mib + page, 2 * mib},
				{2 * gib, gib}, {2*gib + page, gib}, {3 * gib, gib},
			} {
				// More than one, and one of a single page between: none is
				// aligned by luck.
				for range 3 {
					r := t.Reservation(0, c.size)
					t.Note("address", "%d bytes at %#x", c.size, r.Address())
					t.Check(uint64(r.Address())%c.align == 0, "%d bytes lie at %#x, no multiple of %d", c.size, r.Address(), c.align)
					t.Reservation(0, page)
				}
			}
			// An address that is asked for counts more.
			at := freeSpace(t, 8*mib) + uintptr(page)
			checkReservation(t, t.Reservation(at, 4*mib), at, 4*mib)
		},
	}, {
		Name: "pmem2_vm_reservation_new/size-shown",
		Rows: []string{"pmem2_vm_reservation_new/underlying-size-may-be-bigger"},
		Run: func(t *T) {
			page := t.Page()
			for _, size := range []uint64{page, 16 * page, 2*mib - page, 2 * mib, 2*mib + page, gib - page, gib, 2 * gib} {
				r := t.Reservation(0, size)
				t.Check(r.Size() == size, "Size is %d, not the %d asked for", r.Size(), size)
				checkBlank(t, r.Address(), size)
			}
		},
	}, {
		Name: "pmem2_vm_reservation_get_address/address",
		Rows: []string{"pmem2_vm_reservation_get_address/(none)#1", "pmem2_vm_reservation_get_address/address"},
		Run: func(t *T) {
			page := t.Page()
			at := freeSpace(t, mib)
			r := t.Reservation(at, mib)
			t.Check(r.Address() == at, "Address is %#x, not %#x", r.Address(), at)
			checkBlank(t, r.Address(), page)
			src := t.FileSource(page)
			t.MapAs(mapSpec{in: r}, src)
			t.Check(r.Address() == at, "Address is %#x with a map at the start, not %#x", r.Address(), at)
			anywhere := t.Reservation(0, mib)
			checkBlank(t, anywhere.Address(), page)
			m := t.MapAs(mapSpec{in: anywhere}, src)
			t.Check(m.Address() == anywhere.Address(), "the map at offset 0 lies at %#x, Address is %#x", m.Address(), anywhere.Address())
		},
	}, {
		Name: "pmem2_vm_reservation_get_size/size",
		Rows: []string{"pmem2_vm_reservation_get_size/(none)#1", "pmem2_vm_reservation_get_size/size"},
		Run: func(t *T) {
			page := t.Page()
			at := freeSpace(t, 4*mib)
			r := t.Reservation(at, mib)
			t.Check(r.Size() == mib, "Size is %d, not %d", r.Size(), mib)
			t.MapAs(mapSpec{in: r}, t.FileSource(page))
			t.Check(r.Size() == mib, "Size is %d with a map, not %d", r.Size(), mib)
			t.Must(r.Extend(mib), "Extend(%d)", mib)
			t.Check(r.Size() == 2*mib, "Size is %d after Extend, not %d", r.Size(), 2*mib)
			t.Must(r.Shrink(2*mib-page, page), "Shrink(%d, %d)", 2*mib-page, page)
			t.Check(r.Size() == 2*mib-page, "Size is %d after Shrink, not %d", r.Size(), 2*mib-page)
			checkBlank(t, at+uintptr(page), 2*mib-2*page)
			checkFree(t, at+uintptr(2*mib-page), page, "behind the reservation")
		},
	}}
}

func reservationTooLargeCases() []Case {
	return []Case{{
		Name: "pmem2_vm_reservation_new/no-such-range",
		Rows: []string{"pmem2_vm_reservation_new/-ENOMEM#1"},
		Run: func(t *T) {
			at := freeSpace(t, mib)
			for _, addr := range []uintptr{0, at} {
				for _, size := range []uint64{tooLarge(t, addr), 1 << 60, 1 << 62, 1<<63 - gib} {
					t.NoReservation("-ENOMEM", addr, size)
				}
			}
			checkFree(t, at, mib, "where no reservation came about")
		},
	}, {
		Name: "pmem2_vm_reservation_new/size-wraps",
		Rows: []string{"pmem2_vm_reservation_new/0#2"},
		Run: func(t *T) {
			page := t.Page()
			at := freeSpace(t, mib)
			// From where the size wraps with the padding of an alignment to
			// where it wraps with a page, and with the address.
			for _, size := range []uint64{
				1 << 63, math.MaxUint64 - 2*gib + 1, math.MaxUint64 - gib + 1, math.MaxUint64 - gib + 1 + page,
				math.MaxUint64 - 4*mib + 1, math.MaxUint64 - 2*mib + 1, math.MaxUint64 - 2*page + 1, math.MaxUint64 - page + 1,
			} {
				t.NoReservation("-ENOMEM", 0, size)
				t.NoReservation("-ENOMEM", at, size)
			}
			for _, past := range []uint64{0, page, mib} { // at + size is 2^64 and a little more
				t.NoReservation("-ENOMEM", at, -uint64(at)+past)
			}
			checkFree(t, at, mib, "where no reservation came about")
		},
	}}
}

// tooLarge is the smallest power of two from 2^47 on that the machine has no range
// of at addr, wherever it likes if addr is 0: 2^47 itself on most of amd64.
func tooLarge(t *T, addr uintptr) uint64 {
	flags := placeholderFlags
	if addr != 0 {
		flags |= platform.MapFixedNoreplace
	}
	for n := uint64(1 << 47); n != 0; n <<= 1 {
		got, err := t.Machine().Mmap(addr, n, platform.ProtNone, flags, -1, 0)
		switch {
		case errors.Is(err, syscall.ENOMEM):
			t.Note("address space", "%#x bytes are too many at %#x", n, addr)
			return n
		case err == nil:
			t.suite(t.Machine().Munmap(got, n), "munmap of %#x bytes", n)
		}
	}
	t.Brokenf("the address space has no end")
	return 0
}

// inReservation puts memory of the case's own over n bytes of a reservation's placeholder.
// The function that it returns says whether the memory is untouched.
func inReservation(t *T, addr uintptr, n uint64) (untouched func() bool) {
	t.Mmap(addr, n, readWrite, placeholderFlags|platform.MapFixed, -1)
	want := pattern(n, 17)
	copy(platform.Bytes(addr, n), want)
	return func() bool { return !t.Faults(addr, false) && string(platform.Bytes(addr, n)) == string(want) }
}

func reservationDeleteCases() []Case {
	return []Case{{
		Name: "pmem2_vm_reservation_new/disposable-by-delete",
		Rows: []string{"pmem2_vm_reservation_new/disposable-by-delete", "pmem2_vm_reservation_delete/zero-on-success"},
		Run: func(t *T) {
			page := t.Page()
			at := freeSpace(t, 4*mib)
			for _, size := range []uint64{page, 2*mib - page, 2 * mib, 2*mib + page} {
				at = freeSpace(t, 4*mib)
				for _, addr := range []uintptr{0, at} {
					r := t.Reservation(addr, size)
					t.Delete(r)
				}
			}
			t.Must(t.Reservation(0, 2*gib).Delete(), "Delete() of 2 GiB")
			checkFree(t, at, 4*mib, "where reservations were deleted")
		},
	}, {
		Name: "pmem2_vm_reservation_delete/destroys-object",
		Rows: []string{"pmem2_vm_reservation_delete/destroys-object"},
		Run: func(t *T) {
			page := t.Page()
			r := t.Reservation(0, 4*page)
			t.Delete(r)
			t.Note("types", "a method can't set the caller's variable to NULL: the object refuses further use instead")
			checkReservation(t, r, 0, 0)
			t.Expect("-EINVAL", r.Extend(page), "Extend(%d) of the deleted reservation", page)
			t.Expect("-EINVAL", r.Shrink(0, page), "Shrink(0, %d) of the deleted reservation", page)
			m, err := r.MapFindFirst()
			t.Expect("-EINVAL", err, "MapFindFirst() of the deleted reservation")
			t.Check(m == nil, "MapFindFirst fails and returns a map all the same")
			t.Expect("-EINVAL", r.Delete(), "Delete() of the deleted reservation")
		},
	}, {
		Name: "pmem2_vm_reservation_delete/unmaps-region",
		Rows: []string{"pmem2_vm_reservation_delete/(text)#1", "pmem2_vm_reservation_delete/unmaps-region"},
		Run: func(t *T) {
			page := t.Page()
			for _, size := range []uint64{mib, page, 2 * mib, 3*mib + page} {
				at := freeSpace(t, 16*mib)
				for _, time := range []string{"", ", again"} { // the same range
					r, err := t.Lib.NewVMReservation(at+4*mib, size)
					if !t.Must(err, "NewVMReservation(%#x, %d%s)", at+4*mib, size, time) {
						break
					}
					t.deleteAtEnd(r)
					checkReservation(t, r, at+4*mib, size)
					t.Delete(r)
					// Neither before nor behind is anything left.
					checkWhollyFree(t, at, 16*mib, "around the deleted reservation")
				}
			}
			// Where the system chose.
			for _, size := range []uint64{16 * page, gib} {
				r := t.Reservation(0, size)
				addr := r.Address()
				t.Delete(r)
				r, err := t.Lib.NewVMReservation(addr, size)
				if t.Must(err, "NewVMReservation(%#x, %d, again)", addr, size) {
					t.deleteAtEnd(r)
					checkReservation(t, r, addr, size)
				}
			}
		},
	}, {
		Name: "pmem2_vm_reservation_delete/not-empty",
		Rows: []string{
			"pmem2_vm_reservation_delete/PMEM2_E_VM_RESERVATION_NOT_EMPTY#1", "pmem2_vm_reservation_delete/requires-empty",
		},
		Run: func(t *T) {
			page := t.Page()
			const size = mib
			fd := t.FileFD(page)
			src := t.Source(fd)
			for i, offset := range []uint64{0, size / 2, size - page} {
				at := freeSpace(t, 4*mib)
				r := t.Reservation(at, size)
				m := t.MapAs(mapSpec{in: r, at: offset}, src)
				m.Bytes()[0] = byte(i + 1)
				for range 2 {
					t.Expect("PMEM2_E_VM_RESERVATION_NOT_EMPTY", r.Delete(), "Delete() with a map at offset %d", offset)
				}
				// All is as it was.
				checkReservation(t, r, at, size)
				t.Check(m.Bytes()[0] == byte(i+1), "the map's data is gone")
				checkFound(t, r, offset, page, m)
				other := t.MapAs(mapSpec{in: r, at: size / 4}, src)
				t.Must(other.Delete(), "Delete() of a second map")
				t.Expect("PMEM2_E_VM_RESERVATION_NOT_EMPTY", r.Delete(), "Delete() with one of two maps left")
				t.Must(m.Delete(), "Delete() of the map")
				t.Must(r.Delete(), "Delete() of the empty reservation")
				checkFree(t, at, size, "where the reservation was deleted")
			}
			checkFile(t, fd, 0, []byte{3}, "the file in the end")
		},
	}, {
		Name: "pmem2_vm_reservation_delete/existing-map",
		Rows: []string{"pmem2_vm_reservation_delete/0#1"},
		Run: func(t *T) {
			page := t.Page()
			const size = mib
			at := freeSpace(t, 4*mib)
			r := t.Reservation(at, size)
			src := t.AnonSource(page)
			// The last page of it is memory of the caller's own.
			own := inReservation(t, at+uintptr(size-page), page)
			for _, c := range []struct {
				at uintptr
				n  uint64
			}{
				{at + uintptr(size-page), page},
				{at, size}, {at, 1}, {at + size - 1, 1}, {at + size/2 + 100, 1}, {at + size/2, page}, // in it
				{at - 1, 2}, {at + size - 1, 2}, {at - 1, size + 2}, // in part
			} {
				m := t.Wrap(src, c.at, c.n, pmem2.GranularityPage)
				if !t.Expect("PMEM2_E_VM_RESERVATION_NOT_EMPTY", r.Delete(), "Delete() with an existing map of %d bytes at %#x", c.n, c.at) {
					return
				}
				checkReservation(t, r, at, size)
				checkBlank(t, at, size-page)
				t.Check(own(), "the caller's own memory has been touched")
				t.Delete(m)
			}
			// Beside it a map is no hindrance.
			t.Wrap(src, at-1, 1, pmem2.GranularityPage)
			t.Wrap(src, at+size, 1, pmem2.GranularityPage)
			t.Must(r.Delete(), "Delete() of the empty reservation")
			checkFree(t, at, size, "where the reservation was deleted")
		},
	}, {
		Name: "pmem2_vm_reservation_delete/munmap-fails",
		Rows: []string{"pmem2_vm_reservation_delete/-errno#1"},
		Run: func(t *T) {
			page := t.Page()
			at := freeSpace(t, 4*mib)
			t.Lib = t.Inject("(EINVAL (And (Op munmap) (OnIndex 0)))")
			r := t.Reservation(at, mib)
			t.Expect("-EINVAL", r.Delete(), "Delete() with munmap failing")
			checkReservation(t, r, at, mib)
			checkBlank(t, at, mib)
			// It is as good as before.
			src, err := t.Lib.SourceFromFD(t.FileFD(page))
			t.Must(err, "SourceFromFD()")
			t.Must(t.MapAs(mapSpec{in: r, at: mib - page}, src).Delete(), "Delete() of a map")
			t.Must(r.Delete(), "Delete() again")
			checkFree(t, at, mib, "where the reservation was deleted")
		},
	}}
}
