// Package trace is the record of what a program did to persistent memory: stores,
// flushes, fences and what else decides what a power failure can leave, in the order in
// which it became visible. The emulated machine fills a [Log]; the package writes it as
// JSON lines, in the text format of pmemcheck's store log, and as a page that shows it.
package trace

import "fmt"

// Kind is what an [Event] is.
type Kind uint8

// The kinds of events.
const (
	// Store is an ordinary store whose bytes are known: by the machine's own copy
	// and set, by a system call, or in exact mode by the program.
	Store Kind = iota + 1
	// StoreNT is a non-temporal store.
	StoreNT
	// Change is content that was found in memory, at a flush or a look: something
	// stored it since the last time.
	Change
	// CLWB, CLFLUSHOPT, CLFLUSH and DCCVAP are flushes of the lines that hold a byte
	// of the range.
	CLWB
	CLFLUSHOPT
	CLFLUSH
	DCCVAP
	// NoFlush is a flush at a granularity that needs none: no instruction.
	NoFlush
	// Fence is SFENCE, or DSB SY: it completes the flushes and non-temporal stores of
	// its goroutine.
	Fence
	// Msync and Fsync are the system calls, on a range and on a file.
	Msync
	Fsync
	// DeepFlush is a write to the deep_flush attribute of a region: Text is its path.
	DeepFlush
	// Map and Unmap are mappings of the object that come and go.
	Map
	Unmap
	// Look is a comparison of all memory that may have changed.
	Look
	// Mark is a remark of the program or the test: Text.
	Mark

	lastKind = Mark
)

var kindNames = [...]string{
	Store: "store", StoreNT: "store-nt", Change: "change",
	CLWB: "clwb", CLFLUSHOPT: "clflushopt", CLFLUSH: "clflush", DCCVAP: "dc-cvap", NoFlush: "no-flush",
	Fence: "fence", Msync: "msync", Fsync: "fsync", DeepFlush: "deep-flush",
	Map: "map", Unmap: "unmap", Look: "look", Mark: "mark",
}

// String returns the name that the writers use: "clwb".
func (k Kind) String() string {
	if k == 0 || k > lastKind {
		return fmt.Sprintf("kind(%d)", uint8(k))
	}
	return kindNames[k]
}

// IsFlush reports whether k is a flush of cache lines, [NoFlush] included.
func (k Kind) IsFlush() bool { return k >= CLWB && k <= NoFlush }

// IsStore reports whether k says what is in memory: [Store], [StoreNT] and [Change].
func (k Kind) IsStore() bool { return k >= Store && k <= Change }

// Frame is a place in the source.
type Frame struct {
	Func string `json:"func"`
	File string `json:"file"`
	Line int    `json:"line"`
}

// String returns "file:line".
func (f Frame) String() string { return fmt.Sprintf("%s:%d", f.File, f.Line) }

// Event is one thing that happened.
type Event struct {
	// Seq orders events: a later one has a larger number. Numbers may be left out. Changes that one
	// look found have the same.
	Seq  uint64
	Kind Kind
	// G is the goroutine; 0 is unknown, as of what a look finds.
	G int64
	// Addr is the address in the process, 0 if there's none, and Len the length of the
	// range, both in bytes as they were asked for: a flush reaches the whole lines.
	Addr, Len uint64
	// Object is the index in [Log.Objects]; -1: none, as of a fence, or of a flush
	// outside any mapping.
	Object int
	// Off is where in the object the range begins, in bytes.
	Off uint64
	// Data is what was stored or found, Len bytes. Of other events it's nil.
	Data []byte
	// NoEffect: the operation can do nothing for what is on the media, as on a private
	// mapping or outside any.
	NoEffect bool
	// Text is described at the kinds.
	Text string
	// Callers are the callers of the operation, the innermost first, without those in the
	// machine itself; of what a look found there are none.
	Callers []Frame
}

// Object is something with bytes of its own: a device DAX instance or a file.
type Object struct {
	Name string `json:"name"` // its path on the machine
	Size uint64 `json:"size"` // in bytes
	// Unit is the number of bytes that persist by themselves at most: 64, a cache line, or
	// 512, a sector of the page cache.
	Unit uint64 `json:"unit"`
	// Addr is where it was first mapped, 0 if it never was, and MapLen and MapOff what
	// was mapped there.
	Addr   uint64 `json:"addr"`
	MapLen uint64 `json:"maplen"`
	MapOff uint64 `json:"mapoff"`
}

// Guilty is a line that a finding is about.
type Guilty struct {
	Object   int    // index in [Log.Objects]
	Off, Len uint64 // in bytes
	// Seq is the event before which the power failed or that was wrong; 0 is none.
	Seq uint64
	// Title is one line, Text says more.
	Title, Text string
}

// Log is the record of a machine.
type Log struct {
	Objects []Object
	Events  []Event
	// Dropped is how many events, all older than the first, there was no room for.
	Dropped uint64
	// Guilty are the lines to point out.
	Guilty []Guilty
}
