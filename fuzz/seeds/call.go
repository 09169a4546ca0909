package seeds

import (
	"syscall"

	"pmemlab/fuzz/model"
	"pmemlab/pmem2"
)

// Op is what a case has called.
type Op int

// The calls. In brackets, which fields of a Call they have besides Op and OK.
const (
	NewMap            Op = iota // (Request, With: the reservation, Offset in it, Made, At, Size)
	MapFromExisting             // (Addr, Length, Granularity, Made, At, Size)
	DeleteMap                   // (On)
	NewReservation              // (Addr, Length, Made, At, Size)
	Extend                      // (On, Length, At, Size: of the reservation)
	Shrink                      // (On, Offset, Length)
	DeleteReservation           // (On)
	Find                        // (On, Offset, Length)
	FindFirst                   // (On)
	FindLast                    // (On)
	FindNext                    // (On, With)
	FindPrev                    // (On, With)
	Flush                       // (On, Addr, Length, Of)
	Persist                     // (On, Addr, Length, Of)
	Drain                       // (On, Of)
	DeepFlush                   // (On, Addr, Length, Of)
	Memmove                     // (On, Addr, Src, Length, Source, Flags, Of)
	Memcpy                      // (On, Addr, Src, Length, Source, Flags, Of)
	Memset                      // (On, Addr, Length, Value, Flags, Of)
	NewSet                      // (Made, With: the reservation, Size: its, Granularity, Listens)
	DeleteSet                   // (On)
	Coalescing                  // (On, Length: the mode)
	MapPart                     // (On, Way, File, Offset, Length, At, Size)
	RemoveRange                 // (On, Addr, Length)
	RemovePart                  // (On, With)
	Hold                        // (On, Made, At, Size, Addr: 0 or where it was looked up)
	LookUp                      // (On, Addr)
	Drop                        // (With)
)

// Object is which object a call is of, by kind and in the order in which they were made; None
// is an object that isn't there.
type Object int

// None is no object.
const None Object = -1

// Call is one call of a case that a target knows.
type Call struct {
	Op             Op
	On, With, Made Object
	Addr, Src      uint64 // addresses, or an offset
	Offset, Length uint64
	At, Size       uint64 // of what was made
	Source         uint64 // length of the source of a copy
	Value          byte
	Way            model.Way
	Flags          pmem2.MemFlags
	Granularity    pmem2.Granularity
	Listens        bool
	OK             bool // it succeeded
	Request        *model.MapRequest
	File           *File
	Of             Memory
	Answered       answered // by the kernel, where calls fail on demand
}

// Memory is what a function that stores or flushes was taken from.
type Memory struct {
	Set         bool
	Function    bool // by a getter
	Addr, Size  uint64
	Granularity pmem2.Granularity
	Kind        model.Kind
	Existing    bool
	Gone        bool          // it has been deleted
	Sync        syscall.Errno // that msync answered
}

// File is what a set's part is mapped from.
type File struct {
	Device, Temporary, ReadOnly, Flagged, DAX, FromPMem2 bool
	Size                                                 uint64
}

// Access is one access to sysfs.
type Access struct {
	How   AccessKind
	Path  string
	Text  string
	Names []string
	Errno syscall.Errno
}

// AccessKind is how sysfs was accessed.
type AccessKind int

// The accesses.
const (
	ReadAttr AccessKind = iota
	WriteAttr
	Readlink
	List
)

// Trace is what a case has done.
type Trace struct {
	Calls []Call
	Sysfs []Access
	Media []MediaAccess // but for those of children
	Plans []string      // of calls that fail on demand
	// Children are those of the processes that it has started.
	Children []Trace
	// Elsewhere says that the case wants a process of its own, of which nothing is known.
	Elsewhere bool
}
