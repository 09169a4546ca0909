package pmemset

import (
	"bytes"
	"errors"
	"math"
	"strings"
	"sync"
	"syscall"

	"pmemlab/pmem2"
)

// PartState is what a shutdown left of a source: enum pmemset_part_state, whose
// values are bits, for Config.SetAcceptableStates. See libpmemset_shutdown_state(7).
type PartState uint64

const (
	// PartStateIndeterminate: the source was in use, and lies on another device now.
	PartStateIndeterminate PartState = 1 << iota
	// PartStateOK: consistent; the source was closed cleanly.
	PartStateOK
	// PartStateOKButAlreadyOpen: consistent; this source has mappings now.
	PartStateOKButAlreadyOpen
	// PartStateOKButInterrupted: consistent; the source wasn't closed cleanly.
	PartStateOKButInterrupted
	// PartStateCorrupted: the source was in use at an unsafe shutdown.
	PartStateCorrupted

	partStates        = PartStateCorrupted<<1 - 1
	defaultAcceptable = PartStateOK | PartStateOKButAlreadyOpen
)

// String joins the names that C gives the states, without their prefix, with "|".
func (p PartState) String() string {
	var names []string
	for i, name := range []string{"INDETERMINATE", "OK", "OK_BUT_ALREADY_OPEN", "OK_BUT_INTERRUPTED", "CORRUPTED"} {
		if p&(1<<i) != 0 {
			names = append(names, name)
		}
	}
	switch {
	case p == 0:
		return "none"
	case p > partStates:
		names = append(names, "invalid bits")
	}
	return strings.Join(names, "|")
}

// SDSDeviceIDLen is the number of bytes that the identifier of a device can have.
const SDSDeviceIDLen = 512

// SDS is a shutdown data state, struct pmemset_sds: what a program stores, in a place
// that the source's fate doesn't touch, to learn after a restart what a shutdown left.
// The zero SDS is that of a source that has never been used.
type SDS struct {
	// ID is the identifier of the device, ended by a zero byte.
	ID [SDSDeviceIDLen + 1]byte
	// USC is the device's unsafe shutdown count.
	USC uint64
	// RefCount is how many mappings are recorded.
	RefCount int32
}

// sdsRecord is what a source knows of its shutdown data state and of its mappings.
type sdsRecord struct {
	mu    sync.Mutex
	kept  bool // SetSDS has been called
	sds   SDS
	state *PartState
	live  int // mappings of the source in this process
}

// sdsTurn lets one EventSDSUpdate after the other out, in the order of the changes:
// what a program stores last is the newest.
var sdsTurn turn

// SetSDS is pmemset_source_set_sds(3): from now on each mapping of the source is
// checked and counted with the help of sds, which is copied; the new values come with
// EventSDSUpdate. state, which may be nil, is where each map call stores the state that
// it finds, also if that makes it fail. It must be left alone while the source is being
// mapped. Whether the source can have such data is for the map call to say.
//
// Errors: EINVAL: the reference count is negative, which no event has ever said;
// ErrSDSAlreadySet: the first one stays; EINVAL on a nil or deleted source.
func (s *Source) SetSDS(sds SDS, state *PartState) error {
	const op = "SetSDS"
	called(op)
	if !s.acquire() {
		return invalid(op, "the source is nil or has been deleted")
	}
	defer s.release()
	if sds.RefCount < 0 {
		return failErrno(op, syscall.EINVAL, "the reference count is %d, 0 or more is allowed", sds.RefCount)
	}
	r := &s.sds
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.kept {
		return fail(op, ErrSDSAlreadySet, nil, "the source has a shutdown data state, which can't be replaced")
	}
	if end := bytes.IndexByte(sds.ID[:], 0); end >= 0 {
		clear(sds.ID[end:]) // where a struct of C can hold anything
	}
	r.kept, r.sds, r.state = true, sds, state
	return nil
}

