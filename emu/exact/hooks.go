package exact

import _ "unsafe" // for go:linkname

// hookTable is what the overlay adds to the runtime: the same as its exactAPI.
type hookTable struct {
	version uint64
	race    bool
	install func(ranges *watched, n uintptr) bool
	enable  func(on bool) bool
	limit   func(slots uint64)
	ticket  func() uint64
	seq     func() uint64
	lost    func() uint64
	next    func(to uint64, out *slot, buf *byte, size uintptr) int
}

// hooksVersion is that of the overlay which this package fits.
const hooksVersion = 1

// hooks is nil, unless the program was built with the overlay: that defines the same
// variable with a value, which the linker then takes.
//
//go:linkname hooks
var hooks *hookTable

// watched is a range whose stores and loads are recorded: the runtime's exactWatched.
type watched struct {
	start, end uintptr
	base       uintptr // where the bits begin to count lines
	bits, sums uintptr // one bit per line read, one per 4096 bytes of bits
	id         uint64  // of the call of Watch
}

// slot is a record of the log, the runtime's exactRecord, and its number.
type slot struct {
	_     uint32 // the state
	kind  Kind
	flags uint8
	width uint16 // scalars: how many bytes of old and new are valid
	n     uintptr
	goid  uint64
	_     uintptr // the g
	addr  uintptr
	until uint64 // a store with this number or a higher one isn't in the content
	pcs   [4]uintptr
	old   [24]byte // scalars: before; small ranges: the first bytes of the content
	new   [24]byte
	seq   uint64
}

// The flags of a slot.
const (
	noValue = 1 << iota
	late
)

// What hooks.next returns.
const (
	nextNone = iota
	nextGot
	nextBusy
	nextMore
)
