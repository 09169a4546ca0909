package conformance

import (
	"math"
	"slices"
)

// checkFound expects MapFind to find a certain map.
func checkFound(t *T, r Reservation, offset, length uint64, want Map) {
	m, err := r.MapFind(offset, length)
	if t.Must(err, "MapFind(%#x, %#x)", offset, length) {
		checkSame(t, m, want, "MapFind")
	}
}

// checkNoneFound expects MapFind to find none.
func checkNoneFound(t *T, r Reservation, offset, length uint64) {
	m, err := r.MapFind(offset, length)
	checkNone(t, m, err, "MapFind(%#x, %#x)", offset, length)
}

func checkNone(t *T, m Map, err error, call string, args ...any) {
	t.Expect("PMEM2_E_MAPPING_NOT_FOUND", err, call, args...)
	t.Check(m == nil, "a call that finds nothing returns a map all the same")
}

func checkSame(t *T, m, want Map, call string) {
	if m == nil {
		t.Failf("%s succeeds and returns no map", call)
	}
	t.Check(m == want, "%s finds the map at %#x, not the one at %#x", call, m.Address(), want.Address())
}

// checkWalk expects a reservation to hold exactly these maps in this order,
// whichever way they are asked for.
func checkWalk(t *T, r Reservation, want ...Map) {
	first, err := r.MapFindFirst()
	last, errLast := r.MapFindLast()
	if len(want) == 0 {
		checkNone(t, first, err, "MapFindFirst()")
		checkNone(t, last, errLast, "MapFindLast()")
		return
	}
	t.Must(err, "MapFindFirst()")
	t.Must(errLast, "MapFindLast()")
	checkSame(t, first, want[0], "MapFindFirst")
	checkSame(t, last, want[len(want)-1], "MapFindLast")
	for i, m := range want {
		next, err := r.MapFindNext(m)
		if i == len(want)-1 {
			checkNone(t, next, err, "MapFindNext(map %d)", i)
		} else {
			t.Must(err, "MapFindNext(map %d)", i)
			checkSame(t, next, want[i+1], "MapFindNext")
		}
		prev, err := r.MapFindPrev(m)
		if i == 0 {
			checkNone(t, prev, err, "MapFindPrev(map %d)", i)
		} else {
			t.Must(err, "MapFindPrev(map %d)", i)
			checkSame(t, prev, want[i-1], "MapFindPrev")
		}
	}
}

// fourMaps are made out of order in a reservation of 5 MiB: a map of two pages at
// each of 3, 1, 2 and 0 MiB. They come in the order of their addresses.
func fourMaps(t *T) (Reservation, []Map) {
	fd := t.FileFD(2 * t.Page())
	src := t.Source(fd)
	r := t.Reservation(0, 5*mib)
	maps := make([]Map, 4)
	for _, i := range []uint64{3, 1, 2, 0} {
		maps[i] = t.MapAs(mapSpec{in: r, at: i * mib}, src)
	}
	return r, maps
}

