package pmem2

import (
	"errors"
	"math"
	"sync"
	"syscall"

	"pmemlab/pmem2/platform"
)

// VMReservation is a range of the address space that is kept for mappings:
// pmem2_vm_reservation_new(3). A placeholder without access fills it wherever no
// mapping lies.
//
// After Delete, Address and Size are 0 and every method that returns an error
// returns EINVAL.
type VMReservation struct {
	machine platform.Platform

	mu      sync.RWMutex
	addr    uintptr // start; Shrink can move it up
	size    uint64  // bytes
	maps    extents // that NewMap has made here
	search  freeSearch
	deleted bool
}

const (
	hugePage     = 2 << 20
	giganticPage = 1 << 30
)

// NewVMReservation is pmem2_vm_reservation_new(3): it reserves size bytes at addr,
// both multiples of the page size. With addr 0 the kernel picks the place; it is
// aligned to 2 MiB, from a size of 1 GiB on to 1 GiB, for the sake of large pages.
// Exactly the size asked for is taken; nothing around it.
//
// Errors: ErrAddressUnaligned, ErrLengthUnaligned: addr or size is no multiple of
// the page size; ErrLengthOutOfRange: size is 0; ErrMappingExists: something is
// mapped in [addr, addr+size); ENOMEM: the address space has no such range; else
// the errno of mmap or munmap.
func NewVMReservation(addr uintptr, size uint64, opts ...Option) (*VMReservation, error) {
	const op = "NewVMReservation"
	called(op)
	r := &VMReservation{machine: machineOf(opts), addr: addr, size: size}
	page := r.machine.PageSize()
	switch {
	case uint64(addr)%page != 0:
		return nil, fail(op, ErrAddressUnaligned, "address %#x is no multiple of the page size %d", addr, page)
	case size%page != 0:
		return nil, fail(op, ErrLengthUnaligned, "size %d is no multiple of the page size %d", size, page)
	case size == 0:
		return nil, fail(op, ErrLengthOutOfRange, "size is 0, at least %d is needed", page)
	}
	var err error
	if addr != 0 {
		err = reserveAt(op, r.machine, addr, size)
	} else {
		r.addr, err = reserveAligned(op, r.machine, size)
	}
	if err != nil {
		return nil, err
	}
	if debugLog.level >= logOperations {
		debugLog.printf(logOperations, "%d bytes at %#x reserved", r.size, r.addr)
	}
	return r, nil
}

// reserveAt puts a placeholder at addr if nothing is mapped there.
func reserveAt(op string, machine platform.Platform, addr uintptr, size uint64) error {
	if size-1 > math.MaxUint64-uint64(addr) {
		return failErrno(op, syscall.ENOMEM, "the address space has no %d bytes at %#x", size, addr)
	}
	got, err := mmapPlaceholder(machine, addr, size, platform.MapFixedNoreplace)
	taken := func() error {
		return fail(op, ErrMappingExists, "something is mapped in the %d bytes at %#x", size, addr)
	}
	switch {
	case errors.Is(err, syscall.EEXIST):
		return taken()
	case err != nil:
		return failErrno(op, err, "mmap of a placeholder of %d bytes at %#x", size, addr)
	case got != addr:
		// A kernel older than 4.17 takes MAP_FIXED_NOREPLACE for a hint.
		return unmapAfter(taken(), machine, got, size)
	}
	return nil
}

// reserveAligned puts a placeholder anywhere, aligned for large pages.
func reserveAligned(op string, machine platform.Platform, size uint64) (uintptr, error) {
	alignment := uint64(hugePage)
	if size >= giganticPage {
		alignment = giganticPage
	}
	spare := alignment - machine.PageSize()
	if size > math.MaxUint64-spare {
		return 0, failErrno(op, syscall.ENOMEM, "the address space has no %d bytes", size)
	}
	start, err := mmapPlaceholder(machine, 0, size+spare, 0)
	if err != nil {
		return 0, failErrno(op, err, "mmap of a placeholder of %d bytes", size+spare)
	}
	// What lies before and behind the aligned part is given back at once. If
	// that fails, so is the rest; not more, since by then another thread may have
	// been given what was before.
	addr := uintptr(roundUp(uint64(start), alignment))
	before := uint64(addr - start)
	if err := trim(op, machine, start, before, addr, size+spare-before); err != nil {
		return 0, err
	}
	if err := trim(op, machine, addr+uintptr(size), spare-before, addr, size); err != nil {
		return 0, err
	}
	return addr, nil
}

