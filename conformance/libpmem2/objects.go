//go:build libpmem2

package libpmem2

// #include "calls.h"
import "C"

import (
	"fmt"
	"sync"
	"unsafe" // pointers of C, and to variables that C fills in

	"pmemlab/conformance"
	"pmemlab/pmem2"
)

// The variables of a C program: each holds a pointer, which delete sets to NULL.

type config struct {
	*machine
	c *C.struct_pmem2_config
}

// set calls a setter.
func (c *config) set(name string, f func() C.int) error {
	if c.c == nil {
		return gone(name)
	}
	return c.call(name, f)
}

func (c *config) SetLength(n uint64) error {
	return c.set("pmem2_config_set_length", func() C.int { return C.pmem2_config_set_length(c.c, C.size_t(n)) })
}

func (c *config) SetOffset(n uint64) error {
	return c.set("pmem2_config_set_offset", func() C.int { return C.pmem2_config_set_offset(c.c, C.size_t(n)) })
}

func (c *config) SetProtection(p pmem2.Prot) error {
	return c.set("pmem2_config_set_protection", func() C.int { return C.pmem2_config_set_protection(c.c, C.uint(p)) })
}

func (c *config) SetRequiredStoreGranularity(g pmem2.Granularity) error {
	return c.set("pmem2_config_set_required_store_granularity", func() C.int {
		return C.pmem2_config_set_required_store_granularity(c.c, C.enum_pmem2_granularity(g))
	})
}

func (c *config) SetSharing(s pmem2.Sharing) error {
	return c.set("pmem2_config_set_sharing", func() C.int {
		return C.pmem2_config_set_sharing(c.c, C.enum_pmem2_sharing_type(s))
	})
}

func (c *config) SetVMReservation(r conformance.Reservation, offset uint64) error {
	var of *C.struct_pmem2_vm_reservation
	if r, ok := r.(*vmReservation); ok {
		of = r.c
	}
	return c.set("pmem2_config_set_vm_reservation", func() C.int {
		return C.pmem2_config_set_vm_reservation(c.c, of, C.size_t(offset))
	})
}

func (c *config) Delete() error {
	return c.call("pmem2_config_delete", func() C.int { return C.pmem2_config_delete(&c.c) })
}

type source struct {
	*machine
	c *C.struct_pmem2_source
}

// ask calls a getter; stored says what it left in the variable if it fails.
func (s *source) ask(name string, f func() C.int, stored func() string) error {
	if s.c == nil {
		return gone(name)
	}
	return s.storing(name, f, stored)
}

// unlikely is in variables before calls that may have to leave them alone.
const unlikely = 0x5a17ed5eed

// stored tells what a variable holds if it isn't that.
func stored[N int | uint64](name string, now, before N) string {
	if now == before {
		return ""
	}
	return fmt.Sprintf("%s was %#x and is %#x", name, before, now)
}

func (s *source) FD() (int, error) {
	const before = -12345
	fd := C.int(before)
	err := s.ask("pmem2_source_get_fd", func() C.int { return C.pmem2_source_get_fd(s.c, &fd) },
		func() string { return stored("*fd", int(fd), before) })
	if err != nil {
		return -1, err
	}
	return int(fd), nil
}

// number is a getter of a size_t.
func (s *source) number(name, variable string, f func(n *C.size_t) C.int) (uint64, error) {
	n := C.size_t(unlikely)
	err := s.ask(name, func() C.int { return f(&n) }, func() string { return stored(variable, uint64(n), unlikely) })
	if err != nil {
		return 0, err
	}
	return uint64(n), nil
}

func (s *source) Size() (uint64, error) {
	return s.number("pmem2_source_size", "*size", func(n *C.size_t) C.int { return C.pmem2_source_size(s.c, n) })
}

func (s *source) Alignment() (uint64, error) {
	return s.number("pmem2_source_alignment", "*alignment", func(n *C.size_t) C.int { return C.pmem2_source_alignment(s.c, n) })
}

