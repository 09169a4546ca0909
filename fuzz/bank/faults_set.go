package bank

// setFaults are in what sets make of their part operations.
var setFaults = []Fault{
	{
		"set-previous-kept", "the previous part map stays the first one that was made", "pmemset/map.go",
		"s.previous = p", "s.previous = s.parts[0].part",
	},
	{
		"set-previous-higher", "the higher neighbour becomes the previous part map, not the lower one", "pmemset/remove.go",
		"i := s.parts.behind(p.addr); i > 0 {", "i := s.parts.behind(p.addr); i > 0 && i == len(s.parts) {",
	},
	{
		"set-previous-gone", "a part map that isn't the previous one takes it away", "pmemset/remove.go",
		"if s.previous == p {", "if s.previous != nil {",
	},
	{
		"set-fit-unaligned", "first fit ignores the alignment of device DAX", "pmemset/place.go",
		"offset, ok := r.FindFree(a.length, a.alignment)", "offset, ok := r.FindFree(a.length, 1)",
	},
	{
		"set-fit-exactly", "a gap of just the length of a part isn't used", "pmem2/vm_reservation_free.go",
		"start <= gapEnd && gapEnd-start >= length {", "start <= gapEnd && gapEnd-start > length {",
	},
	{
		"set-range-inclusive", "a removed range takes the byte behind it in", "pmemset/remove.go",
		"last := lastOf(addr, n)", "last := lastOf(addr, n) + 1",
	},
	{
		"set-range-before", "a range takes the piece that ends where it starts", "pmemset/part_map.go",
		"if q.addr+uintptr(q.size-1) < at {", "if q.addr+uintptr(q.size) < at {",
	},
	{
		"set-range-start-only", "a piece that starts at the last byte of a range stays", "pmemset/part_map.go",
		"if q.addr <= at {", "if q.addr < at {",
	},
	{
		"set-range-wraps", "a range to the end of the address space wraps round", "pmemset/data.go",
		"return addr + uintptr(min(n-1, uint64(math.MaxUint-uint(addr))))", "return addr + uintptr(min(n-1, math.MaxUint))",
	},
	{
		"set-range-nothing", "a range that holds no part is removed well", "pmemset/remove.go",
		"case next == 0 && !found:", "case next == 0 && !found && n == 0:",
	},
	{
		"set-range-next-part", "a range ends with the first part map in it", "pmemset/remove.go",
		"case next == 0 || next > last:", "case next == 0 || next <= last:",
	},
	{
		"set-split-size", "the upper half of a split is as long as the whole", "pmemset/remove.go",
		"upper.size = uint64(end - upper.addr)", "upper.size = uint64(end - p.addr)",
	},
	{
		"set-head-start", "a part map whose head is cut starts behind its first piece only", "pmemset/remove.go",
		"p.addr = last.addr + uintptr(last.size)", "p.addr = removed[0].addr + uintptr(removed[0].size)",
	},
	{
		"set-cut-whole", "a part map goes as a whole if only its last piece is to stay", "pmemset/remove.go",
		"if i == 0 && j == len(p.pieces) {", "if i == 0 && j >= len(p.pieces)-1 {",
	},
	{
		"set-split-pieces", "the upper half of a split keeps the pieces that are gone", "pmemset/remove.go",
		"pieces: slices.Clone(p.pieces[j:])}", "pieces: slices.Clone(p.pieces[i:])}",
	},
	{
		"set-split-parts", "of a reservation whose part map was split the first half that goes is the last part", "pmemset/remove.go",
		"p.region.parts++", "p.region.parts += 0",
	},
	{
		"set-grow-length", "a file grows to the length, whatever the offset", "pmemset/grow.go",
		"int64(a.offset+a.length)", "int64(max(a.size, a.length))",
	},
	{
		"set-grow-rounded", "a file grows to a multiple of the huge page", "pmemset/grow.go",
		"int64(a.offset+a.length)", "int64((a.offset+a.length+hugePage-1)&^(hugePage-1))",
	},
	{
		"set-grow-wraps", "offset + length may wrap round where a file is to grow", "pmemset/grow.go",
		"if a.offset <= a.size && a.length <= a.size-a.offset {", "if a.offset+a.length <= a.size {",
	},
	{
		"set-grow-stays", "a file stays grown if the part can't be mapped", "pmemset/grow.go",
		"err = machine.Ftruncate(fd, from)", "err = nil",
	},
	{
		"set-grow-flag", "temporary files grow in the last generation only", "pmemset/grow.go",
		"case a.src.kind == fromTemporary:", "case a.src.kind == fromTemporary && a.gen == final:",
	},
	{
		"set-grow-do-not", "the flag not to grow is heeded by the wrong generations", "pmemset/grow.go",
		"return !flagged", "return flagged",
	},
	{
		"set-default-length", "a part without a length is as long as the source, whatever the offset", "pmemset/grow.go",
		"a.length = a.size - a.offset", "a.length = a.size",
	},
	{
		"set-extend-exactly", "a reservation is extended by all that is to come, not by what it lacks", "pmemset/place.go",
		"missing := a.length - room", "missing := a.length",
	},
	{
		"set-extend-stays", "a reservation stays extended if the part can't be mapped", "pmemset/place.go",
		"case a.spot.extended > 0:", "case false:",
	},
	{
		"set-extend-page-stays", "a page of what a reservation was extended by stays if the part can't be mapped", "pmemset/place.go",
		"err = r.Shrink(r.Size()-a.spot.extended, a.spot.extended)", "err = r.Shrink(r.Size()-a.spot.extended+4096, a.spot.extended-4096)",
	},
	{
		"set-fresh-stays", "a new reservation stays if the part can't be mapped", "pmemset/place.go",
		"case a.spot.fresh:", "case a.spot.fresh && a.spot.offset > 0:",
	},
	{
		"set-trim-front", "the front of a reservation stays when its parts are gone", "pmemset/set.go",
		"spare > 0 {", "spare > 1<<30 {",
	},
	{
		"set-trim-size", "a trimmed reservation doesn't reach to the end of its last mapping", "pmemset/set.go",
		"keep := sizeFor(uint64(last.Address()-r.Address())+last.Size(), r.slack)", "keep := sizeFor(uint64(last.Address()-r.Address()), r.slack)",
	},
	{
		"set-slack-lost", "a multiple of 2 MiB has no slack behind it", "pmemset/place.go",
		"return roundUp(used, slack) + slack", "return roundUp(used+1, slack)",
	},
	{
		"set-configured-extended", "a configured reservation is extended", "pmemset/place.go",
		"\tif !r.own {", "\tif !r.own && room == 0 {",
	},
	{
		"set-coalesce-full", "FULL does what OPPORTUNISTIC does", "pmemset/map.go",
		"if s.coalescing == CoalescingFull {", "if s.coalescing > CoalescingFull {",
	},
	{
		"set-coalesce-no-room", "FULL says that it can't coalesce where there is no room at all", "pmemset/place.go",
		"if r := a.spot.region; !r.own {", "if r := a.spot.region; r.own {",
	},
	{
		"set-granularity", "a part of another granularity is mapped", "pmemset/map.go",
		"if len(s.parts)+len(s.departing) > 0 && g != s.granularity {", "if len(s.parts)+len(s.departing) > 0 && g < s.granularity {",
	},
	{
		"set-granularity-stays", "the granularity is told when no part is mapped any more", "pmemset/set.go",
		`return 0, fail(op, ErrNoPartMapped, nil, "the set has no part")`, "return s.granularity, nil",
	},
	{
		"set-refs-one", "RemoveRange removes what one reference is held on", "pmemset/remove.go",
		"refs := p.refs.Load(); refs > 0 {", "refs := p.refs.Load(); refs > 1 {",
	},
	{
		"set-refs-two", "RemovePartMap removes what two references are held on", "pmemset/remove.go",
		"refs := q.refs.Load(); refs > 1 {", "refs := q.refs.Load(); refs > 2 {",
	},
	{
		"set-refs-twice", "a reference that has been dropped can be dropped again", "pmemset/part_map.go",
		"p.part != nil && p.dropped.CompareAndSwap(false, true) {", "p.part != nil && (p.dropped.CompareAndSwap(false, true) || p.dropped.Load()) {",
	},
	{
		"set-next-skips", "NextPartMap skips a part map of a page that starts where another one ends", "pmemset/part_map.go",
		"return s.parts.from(p.end()).reference()", "return s.parts.from(p.end() + 4096).reference()",
	},
	{
		"set-address-end", "the byte behind a part map is in it", "pmemset/part_map.go",
		"uint64(addr-p.addr) < p.size {", "uint64(addr-p.addr) <= p.size {",
	},
	{
		"set-length-huge-page", "lengths have to be multiples of half a page", "pmemset/map.go",
		"a.length%page != 0 {", "a.length%(page/2) != 0 {",
	},
	{
		"set-offset-range", "a part may start at 2^63", "pmemset/map.go",
		"gen == partsAPI && offset > math.MaxInt64 {", "gen == partsAPI && offset > math.MaxInt64+1 {",
	},
	{
		"set-coalescing-value", "a mode of coalescing above FULL is taken", "pmemset/set.go",
		"c < CoalescingNone || c > CoalescingFull {", "c < CoalescingNone || c > CoalescingFull+1 {",
	},
}
