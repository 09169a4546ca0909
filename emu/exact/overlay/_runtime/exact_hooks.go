//go:build linux && amd64

package runtime

import (
	"internal/runtime/atomic"
	"unsafe"
)

// What instrumented code calls, but for atomic operations.

// exactBegin makes the record of a store that is about to happen, not yet pending.
//
//go:nosplit
func exactBegin(kind uint8, addr, n, fp uintptr, skip int) (*exactRecord, uint64) {
	gp := getg()
	k := 1 + exactDataSlots(kind, n)
	seq := exactTake(k)
	if seq == 0 {
		atomic.Xadd64(&exactLost, 1)
		return nil, 0
	}
	rec := exactSlot(seq)
	if rec == nil {
		atomic.Xadd64(&exactLost, 1)
		return nil, 0
	}
	if gp.m.curg != nil {
		gp = gp.m.curg
	}
	rec.kind, rec.flags, rec.width = kind, 0, 0
	rec.n, rec.goid, rec.gp, rec.addr = n, gp.goid, uintptr(unsafe.Pointer(gp)), addr
	rec.until = seq
	i := -skip
	for ; i < len(rec.pcs) && fp >= gp.stack.lo && fp+16 <= gp.stack.hi; i++ {
		if i >= 0 {
			rec.pcs[i] = *(*uintptr)(unsafe.Pointer(fp + 8))
		}
		up := *(*uintptr)(unsafe.Pointer(fp))
		if up <= fp {
			i++
			break
		}
		fp = up
	}
	for i = max(i, 0); i < len(rec.pcs); i++ {
		rec.pcs[i] = 0
	}
	return rec, seq
}

// exactStore is called before a store to addr; n is 0 for a scalar, whose size the
// compiler doesn't tell. fp is a frame pointer, skip how many of its callers are the
// runtime's.
//
//go:nosplit
func exactStore(addr, n, fp uintptr, skip int) {
	gp := getg()
	if gp.racectx != 0 {
		exactResolve(gp)
	}
	if exactOn == 0 {
		return
	}
	r := exactFind(addr)
	if r.end == 0 {
		return
	}
	kind := uint8(exactScalar)
	if n != 0 {
		kind = exactRange
	}
	rec, seq := exactBegin(kind, addr, n, fp, skip)
	if rec == nil {
		return
	}
	if n == 0 {
		// The largest scalar is a slice's header. A window that isn't aligned is that
		// of a word at most. It stays within the page: its neighbour may be unreadable.
		w := uintptr(24)
		if addr%8 != 0 {
			w = 8
		}
		if room := 4096 - addr%4096; w > room {
			w = room
		}
		if room := r.end - addr; w > room {
			w = room
		}
		rec.width = uint16(w)
		if !exactCopy(unsafe.Pointer(&rec.old), addr, w) {
			rec.flags = exactNoValue
		}
	}
	if gp.goid == 0 {
		// Not a goroutine's: nobody will come back for the content.
		rec.flags |= exactNoValue
		atomic.StoreRel(&rec.state, exactDone)
		return
	}
	gp.racectx = uintptr(seq << 1)
	atomic.StoreRel(&rec.state, exactPending)
}

// exactSync finishes what gp has pending, before another goroutine may store to the same
// place: at a release of a lock and the like.
//
//go:nosplit
func exactSync(gp *g) {
	if gp.racectx != 0 {
		exactResolve(gp)
	}
}

// exactResolve reads what the last store of gp has left. gp runs here or is parked.
//
//go:nosplit
func exactResolve(gp *g) {
	if gp.goid == 0 {
		return // g0 borrows the word of a goroutine at times
	}
	x := atomic.Xchguintptr(&gp.racectx, 0)
	if x == 0 {
		return
	}
	if x&1 != 0 {
		exactResolveOrphan(x &^ 1)
		return
	}
	seq := uint64(x >> 1)
	rec := exactSlot(seq)
	exactCapture(rec, seq)
	rec.until = atomic.Load64(&exactSeq) + 1
	atomic.StoreRel(&rec.state, exactDone)
}

