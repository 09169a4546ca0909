//go:build libpmem2

package main

import (
	"pmemlab/fuzz/model"
	"pmemlab/pmem2"
)

// op is what a call calls.
type op byte

const (
	opSource op = iota
	opSize
	opAlignment
	opMap
	opExisting
	opUnmap
	opReserve
	opExtend
	opShrink
	opFind
	opFindFirst
	opFindLast
	opFindNext
	opFindPrev
	opUnreserve
	opCopy
	opSet
	opPersist
	opFlush
	opDeepFlush
	opContent // the bytes of a source
	opKept    // what is still mapped when everything is deleted
)

// opNames are the functions of C. Index: op.
var opNames = [...]string{
	opSource: "pmem2_source_from_fd", opSize: "pmem2_source_size", opAlignment: "pmem2_source_alignment",
	opMap: "pmem2_map_new", opExisting: "pmem2_map_from_existing", opUnmap: "pmem2_map_delete",
	opReserve: "pmem2_vm_reservation_new", opExtend: "pmem2_vm_reservation_extend", opShrink: "pmem2_vm_reservation_shrink",
	opFind: "pmem2_vm_reservation_map_find", opFindFirst: "pmem2_vm_reservation_map_find_first",
	opFindLast: "pmem2_vm_reservation_map_find_last", opFindNext: "pmem2_vm_reservation_map_find_next",
	opFindPrev: "pmem2_vm_reservation_map_find_prev", opUnreserve: "pmem2_vm_reservation_delete",
	opCopy: "pmem2_memmove_fn", opSet: "pmem2_memset_fn", opPersist: "pmem2_persist_fn", opFlush: "pmem2_flush_fn",
	opDeepFlush: "pmem2_deep_flush", opContent: "(the file's bytes)", opKept: "(bytes left mapped)",
}

// call is one call of a program. Objects stand in slots: sources, reservations and maps, each
// numbered from 0. A call on a slot that is empty is left out.
type call struct {
	op      op
	slot    int              // of what is made, asked or deleted
	source  int              // slot of the source of a map
	in      int              // slot of the reservation of opMap and opFind…; none: nowhere
	from    int              // slot of the map that opFindNext and opFindPrev start from
	request model.MapRequest // opMap but for the source; opSource: its Source
	addr    uint64
	offset  uint64 // of opMap: in request; of opCopy: where to
	with    uint64 // opCopy: where from
	length  uint64
	value   byte
	flags   pmem2.MemFlags
	fine    pmem2.Granularity // opExisting
	clean   bool              // opSource: the file is empty before it gets its size

	// What there is before the call, for those who judge it.
	was    model.Extent   // the reservation that is asked
	before []model.Extent // opExisting: all maps; other calls: those of pmem2_map_from_existing(3)
	// part says of opFind that the map that is to be found doesn't fill its last page, where the
	// range begins; of opExisting that no more than such a rest of a page can be in its way.
	part bool
	kept []kept // opReserve, opExtend: what C has mapped for other reservations
}

// kept is address space that C has taken for a reservation and may not have given back.
type kept struct {
	model.Extent
	deleted, cut bool // the reservation is, or was shrunk
}

const none = -1

// program is what an input is made into.
type program []call

// seen is what came of a call, in a library or in a model.
type seen struct {
	Skipped bool // a slot was empty
	Result  model.Result
	Numbers [numbers]uint64 // of a call that succeeds: see numberNames
}

const numbers = 6

// numberNames say what the numbers of an outcome are. Index: op.
var numberNames = [...][]string{
	opSize: {"size"}, opAlignment: {"alignment"},
	opMap:      {"place", "size", "granularity", "offset in the file", "bytes mapped", "protection and sharing"},
	opExisting: {"address", "size", "granularity"},
	opReserve:  {"address", "size"}, opExtend: {"address", "size"}, opShrink: {"address", "size"},
	opFind: {"map"}, opFindFirst: {"map"}, opFindLast: {"map"}, opFindNext: {"map"}, opFindPrev: {"map"},
	opContent: {"checksum"}, opKept: {"bytes", "objects that can't be deleted"},
}

const (
	pageSize = 4096
	mib      = 1 << 20
	// room is where reservations and memory of the caller's are put: see makeRoom. What C
	// maps outside of a reservation lands around it.
	room = 48 << 40
)

// place is what is seen of an address: where it is in its reservation, or whether it is
// aligned.
func place(addr, reservation uint64) uint64 {
	if reservation != 0 {
		return addr - reservation
	}
	return addr % pageSize
}

// protAndSharing packs what a mapping was made with into a number.
func protAndSharing(prot int, private bool) uint64 {
	n := uint64(prot)
	if private {
		n |= 1 << 32
	}
	return n
}
