package fuzz

import (
	"errors"
	"fmt"

	"pmemlab/fuzz/model"
)

// run does the program, and holds what is left against the references.
func (t *crashTry) run() error {
	for i := range t.ops {
		o := &t.ops[i]
		if o.Kind == model.CrashCheck {
			if err := t.durable(o.Off, o.N, t.told[i]); err != nil {
				return err
			}
			continue
		}
		if err := t.s.do(o); err != nil {
			return err
		}
	}
	// What is possible first: to ask for what is proven ends the last operation.
	for possible := 1; possible >= 0; possible-- {
		if err := t.states(possible); err != nil {
			return fmt.Errorf("%s: %w", [2]string{"what is proven", "what is possible"}[possible], err)
		}
	}
	t.refs[1].Settle()
	at := crashRanges[int(t.in.Ask>>1)%len(crashRanges)]
	if err := t.durable(at.Start, at.Size, crashVerdictOf(t.refs[1], at.Start, at.Size)); err != nil {
		return err
	}
	switch t.in.After % 16 {
	case afterCrash:
		return t.crash()
	case afterSeed:
		return t.crashSeeded()
	case afterFindings:
		return t.findings()
	}
	return nil
}

// crashRanges are those of which it's asked whether they are durable.
var crashRanges = [...]model.Extent{
	{Start: 0, Size: cacheLine}, {Start: cacheLine + 8, Size: 8}, {Start: crashSize - 1, Size: 1},
	{Start: cacheLine - 1, Size: 2}, {Start: 0, Size: crashSize}, {Start: cacheLine, Size: crashSize - cacheLine},
}

// durable asks whether [off, off+n) is durable.
func (t *crashTry) durable(off, n uint64, want crashVerdict) error {
	why, err := t.s.durable(off, n)
	switch {
	case err != nil:
		return err
	case want == crashDurable && why != nil:
		return fmt.Errorf("%d bytes at %#x aren't durable, and have to be: %w", n, off, why)
	case want == crashAtRisk && why == nil:
		return fmt.Errorf("%d bytes at %#x are durable, and can be lost", n, off)
	}
	return nil
}

// states asks for the states of one kind: for all of that which the input wants, else how
// many they are.
func (t *crashTry) states(possible int) error {
	want := &t.wants[possible]
	s, err := t.s.states(possible == 1)
	if err != nil {
		return err
	}
	defer s.close()
	if s.count() != uint64(want.count) {
		err = fmt.Errorf("there are %d states, want %d", s.count(), want.count)
	} else if !s.complete() {
		err = errors.New("not all states are counted")
	}
	if err == nil && int(t.in.Ask&1) != possible && t.s.machine() {
		return nil
	}
	sampled := t.in.After%16 == afterSample || t.in.After%16 == afterSample2
	limit, seed := uint64(0), uint64(t.in.Max>>4)
	if sampled && err == nil { // of what is wrong all is looked at
		limit = uint64(t.in.Max) + 1
	}
	c := crashCompare{t: t, ref: t.refs[possible], want: want, order: t.order[:0], sampled: limit > 0}
	all := s.all(limit, seed, c.image)
	t.order = c.order
	if err = errors.Join(err, all, c.err); err == nil {
		err = c.end(limit)
	}
	if err == nil && t.in.After%16 == afterAgain {
		err = c.again(s)
	}
	if err == nil && t.in.After%16 == afterBoot {
		err = t.boot(s, int(t.in.Max)%want.count)
	}
	return err
}

// crashCompare holds states against those that are wanted.
type crashCompare struct {
	t     *crashTry
	ref   *model.CrashMemory
	want  *crashWant
	seen  [crashStates/64 + 1]uint64
	order []int // the states, by number
	lost  int   // units that weren't at their newest in the last one
	err   error
	// sampled: the states aren't in their order, and the first is what is visible on machines only.
	sampled bool
}

// number is that of a state; lost is how many units aren't at their newest. -1: it's none.
func (c *crashCompare) number(image []byte) (number, lost int) {
	stride := 1
	for i := range c.ref.Units() {
		first, lines := c.ref.LinesOf(i)
		content := c.ref.ContentOf(image, first, lines)
		k, ok := c.want.contents[i][content]
		if !ok {
			c.err = fmt.Errorf("a state that can't be: %s", crashContentWords(c.ref, i, content))
			return -1, 0
		}
		if content != c.ref.Visible(i) {
			lost++
		}
		number += k * stride
		stride *= len(c.want.contents[i])
	}
	return number, lost
}

// image looks at a state.
func (c *crashCompare) image(image []byte) bool {
	number, lost := c.number(image)
	if number < 0 {
		return false
	}
	switch {
	case c.seen[number/64]>>(number%64)&1 != 0:
		c.err = errors.New("a state comes twice: " + c.words(image))
	case !c.sampled && lost < c.lost:
		c.err = errors.New("a state with fewer lines lost comes after one with more: " + c.words(image))
	case len(c.order) == 0 && lost > 0 && (!c.sampled || c.t.in.Max > 1 && c.t.s.machine()):
		c.err = errors.New("the first state isn't what is visible: " + c.words(image))
	default:
		c.err = crashElsewhere(image)
	}
	c.seen[number/64] |= 1 << (number % 64)
	c.order = append(c.order, number)
	c.lost = lost
	return c.err == nil
}

