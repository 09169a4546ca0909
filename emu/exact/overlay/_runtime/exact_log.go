//go:build linux && amd64

package runtime

import (
	"internal/runtime/atomic"
	"unsafe"
)

// The log: slots in the order of their numbers, in chunks that come and go.

// exactTake takes k numbers and returns the first, 0 if the log is full.
//
//go:nosplit
func exactTake(k uint64) uint64 {
	if atomic.Load64(&exactSeq)+k-atomic.Load64(&exactDrained) > atomic.Load64(&exactLimit)-exactMargin {
		return 0
	}
	return atomic.Xadd64(&exactSeq, int64(k)) - k + 1
}

// exactSlot returns the slot of a number; nil: there was no memory.
//
//go:nosplit
func exactSlot(seq uint64) *exactRecord {
	e := &exactTable[seq/exactChunkSlots%exactChunks]
	c := atomic.Loaduintptr(e)
	if c <= exactLostChunk {
		if c == 0 {
			c = exactGrow(e)
		}
		if c == exactLostChunk {
			return nil
		}
	}
	return (*exactRecord)(unsafe.Pointer(c + uintptr(seq%exactChunkSlots)*exactRecordSize))
}

//go:nosplit
func exactGrow(e *uintptr) uintptr {
	exactAcquire(&exactGrowLock)
	c := atomic.Loaduintptr(e)
	if c == 0 {
		c = exactFreeChunks
		if c != 0 {
			exactFreeChunks = *(*uintptr)(unsafe.Pointer(c))
			*(*uintptr)(unsafe.Pointer(c)) = 0
		} else if c = exactMap(exactChunkSlots*exactRecordSize, exactPopulate); c == 0 {
			c = exactLostChunk
		}
		atomic.Storeuintptr(e, c)
	}
	exactRelease(&exactGrowLock)
	return c
}

// exactDataSlots is how many slots after its own a record of n bytes has.
//
//go:nosplit
func exactDataSlots(kind uint8, n uintptr) uint64 {
	if kind != exactRange || n <= exactInline {
		return 0
	}
	return uint64((n + exactRecordSize - 1) / exactRecordSize)
}

//go:nosplit
func exactNewOrphan() *exactOrphan {
	exactAcquire(&exactOrphanLock)
	if exactFreeOrphans == 0 {
		const n = 256
		size := unsafe.Sizeof(exactOrphan{})
		if p := exactMap(n*size, 0); p != 0 {
			for i := uintptr(0); i < n; i++ {
				o := (*exactOrphan)(unsafe.Pointer(p + i*size))
				o.next, exactFreeOrphans = exactFreeOrphans, uintptr(unsafe.Pointer(o))
			}
		}
	}
	o := (*exactOrphan)(unsafe.Pointer(exactFreeOrphans))
	if o != nil {
		exactFreeOrphans = o.next
	}
	exactRelease(&exactOrphanLock)
	return o
}

//go:nosplit
func exactFreeOrphan(o *exactOrphan) {
	exactAcquire(&exactOrphanLock)
	o.next, exactFreeOrphans = exactFreeOrphans, uintptr(unsafe.Pointer(o))
	exactRelease(&exactOrphanLock)
}

// exactTicket takes a number for something that isn't a store.
//
//go:nosplit
func exactTicket() uint64 {
	gp := getg()
	if gp.racectx != 0 {
		exactResolve(gp)
	}
	seq := exactTake(1)
	if seq == 0 {
		atomic.Xadd64(&exactLost, 1)
		return atomic.Load64(&exactSeq)
	}
	if rec := exactSlot(seq); rec != nil {
		rec.kind, rec.goid = exactTicketKind, gp.goid
		atomic.StoreRel(&rec.state, exactTicketed)
	}
	return seq
}

// What exactNext returns.
const (
	exactNone = iota // all up to the number asked for are drained
	exactGot
	exactBusy // a hook is at work: ask again
	exactMore // the buffer is too small: its record says how much it needs
)

