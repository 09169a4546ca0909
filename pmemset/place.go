package pmemset

import (
	"errors"
	"fmt"
	"math"
	"syscall"

	"pmemlab/pmem2"
)

const (
	hugePage     = 2 << 20
	giganticPage = 1 << 30
)

// spot is where a part will be mapped.
type spot struct {
	region   *region
	offset   uint64 // in the region
	extends  *part  // the part map that it becomes a part of, or nil
	fresh    bool   // the region has been made for it
	extended uint64 // bytes that the region has been extended by for it
}

// leave gives back what a spot has cost that isn't used.
func (a *addition) leave(failure error) error {
	r := a.spot.region
	var err error
	for range 2 {
		switch {
		case a.spot.fresh:
			err = r.Delete()
		case a.spot.extended > 0:
			err = r.Shrink(r.Size()-a.spot.extended, a.spot.extended)
		}
		if err == nil {
			return failure
		}
	}
	if a.spot.fresh {
		a.set.litter = append(a.set.litter, r)
	}
	if errors.Is(err, pmem2.ErrVMReservationNotEmpty) {
		return failure // it goes after the mapping that is left behind
	}
	return leaves(failure, "%d bytes of reserved addresses at %#x (%v)", r.Size(), r.Address(), err)
}

// behind finds the spot where a part map ends.
func (a *addition) behind(p *part) error {
	r, end := p.region, p.end()
	a.spot = spot{region: r, offset: uint64(end - r.Address()), extends: p}
	if uint64(end)%a.alignment != 0 {
		return a.cannotCoalesce(pmem2.ErrAddressUnaligned, "the previous part map ends at %#x, which is no multiple of the source's alignment %d", end, a.alignment)
	}
	room := r.Size() - a.spot.offset
	if room > 0 {
		if m, err := r.MapFind(a.spot.offset, a.length); err == nil {
			return a.cannotCoalesce(nil, "behind the previous part map, which ends at %#x, a mapping of %d bytes lies at %#x", end, m.Size(), m.Address())
		}
	}
	if a.length <= room {
		return nil
	}
	if !r.own {
		return a.cannotCoalesce(nil, "the configured reservation has %d bytes behind the previous part map, %d are needed", room, a.length)
	}
	missing := a.length - room
	more := missing
	if a.gen == final && missing <= math.MaxInt64 {
		more = roundUp(missing, hugePage)
	}
	err := r.Extend(more)
	if err != nil && more != missing {
		more = missing
		err = r.Extend(more)
	}
	switch {
	case err == nil:
		a.spot.extended = more
		return nil
	case errors.Is(err, pmem2.ErrMappingExists):
		return a.cannotCoalesce(err, "the address space behind the previous part map is taken")
	}
	return a.fail(ErrCannotAllocateInternalStructure, err, "%d bytes of addresses behind the previous part map", missing)
}

// cannotCoalesce is the error for a part that can't lie behind the previous one: in a
// configured reservation that has no room for it at all it is another one.
func (a *addition) cannotCoalesce(cause error, format string, args ...any) error {
	if r := a.spot.region; !r.own {
		if _, ok := r.FindFree(a.length, a.alignment); !ok {
			return a.cannotFit(r)
		}
	}
	return a.fail(ErrCannotCoalesceParts, cause, format, args...)
}

// fail is an error of the call, unless the spot is one that the part needn't have: then
// it is a reason to go elsewhere, which only the details of the log tell.
func (a *addition) fail(code Code, cause error, format string, args ...any) error {
	if a.spot.extends == nil || a.set.coalescing != CoalescingOpportunistic {
		return fail(a.op, code, cause, format, args...)
	}
	e := &Error{Op: a.op, Code: code, text: fmt.Sprintf(format, args...), cause: cause}
	detail("%s: not coalesced: %v", a.op, e)
	return e
}

func (a *addition) cannotFit(r *region) error {
	if r.Size() == 0 {
		return a.fail(ErrCannotFitPartMap, nil, "the configured reservation has been deleted")
	}
	return a.fail(ErrCannotFitPartMap, nil, "the configured reservation of %d bytes at %#x has no %d bytes free", r.Size(), r.Address(), a.length)
}

// elsewhere finds the spot for a part map of its own: the lowest free place in the
// configured reservation, or a reservation for it alone.
func (a *addition) elsewhere() error {
	if r := a.set.configured; r != nil {
		offset, ok := r.FindFree(a.length, a.alignment)
		a.spot = spot{region: r, offset: offset}
		if !ok {
			return a.cannotFit(r)
		}
		return nil
	}
	// What a reservation is aligned to suffices for device DAX, except for the
	// alignments that only some machines have.
	var slack, pad uint64
	if a.gen == final {
		slack = hugePage
		if a.length >= 2*giganticPage {
			slack = giganticPage
		}
	}
	if a.alignment > hugePage && (a.alignment > giganticPage || a.length < giganticPage) {
		pad = a.alignment
	}
	if a.length > math.MaxInt64 {
		return fail(a.op, ErrCannotAllocateInternalStructure, syscall.ENOMEM, "the address space has no %d bytes", a.length)
	}
	size := sizeFor(a.length, slack)
	reservation, err := pmem2.NewVMReservation(0, size+pad, pmem2.On(a.src.machine))
	if err != nil {
		return fail(a.op, ErrCannotAllocateInternalStructure, err, "%d bytes of addresses", size+pad)
	}
	r := &region{VMReservation: reservation, own: true, slack: slack}
	a.spot = spot{region: r, fresh: true}
	if pad > 0 {
		a.spot.offset = -uint64(r.Address()) & (a.alignment - 1)
	}
	return nil
}

// sizeFor is the size of a reservation for used bytes: with a slack, which is a power of
// two, parts can be coalesced before it has to be extended.
func sizeFor(used, slack uint64) uint64 {
	if slack == 0 {
		return used
	}
	return roundUp(used, slack) + slack
}

// roundUp is for a power of two that n can't exceed 2^64 with.
func roundUp(n, alignment uint64) uint64 { return (n + alignment - 1) &^ (alignment - 1) }