func (s *source) DeviceUSC() (uint64, error) {
	n := C.uint64_t(unlikely)
	err := s.ask("pmem2_source_device_usc", func() C.int { return C.pmem2_source_device_usc(s.c, &n) },
		func() string { return stored("*usc", uint64(n), unlikely) })
	if err != nil {
		return 0, err
	}
	return uint64(n), nil
}

func (s *source) NUMANode() (int, error) {
	const before = -12345
	node := C.int(before)
	err := s.ask("pmem2_source_numa_node", func() C.int { return C.pmem2_source_numa_node(s.c, &node) },
		func() string { return stored("*numa_node", int(node), before) })
	if err != nil {
		return 0, err
	}
	return int(node), nil
}

// ReadDeviceID is pmem2_source_device_id(3) with buf, as long as buf.
func (s *source) ReadDeviceID(buf []byte) (int, error) {
	n := C.size_t(len(buf))
	var id *C.char
	if buf != nil {
		id = (*C.char)(unsafe.Pointer(unsafe.SliceData(buf)))
	}
	err := s.ask("pmem2_source_device_id", func() C.int { return C.pmem2_source_device_id(s.c, id, &n) },
		func() string { return stored("*len", uint64(n), uint64(len(buf))) })
	if err != nil {
		return 0, err
	}
	return int(n), nil
}

func (s *source) PreadMCSafe(p []byte, off uint64) error {
	if s.c == nil {
		return gone("pmem2_source_pread_mcsafe")
	}
	return s.call("pmem2_source_pread_mcsafe", func() C.int {
		return C.pmem2_source_pread_mcsafe(s.c, unsafe.Pointer(unsafe.SliceData(p)), C.size_t(len(p)), C.size_t(off))
	})
}

func (s *source) PwriteMCSafe(p []byte, off uint64) error {
	if s.c == nil {
		return gone("pmem2_source_pwrite_mcsafe")
	}
	return s.call("pmem2_source_pwrite_mcsafe", func() C.int {
		return C.pmem2_source_pwrite_mcsafe(s.c, unsafe.Pointer(unsafe.SliceData(p)), C.size_t(len(p)), C.size_t(off))
	})
}

func (s *source) Delete() error {
	return s.call("pmem2_source_delete", func() C.int { return C.pmem2_source_delete(&s.c) })
}

type badBlocks struct {
	*machine
	c       *C.struct_pmem2_badblock_context
	deleted bool
}

func (b *badBlocks) Next() (pmem2.BadBlock, error) {
	if b.deleted && b.c == nil {
		return pmem2.BadBlock{}, gone("pmem2_badblock_next")
	}
	const before = unlikely
	bb := C.struct_pmem2_badblock{offset: before, length: before}
	err := b.storing("pmem2_badblock_next", func() C.int { return C.pmem2_badblock_next(b.c, &bb) }, func() string {
		return stored("bb->offset", uint64(bb.offset), before) + stored("bb->length", uint64(bb.length), before)
	})
	if err != nil {
		return pmem2.BadBlock{}, err
	}
	return pmem2.BadBlock{Offset: uint64(bb.offset), Length: uint64(bb.length)}, nil
}

func (b *badBlocks) Clear(block pmem2.BadBlock) error {
	if b.deleted && b.c == nil {
		return gone("pmem2_badblock_clear")
	}
	bb := C.struct_pmem2_badblock{offset: C.size_t(block.Offset), length: C.size_t(block.Length)}
	return b.call("pmem2_badblock_clear", func() C.int { return C.pmem2_badblock_clear(b.c, &bb) })
}

func (b *badBlocks) Delete() error {
	b.do("pmem2_badblock_context_delete", func() { C.pmem2_badblock_context_delete(&b.c) })
	b.deleted = true
	return nil
}

type vmReservation struct {
	*machine
	c *C.struct_pmem2_vm_reservation
}

// reservations are those that aren't deleted.
var reservations = held{all: map[*vmReservation]bool{}}

type held struct {
	sync.Mutex
	all map[*vmReservation]bool
}

func (h *held) add(r *vmReservation) {
	h.Lock()
	defer h.Unlock()
	h.all[r] = true
}

func (h *held) remove(r *vmReservation) {
	h.Lock()
	defer h.Unlock()
	delete(h.all, r)
}