func reservationFindCases() []Case {
	return []Case{{
		Name: "pmem2_vm_reservation_map_find/not-found",
		Rows: []string{
			"pmem2_vm_reservation_map_find/PMEM2_E_MAPPING_NOT_FOUND#1", "pmem2_vm_reservation_map_find/result-and-null",
		},
		Run: func(t *T) {
			page := t.Page()
			r := t.Reservation(0, mib)
			for _, c := range [][2]uint64{{0, 0}, {0, 1}, {0, page}, {0, mib}, {page, page}, {mib - 1, 1}, {0, math.MaxUint64}} {
				checkNoneFound(t, r, c[0], c[1])
			}
			// Beside the only map, and outside of the reservation.
			m := t.MapAs(mapSpec{in: r, at: 4 * page}, t.FileSource(2*page))
			for _, c := range [][2]uint64{
				{0, 1}, {0, 4 * page}, {4*page - 1, 1}, {6 * page, 1}, {6 * page, mib - 6*page}, {mib - 1, 1}, {6 * page, math.MaxUint64},
				{mib, 1}, {mib, page}, {1 << 63, page}, {math.MaxUint64 - page + 1, page}, {math.MaxUint64, 1}, {math.MaxUint64, math.MaxUint64},
			} {
				checkNoneFound(t, r, c[0], c[1])
			}
			checkFound(t, r, 0, mib, m)
			// A map elsewhere isn't one of the reservation, and a deleted one isn't either.
			t.Map(t.Config(), t.FileSource(page))
			t.MapAs(mapSpec{in: t.Reservation(0, mib)}, t.FileSource(page))
			checkWalk(t, r, m)
			t.Must(m.Delete(), "Delete() of the map")
			checkNoneFound(t, r, 0, mib)
			checkWalk(t, r)
		},
	}, {
		Name: "pmem2_vm_reservation_map_find/earliest-intersecting",
		Rows: []string{
			"pmem2_vm_reservation_map_find/earliest-intersecting", "pmem2_vm_reservation_map_find/result-and-null",
		},
		Run: func(t *T) {
			page := t.Page()
			r, maps := fourMaps(t)
			size := 2 * page
			for i, m := range maps {
				at := uint64(i) * mib
				// The first byte, the last, all, across the end.
				for _, c := range [][2]uint64{{at, 1}, {at + size - 1, 1}, {at, size}, {at + page, mib}, {at + size - 1, 2 * mib}} {
					checkFound(t, r, c[0], c[1], m)
				}
				if i > 0 { // a range that begins before it and ends with its first byte
					checkFound(t, r, at-1, 2, m)
					checkFound(t, r, at-mib+size, mib-size+1, m)
					checkNoneFound(t, r, at-mib+size, mib-size)
				}
				// A length of 0 asks for the map around the offset.
				checkFound(t, r, at, 0, m)
				checkFound(t, r, at+page, 0, m)
				checkFound(t, r, at+size-1, 0, m)
				checkNoneFound(t, r, at+size, 0)
			}
			// Several: the lowest of them. Lengths past the end and round the numbers.
			checkFound(t, r, 0, 5*mib, maps[0])
			checkFound(t, r, size, 3*mib, maps[1])
			checkFound(t, r, mib+size, 4*mib, maps[2])
			checkFound(t, r, 0, math.MaxUint64, maps[0])
			checkFound(t, r, 1, math.MaxUint64, maps[0])
			checkFound(t, r, 2*mib+size, math.MaxUint64, maps[3])
			checkFound(t, r, 2*mib+size, math.MaxUint64-2*mib-size+1, maps[3])
			checkNoneFound(t, r, 3*mib+size, math.MaxUint64)
			// The lowest is gone: the next.
			t.Must(maps[0].Delete(), "Delete() of the lowest map")
			checkFound(t, r, 0, 5*mib, maps[1])
		},
	}, {
		Name: "pmem2_vm_reservation_map_find/ends-of-the-reservation",
		Rows: []string{"pmem2_vm_reservation_map_find/earliest-intersecting"},
		Run: func(t *T) {
			page := t.Page()
			// Full from end to end, with three maps side by side.
			src := t.FileSource(page)
			r := t.Reservation(0, 3*page)
			var maps []Map
			for i := range uint64(3) {
				maps = append(maps, t.MapAs(mapSpec{in: r, at: i * page}, src))
			}
			for i, m := range maps {
				at := uint64(i) * page
				checkFound(t, r, at, 1, m)
				checkFound(t, r, at+page-1, 1, m)
				checkFound(t, r, at+page-1, 2, m)
				checkFound(t, r, at, 3*page, m)
			}
			checkNoneFound(t, r, 3*page, 1)
			checkWalk(t, r, maps...)
			// A map of less than a page has a page of its own.
			short := t.Reservation(0, 2*page)
			m := t.MapAs(mapSpec{in: short}, t.FileSource(100))
			t.Check(m.Size() == 100, "Size is %d, not 100", m.Size())
			checkFound(t, short, 99, 1, m)
			checkNoneFound(t, short, page, page)
			checkWalk(t, short, m)
		},
	}, {
		Name: "pmem2_vm_reservation_map_find/tail-of-the-last-page",
		Rows: []string{"pmem2_vm_reservation_map_find/PMEM2_E_MAPPING_NOT_FOUND#2"},
		Run: func(t *T) {
			page := t.Page()
			r := t.Reservation(0, 8*page)
			m := t.MapAs(mapSpec{in: r, at: 2 * page}, t.FileSource(page+100))
			t.Check(m.Size() == page+100, "Size is %d, not %d", m.Size(), page+100)
			end, pages := 3*page+100, 4*page
			checkFound(t, r, end-1, 1, m) // its last byte
			for _, c := range [][2]uint64{{end, 0}, {end, 1}, {end, pages - end}, {pages - 1, 0}, {pages - 1, 1}, {pages - 1, 2}} {
				checkFound(t, r, c[0], c[1], m)
			}
			for _, c := range [][2]uint64{{pages, 0}, {pages, 1}, {pages, 4 * page}, {2*page - 1, 1}} {
				checkNoneFound(t, r, c[0], c[1])
			}
			// What begins in the tail of one and goes on to the next finds the first.
			next := t.MapAs(mapSpec{in: r, at: pages}, t.FileSource(1))
			checkFound(t, r, end, page, m)
			t.Delete(m)
			checkNoneFound(t, r, end, pages-end)
			checkFound(t, r, end, page, next)
		},
	}, {
		Name: "pmem2_vm_reservation_map_find/order-by-address",
		Rows: []string{"pmem2_vm_reservation_map_find/order-by-address"},
		Run: func(t *T) {
			r, maps := fourMaps(t)
			for i := 1; i < len(maps); i++ {
				t.Check(maps[i-1].Address() < maps[i].Address(), "the maps don't lie where they were asked for")
			}
			checkWalk(t, r, maps...)
		},
	}}
}

