package pmemset

import (
	"errors"
	"math"

	"pmemlab/pmem2"
)

// SetBadBlockDetection is pmemset_source_set_badblock_detection(3): from now on, map
// calls search the whole source for bad blocks first, or don't, as at first. Each
// that they find is an EventBadBlock, whose callback may clear it; if none is left,
// EventBadBlocksCleared follows, else the call is ErrIOFail. It fails only on a nil
// or deleted source (EINVAL).
func (s *Source) SetBadBlockDetection(on bool) error {
	const op = "SetBadBlockDetection"
	called(op)
	if err := s.use(op); err != nil {
		return err
	}
	defer s.release()
	s.detectBadBlocks.Store(on)
	return nil
}

// ClearBadBlock is pmemset_badblock_clear(3): it puts healthy storage, filled with
// zeroes, in the place of the block, whose content is lost, bad or not. See
// pmem2.BadBlockContext.Clear.
//
// Errors, the first of these: ErrOffsetOutOfRange, ErrLengthOutOfRange if the offset,
// the length is above 2^63-1; ErrBadBlockNoSupp if the machine has no sysfs;
// ErrDaxRegionNotFound, ErrCannotReadBounds of a device DAX that sysfs doesn't tell
// enough of; ErrLengthOutOfRange if the block ends behind a device DAX; else the
// error of pmem2, which holds an errno mostly: EINVAL for length 0; EINVAL on a nil or
// deleted source.
func (s *Source) ClearBadBlock(b pmem2.BadBlock) error {
	const op = "ClearBadBlock"
	called(op)
	if err := s.use(op); err != nil {
		return err
	}
	defer s.release()
	switch {
	case b.Offset > math.MaxInt64:
		return fail(op, ErrOffsetOutOfRange, nil, "offset %d is above %d", b.Offset, int64(math.MaxInt64))
	case b.Length > math.MaxInt64:
		return fail(op, ErrLengthOutOfRange, nil, "length %d is above %d", b.Length, int64(math.MaxInt64))
	}
	blocks, err := s.badBlocks(op)
	if err != nil {
		return err
	}
	defer blocks.Delete() //nolint:errcheck // it has none
	if err := blocks.Clear(b); err != nil {
		return s.mediaError(op, err, "clearing %d bytes at offset %d", b.Length, b.Offset)
	}
	operation("%d bytes at offset %d of %s cleared", b.Length, b.Offset, s.name())
	return nil
}

// searchBadBlocks does what SetBadBlockDetection says. The callback may do anything
// to the set and the source.
func (s *Source) searchBadBlocks(op string, set *Set) error {
	if !s.detectBadBlocks.Load() {
		return nil
	}
	found := 0
	if err := s.eachBadBlock(op, func(b pmem2.BadBlock) bool {
		found++
		// Whether it was cleared shows below, whatever the callback says.
		_ = set.fire(&Event{Type: EventBadBlock, Source: s, BadBlock: b})
		return true
	}); err != nil || found == 0 {
		return err
	}
	var left *pmem2.BadBlock
	if err := s.eachBadBlock(op, func(b pmem2.BadBlock) bool {
		left = &b
		return false
	}); err != nil {
		return err
	}
	if left != nil {
		return fail(op, ErrIOFail, nil, "the source had %d bad blocks, of which that of %d bytes at offset %d is left",
			found, left.Length, left.Offset)
	}
	detail("%s: all of %d bad blocks are cleared", s.name(), found)
	return set.fire(&Event{Type: EventBadBlocksCleared, Source: s})
}

// eachBadBlock calls f for each bad block of the source, in the order of their
// offsets, until it says no.
func (s *Source) eachBadBlock(op string, f func(pmem2.BadBlock) bool) error {
	blocks, err := s.badBlocks(op)
	if err != nil {
		return err
	}
	defer blocks.Delete() //nolint:errcheck // it has none
	for {
		b, err := blocks.Next()
		switch {
		case errors.Is(err, pmem2.ErrNoBadBlockFound):
			return nil
		case err != nil:
			return s.mediaError(op, err, "listing bad blocks")
		case !f(b):
			return nil
		}
	}
}

// badBlocks asks pmem2 for the bad blocks of the source as they are now.
func (s *Source) badBlocks(op string) (*pmem2.BadBlockContext, error) {
	blocks, err := pmem2.NewBadBlockContext(s.pmem2)
	if errors.Is(err, pmem2.ErrNoSupp) {
		return nil, fail(op, ErrBadBlockNoSupp, err, "%s", s.name())
	}
	if err != nil {
		return nil, s.mediaError(op, err, "listing bad blocks")
	}
	return blocks, nil
}
