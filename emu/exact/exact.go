package exact

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
)

// Enabled reports whether the program was built with the overlay, so that its stores and
// loads are recorded. In an ordinary build all else here does nothing, except [Ticket].
func Enabled() bool {
	return hooks != nil && hooks.race && hooks.version == hooksVersion
}

// Range is a range of memory: its address and its length in bytes.
type Range struct {
	Addr uintptr
	Len  uint64
}

// ErrTooManyRanges is that of [Watch] and [Unwatch] when there would be more than 65,536
// ranges; a range that was cut counts as two.
var ErrTooManyRanges = errors.New("exact: no more than 65536 ranges can be watched")

// table is what's watched.
var table struct {
	mu     sync.Mutex
	ranges []watched // sorted, apart from each other
	areas  map[uint64]*area
	ids    uint64
}

// area is the memory of the bits of one call of Watch.
type area struct {
	mem   []byte
	parts int // how many ranges of the table still use it
}

// Watch begins to record the stores and loads of [addr, addr+n), in bytes, that another
// mapping may alias: what is stored there is recorded at the address that was used. The
// memory must be readable where the program reads it. A range without bytes, one that
// wraps around and one that overlaps what is watched are refused, and so is one too many,
// with [ErrTooManyRanges]. It may be called from any goroutine; a store that runs beside
// it may or may not be recorded.
func Watch(addr uintptr, n uint64) error {
	if !Enabled() {
		return nil
	}
	if n == 0 || uint64(addr)+n < n {
		return fmt.Errorf("exact: range of %d bytes at %#x: it must have a byte and not wrap around", n, addr)
	}
	end := addr + uintptr(n)
	table.mu.Lock()
	defer table.mu.Unlock()
	i, _ := slices.BinarySearchFunc(table.ranges, addr, func(w watched, a uintptr) int {
		if w.end <= a {
			return -1
		}
		return 1
	})
	if i < len(table.ranges) && table.ranges[i].start < end {
		w := table.ranges[i]
		return fmt.Errorf("exact: range [%#x, %#x) overlaps [%#x, %#x), which is watched already", addr, end, w.start, w.end)
	}
	w := watched{start: addr, end: end, base: addr &^ (lineSize - 1)}
	mem, err := readBits(&w)
	if err != nil {
		return err
	}
	table.ids++
	w.id = table.ids
	ranges := slices.Insert(slices.Clone(table.ranges), i, w)
	if !install(ranges) {
		freeBits(mem)
		return ErrTooManyRanges
	}
	if table.areas == nil {
		table.areas = map[uint64]*area{}
	}
	table.areas[w.id] = &area{mem: mem, parts: 1}
	return nil
}

// Unwatch ends recording in [addr, addr+n), in bytes, whatever part of it is watched. It
// reads what the last stores there have left, so it comes before the memory is unmapped.
// The records stay for [Drain]; which lines were read is forgotten. If it would cut one
// range too many, it does nothing and returns [ErrTooManyRanges]. It may be called from any
// goroutine.
func Unwatch(addr uintptr, n uint64) error {
	if !Enabled() || n == 0 {
		return nil
	}
	end := addr + uintptr(n)
	if end < addr {
		end = ^uintptr(0)
	}
	table.mu.Lock()
	defer table.mu.Unlock()
	var ranges []watched
	cut := map[uint64]int{} // how many parts more there are of each call of Watch
	for _, w := range table.ranges {
		if w.end <= addr || w.start >= end {
			ranges = append(ranges, w)
			continue
		}
		cut[w.id]--
		if w.start < addr {
			left := w
			left.end = addr
			ranges = append(ranges, left)
			cut[w.id]++
		}
		if w.end > end {
			right := w
			right.start = end
			ranges = append(ranges, right)
			cut[w.id]++
		}
	}
	if !install(ranges) {
		return ErrTooManyRanges
	}
	collect()
	for id, n := range cut {
		a := table.areas[id]
		a.parts += n
		if a.parts == 0 {
			freeBits(a.mem)
			delete(table.areas, id)
		}
	}
	return nil
}

// install makes ranges the table; false: there are too many.
func install(ranges []watched) bool {
	var first *watched
	if len(ranges) > 0 {
		first = &ranges[0]
	}
	if !hooks.install(first, uintptr(len(ranges))) {
		return false
	}
	table.ranges = ranges
	return true
}

// SetRecording turns the recording of stores and loads on or off, for the whole program,
// and returns what it was. It's on at the start.
func SetRecording(on bool) (was bool) {
	if !Enabled() {
		return false
	}
	return hooks.enable(on)
}

// The bounds of [SetLimit] in bytes, and what the limit is at the start.
const (
	MinLimit     = 16 << 20
	MaxLimit     = 4 << 30
	DefaultLimit = 2 << 30
)

// SetLimit says how much memory the log may take, in bytes, from [MinLimit] to [MaxLimit]:
// 128 bytes for each store and ticket, and for a store of more than 48 bytes its content
// besides. All but 8 MiB of it is used. The memory is taken as it's needed and stays with
// the log.
func SetLimit(n uint64) error {
	if n < MinLimit || n > MaxLimit {
		return fmt.Errorf("exact: limit of %d bytes: it must be from %d to %d", n, MinLimit, MaxLimit)
	}
	if Enabled() {
		hooks.limit(n / 128)
	}
	return nil
}

var tickets atomic.Uint64

// Ticket takes the next number of the sequence that numbers the stores, so that a flush or
// a fence has its place among them; the first is 1. What the calling goroutine has stored
// before has lower numbers and its content is taken now: so a routine that isn't
// compiled Go, or not instrumented, and is about to store takes a ticket first. In an
// ordinary build the numbers are those of the calls of Ticket. While the log is full (see
// [Drain]) numbers repeat.
func Ticket() uint64 {
	if !Enabled() {
		return tickets.Add(1)
	}
	return hooks.ticket()
}