// device is what a source's device tells of itself.
type device struct {
	known bool // the source keeps a shutdown data state
	id    [SDSDeviceIDLen + 1]byte
	usc   uint64
}

// checkState asks the device, and whether the state that follows is acceptable.
func (s *Source) checkState(op string, acceptable PartState) (d device, err error) {
	r := &s.sds
	r.mu.Lock()
	kept := r.kept
	r.mu.Unlock()
	if !kept {
		return device{}, nil
	}
	if d, err = s.readDevice(op); err != nil {
		return device{}, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	state, _ := r.judge(d)
	return d, r.accept(op, state, acceptable)
}

// readDevice reads the count before the identifier, as libpmem2_unsafe_shutdown(7) has
// both.
func (s *Source) readDevice(op string) (d device, err error) {
	d.known = true
	if d.usc, err = s.pmem2.DeviceUSC(); err == nil {
		var id string
		if id, err = s.pmem2.DeviceID(); err == nil {
			if len(id) > SDSDeviceIDLen {
				return device{}, fail(op, ErrSDSDeviceIDLenTooBig, nil, "the device's identifier has %d bytes, at most %d are allowed", len(id), SDSDeviceIDLen)
			}
			copy(d.id[:], id)
			return d, nil
		}
	}
	if errors.Is(err, pmem2.ErrNoSupp) {
		return device{}, fail(op, ErrSDSNoSupp, err, "the source's device counts no unsafe shutdowns, or has no identifier")
	}
	return device{}, failPMem2(op, err, "asking the source's device for its shutdown data")
}

// judge is the state of the source, and its data brought up to date.
func (r *sdsRecord) judge(d device) (PartState, SDS) {
	fresh := r.sds
	sameDevice, sameCount := d.id == r.sds.ID, d.usc == r.sds.USC
	switch {
	case r.sds.RefCount == 0:
		fresh.ID, fresh.USC = d.id, d.usc
		return PartStateOK, fresh
	case !sameDevice:
		return PartStateIndeterminate, fresh
	case !sameCount:
		return PartStateCorrupted, fresh
	case r.live == 0:
		return PartStateOKButInterrupted, fresh
	}
	return PartStateOKButAlreadyOpen, fresh
}

// accept stores the state for the program, and refuses one that isn't acceptable.
func (r *sdsRecord) accept(op string, state, acceptable PartState) error {
	if r.state != nil {
		*r.state = state
	}
	if state&acceptable == 0 {
		return fail(op, ErrUndesirablePartState, nil, "the source's state is %v, acceptable are %v", state, acceptable)
	}
	return nil
}

// mapped counts a new mapping of the source. The state is judged once more: another
// goroutine may have mapped or unmapped the source since checkState.
func (s *Source) mapped(op string, d device, acceptable PartState) error {
	r := &s.sds
	r.mu.Lock()
	defer r.mu.Unlock()
	if d.known {
		state, fresh := r.judge(d)
		if err := r.accept(op, state, acceptable); err != nil {
			return err
		}
		if fresh.RefCount == math.MaxInt32 {
			return failErrno(op, syscall.EOVERFLOW, "the source's reference count is %d, which is the most", fresh.RefCount)
		}
		fresh.RefCount++
		r.sds = fresh
	}
	r.live++
	return nil
}

// unmapped takes a mapping off the count. known is that of the device which mapped was
// given.
func (s *Source) unmapped(known bool) {
	r := &s.sds
	r.mu.Lock()
	defer r.mu.Unlock()
	r.live--
	if known {
		r.sds.RefCount--
	}
}

// announceSDS sends what the source's data are now.
func (s *Set) announceSDS(src *Source) {
	if !s.listening() {
		return
	}
	defer sdsTurn.take()()
	src.sds.mu.Lock()
	sds := src.sds.sds
	src.sds.mu.Unlock()
	s.tell(&Event{Type: EventSDSUpdate, Source: src, SDS: &sds})
}
