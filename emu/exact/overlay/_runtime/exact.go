//go:build linux && amd64

package runtime

// What the overlay adds to the runtime: the functions that instrumented code calls
// before each store and load, and the log that they fill. They run in any context: on
// any stack, under any lock, without write barriers. So all is nosplit, nothing comes
// from the heap, nothing waits for another goroutine to be scheduled.
//
// A store is in three states. The hook runs before it: it takes the next number of the
// sequence, fills the record of that number with address and content, and notes the
// number in the g (racectx, that nothing else uses without TSan). The store is then
// "pending". At the next thing that the goroutine does that can matter (a store, an
// atomic, a release of a lock, its end), the content is read again: "done". What is
// still pending when the log is drained is read by the drain, which leaves an orphan
// with the goroutine, so that a store that comes even later is told too.

import (
	"internal/abi"
	"internal/runtime/atomic"
	"unsafe"
)

const (
	exactVersion    = 1       // of exactAPI; package exact checks it
	exactRecordSize = 128     // of exactRecord
	exactChunkSlots = 4096    // records of a chunk, 512 KiB
	exactChunks     = 1 << 13 // chunks that the table has room for
	exactMargin     = 1 << 16 // slots kept for hooks that have passed the check together
	exactMaxRanges  = 1 << 16
	exactInline     = 48     // bytes of a range that fit in the record itself
	exactLostChunk  = 1      // in exactTable: there was no memory for the chunk
	exactNoReserve  = 0x4000 // MAP_NORESERVE
	exactPopulate   = 0x8000 // MAP_POPULATE: a page fault per 32 records costs more than they do
)

// The states of a slot.
const (
	exactEmpty = iota
	exactPending
	exactDone
	exactTicketed
)

// The kinds of a record. Package exact has the same numbers.
const (
	exactScalar = 1 + iota
	exactRange
	exactAtomicOp
	exactTicketKind
)

// The flags of a record.
const (
	exactNoValue = 1 << iota // the content couldn't be read
	exactLate                // the store came after a drain had told it
)

// exactRecord is one slot of the log. Package exact has the same type.
type exactRecord struct {
	state uint32
	kind  uint8
	flags uint8
	width uint16  // scalars: how many bytes of old and new are valid
	n     uintptr // bytes; 0: a scalar of unknown size
	goid  uint64
	gp    uintptr
	addr  uintptr
	until uint64 // a store with this number or a higher one isn't in the content
	pcs   [4]uintptr
	old   [3]uint64 // scalars: before; ranges of up to 48 bytes: the content, with new
	new   [3]uint64
}

// exactWatched is a range of memory whose stores and loads are recorded.
type exactWatched struct {
	start, end uintptr
	base       uintptr // where the bits begin to count
	bits, sums uintptr // one bit per line, and one per page of bits
	id         uint64  // never used again
}

// exactOrphan is a store that was drained while it was pending.
type exactOrphan struct {
	next uintptr
	id   uint64 // of the watched range
	sum  uint64 // of the content that was told
	rec  exactRecord
}

// Read in every hook, written seldom.
var exactLo, exactHi uintptr // all watched memory is in [exactLo, exactHi)
var exactOn uint32 = 1
var exactRangesVersion uint32 // odd while the table changes
var exactRanges uintptr       // of exactMaxRanges exactWatched, sorted
var exactRangesLen uintptr
var exactLimit uint64 = 2 << 30 / exactRecordSize // slots, at most those of the table
var exactTable [exactChunks]uintptr
var _ [64]byte

var exactSeq uint64 // the last number given
var _ [64]byte

var exactDrained uint64 // all slots up to here are free
var exactLost uint64
var exactGrowLock uint32
var exactFreeChunks uintptr // linked by their first word
var exactOrphanLock uint32
var exactFreeOrphans uintptr
var exactAtomicLock uint32
var exactPos uint64 = 1 // the next slot to drain; exactNext alone uses it

// exactAPI is what package exact calls. It has the same type.
type exactAPI struct {
	version uint64
	race    bool
	install func(ranges unsafe.Pointer, n uintptr) bool
	enable  func(on bool) bool
	limit   func(slots uint64)
	ticket  func() uint64
	seq     func() uint64
	lost    func() uint64
	next    func(to uint64, out unsafe.Pointer, buf unsafe.Pointer, size uintptr) int
}