// exactCapture reads the content of a store into its record and the slots after it.
//
//go:nosplit
func exactCapture(rec *exactRecord, seq uint64) {
	ok := true
	if rec.kind == exactScalar {
		ok = exactCopy(unsafe.Pointer(&rec.new), rec.addr, uintptr(rec.width))
	} else if rec.n <= exactInline {
		ok = exactCopy(unsafe.Pointer(&rec.old), rec.addr, rec.n)
	} else {
		for done := uintptr(0); done < rec.n && ok; {
			seq++
			slot := exactSlot(seq)
			if slot == nil {
				ok = false
				break
			}
			room := exactChunkSlots - seq%exactChunkSlots
			n := min(rec.n-done, uintptr(room)*exactRecordSize)
			ok = exactCopy(unsafe.Pointer(slot), rec.addr+done, n)
			done += n
			seq += room - 1
		}
	}
	if !ok {
		rec.flags |= exactNoValue
	}
}

// exactSum is a checksum of what is in memory, computed in pieces.
//
//go:nosplit
func exactSum(addr, n uintptr) (sum uint64, ok bool) {
	var piece [8]uint64
	for done := uintptr(0); done < n; {
		k := min(n-done, unsafe.Sizeof(piece))
		piece = [8]uint64{}
		if !exactCopy(unsafe.Pointer(&piece), addr+done, k) {
			return 0, false
		}
		for _, w := range piece {
			sum = (sum ^ w) * 0x9e3779b97f4a7c15
			sum ^= sum >> 29
		}
		done += k
	}
	return sum, true
}

//go:nosplit
func exactExtent(rec *exactRecord) uintptr {
	if rec.kind == exactScalar {
		return uintptr(rec.width)
	}
	return rec.n
}

// exactResolveOrphan tells a store again if it came after the drain that told it.
//
//go:nosplit
func exactResolveOrphan(p uintptr) {
	o := (*exactOrphan)(unsafe.Pointer(p))
	from := &o.rec
	sum, ok := exactSum(from.addr, exactExtent(from))
	if ok && sum != o.sum && o.id != 0 && exactFind(from.addr).id == o.id {
		seq := exactTake(1 + exactDataSlots(from.kind, from.n))
		var rec *exactRecord
		if seq != 0 {
			rec = exactSlot(seq)
		}
		if rec == nil {
			atomic.Xadd64(&exactLost, 1)
		} else {
			rec.kind, rec.flags, rec.width = from.kind, from.flags|exactLate, from.width
			rec.n, rec.goid, rec.gp, rec.addr, rec.pcs = from.n, from.goid, from.gp, from.addr, from.pcs
			rec.old = from.new
			exactCapture(rec, seq)
			rec.until = atomic.Load64(&exactSeq) + 1
			atomic.StoreRel(&rec.state, exactDone)
		}
	}
	exactFreeOrphan(o)
}

// exactLoad is called before a load of n bytes; 0 is a scalar.
//
//go:nosplit
func exactLoad(addr, n uintptr) {
	if exactOn == 0 {
		return
	}
	r := exactFind(addr)
	if r.end == 0 {
		return
	}
	if n == 0 {
		n = 24
		if addr%8 != 0 {
			n = 8
		}
	}
	n = min(n, r.end-addr)
	last := (addr + n - 1 - r.base) / 64
	for line := (addr - r.base) / 64; line <= last; line++ {
		p := (*uint64)(unsafe.Pointer(r.bits + line/64*8))
		bit := uint64(1) << (line % 64)
		if *p&bit == 0 {
			atomic.Or64(p, bit)
			page := line / (4096 * 8)
			atomic.Or64((*uint64)(unsafe.Pointer(r.sums+page/64*8)), 1<<(page%64))
		}
	}
}
