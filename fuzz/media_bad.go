package fuzz

import (
	"errors"
	"fmt"
	"slices"
	"syscall"

	"pmemlab/fuzz/model"
	"pmemlab/pmem2"
	"pmemlab/pmemset"
)

// newContext makes a context, and says which bad blocks it has to give. It is nil, as it must
// be, where there is none.
func (t *mediaTry) newContext() (*pmem2.BadBlockContext, []pmem2.BadBlock, error) {
	list, want := t.media.ListBadBlocks()
	c, err := pmem2.NewBadBlockContext(t.src)
	if got := model.Of(err); got != want || (c == nil) != (want != model.OK) {
		return nil, nil, fmt.Errorf("a context: got %v (%v), want %v", got, err, want)
	}
	return c, list, nil
}

// takeNext takes a bad block from a context, and what it must be from a list.
func takeNext(c *pmem2.BadBlockContext, left []pmem2.BadBlock) ([]pmem2.BadBlock, error) {
	got, err := c.Next()
	want, block := model.Fails(pmem2.ErrNoBadBlockFound), pmem2.BadBlock{}
	if len(left) > 0 {
		want, block, left = model.OK, left[0], left[1:]
	}
	if r := model.Of(err); r != want || got != block {
		return left, fmt.Errorf("the next bad block: got %v, %v, want %v, %v", got, r, block, want)
	}
	return left, nil
}

// list lists all bad blocks.
func (t *mediaTry) list() error {
	c, left, err := t.newContext()
	if err != nil || c == nil {
		return err
	}
	t.accepted = t.accepted || len(left) > 0
	for range len(left) + 1 {
		if left, err = takeNext(c, left); err != nil {
			return err
		}
	}
	return t.deleted(c)
}

// deleted deletes a context, which nothing can be done with then.
func (t *mediaTry) deleted(c *pmem2.BadBlockContext) error {
	err := c.Delete()
	_, next := c.Next()
	if got := model.Of(next); err == nil && got != model.FailsWith(syscall.EINVAL) {
		err = fmt.Errorf("the next bad block of a deleted context: got %v, want EINVAL", got)
	}
	return err
}

// next takes a bad block from a context that is kept, or from none.
func (t *mediaTry) next(fresh bool) (err error) {
	if fresh || t.context == nil {
		if t.context == nil {
			if _, err := t.context.Next(); model.Of(err) != model.Fails(pmem2.ErrNoSupp) {
				return fmt.Errorf("the next bad block of no context: got %v", model.Of(err))
			}
		}
		if err := t.context.Delete(); err != nil {
			return err
		}
		if t.context, t.left, err = t.newContext(); err != nil || t.context == nil {
			return err
		}
	}
	t.accepted = t.accepted || len(t.left) > 0
	t.left, err = takeNext(t.context, t.left)
	return err
}

// clear clears a range, bad or not.
func (t *mediaTry) clear(st mediaStep, op *mediaOp) error {
	b := pmem2.BadBlock{Offset: st.off, Length: st.n}
	if st.set {
		err := t.clearBy(t.setOf(op), b, st.answer)
		if err != nil {
			return err
		}
		return t.cleared(b)
	}
	c, keep := t.context, t.context != nil
	if !keep {
		var err error
		if c, _, err = t.newContext(); err != nil {
			return err
		}
	}
	want := model.Fails(pmem2.ErrNoSupp)
	if c != nil {
		want = t.media.Clear(b, st.answer)
	}
	if err := t.ended("clearing", c.Clear(b), false, want); err != nil {
		return err
	}
	t.accepted = t.accepted || want == model.OK
	if c != nil && !keep {
		if err := t.deleted(c); err != nil {
			return err
		}
	}
	return t.cleared(b)
}

// clearBy clears a range by libpmemset.
func (t *mediaTry) clearBy(s *pmemset.Source, b pmem2.BadBlock, answer model.Kernel) error {
	want := t.media.SetClear(b, answer)
	err := s.ClearBadBlock(b)
	if got := model.OfSetMedia(err); got != want {
		return fmt.Errorf("clearing: got %v (%v), want %v", got, err, want)
	}
	t.accepted = t.accepted || want == model.SetOK
	return nil
}

// cleared looks at what there is when a range was cleared, or wasn't.
func (t *mediaTry) cleared(b pmem2.BadBlock) error {
	if b.Offset < t.media.Size && b.Length <= t.media.Size-b.Offset {
		t.touched(b.Offset, b.Length)
	}
	if err := t.locate(); err != nil {
		return err
	}
	n := b.Length
	if b.Offset > t.media.Size || n > t.media.Size-b.Offset {
		n = 0
	}
	return t.compare(b.Offset, n)
}

// errLeave is what the callback answers when all bad blocks are cleared: no error of a library's.
const errLeave = syscall.Errno(200)

// detect maps with detection: the part's offset is none, so that all that can succeed is the
// search. How says which bad blocks the callback clears.
func (t *mediaTry) detect(st mediaStep, op *mediaOp) error {
	if t.media.Kind == model.Anonymous {
		return nil
	}
	src := t.setOf(op)
	list, want := t.media.ListBadBlocks()
	expect := model.SetMedia(want)
	var failed error
	var told []pmem2.BadBlock
	all, mask := false, op.How>>2
	t.m.event = func(e *pmemset.Event) error {
		switch {
		case e.Source != src:
			failed = errors.New("an event of another source")
		case e.Type == pmemset.EventBadBlocksCleared:
			all = true
			if op.Value%2 != 0 {
				return errLeave
			}
		case e.Type != pmemset.EventBadBlock:
			failed = fmt.Errorf("event %v, which nothing has happened for", e.Type)
		default:
			told = append(told, e.BadBlock)
			if mask>>(len(told)%6)&1 != 0 || op.Value < 64 {
				if err := t.clearBy(src, e.BadBlock, st.answer); failed == nil {
					failed = err
				}
				if err := t.cleared(e.BadBlock); failed == nil {
					failed = err
				}
			}
		}
		return nil
	}
	part, err := pmemset.NewPart(t.m.set, src, 1<<63, t.media.Page)
	if err != nil {
		return err
	}
	_, err = part.Map()
	t.m.event = nil
	if failed != nil {
		return failed
	}
	if want == model.OK && !slices.Equal(told, list) {
		return fmt.Errorf("the callback was told of %v, want %v", told, list)
	}
	t.accepted = t.accepted || len(told) > 0
	left, _ := t.media.ListBadBlocks()
	clean := want == model.OK && len(list) > 0 && len(left) == 0
	if all != clean {
		return fmt.Errorf("that all bad blocks are cleared was told: %t, want %t", all, clean)
	}
	if clean && op.Value%2 != 0 {
		if err != errLeave { //nolint:errorlint // as it is
			return fmt.Errorf("mapping: got %v, want the callback's error", err)
		}
		return nil
	}
	if want == model.OK {
		expect = model.SetFails(pmemset.ErrInvalidOffsetValue)
		if len(left) > 0 && len(list) > 0 {
			expect = model.SetFails(pmemset.ErrIOFail)
		}
	}
	if got := model.OfSetMedia(err); got != expect {
		return fmt.Errorf("mapping: got %v (%v), want %v", got, err, expect)
	}
	return nil
}
