//go:build linux && amd64

package runtime

import (
	"internal/abi"
	"internal/runtime/atomic"
	"unsafe"
)

// exactArgs are the arguments and the result of a function of sync/atomic.
type exactArgs struct {
	addr    uintptr
	a, b, c uint64
}

// exactAtomic performs an atomic operation, and records it if its address is watched. op
// is one of the functions that race_amd64.s would have called in TSan.
//
//go:nosplit
func exactAtomic(op uintptr, args *exactArgs, fp uintptr) {
	gp := getg()
	if gp.racectx != 0 {
		exactResolve(gp)
	}
	addr := args.addr
	p32, p64 := (*uint32)(unsafe.Pointer(addr)), (*uint64)(unsafe.Pointer(addr))
	a32 := (*[6]uint32)(unsafe.Pointer(&args.a)) // the same arguments, as 32 bits
	watched := false
	if exactOn != 0 && addr >= exactLo && addr < exactHi {
		watched = exactFind(addr).end != 0
	}
	n := uintptr(8)
	load := op == abi.FuncPCABI0(exactTsanLoad64)
	switch op {
	case abi.FuncPCABI0(exactTsanLoad32):
		n, load = 4, true
	case abi.FuncPCABI0(exactTsanStore32), abi.FuncPCABI0(exactTsanSwap32), abi.FuncPCABI0(exactTsanAdd32),
		abi.FuncPCABI0(exactTsanAnd32), abi.FuncPCABI0(exactTsanOr32), abi.FuncPCABI0(exactTsanCas32):
		n = 4
	}
	var rec *exactRecord
	if watched {
		if !load {
			// A fault of what can't be written comes here, without the lock.
			if n == 4 {
				atomic.Xadd(p32, 0)
			} else {
				atomic.Xadd64(p64, 0)
			}
			// The order of the records is that of the operations.
			exactAcquire(&exactAtomicLock)
			rec, _ = exactBegin(exactAtomicOp, addr, n, fp, 1)
		}
		if op != abi.FuncPCABI0(exactTsanStore32) && op != abi.FuncPCABI0(exactTsanStore64) {
			exactLoad(addr, n)
		}
	}
	stored := true
	switch op {
	case abi.FuncPCABI0(exactTsanLoad32):
		a32[0] = atomic.Load(p32)
	case abi.FuncPCABI0(exactTsanStore32):
		atomic.Store(p32, a32[0])
	case abi.FuncPCABI0(exactTsanSwap32):
		a32[2] = atomic.Xchg(p32, a32[0])
	case abi.FuncPCABI0(exactTsanAdd32):
		a32[2] = atomic.Xadd(p32, int32(a32[0])) - a32[0]
	case abi.FuncPCABI0(exactTsanAnd32):
		a32[2] = atomic.And32(p32, a32[0])
	case abi.FuncPCABI0(exactTsanOr32):
		a32[2] = atomic.Or32(p32, a32[0])
	case abi.FuncPCABI0(exactTsanCas32):
		stored = atomic.Cas(p32, a32[0], a32[1])
		*(*bool)(unsafe.Pointer(&args.b)) = stored
	case abi.FuncPCABI0(exactTsanLoad64):
		args.a = atomic.Load64(p64)
	case abi.FuncPCABI0(exactTsanStore64):
		atomic.Store64(p64, args.a)
	case abi.FuncPCABI0(exactTsanSwap64):
		args.b = atomic.Xchg64(p64, args.a)
	case abi.FuncPCABI0(exactTsanAdd64):
		args.b = atomic.Xadd64(p64, int64(args.a)) - args.a
	case abi.FuncPCABI0(exactTsanAnd64):
		args.b = atomic.And64(p64, args.a)
	case abi.FuncPCABI0(exactTsanOr64):
		args.b = atomic.Or64(p64, args.a)
	case abi.FuncPCABI0(exactTsanCas64):
		stored = atomic.Cas64(p64, args.a, args.b)
		*(*bool)(unsafe.Pointer(&args.c)) = stored
	}
	if !watched || load {
		return
	}
	if rec != nil {
		if !stored {
			rec.kind = exactTicketKind
			atomic.StoreRel(&rec.state, exactTicketed)
		} else {
			exactCopy(unsafe.Pointer(&rec.old), addr, n)
			atomic.StoreRel(&rec.state, exactDone)
		}
	}
	exactRelease(&exactAtomicLock)
}

// The functions of TSan that stand for atomic operations; exact_race_amd64.s has them.

//go:linkname exactTsanLoad32 __tsan_go_atomic32_load
func exactTsanLoad32()

//go:linkname exactTsanStore32 __tsan_go_atomic32_store
func exactTsanStore32()

//go:linkname exactTsanSwap32 __tsan_go_atomic32_exchange
func exactTsanSwap32()

//go:linkname exactTsanAdd32 __tsan_go_atomic32_fetch_add
func exactTsanAdd32()

//go:linkname exactTsanAnd32 __tsan_go_atomic32_fetch_and
func exactTsanAnd32()

//go:linkname exactTsanOr32 __tsan_go_atomic32_fetch_or
func exactTsanOr32()

//go:linkname exactTsanCas32 __tsan_go_atomic32_compare_exchange
func exactTsanCas32()

//go:linkname exactTsanLoad64 __tsan_go_atomic64_load
func exactTsanLoad64()

//go:linkname exactTsanStore64 __tsan_go_atomic64_store
func exactTsanStore64()

//go:linkname exactTsanSwap64 __tsan_go_atomic64_exchange
func exactTsanSwap64()

//go:linkname exactTsanAdd64 __tsan_go_atomic64_fetch_add
func exactTsanAdd64()

//go:linkname exactTsanAnd64 __tsan_go_atomic64_fetch_and
func exactTsanAnd64()

//go:linkname exactTsanOr64 __tsan_go_atomic64_fetch_or
func exactTsanOr64()

//go:linkname exactTsanCas64 __tsan_go_atomic64_compare_exchange
func exactTsanCas64()
