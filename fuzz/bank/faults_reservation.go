package bank

const (
	reservationFile = "pmem2/vm_reservation.go"
	findFile        = "pmem2/vm_reservation_find.go"
	freeFile        = "pmem2/vm_reservation_free.go"
	registryFile    = "pmem2/registry.go"
	existingFile    = "pmem2/map_from_existing.go"
	preparedFile    = "pmem2/prepared_delete.go"
)

// reservationFaults are in reservations, in what they and MapFromExisting know of maps, and in
// the deletion of maps.
var reservationFaults = []Fault{
	{
		"extend-wrong-end", "a reservation is extended before its start", reservationFile,
		"r.machine, r.addr+uintptr(r.size), size)", "r.machine, r.addr-uintptr(size), size)",
	},
	{
		"extend-behind-gap", "a reservation is extended a page behind its end", reservationFile,
		"r.machine, r.addr+uintptr(r.size), size)", "r.machine, r.addr+uintptr(r.size+r.machine.PageSize()), size)",
	},
	{
		"shrink-middle", "a reservation can be cut in the middle", reservationFile,
		"case offset != 0 && size != r.size-offset:", "case offset != 0 && size > r.size-offset:",
	},
	{
		"shrink-whole", "a reservation can be shrunk to nothing", reservationFile,
		"case size == r.size:", "case size > r.size:",
	},
	{
		"shrink-wraps", "the end of what a reservation is shrunk by wraps round", reservationFile,
		"case size == 0 || size > r.size-offset:", "case size == 0 || offset+size > r.size:",
	},
	{
		"shrink-offset-at-end", "a reservation can be shrunk at an offset just behind its end", reservationFile,
		"case offset >= r.size:", "case offset > r.size:",
	},
	{
		"shrink-moves-wrong-end", "the address moves when a reservation is shrunk at its end", reservationFile,
		"if offset == 0 {", "if offset != 0 {",
	},
	{
		"shrink-end-inclusive", "a map just behind what is given back counts as in it", reservationFile,
		"registered(addr, addr+uintptr(n-1))", "registered(addr, addr+uintptr(n))",
	},
	{
		"shrink-over-last-page", "a map in the last page of what is given back isn't seen", reservationFile,
		"registered(addr, addr+uintptr(n-1))", "registered(addr, addr+uintptr(n-r.machine.PageSize()))",
	},
	{
		"reserve-map-wraps", "offset + length in a reservation wraps round", reservationFile,
		"case req.reserved > r.size || offset > r.size-req.reserved:", "case offset+req.reserved > r.size:",
	},
	{
		"reserve-map-full", "a map can't reach to the end of a reservation", reservationFile,
		"case req.reserved > r.size || offset > r.size-req.reserved:", "case req.reserved >= r.size || offset >= r.size-req.reserved:",
	},
	{
		"reserve-map-aligns-offset", "the offset in a reservation is aligned, not the address", reservationFile,
		"case target%alignment != 0:", "case offset%alignment != 0:",
	},
	{
		"reserve-gigantic", "a reservation of just 1 GiB isn't aligned to that", reservationFile,
		"if size >= giganticPage {", "if size > giganticPage {",
	},
	{
		"reserve-trims-too-much", "what lies behind a new reservation is unmapped", reservationFile,
		"addr+uintptr(size), spare-before, addr, size)", "addr+uintptr(size), spare, addr, size)",
	},
	{
		"reserve-trims-too-little", "spare bytes behind a new reservation stay mapped", reservationFile,
		"addr+uintptr(size), spare-before, addr, size)", "addr+uintptr(size), before, addr, size)",
	},
	{
		"find-end-inclusive", "a map that starts just behind the range is found", findFile,
		"last := min(max(length, 1)-1, r.size-1-offset)", "last := min(length, r.size-1-offset)",
	},
	{
		"find-length-0", "a range of length 0 reaches to the end", findFile,
		"last := min(max(length, 1)-1, r.size-1-offset)", "last := min(length-1, r.size-1-offset)",
	},
	{
		"find-from-start", "the end of the range counts from the start of the reservation", findFile,
		"r.addr+uintptr(offset+last))", "r.addr+uintptr(last))",
	},
	{
		"find-neighbour", "the map before another one is that itself", findFile,
		`return r.neighbour("MapFindPrev", m, -1)`, `return r.neighbour("MapFindPrev", m, 0)`,
	},
	{
		"free-exact", "room of just the length isn't found", freeFile,
		"start <= gapEnd && gapEnd-start >= length {", "start <= gapEnd && gapEnd-start > length {",
	},
	{
		"free-rounds-down", "the start of room is rounded down", freeFile,
		"start := roundUp(at, alignment);", "start := at &^ (alignment - 1);",
	},
	{
		"free-aligns-offset", "the offset of room is aligned, not the address", freeFile,
		"start := roundUp(at, alignment);", "start := uint64(r.addr) + roundUp(at-uint64(r.addr), alignment);",
	},
	{
		"free-before-start", "room before a reservation that was cut at its start is found", freeFile,
		"if s.freed != registry.freed || s.from < r.addr {", "if s.freed != registry.freed {",
	},
	{
		"free-stale", "room that a deleted map has left isn't found", mapFile,
		"m.reservation.freed(m.addr)", "m.reservation.freed(m.addr + uintptr(m.reserved))",
	},
	{
		"free-stale-existing", "room that a deleted map of existing memory has left isn't found", mapFile,
		"registry.freed++", "registry.freed += 0",
	},
	{
		"free-stale-run", "room that maps deleted at once have left isn't found", preparedFile,
		"r.freed(d.addr)", "r.freed(d.addr + uintptr(d.size))",
	},
	{
		"registry-touch-before", "a map that ends just before a range overlaps it", registryFile,
		"if m.lastByte() < addr {", "if m.lastByte()+1 < addr {",
	},
	{
		"registry-last-byte-before", "a map that holds only the first byte of a range doesn't overlap it", registryFile,
		"if m.lastByte() < addr {", "if m.lastByte() <= addr {",
	},
	{
		"registry-last-byte", "a map that holds only the last byte of a range doesn't overlap it", registryFile,
		"e[i].addr <= last {", "e[i].addr < last {",
	},
	{
		"registry-same-address", "a deleted map is taken for the one that is now at its address", registryFile,
		"i < len(e) && e[i] == m {", "i < len(e) && e[i].addr == m.addr {",
	},
	{
		"registry-run", "of maps deleted at once the last stays known", registryFile,
		"slices.Delete(*e, i, i+len(maps))", "slices.Delete(*e, i, max(i+1, i+len(maps)-1))",
	},
	{
		"last-byte-inclusive", "a map holds the byte behind its end", mapFile,
		"uintptr(m.reserved-1)", "uintptr(m.reserved)",
	},
	{
		"last-byte-content", "a map ends where its content does", mapFile,
		"uintptr(m.reserved-1)", "uintptr(m.size-1)",
	},
	{
		"existing-top", "existing memory can't reach the top of the address space", existingFile,
		"case n == 0, n-1 > left:", "case n == 0, n > left:",
	},
	{
		"existing-wraps", "a range of existing memory may wrap round by a byte", existingFile,
		"case n == 0, n-1 > left:", "case n == 0, n-1 > left+1:",
	},
	{
		"existing-rounded", "existing memory is rounded up to whole pages", existingFile,
		"size: n, reserved: n, existing", "size: n, reserved: (n + 4095) &^ 4095, existing",
	},
	{
		"prepare-content", "maps to be deleted are as long as their content", preparedFile,
		"d.size += m.reserved", "d.size += m.size",
	},
	{
		"prepare-gap", "maps to be deleted may have a gap between them", preparedFile,
		"m.addr != d.addr+uintptr(d.size) {", "m.addr < d.addr+uintptr(d.size) {",
	},
	{
		"commit-first-only", "of maps to be deleted only the first is looked at whether it is there", preparedFile,
		"		if m.deleted.Load() {", "		if d.maps[0].deleted.Load() {",
	},
	{
		"reserve-map-stays-known", "a map in a reservation that couldn't be made stays registered", reservationFile,
		"		unregister(m)", "		_ = m",
	},
	{
		"existing-leaves-map", "a map that would lie in what is claimed stays mapped", mapNew,
		"		return unmapAfter(err, m.machine, addr, m.reserved)", "		return err",
	},
	{
		"cancel-leaves", "what was obtained for a deletion stays mapped when it is cancelled", preparedFile,
		"	if d.fresh == 0 {", "	if d.fresh != 0 {",
	},
	{
		"commit-leaves", "what was obtained for a deletion stays mapped when it fails", preparedFile,
		"failure = unmapAfter(failure, r.machine, d.fresh, d.size)", "_ = d.fresh",
	},
	{
		"delete-twice", "a map can be deleted twice", mapFile,
		"		m.deleted.Store(true)", "		m.deleted.Store(m.existing)",
	},
}