// trim unmaps n bytes of a placeholder at addr, and if it can't, those as well as
// the rest.
func trim(op string, machine platform.Platform, addr uintptr, n uint64, rest uintptr, restSize uint64) error {
	if n == 0 {
		return nil
	}
	err := machine.Munmap(addr, n)
	if err == nil {
		return nil
	}
	failure := failErrno(op, err, "munmap of %d spare bytes at %#x", n, addr)
	return unmapAfter(failure, machine, min(addr, rest), n+restSize)
}

// mmapPlaceholder maps memory that nobody can touch and that costs nothing.
func mmapPlaceholder(machine platform.Platform, addr uintptr, n uint64, extra int) (uintptr, error) {
	flags := platform.MapPrivate | platform.MapAnonymous | platform.MapNoreserve | extra
	return machine.Mmap(addr, n, platform.ProtNone, flags, -1, 0)
}

// lock takes the write lock of a reservation that is in use.
func (r *VMReservation) lock(op string) error {
	if r == nil || r.machine == nil {
		return invalid(op, "the reservation is nil or empty")
	}
	r.mu.Lock()
	if r.deleted {
		r.mu.Unlock()
		return invalid(op, "the reservation has been deleted")
	}
	return nil
}

// Address is pmem2_vm_reservation_get_address(3): where the reservation starts.
func (r *VMReservation) Address() uintptr {
	if r == nil {
		return 0
	}
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.addr
}

// Size is pmem2_vm_reservation_get_size(3): the size in bytes.
func (r *VMReservation) Size() uint64 {
	if r == nil {
		return 0
	}
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.size
}

// Delete is pmem2_vm_reservation_delete(3): it gives the range back.
//
// Errors: ErrVMReservationNotEmpty if a map lies in it; else the errno of munmap,
// and the reservation is as it was; EINVAL on a nil or deleted reservation.
func (r *VMReservation) Delete() error {
	const op = "VMReservation.Delete"
	called(op)
	if err := r.lock(op); err != nil {
		return err
	}
	defer r.mu.Unlock()
	if err := r.release(op, r.addr, r.size); err != nil {
		return err
	}
	r.deleted, r.addr, r.size = true, 0, 0
	return nil
}

// release unmaps a part of the reservation that no map lies in.
func (r *VMReservation) release(op string, addr uintptr, n uint64) error {
	if m := registered(addr, addr+uintptr(n-1)); m != nil {
		return fail(op, ErrVMReservationNotEmpty, "a map of %d bytes lies at %#x", m.reserved, m.addr)
	}
	if err := r.machine.Munmap(addr, n); err != nil {
		return failErrno(op, err, "munmap of %d bytes at %#x", n, addr)
	}
	if debugLog.level >= logOperations {
		debugLog.printf(logOperations, "%d bytes at %#x given back", n, addr)
	}
	return nil
}

// Extend is pmem2_vm_reservation_extend(3): it adds size bytes, a multiple of the
// page size, at the end. Mappings stay. 0 changes nothing.
//
// Errors: ErrLengthUnaligned: size is no multiple of the page size;
// ErrMappingExists: something is mapped behind the reservation; ENOMEM: the
// address space has no such range; else the errno of mmap; EINVAL on a nil or
// deleted reservation. The reservation is then as it was.
func (r *VMReservation) Extend(size uint64) error {
	const op = "Extend"
	called(op)
	if err := r.lock(op); err != nil {
		return err
	}
	defer r.mu.Unlock()
	if page := r.machine.PageSize(); size%page != 0 {
		return fail(op, ErrLengthUnaligned, "size %d is no multiple of the page size %d", size, page)
	}
	if size == 0 {
		return nil
	}
	if err := reserveAt(op, r.machine, r.addr+uintptr(r.size), size); err != nil {
		return err
	}
	r.size += size
	if debugLog.level >= logOperations {
		debugLog.printf(logOperations, "%d bytes at %#x reserved", size, r.addr+uintptr(r.size-size))
	}
	return nil
}

