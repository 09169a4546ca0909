package pmemset

import (
	"fmt"

	"pmemlab/pmem2"
)

// EventType says what a callback is told: enum pmemset_event of release 1.12.1, with
// its values. See pmemset_config_set_event_callback(3).
type EventType int

const (
	// EventCopy, EventMove, EventSet: Memcpy, Memmove, Memset begin.
	EventCopy EventType = iota
	EventMove
	EventSet
	// EventFlush: Flush or Persist begins.
	EventFlush
	// EventDrain: Drain, Persist, or a memory operation that drains, has done its work.
	EventDrain
	// EventPersist is never sent: Persist is EventFlush and EventDrain.
	EventPersist
	// EventRemoveRange: RemoveRange has been called; it may yet find nothing.
	EventRemoveRange
	// EventPartAdd: a part has been mapped and can be looked up.
	EventPartAdd
	// EventPartRemove: a whole part map is about to be unmapped. It can't be looked up
	// any more; its memory is still there.
	EventPartRemove
	// EventSDSUpdate: a shutdown data state has changed and must be saved. These come one
	// at a time, whatever set and source they are about, in the order of the changes: the
	// callback mustn't wait for another goroutine that maps or removes parts.
	EventSDSUpdate
	// EventBadBlock: a bad block has been found in a source.
	EventBadBlock
	// EventBadBlocksCleared: the callback has cleared all bad blocks of a source.
	EventBadBlocksCleared
)

var eventNames = [...]string{
	"COPY", "MOVE", "SET", "FLUSH", "DRAIN", "PERSIST", "REMOVE_RANGE",
	"PART_ADD", "PART_REMOVE", "SDS_UPDATE", "BADBLOCK", "BADBLOCKS_CLEARED",
}

// String returns the name that C gives the event, without its prefix.
func (t EventType) String() string {
	if t >= 0 && int(t) < len(eventNames) {
		return eventNames[t]
	}
	return fmt.Sprintf("event %d", int(t))
}

// Event is what a callback is told. It is the callback's to keep; what its pointers
// point at isn't.
type Event struct {
	Type EventType

	// Dst, Src, Flags and Len, in bytes, are the arguments of a memory operation, Value
	// that of Memset.
	Dst, Src uintptr
	Flags    pmem2.MemFlags
	Value    byte
	// Addr and Len are the arguments of Flush, Persist and RemoveRange, or the part map
	// that EventPartAdd and EventPartRemove are about: all of it.
	Addr uintptr
	Len  uint64

	// Added is the part that EventPartAdd is about: the end of the part map if the part
	// was coalesced, else all of it.
	Added PartDescriptor
	// PMem2Source is what the part of EventPartAdd was made from. It belongs to whoever
	// made it, or to the source of this package that it is in.
	PMem2Source *pmem2.Source

	// Source is the one that EventSDSUpdate, EventBadBlock and EventBadBlocksCleared are
	// about. At an update that comes from unmapping it may have been deleted.
	Source *Source
	// SDS is a copy of the new state at EventSDSUpdate.
	SDS *SDS
	// BadBlock is a range of Source.
	BadBlock pmem2.BadBlock
}

// listening reports whether there is a callback, so that an event that nobody hears
// costs nothing.
func (s *Set) listening() bool { return s.settings.callback != nil }

// fire calls the callback, under no lock of the set, in the goroutine of the caller.
func (s *Set) fire(e *Event) error {
	if s.settings.callback == nil {
		return nil
	}
	return s.settings.callback(s, e)
}

// tell is fire for an event whose result doesn't count.
func (s *Set) tell(e *Event) { _ = s.fire(e) }
