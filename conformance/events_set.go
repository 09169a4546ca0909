package conformance

import (
	"fmt"
	"slices"
	"strings"
	"sync"

	"pmemlab/pmem2"
	"pmemlab/pmemset"
)

// SetEvents is what a set has told its callback, in that order.
type SetEvents struct {
	// Answer is asked what the callback shall return, within the callback; nil is
	// success. It is to be set while no call of the set is under way.
	Answer func(e SetEvent) error

	mu    sync.Mutex
	told  []SetEvent
	names []placeName
}

// placeName is an address that has a name in messages.
type placeName struct {
	name string
	addr uintptr
}

// SetWithEvents is a set whose events are recorded, of that config or of one that
// takes any granularity.
func (t *T) SetWithEvents(cfg ...SetConfig) (Set, *SetEvents) {
	if len(cfg) == 0 {
		cfg = append(cfg, t.SetConfig())
	}
	r := &SetEvents{}
	t.Must(cfg[0].SetEventCallback(r.take), "SetEventCallback()")
	return t.Set(cfg[0]), r
}

// take is the callback.
func (r *SetEvents) take(e SetEvent) error {
	if e.SDS != nil {
		sds := *e.SDS
		e.SDS = &sds
	}
	r.mu.Lock()
	r.told = append(r.told, e)
	r.mu.Unlock()
	if r.Answer == nil {
		return nil
	}
	return r.Answer(e)
}

// Name gives an address a name, by which events nearby are told: "A", "A+64K".
func (r *SetEvents) Name(name string, addr uintptr) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.names = append(r.names, placeName{name, addr})
}

// Take returns the events since the last time, and forgets them.
func (r *SetEvents) Take() []SetEvent {
	r.mu.Lock()
	defer r.mu.Unlock()
	told := r.told
	r.told = nil
	return told
}

// Events expects the events since the last time to be these, and forgets them. An event
// is told by its type, its addresses by the names that they have, the sizes in K, M, G:
//
//	COPY A+4K B 64, MOVE A B 64 NODRAIN, SET A 0xff 64
//	FLUSH A 4K, DRAIN, REMOVE_RANGE A 1, PART_ADD A 96K, PART_REMOVE A 96K
//	SDS_UPDATE usc 10 ref 1, BADBLOCK 64K 4K, BADBLOCKS_CLEARED
//
// Addresses of copies are those of the destination and of the source.
func (t *T) Events(set Set, r *SetEvents, want ...string) []SetEvent {
	all := r.Take()
	var got []string
	for _, e := range all {
		got = append(got, r.text(e))
		t.Check(e.Set == set, "%s comes with another set than the one that was called", r.text(e))
	}
	t.Note("events", "%s", eventsText(got))
	t.Check(slices.Equal(got, want), "the events are %s, want %s", eventsText(got), eventsText(want))
	return all
}

func eventsText(all []string) string {
	if len(all) == 0 {
		return "none"
	}
	return strings.Join(all, ", ")
}

// eventNames are those of C.
var eventNames = map[pmemset.EventType]string{
	pmemset.EventCopy: "COPY", pmemset.EventMove: "MOVE", pmemset.EventSet: "SET",
	pmemset.EventFlush: "FLUSH", pmemset.EventDrain: "DRAIN", pmemset.EventPersist: "PERSIST",
	pmemset.EventRemoveRange: "REMOVE_RANGE", pmemset.EventPartAdd: "PART_ADD", pmemset.EventPartRemove: "PART_REMOVE",
	pmemset.EventSDSUpdate: "SDS_UPDATE", pmemset.EventBadBlock: "BADBLOCK", pmemset.EventBadBlocksCleared: "BADBLOCKS_CLEARED",
}

// text tells an event as Events says.
func (r *SetEvents) text(e SetEvent) string {
	name, known := eventNames[e.Type]
	if !known {
		return fmt.Sprintf("event %d", int(e.Type))
	}
	switch e.Type {
	case pmemset.EventCopy, pmemset.EventMove:
		return fmt.Sprintf("%s %s %s %s", name, r.place(e.Dst), r.place(e.Src), amount(e.Len)) + flagsSuffix(e.Flags)
	case pmemset.EventSet:
		return fmt.Sprintf("%s %s %#x %s", name, r.place(e.Dst), e.Value, amount(e.Len)) + flagsSuffix(e.Flags)
	case pmemset.EventDrain, pmemset.EventBadBlocksCleared:
		return name
	case pmemset.EventSDSUpdate:
		if e.SDS == nil {
			return name + " without an SDS"
		}
		return fmt.Sprintf("%s usc %d ref %d", name, e.SDS.USC, e.SDS.RefCount)
	case pmemset.EventBadBlock:
		return fmt.Sprintf("%s %s %s", name, amount(e.BadBlock.Offset), amount(e.BadBlock.Length))
	}
	return fmt.Sprintf("%s %s %s", name, r.place(e.Addr), amount(e.Len))
}

func flagsSuffix(flags pmem2.MemFlags) string {
	if flags == 0 {
		return ""
	}
	return " " + flagsName(flags)
}

// place is an address by the nearest name at most 1 GiB below it, or above, or as it is.
func (r *SetEvents) place(addr uintptr) string {
	r.mu.Lock()
	defer r.mu.Unlock()
	text, nearest := fmt.Sprintf("%#x", addr), uint64(gib)
	for _, n := range r.names {
		if addr >= n.addr && uint64(addr-n.addr) < nearest {
			nearest = uint64(addr - n.addr)
			text = n.name
			if nearest > 0 {
				text += "+" + amount(nearest)
			}
		}
	}
	if nearest < gib {
		return text
	}
	for _, n := range r.names {
		if addr < n.addr && uint64(n.addr-addr) < nearest {
			nearest = uint64(n.addr - addr)
			text = n.name + "-" + amount(nearest)
		}
	}
	return text
}