// hold reports whether a piece of address space overlaps a reservation.
func (h *held) hold(piece reservation) bool {
	h.Lock()
	defer h.Unlock()
	for r := range h.all {
		if at := r.Address(); at < piece.end && at+uintptr(r.Size()) > piece.start {
			return true
		}
	}
	return false
}

// reserving is a call that maps address space for a reservation.
func (r *vmReservation) reserving(name string, f func() C.int) error {
	set := func(on bool) {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.reserves = on
	}
	set(true)
	defer set(false)
	return r.call(name, f)
}

func (r *vmReservation) Address() (addr uintptr) {
	if r.c == nil {
		return 0
	}
	r.do("pmem2_vm_reservation_get_address", func() { addr = uintptr(C.pmem2_vm_reservation_get_address(r.c)) })
	return addr
}

func (r *vmReservation) Size() (n uint64) {
	if r.c == nil {
		return 0
	}
	r.do("pmem2_vm_reservation_get_size", func() { n = uint64(C.pmem2_vm_reservation_get_size(r.c)) })
	return n
}

func (r *vmReservation) Extend(size uint64) error {
	if r.c == nil {
		return gone("pmem2_vm_reservation_extend")
	}
	return r.reserving("pmem2_vm_reservation_extend", func() C.int { return C.pmem2_vm_reservation_extend(r.c, C.size_t(size)) })
}

func (r *vmReservation) Shrink(offset, size uint64) error {
	if r.c == nil {
		return gone("pmem2_vm_reservation_shrink")
	}
	return r.call("pmem2_vm_reservation_shrink", func() C.int {
		return C.pmem2_vm_reservation_shrink(r.c, C.size_t(offset), C.size_t(size))
	})
}

// find calls a function that finds a map.
func (r *vmReservation) find(name string, f func(m **C.struct_pmem2_map) C.int) (conformance.Map, error) {
	if r.c == nil {
		return nil, gone(name)
	}
	m := (*C.struct_pmem2_map)(C.nothing())
	err := r.call(name, func() C.int { return f(&m) })
	return maps.of(r.machine, m, err)
}

func (r *vmReservation) MapFind(offset, length uint64) (conformance.Map, error) {
	return r.find("pmem2_vm_reservation_map_find", func(m **C.struct_pmem2_map) C.int {
		return C.pmem2_vm_reservation_map_find(r.c, C.size_t(offset), C.size_t(length), m)
	})
}

func (r *vmReservation) MapFindFirst() (conformance.Map, error) {
	return r.find("pmem2_vm_reservation_map_find_first", func(m **C.struct_pmem2_map) C.int {
		return C.pmem2_vm_reservation_map_find_first(r.c, m)
	})
}

func (r *vmReservation) MapFindLast() (conformance.Map, error) {
	return r.find("pmem2_vm_reservation_map_find_last", func(m **C.struct_pmem2_map) C.int {
		return C.pmem2_vm_reservation_map_find_last(r.c, m)
	})
}

func (r *vmReservation) MapFindNext(from conformance.Map) (conformance.Map, error) {
	return r.find("pmem2_vm_reservation_map_find_next", func(m **C.struct_pmem2_map) C.int {
		return C.pmem2_vm_reservation_map_find_next(r.c, from.(*vmap).c, m)
	})
}

func (r *vmReservation) MapFindPrev(from conformance.Map) (conformance.Map, error) {
	return r.find("pmem2_vm_reservation_map_find_prev", func(m **C.struct_pmem2_map) C.int {
		return C.pmem2_vm_reservation_map_find_prev(r.c, from.(*vmap).c, m)
	})
}

func (r *vmReservation) Delete() error {
	if r.c == nil {
		return gone("pmem2_vm_reservation_delete")
	}
	size := r.Size()
	err := r.call("pmem2_vm_reservation_delete", func() C.int { return C.pmem2_vm_reservation_delete(&r.c) })
	if r.c == nil || size == 0 || size > 1<<47 { // one of no bytes can't be deleted, nor one that was never there
		reservations.remove(r)
	}
	return err
}
