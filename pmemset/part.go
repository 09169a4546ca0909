package pmemset

import "sync/atomic"

// Part is a part that isn't mapped yet: pmemset_part_new(3) of release 1.11.
type Part struct {
	set            *Set
	src            *Source
	offset, length uint64
	state          atomic.Int32
}

// The states of a Part. An empty one can't be used, either.
const (
	partReady = iota + 1
	partBusy
	partConsumed
)

// NewPart is pmemset_part_new(3): length bytes of the source from offset on, to be
// mapped into the set; of what values they can have Map has more to say. Nothing is
// mapped yet. Set and source must outlive the part.
//
// Errors: ErrInvalidSourceType: the source is nil or has been deleted;
// ErrInvalidSourcePath: the file that it was made from, or the directory, isn't there
// any more; ErrInvalidPmem2Source: the pmem2 source has been deleted; else the errno of
// looking at the path; EINVAL on a nil or deleted set. The part is then nil.
func NewPart(set *Set, src *Source, offset, length uint64) (*Part, error) {
	const op = "NewPart"
	called(op)
	if err := set.usable(op); err != nil {
		return nil, err
	}
	if !src.acquire() {
		return nil, fail(op, ErrInvalidSourceType, nil, "the source is nil or has been deleted")
	}
	defer src.release()
	if err := src.revalidate(op); err != nil {
		return nil, err
	}
	p := &Part{set: set, src: src, offset: offset, length: length}
	p.state.Store(partReady)
	return p, nil
}

// Map is pmemset_part_map(3): it maps the part into its set and consumes it; after a
// failure the part is as it was. It does what the function Map does, but that without a
// length no source grows, whatever the offset. Removing a part that was mapped so sends
// no events but EventSDSUpdate, as the set's last map call decides.
//
// Errors: as for the function Map; ErrInvalidOffsetValue: the offset is above 2^63-1;
// EINVAL: the part is nil, has been consumed or deleted, or is being mapped by another
// goroutine.
func (p *Part) Map() (PartDescriptor, error) {
	const op = "Part.Map"
	called(op)
	if p == nil || !p.state.CompareAndSwap(partReady, partBusy) {
		return PartDescriptor{}, invalid(op, "the part is nil, has been mapped or deleted, or is being mapped")
	}
	next := int32(partReady)
	defer func() { p.state.CompareAndSwap(partBusy, next) }()
	if err := p.set.usable(op); err != nil {
		return PartDescriptor{}, err
	}
	return p.set.mapSource(op, p.src, partsAPI, p.offset, p.length, func() { next = partConsumed })
}

// Delete is pmemset_part_delete(3), for a part that isn't mapped. It returns nil always:
// on nil and on a part that has been mapped or deleted, too.
func (p *Part) Delete() error {
	called("Part.Delete")
	if p != nil {
		p.state.Store(partConsumed)
	}
	return nil
}