// Shrink is pmem2_vm_reservation_shrink(3): it takes the size bytes at offset off
// the reservation and gives them back. Both are multiples of the page size, and
// the region must touch the start or the end but not both. A cut at the start
// moves Address up. Mappings stay.
//
// Errors; with several arguments wrong at once, the first of these:
// ErrOffsetUnaligned, ErrLengthUnaligned: no multiple of the page size;
// ErrOffsetOutOfRange: offset isn't inside the reservation; ErrLengthOutOfRange:
// size is 0 or the region ends outside; ErrNoSupp: the region is the whole
// reservation or touches neither end; ErrVMReservationNotEmpty: a map lies in the
// region; else the errno of munmap; EINVAL on a nil or deleted reservation. The
// reservation is then as it was.
func (r *VMReservation) Shrink(offset, size uint64) error {
	const op = "Shrink"
	called(op)
	if err := r.lock(op); err != nil {
		return err
	}
	defer r.mu.Unlock()
	page := r.machine.PageSize()
	switch {
	case offset%page != 0:
		return fail(op, ErrOffsetUnaligned, "offset %d is no multiple of the page size %d", offset, page)
	case size%page != 0:
		return fail(op, ErrLengthUnaligned, "size %d is no multiple of the page size %d", size, page)
	case offset >= r.size:
		return fail(op, ErrOffsetOutOfRange, "offset %d isn't below the reservation's size %d", offset, r.size)
	case size == 0 || size > r.size-offset:
		return fail(op, ErrLengthOutOfRange, "size %d at offset %d: %d to %d is allowed", size, offset, page, r.size-offset)
	case size == r.size:
		return fail(op, ErrNoSupp, "the region is the whole reservation; see Delete")
	case offset != 0 && size != r.size-offset:
		return fail(op, ErrNoSupp, "the region of %d bytes at offset %d touches neither end of the reservation's %d bytes", size, offset, r.size)
	}
	if err := r.release(op, r.addr+uintptr(offset), size); err != nil {
		return err
	}
	if offset == 0 {
		r.addr += uintptr(size)
	}
	r.size -= size
	return nil
}

// newMap gives a map its place in the reservation.
func (r *VMReservation) newMap(op string, m *Map, req request, alignment uint64, s *settings) error {
	if err := r.lock(op); err != nil {
		return err
	}
	defer r.mu.Unlock()
	offset, page := s.reservationFrom, r.machine.PageSize()
	target := uint64(r.addr) + offset
	switch {
	case r.machine != m.machine:
		return invalid(op, "the reservation is on another machine than the source")
	case offset%page != 0 && req.kind != deviceDAX:
		return fail(op, ErrOffsetUnaligned, "offset %d in the reservation is no multiple of the page size %d", offset, page)
	case target%alignment != 0:
		return fail(op, ErrAddressUnaligned, "offset %d in the reservation at %#x gives address %#x, which is no multiple of the device's alignment %d",
			offset, r.addr, target, alignment)
	case req.reserved > r.size || offset > r.size-req.reserved:
		return fail(op, ErrAddressUnaligned, "%d bytes at offset %d exceed the reservation's %d bytes", req.reserved, offset, r.size)
	}
	m.addr, m.reservation = uintptr(target), r
	if taken := register(m); taken != nil {
		return fail(op, ErrMappingExists, "%d bytes at offset %d in the reservation overlap the map of %d bytes at %#x",
			req.reserved, offset, taken.reserved, taken.addr)
	}
	if err := m.mapInReservation(op, req, s); err != nil {
		unregister(m)
		return err
	}
	r.maps.insert(m)
	return nil
}

func (m *Map) mapInReservation(op string, req request, s *settings) error {
	fresh, synced, err := req.mapForPlace(op, m.addr)
	if err != nil {
		return err
	}
	if err := m.settle(op, req, synced, s); err != nil {
		return abandon(err, m.machine, fresh, m.reserved)
	}
	return place(op, m.machine, fresh, m.addr, m.reserved)
}
