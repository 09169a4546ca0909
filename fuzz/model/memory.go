package model

import (
	"syscall"

	"pmemlab/pmem2"
)

// MemOp is an operation of pmem2_get_memmove_fn(3).
type MemOp int

// The operations.
const (
	MoveBytes MemOp = iota
	CopyBytes
	SetBytes
)

// MemRequest is a copy or a set. Offsets and lengths are in bytes.
type MemRequest struct {
	Op     MemOp
	Length uint64 // of the destination
	Source uint64 // length of the source; a set has none
	Flags  pmem2.MemFlags
	// Granularity is that of the map that holds all of the destination.
	Granularity pmem2.Granularity
	// NonTemporal says that the CPU has non-temporal stores and may use them, and Threshold
	// from which length on it is to, without a flag that says so.
	NonTemporal bool
	Threshold   uint64
	SyncErrno   syscall.Errno // of msync
}

// Stored is what a copy or a set must do.
type Stored struct {
	Result Result
	Bytes  bool // the destination is changed
	// NonTemporal says that no ordinary store may be used, where a line is stored as a whole.
	NonTemporal bool
	Flush       bool    // lines of the destination that ordinary stores have changed are flushed
	Sync        bool    // the pages of the destination are synced
	Fence       Fencing // behind all of it
}

const (
	temporal    = pmem2.MemTemporal | pmem2.MemWB
	nonTemporal = pmem2.MemNonTemporal | pmem2.MemWC
	knownFlags  = pmem2.MemNoDrain | pmem2.MemNoFlush | temporal | nonTemporal
)

// Memory is what a copy or a set must do. Where a page says that what comes of a combination
// of flags is undefined, as of those that exclude each other, it is refused.
func Memory(q MemRequest) Stored {
	hints := q.Flags&temporal != 0 && q.Flags&nonTemporal != 0
	if q.Flags&^knownFlags != 0 || hints || q.Flags&pmem2.MemNoFlush != 0 && q.Flags&nonTemporal != 0 ||
		q.Op != SetBytes && q.Length != q.Source {
		return Stored{Result: FailsWith(syscall.EINVAL)}
	}
	s := Stored{Bytes: q.Length > 0}
	byFlag := q.Flags&nonTemporal != 0
	ordinary := q.Flags&(temporal|pmem2.MemNoFlush) != 0
	// What lies in a cache at BYTE is durable: past the cache nothing is to be gained.
	bySize := q.Length >= q.Threshold && q.Granularity != pmem2.GranularityByte
	s.NonTemporal = q.NonTemporal && s.Bytes && !ordinary && (byFlag || bySize)
	if q.Flags&pmem2.MemNoFlush != 0 {
		return s
	}
	switch q.Granularity {
	case pmem2.GranularityCacheLine:
		s.Flush = s.Bytes
	case pmem2.GranularityPage:
		if s.Sync = s.Bytes; s.Sync && q.SyncErrno != 0 {
			s.Result = FailsWith(q.SyncErrno)
		}
	}
	switch {
	case q.Granularity == pmem2.GranularityPage:
		s.Fence = MayFence // msync waits by itself
	case q.Flags&pmem2.MemNoDrain == 0:
		s.Fence = Fenced
	}
	return s
}

// Move is what memory holds after a copy of what some memory, the same or other, held before.
func Move(after, before []byte, dst, src, n uint64) {
	copy(after[dst:dst+n], before[src:src+n])
}

// Set is what memory holds after a set.
func Set(after []byte, dst, n uint64, c byte) {
	for i := range n {
		after[dst+i] = c
	}
}
