package selftest

import (
	"errors"
	"math"
	"sync"
	"syscall"

	"pmemlab/conformance"
	"pmemlab/pmem2"
	"pmemlab/pmem2/platform"
)

// claimed is a reservation that a library says it has made.
type claimed struct {
	conformance.Reservation // nil
	addr                    uintptr
	size                    uint64
}

func (r *claimed) Address() uintptr { return r.addr }
func (r *claimed) Size() uint64     { return r.size }
func (*claimed) Delete() error      { return syscall.EINVAL }

// reserving changes the arguments of NewVMReservation.
func reserving(change func(f *faults, addr uintptr, size uint64) (uintptr, uint64)) func() *faults {
	return otherwise(func(f *faults) {
		f.newVMReservation = func(l *library, addr uintptr, size uint64) (conformance.Reservation, error) {
			addr, size = change(f, addr, size)
			return l.Library.NewVMReservation(addr, size)
		}
	})
}

// hold maps memory that nobody may use, over nothing, and forgets it.
func (f *faults) hold(addr uintptr, size uint64) error {
	_, err := f.on.Mmap(addr, size, platform.ProtNone,
		platform.MapPrivate|platform.MapAnonymous|platform.MapNoreserve|platform.MapFixedNoreplace, -1, 0)
	return err
}