func reservationFindNeighbourCases() []Case {
	const find = "pmem2_vm_reservation_map_find"
	return []Case{{
		Name: find + "_next/next",
		Rows: []string{
			find + "_next/PMEM2_E_MAPPING_NOT_FOUND#1", find + "_next/next", find + "_next/result-and-null",
		},
		Run: func(t *T) {
			r, maps := fourMaps(t)
			checkSteps(t, maps, "MapFindFirst", r.MapFindFirst, "MapFindNext", r.MapFindNext)
		},
	}, {
		Name: find + "_prev/previous",
		Rows: []string{
			find + "_prev/PMEM2_E_MAPPING_NOT_FOUND#1", find + "_prev/previous", find + "_prev/result-and-null",
		},
		Run: func(t *T) {
			r, maps := fourMaps(t)
			slices.Reverse(maps)
			checkSteps(t, maps, "MapFindLast", r.MapFindLast, "MapFindPrev", r.MapFindPrev)
		},
	}, {
		Name: find + "_first/first",
		Rows: []string{
			find + "_first/PMEM2_E_MAPPING_NOT_FOUND#1", find + "_first/first", find + "_first/result-and-null",
		},
		Run: func(t *T) { checkEnd(t, Reservation.MapFindFirst, "MapFindFirst()", []int{0, 1, 2, 3}) },
	}, {
		Name: find + "_last/last",
		Rows: []string{
			find + "_last/PMEM2_E_MAPPING_NOT_FOUND#1", find + "_last/last", find + "_last/result-and-null",
		},
		Run: func(t *T) { checkEnd(t, Reservation.MapFindLast, "MapFindLast()", []int{3, 2, 1, 0}) },
	}}
}

// checkSteps goes through a reservation from the map that the call end finds, from
// each to the one that the call step finds: while it has the four maps, which come
// in this order, and as these are deleted.
func checkSteps(t *T, maps []Map, endCall string, end func() (Map, error), call string, step func(Map) (Map, error)) {
	walk := func(want ...Map) {
		m, err := end()
		t.Must(err, "%s()", endCall)
		for _, w := range want[1:] {
			next, err := step(m)
			t.Must(err, "%s(the map at %#x)", call, m.Address())
			checkSame(t, next, w, call)
			m = next
		}
		none, err := step(m)
		checkNone(t, none, err, "%s(the map at the other end)", call)
	}
	walk(maps...)
	t.Must(maps[1].Delete(), "Delete() of a map in the middle")
	walk(maps[0], maps[2], maps[3])
	t.Must(maps[3].Delete(), "Delete() of the map at the other end")
	walk(maps[0], maps[2])
	t.Must(maps[0].Delete(), "Delete() of the map at this end")
	walk(maps[2])
}

// checkEnd looks for the map at one end of a reservation, while it is empty, while
// it has four maps, and as these are deleted in the given order.
func checkEnd(t *T, find func(Reservation) (Map, error), call string, order []int) {
	empty := t.Reservation(0, 5*mib)
	m, err := find(empty)
	checkNone(t, m, err, "%s of an empty reservation", call)
	r, maps := fourMaps(t)
	for _, i := range order {
		m, err := find(r)
		t.Must(err, "%s", call)
		checkSame(t, m, maps[i], call)
		t.Must(m.Delete(), "Delete() of the map found")
	}
	m, err = find(r)
	checkNone(t, m, err, "%s with every map deleted", call)
}