var exactHooks = exactAPI{exactVersion, raceenabled, exactInstall, exactEnable, exactSetLimit, exactTicket, exactLast, exactLosses, exactNext}

// exactForPackage is the variable that package exact declares without a value: of two
// definitions the linker takes the one that has one.
//
//go:linkname exactForPackage pmemlab/emu/exact.hooks
var exactForPackage = &exactHooks

// exactCopy copies n bytes; false: the source can't be read. It's in assembly, so that
// exactFault knows a fault of it.
//
//go:noescape
func exactCopy(dst unsafe.Pointer, src, n uintptr) bool

// exactCopyFailed is where a fault of exactCopy goes on.
func exactCopyFailed()

// exactFault sends a fault of exactCopy back to it. The signal handler calls it first.
//
//go:nowritebarrierrec
func exactFault(sig uint32, info *siginfo, ctxt unsafe.Pointer) bool {
	if sig != _SIGSEGV && sig != _SIGBUS {
		return false
	}
	c := &sigctxt{info, ctxt}
	f := findfunc(c.sigpc())
	if !f.valid() || f.entry() != abi.FuncPCABIInternal(exactCopy) {
		return false
	}
	c.setsigpc(uint64(abi.FuncPCABIInternal(exactCopyFailed)))
	return true
}

//go:nosplit
func exactAcquire(l *uint32) {
	for i := 0; !atomic.Cas(l, 0, 1); i++ {
		if i%64 == 63 {
			osyield()
		}
	}
}

//go:nosplit
func exactRelease(l *uint32) { atomic.Store(l, 0) }

//go:nosplit
func exactMap(n uintptr, flags int32) uintptr {
	p, err := sysMmap(nil, n, _PROT_READ|_PROT_WRITE, _MAP_ANON|_MAP_PRIVATE|flags, -1, 0)
	if err != 0 {
		return 0
	}
	return uintptr(p)
}

// exactFind looks up the range that holds addr; its end is 0 if there's none.
//
//go:nosplit
func exactFind(addr uintptr) (r exactWatched) {
	for {
		v := atomic.Load(&exactRangesVersion)
		if v&1 != 0 {
			osyield()
			continue
		}
		r = exactWatched{}
		lo, hi := uintptr(0), exactRangesLen
		for lo < hi {
			mid := (lo + hi) / 2
			e := (*exactWatched)(unsafe.Pointer(exactRanges + mid*unsafe.Sizeof(r)))
			if addr >= e.end {
				lo = mid + 1
			} else if addr < e.start {
				hi = mid
			} else {
				r = *e
				break
			}
		}
		if atomic.Load(&exactRangesVersion) == v {
			return r
		}
	}
}

// exactInstall replaces the table of ranges. Its caller holds a lock of its own.
//
//go:nosplit
func exactInstall(ranges unsafe.Pointer, n uintptr) bool {
	size := unsafe.Sizeof(exactWatched{})
	if n > exactMaxRanges {
		return false
	}
	if exactRanges == 0 {
		exactRanges = exactMap(exactMaxRanges*size, exactNoReserve)
		if exactRanges == 0 {
			return false
		}
	}
	atomic.Xadd(&exactRangesVersion, 1)
	memmove(unsafe.Pointer(exactRanges), ranges, n*size)
	exactRangesLen = n
	if n == 0 {
		exactLo, exactHi = 0, 0
	} else {
		exactLo = (*exactWatched)(ranges).start
		exactHi = (*exactWatched)(unsafe.Pointer(uintptr(ranges) + (n-1)*size)).end
	}
	atomic.Xadd(&exactRangesVersion, 1)
	return true
}

//go:nosplit
func exactEnable(on bool) bool {
	v := uint32(0)
	if on {
		v = 1
	}
	return atomic.Xchg(&exactOn, v) != 0
}

//go:nosplit
func exactSetLimit(slots uint64) { atomic.Store64(&exactLimit, slots) }

//go:nosplit
func exactLast() uint64 { return atomic.Load64(&exactSeq) }

//go:nosplit
func exactLosses() uint64 { return atomic.Load64(&exactLost) }