// reservationFaults are those of the pages pmem2_vm_reservation_*.
func reservationFaults() []fault {
	const making, deleting = "pmem2_vm_reservation_new/", "pmem2_vm_reservation_delete/"
	const extend, shrink = "pmem2_vm_reservation_extend/", "pmem2_vm_reservation_shrink/"
	const find = "pmem2_vm_reservation_map_find"
	return []fault{
		{"reservation: what is behind its range is in the way", making + "PMEM2_E_MAPPING_EXISTS#2", true, otherwise(func(f *faults) {
			f.newVMReservation = func(l *library, addr uintptr, size uint64) (conformance.Reservation, error) {
				behind, page := addr+uintptr(size), f.on.PageSize()
				if addr != 0 && size != 0 && size%page == 0 && behind > addr {
					if err := f.hold(behind, page); err != nil {
						return nil, pmem2.ErrMappingExists
					}
					_ = f.on.Munmap(behind, page)
				}
				return l.Library.NewVMReservation(addr, size)
			}
		})},
		{"reservation: one of no bytes, which can't be deleted", making + "0#1", true, otherwise(func(f *faults) {
			f.newVMReservation = func(l *library, addr uintptr, size uint64) (conformance.Reservation, error) {
				if size == 0 {
					return &claimed{addr: addr}, nil
				}
				return l.Library.NewVMReservation(addr, size)
			}
		})},
		{"reservation: says that it has all of the address space", making + "0#2", true, otherwise(func(f *faults) {
			f.newVMReservation = func(l *library, addr uintptr, size uint64) (conformance.Reservation, error) {
				if size > math.MaxUint64-1<<30 && size%f.on.PageSize() == 0 {
					return &claimed{addr: addr, size: size}, nil
				}
				return l.Library.NewVMReservation(addr, size)
			}
		})},
		{"reservation: the address is rounded down", making + "PMEM2_E_ADDRESS_UNALIGNED#1", false,
			reserving(func(f *faults, addr uintptr, size uint64) (uintptr, uint64) {
				return addr &^ (uintptr(f.on.PageSize()) - 1), size
			})},
		{"reservation: the size is rounded up", making + "PMEM2_E_LENGTH_UNALIGNED#1", false,
			reserving(func(f *faults, addr uintptr, size uint64) (uintptr, uint64) {
				if up := (size + f.on.PageSize() - 1) &^ (f.on.PageSize() - 1); up >= size {
					size = up
				}
				return addr, size
			})},
		{"reservation: aligned to a small page only", making + "largest-page-alignment", false, otherwise(func(f *faults) {
			f.newVMReservation = func(l *library, addr uintptr, size uint64) (conformance.Reservation, error) {
				r, err := l.Library.NewVMReservation(addr, size)
				if err != nil || addr != 0 {
					return r, err
				}
				addr = r.Address() - uintptr(f.on.PageSize())
				_ = r.Delete()
				return l.Library.NewVMReservation(addr, size)
			}
		})},
		{"reservation: of readable memory", making + "blank-mapping", false, otherwise(func(f *faults) {
			f.newVMReservation = func(l *library, addr uintptr, size uint64) (conformance.Reservation, error) {
				r, err := l.Library.NewVMReservation(addr, size)
				if err == nil {
					_, _ = f.on.Mmap(r.Address(), r.Size(), platform.ProtRead,
						platform.MapPrivate|platform.MapAnonymous|platform.MapNoreserve|platform.MapFixed, -1, 0)
				}
				return r, err
			}
		})},
		{"reservation: EAGAIN is told as ENOMEM", making + "-EAGAIN#1", false, answers("Library.NewVMReservation", syscall.EAGAIN, syscall.ENOMEM)},
		{"reservation: an address is a wish", making + "PMEM2_E_MAPPING_EXISTS#1", false, otherwise(func(f *faults) {
			f.newVMReservation = func(l *library, addr uintptr, size uint64) (conformance.Reservation, error) {
				r, err := l.Library.NewVMReservation(addr, size)
				if errors.Is(err, pmem2.ErrMappingExists) {
					return l.Library.NewVMReservation(0, size)
				}
				return r, err
			}
		})},
		{"reservation: its range isn't given back", deleting + "(text)#1", true, otherwise(func(f *faults) {
			var mu sync.Mutex
			padded := map[uintptr]bool{}
			f.newVMReservation = func(l *library, addr uintptr, size uint64) (conformance.Reservation, error) {
				mu.Lock()
				defer mu.Unlock()
				if padded[addr] {
					return nil, pmem2.ErrMappingExists
				}
				return l.Library.NewVMReservation(addr, size)
			}
			f.deleteReservation = func(r *reservation) error {
				addr := r.Reservation.Address()
				err := r.Reservation.Delete()
				if err == nil {
					mu.Lock()
					padded[addr] = true
					mu.Unlock()
				}
				return err
			}
		})},
		{"reservation: deleted with maps in it", deleting + "PMEM2_E_VM_RESERVATION_NOT_EMPTY#1", false, answers("Reservation.Delete", pmem2.ErrVMReservationNotEmpty, nil)},
		{"reservation: deleted with existing maps in it", deleting + "0#1", true, otherwise(func(f *faults) {
			f.deleteReservation = func(r *reservation) error {
				err := r.Reservation.Delete()
				if _, none := r.Reservation.MapFindFirst(); errors.Is(err, pmem2.ErrVMReservationNotEmpty) && none != nil {
					return nil
				}
				return err
			}
		})},
		{"reservation: its deletion unmaps nothing", deleting + "unmaps-region", false, otherwise(func(f *faults) {
			f.deleteReservation = func(*reservation) error { return nil }
		})},
		{"reservation: the address of its second page", "pmem2_vm_reservation_get_address/address", false, otherwise(func(f *faults) {
			f.reservationAddress = func(r *reservation) uintptr { return r.Reservation.Address() + uintptr(f.on.PageSize()) }
		})},
		{"reservation: the size that it began with", "pmem2_vm_reservation_get_size/size", false, otherwise(func(f *faults) {
			f.reservationSize = func(r *reservation) uint64 {
				size := r.Reservation.Size()
				first, _ := f.objects.LoadOrStore([2]any{"size", r}, size)
				return first.(uint64)
			}
		})},
		{"extend: a size that wraps will do", extend + "0#1", true, otherwise(func(f *faults) {
			f.extend = func(r *reservation, size uint64) error {
				err := r.Reservation.Extend(size)
				if err != nil && size%f.on.PageSize() == 0 && r.Reservation.Size()+size < size {
					return nil
				}
				return err
			}
		})},
		{"extend: by a page too few", extend + "grows-by-size", false, otherwise(func(f *faults) {
			f.extend = func(r *reservation, size uint64) error {
				if page := f.on.PageSize(); size%page == 0 && size > page {
					size -= page
				}
				return r.Reservation.Extend(size)
			}
		})},
		{"extend: what is behind doesn't matter", extend + "PMEM2_E_MAPPING_EXISTS#1", false, answers("Reservation.Extend", pmem2.ErrMappingExists, nil)},
		{"extend: rounds the size", extend + "size-aligned", false, answers("Reservation.Extend", pmem2.ErrLengthUnaligned, nil)},
		{"shrink: what wraps is in the middle", shrink + "PMEM2_E_LENGTH_OUT_OF_RANGE#2", true, otherwise(func(f *faults) {
			f.shrink = func(r *reservation, offset, size uint64) error {
				err := r.Reservation.Shrink(offset, size)
				if errors.Is(err, pmem2.ErrLengthOutOfRange) && offset+size < offset {
					return pmem2.ErrNoSupp
				}
				return err
			}
		})},
		{"shrink: at the other end", shrink + "shrinks-by-region", false, otherwise(func(f *faults) {
			f.shrink = func(r *reservation, offset, size uint64) error {
				if all := r.Reservation.Size(); offset == 0 && size < all {
					offset = all - size
				} else if offset+size == all {
					offset = 0
				}
				return r.Reservation.Shrink(offset, size)
			}
		})},
		{"shrink: the range stays taken", shrink + "releases-range", true, otherwise(func(f *faults) {
			f.shrink = func(r *reservation, offset, size uint64) error {
				at := r.Reservation.Address() + uintptr(offset)
				err := r.Reservation.Shrink(offset, size)
				if err == nil {
					_ = f.hold(at, size)
				}
				return err
			}
		})},
		{"shrink: existing maps don't matter", shrink + "0#1", true, otherwise(func(f *faults) {
			f.shrink = func(r *reservation, offset, size uint64) error {
				err := r.Reservation.Shrink(offset, size)
				if _, none := r.Reservation.MapFind(offset, size); errors.Is(err, pmem2.ErrVMReservationNotEmpty) && none != nil {
					return nil
				}
				return err
			}
		})},
		{"shrink: the middle is out of range", shrink + "PMEM2_E_NOSUPP#1", false, answers("Reservation.Shrink", pmem2.ErrNoSupp, pmem2.ErrLengthOutOfRange)},
		{"shrink: maps don't matter", shrink + "PMEM2_E_VM_RESERVATION_NOT_EMPTY#1", false, answers("Reservation.Shrink", pmem2.ErrVMReservationNotEmpty, nil)},

		{"find: a range touches what begins at its end", find + "/earliest-intersecting", false, otherwise(func(f *faults) {
			f.mapFind = func(r *reservation, offset, length uint64) (conformance.Map, error) {
				if length < math.MaxUint64-offset {
					length++
				}
				return r.Reservation.MapFind(offset, length)
			}
		})},
		{"find: by descending addresses", find + "/order-by-address", false, otherwise(func(f *faults) {
			f.mapFindFirst = func(r *reservation) (conformance.Map, error) { return r.Reservation.MapFindLast() }
			f.mapFindNext = func(r *reservation, m conformance.Map) (conformance.Map, error) {
				return r.Reservation.MapFindPrev(bare(m))
			}
		})},
		{"find first: the last", find + "_first/first", false, otherwise(func(f *faults) {
			f.mapFindFirst = func(r *reservation) (conformance.Map, error) { return r.Reservation.MapFindLast() }
		})},
		{"find last: the first", find + "_last/last", false, otherwise(func(f *faults) {
			f.mapFindLast = func(r *reservation) (conformance.Map, error) { return r.Reservation.MapFindFirst() }
		})},
		{"find next: the same", find + "_next/next", false, otherwise(func(f *faults) {
			f.mapFindNext = func(_ *reservation, m conformance.Map) (conformance.Map, error) { return bare(m), nil }
		})},
		{"find previous: the first", find + "_prev/previous", false, otherwise(func(f *faults) {
			f.mapFindPrev = func(r *reservation, m conformance.Map) (conformance.Map, error) {
				if _, err := r.Reservation.MapFindPrev(bare(m)); err != nil {
					return nil, err
				}
				return r.Reservation.MapFindFirst()
			}
		})},
		{"find next: begins anew after the last", find + "_next/PMEM2_E_MAPPING_NOT_FOUND#1", false, otherwise(func(f *faults) {
			f.mapFindNext = func(r *reservation, m conformance.Map) (conformance.Map, error) {
				next, err := r.Reservation.MapFindNext(bare(m))
				if errors.Is(err, pmem2.ErrMappingNotFound) {
					return r.Reservation.MapFindFirst()
				}
				return next, err
			}
		})},
		{"find: the rest of the last page is nobody's", find + "/PMEM2_E_MAPPING_NOT_FOUND#2", true, otherwise(func(f *faults) {
			f.mapFind = func(r *reservation, offset, length uint64) (conformance.Map, error) {
				m, err := r.Reservation.MapFind(offset, length)
				if err == nil && r.Reservation.Address()+uintptr(offset) >= m.Address()+uintptr(m.Size()) {
					return nil, pmem2.ErrMappingNotFound
				}
				return m, err
			}
		})},
		{"find: ENOENT", find + "/PMEM2_E_MAPPING_NOT_FOUND#1", false, answers("Reservation.MapFind", pmem2.ErrMappingNotFound, syscall.ENOENT)},
	}
}