// exactNext takes the oldest record out of the log. out is an exactRecord and its number
// after it. Its caller holds a lock of its own.
//
//go:nosplit
func exactNext(to uint64, out unsafe.Pointer, buf unsafe.Pointer, size uintptr) int {
	for exactPos <= to {
		seq := exactPos
		c := atomic.Loaduintptr(&exactTable[seq/exactChunkSlots%exactChunks])
		if c == 0 {
			return exactBusy
		}
		if c == exactLostChunk {
			exactAdvance(1)
			continue
		}
		rec := exactSlot(seq)
		state := atomic.Load(&rec.state)
		if state == exactEmpty {
			return exactBusy
		}
		more := exactDataSlots(rec.kind, rec.n)
		if more != 0 && rec.n > size {
			(*exactRecord)(out).n = rec.n
			return exactMore
		}
		if state == exactPending && !exactAdopt(rec, seq, buf) {
			return exactBusy
		}
		o := (*exactRecord)(out)
		*o = *rec
		*(*uint64)(unsafe.Pointer(uintptr(out) + exactRecordSize)) = seq
		if more != 0 && state == exactDone && rec.flags&exactNoValue == 0 {
			exactData(seq, buf, rec.n)
		}
		exactAdvance(1 + more)
		return exactGot
	}
	return exactNone
}

// exactData copies the content of a record out of the slots after it.
//
//go:nosplit
func exactData(seq uint64, buf unsafe.Pointer, size uintptr) {
	for done := uintptr(0); done < size; {
		seq++
		room := exactChunkSlots - seq%exactChunkSlots
		n := min(size-done, uintptr(room)*exactRecordSize)
		memmove(unsafe.Pointer(uintptr(buf)+done), unsafe.Pointer(exactSlot(seq)), n)
		done += n
		seq += room - 1
	}
}

// exactAdopt reads the content of a pending store for its goroutine, what doesn't fit in
// the record into buf; false: the goroutine is doing that itself.
//
//go:nosplit
func exactAdopt(rec *exactRecord, seq uint64, buf unsafe.Pointer) bool {
	o := exactNewOrphan()
	if o == nil {
		return false
	}
	o.rec = *rec
	to := buf
	if rec.kind == exactScalar {
		to = unsafe.Pointer(&o.rec.new)
	} else if rec.n <= exactInline {
		to = unsafe.Pointer(&o.rec.old)
	}
	n := exactExtent(rec)
	word := uintptr(unsafe.Pointer(o)) | 1
	if exactCopy(to, rec.addr, n) {
		o.sum, _ = exactSum(uintptr(to), n)
		o.id = exactFind(rec.addr).id
	} else {
		o.rec.flags |= exactNoValue
		word = 0
	}
	told := o.rec // the goroutine may free the orphan as soon as it has it
	gp := (*g)(unsafe.Pointer(rec.gp))
	if !atomic.Casuintptr(&gp.racectx, uintptr(seq<<1), word) {
		exactFreeOrphan(o)
		return false
	}
	if word == 0 {
		exactFreeOrphan(o)
	}
	told.until = atomic.Load64(&exactSeq) + 1
	*rec = told
	return true
}

// exactAdvance frees k slots.
//
//go:nosplit
func exactAdvance(k uint64) {
	for end := exactPos + k; exactPos < end; {
		e := &exactTable[exactPos/exactChunkSlots%exactChunks]
		c := atomic.Loaduintptr(e)
		if c > exactLostChunk {
			rec := (*exactRecord)(unsafe.Pointer(c + uintptr(exactPos%exactChunkSlots)*exactRecordSize))
			atomic.StoreRel(&rec.state, exactEmpty)
		}
		exactPos++
		if exactPos%exactChunkSlots != 0 {
			continue
		}
		// The table's entry is free before the numbers are.
		atomic.Storeuintptr(e, 0)
		if c > exactLostChunk {
			exactAcquire(&exactGrowLock)
			*(*uintptr)(unsafe.Pointer(c)) = exactFreeChunks
			exactFreeChunks = c
			exactRelease(&exactGrowLock)
		}
		atomic.Store64(&exactDrained, exactPos-1)
	}
}