func (c *crashCompare) words(image []byte) (text string) {
	for i := range c.ref.Units() {
		first, lines := c.ref.LinesOf(i)
		text += crashContentWords(c.ref, i, c.ref.ContentOf(image, first, lines)) + " "
	}
	return text
}

// end sees that none is missing. A limit is as many as there may be.
func (c *crashCompare) end(limit uint64) error {
	n := len(c.order)
	switch {
	case limit > 0 && limit < uint64(c.want.count):
		if n == 0 || uint64(n) > limit {
			return fmt.Errorf("a sample of %d has %d states", limit, n)
		}
		return nil
	case n == c.want.count:
		return nil
	}
	for i := range c.ref.Units() {
		stride := 1
		for k := range i {
			stride *= len(c.want.contents[k])
		}
		for content, k := range c.want.contents[i] {
			if !c.has(stride, len(c.want.contents[i]), k) {
				return fmt.Errorf("there are %d states, want %d; none has %s", n, c.want.count, crashContentWords(c.ref, i, content))
			}
		}
	}
	return fmt.Errorf("there are %d states, want %d: some mix of lines is missing", n, c.want.count)
}

// has says whether there was a state with the k-th of a unit's contents.
func (c *crashCompare) has(stride, contents, k int) bool {
	for _, number := range c.order {
		if number/stride%contents == k {
			return true
		}
	}
	return false
}

// again sees that the states come in the same order.
func (c *crashCompare) again(s crashList) error {
	order := c.order
	at := 0
	err := s.all(0, 0, func(image []byte) bool {
		number, _ := c.number(image)
		if c.err == nil && (at >= len(order) || order[at] != number) {
			c.err = fmt.Errorf("the second time state %d is another one: %s", at, c.words(image))
		}
		at++
		return c.err == nil
	})
	return errors.Join(err, c.err)
}

// boot boots a machine with a state of the list.
func (t *crashTry) boot(s crashList, at int) (err error) {
	k := 0
	all := s.all(0, 0, func(image []byte) bool {
		if k++; k <= at {
			return true
		}
		var booted []byte
		if booted, err = s.boot(); err == nil && booted != nil && string(booted) != string(image) {
			err = errors.New("a machine that boots with a state has another one")
		}
		return false
	})
	return errors.Join(all, err)
}

// crash boots a machine with what is durable for certain.
func (t *crashTry) crash() error {
	image, err := t.s.crash(0, false)
	if err != nil || image == nil {
		return err
	}
	for i := range t.refs[1].Units() {
		ref := t.refs[1]
		first, lines := ref.LinesOf(i)
		want, _ := ref.Durable(i)
		if got := ref.ContentOf(image, first, lines); got != want {
			return fmt.Errorf("the media have %s, durable is %s", crashContentWords(ref, i, got), crashContentWords(ref, i, want))
		}
	}
	return crashElsewhere(image)
}

// crashSeeded boots a machine with one of the states.
func (t *crashTry) crashSeeded() error {
	possible := int(t.in.Ask & 1)
	if possible == 1 && !t.wants[1].of(t.refs[1]) { // the last operation is over
		return nil
	}
	image, err := t.s.crash(1+uint64(t.in.Max), possible == 1)
	if err != nil || image == nil {
		return err
	}
	c := crashCompare{t: t, ref: t.refs[possible], want: &t.wants[possible]}
	if c.number(image); c.err != nil {
		return fmt.Errorf("after a crash with a seed, possible %t: %w", possible == 1, c.err)
	}
	return crashElsewhere(image)
}

// findings sees that there is a finding about loss if and only if something can be lost.
func (t *crashTry) findings() error {
	if t.pages { // nobody has promised anything yet
		return nil
	}
	finding, err := t.s.atRisk()
	if err != nil {
		return err
	}
	ref := t.refs[0]
	want := crashDurable
	for i := range ref.Units() {
		if _, all := ref.Durable(i); !all && want == crashDurable {
			want = crashEither
		}
		if ref.Loses(i) {
			want = crashAtRisk
		}
	}
	switch {
	case want == crashDurable && finding != "":
		return fmt.Errorf("all is durable, and yet: %s", finding)
	case want == crashAtRisk && finding == "" && t.s.machine():
		return errors.New("something can be lost, and there is no finding")
	}
	return nil
}

// crashElsewhere sees that an image has nothing where nothing was stored.
func crashElsewhere(image []byte) error {
	for at := 2 * cacheLine; at < crashSize-cacheLine; {
		n := min(crashSize-cacheLine-at, len(crashZeroes))
		if string(image[at:at+n]) != string(crashZeroes[:n]) {
			return fmt.Errorf("something is in [%#x, %#x), where nothing was stored", at, at+n)
		}
		at += n
	}
	return nil
}

var crashZeroes [1024]byte
