package fuzz

import (
	"errors"
	"fmt"
	"slices"
	"syscall"

	"pmemlab/fuzz/model"
	"pmemlab/pmem2"
	"pmemlab/pmem2/platform"
	"pmemlab/pmemset"
)

// Flush is the target of pmem2_get_flush_fn(3), pmem2_get_persist_fn(3),
// pmem2_get_drain_fn(3) and pmem2_deep_flush(3), and of libpmemset's functions for parts.
var Flush = Target{
	Name:     "Flush",
	About:    "flush, persist, drain and deep flush: ranges over maps side by side, holes and ends, msync's answers",
	Accepted: "flushed",
	New:      newFlushInstance,
	Generate: flushInputBytes,
}

// flushInput is an input of the target Flush. What a byte picks is picked by its remainder.
type flushInput struct {
	Scene    byte // bit 0: with EADR; remainder by 32 of 31: see flush_durable.go
	Op       byte // of model.FlushOp
	Of       byte // of the maps and the sets: whose function
	Call     byte // remainder by 4: method, function, slice; above 247: of a map that is gone
	Sync     byte // remainder by 8: which msync fails, above 4 none; the rest: why
	Sysfs    byte // of sysfsAnswers
	Existing [3]existingInput
	Start    Number // from the map's address on
	Length   Number
}

// existingInput is a map of memory that the program has mapped itself.
type existingInput struct {
	Kind          byte // remainder by 3: granularity; above 127: none; the rest: room and source
	Start, Length Number
}

// Layout is how it lies in bytes.
func (in *flushInput) Layout(c *Codec) {
	for _, b := range []*byte{&in.Scene, &in.Op, &in.Of, &in.Call, &in.Sync, &in.Sysfs} {
		c.Byte(b)
	}
	c.Number(&in.Start)
	c.Number(&in.Length)
	for i := range in.Existing {
		e := &in.Existing[i]
		c.Byte(&e.Kind)
		c.Number(&e.Start)
		c.Number(&e.Length)
	}
}

const flushInputSize = 6 + 2*NumberBytes + 3*(1+2*NumberBytes)

// cacheLine is what a flush instruction flushes, in bytes.
const cacheLine = 64

// flushSync are the errnos of an msync that fails.
var flushSync = [...]syscall.Errno{syscall.EAGAIN, syscall.EINVAL, syscall.ENOMEM, syscall.EIO, syscall.EBUSY}

// sysfsAnswers are what sysfs answers about the region of a device DAX, mostly the truth.
var sysfsAnswers = [...]model.Region{
	0: {Find: syscall.EACCES}, 1: {Missing: true}, 2: {Attr: model.Attr{Errno: syscall.ENOENT}},
	3: {Attr: model.Attr{Errno: syscall.EIO}}, 4: {Attr: model.Attr{Text: "0\n"}}, 5: {Attr: hints, Answer: syscall.EACCES},
	6: {Attr: hints, Answer: syscall.EPERM}, 7: {Attr: hints, Answer: syscall.EROFS}, 8: {Attr: hints, Answer: syscall.EIO},
	9: {Attr: hints, Answer: syscall.EINVAL}, 31: {},
}

// hints is what deep_flush says where the firmware has flush hints.
var hints = model.Attr{Text: "1\n"}

type flushInstance struct {
	scenes  [2]*flushScene
	durable [2]*durableScene
}

func newFlushInstance() (Instance, error) {
	i := &flushInstance{}
	for n := range i.scenes {
		var err error
		if i.scenes[n], err = newFlushScene(n == 1); err == nil {
			i.durable[n], err = newDurableScene(n == 1)
		}
		if err != nil {
			return nil, errors.Join(err, i.Close())
		}
	}
	return i, nil
}

// Close is Instance.Close.
func (i *flushInstance) Close() error {
	var errs []error
	for n := range i.scenes {
		if s := i.scenes[n]; s != nil {
			errs = append(errs, s.close())
		}
		if s := i.durable[n]; s != nil {
			errs = append(errs, s.close())
		}
	}
	return errors.Join(errs...)
}

// Run is Instance.Run.
func (i *flushInstance) Run(input []byte) (bool, error) {
	var in flushInput
	Decode(input, &in)
	if in.Scene%32 == 31 {
		return i.durable[in.Scene>>5&1].run(&in)
	}
	s := i.scenes[in.Scene&1]
	t := flushTry{s: s}
	err := t.run(&in)
	for _, m := range s.mapped[s.fixed:] {
		err = errors.Join(err, m.m.Delete())
	}
	if err != nil {
		err = fmt.Errorf("%s: %w", t.words(), err)
	}
	return t.want.Result == model.OK, err
}

// flushTry is one input on its way.
type flushTry struct {
	s    *flushScene
	q    model.FlushRequest
	want model.Flushed
}

func (t *flushTry) run(in *flushInput) error {
	s, q := t.s, &t.q
	q.Page, q.Line = s.probe.PageSize(), cacheLine
	s.mapped = s.mapped[:s.fixed]
	for i := range in.Existing {
		if err := t.addExisting(&in.Existing[i]); err != nil {
			return err
		}
	}
	sorted := append(s.sorted[:0], s.mapped...)
	slices.SortFunc(sorted, func(a, b flushMap) int {
		if a.Taken.Start < b.Taken.Start {
			return -1
		}
		return 1
	})
	q.Maps = s.maps[:0]
	for i := range sorted {
		q.Maps = append(q.Maps, sorted[i].Mapped)
	}
	s.sorted, s.maps = sorted, q.Maps
	of := &s.mapped[int(in.Of)%len(s.mapped)]
	q.Of, q.OfSet, q.Op = of.Mapped, of.Set, model.FlushOp(in.Op%4)
	q.Gone = in.Call > 247 && q.OfSet == 0
	q.Range = in.rangeOf(q, s.rooms, s.mapped, of)
	if n := int(in.Sync % 8); n < 5 {
		q.FailingSync, q.SyncErrno = n, flushSync[int(in.Sync/8)%len(flushSync)]
	}
	if q.Region = sysfsAnswers[int(in.Sysfs)%len(sysfsAnswers)]; q.Region == (model.Region{}) {
		q.Region.Attr = hints
	}
	m, set := of.m, (*pmemset.Set)(nil)
	switch {
	case q.Gone:
		m = s.gone
	case q.OfSet != 0:
		set = s.sets[q.OfSet-1]
	}
	s.probe.begin(q)
	err := in.call(q, m, set)
	s.probe.answering = false
	t.want = model.Flushes(*q)
	return t.compare(err)
}

// rangeOf is the range. But for deep flushes, which have to refuse others, it stays in the
// room of the map.
func (in *flushInput) rangeOf(q *model.FlushRequest, rooms []model.Extent, mapped []flushMap, of *flushMap) model.Extent {
	room := rooms[of.room]
	base := of.Taken.Start
	a := Around{Page: q.Page, Align: q.Line, Size: of.Size, Room: room.Size - (base - room.Start)}
	if in.Op&4 != 0 {
		a.Align = q.Page
	}
	if in.Op&8 != 0 { // to where another map ends
		if o := &mapped[int(in.Op>>4)%len(mapped)]; o.room == of.room {
			a.Room = o.Taken.Start + o.Taken.Size - base
		}
	}
	off := in.Start.In(a)
	a.Other = off
	r := model.Extent{Start: base + off, Size: in.Length.In(a)}
	slice := in.Call%4 == 2
	if q.Op != model.CallDeepFlush || slice {
		if !room.Holds(r.Start) {
			r.Start = room.Start + off%room.Size
		}
		if rest := room.Size - (r.Start - room.Start); r.Size > rest {
			r.Size = r.Size%rest + 1
		}
	}
	if q.Op == model.CallDeepFlush && slice && r.Size == 0 && q.OfSet == 0 {
		r.Start = base // a slice of nothing has no address
	}
	return r
}

// call does what the input asks for, with a map or, if there is one, a set.
func (in *flushInput) call(q *model.FlushRequest, m *pmem2.Map, set *pmemset.Set) error {
	slice, function := in.Call%4 == 2, in.Call%4 == 1
	var b []byte
	if q.Op != model.CallDeepFlush || slice {
		b = platform.Bytes(uintptr(q.Range.Start), q.Range.Size)
	}
	addr, n := uintptr(q.Range.Start), q.Range.Size
	if set != nil {
		switch {
		case q.Op == model.CallFlush:
			return set.Flush(b)
		case q.Op == model.CallPersist:
			return set.Persist(b)
		case q.Op == model.CallDrain:
			return set.Drain()
		case slice:
			return set.DeepFlush(b)
		}
		return set.DeepFlushRange(addr, n)
	}
	switch {
	case q.Op == model.CallFlush && function:
		return m.FlushFunc()(b)
	case q.Op == model.CallFlush:
		return m.Flush(b)
	case q.Op == model.CallPersist && function:
		return m.PersistFunc()(b)
	case q.Op == model.CallPersist:
		return m.Persist(b)
	case q.Op == model.CallDrain && function:
		return m.DrainFunc()()
	case q.Op == model.CallDrain:
		return m.Drain()
	case slice:
		return m.DeepFlush(b)
	}
	return m.DeepFlushRange(addr, n)
}

// compare holds what was done against what must be.
func (t *flushTry) compare(err error) error {
	want, got := &t.want, &t.s.probe.flushRecord
	if result := model.Of(err); result != want.Result {
		return fmt.Errorf("got %v (%v), want %v", result, err, want.Result)
	}
	if t.q.OfSet != 0 && t.q.Op == model.CallDeepFlush && err != nil && !errors.Is(err, pmemset.ErrDeepFlushFail) {
		return fmt.Errorf("got %w, want PMEMSET_E_DEEP_FLUSH_FAIL", err)
	}
	if got.wrong != nil {
		return got.wrong
	}
	if want.Unsaid {
		return nil
	}
	switch {
	case !slices.Equal(got.lines, want.Lines):
		return fmt.Errorf("got the lines of %s flushed, want %s", extents(got.lines), extents(want.Lines))
	case !slices.Equal(got.synced, want.Synced):
		return fmt.Errorf("got msync of %s, want %s", extents(got.synced), extents(want.Synced))
	case want.Fence == model.Fenced && !got.fenced:
		return errors.New("there is no fence behind it")
	case want.Fence == model.NotFenced && got.fences > 0:
		return errors.New("there is a fence that nothing asks for")
	case got.deep != want.DeepAttr:
		return fmt.Errorf("deep_flush written: got %t, want %t", got.deep, want.DeepAttr)
	}
	return nil
}

// addExisting makes a map of memory that is the program's own, which need not be there: an
// instruction that would need it isn't executed.
func (t *flushTry) addExisting(in *existingInput) error {
	if in.Kind > 127 {
		return nil
	}
	s, k := t.s, int(in.Kind)
	g := pmem2.Granularity(k % 3)
	room := k / 3 % len(s.rooms)
	src := s.sources[k/12%len(s.sources)]
	r, page := s.rooms[room], t.q.Page
	a := Around{Page: page, Align: cacheLine, Size: r.Size, Room: page}
	for i := range s.mapped { // side by side with the last one in the room
		if m := &s.mapped[i]; m.room == room {
			a.Room = m.Taken.Start + m.Taken.Size - r.Start
		}
	}
	off := in.Start.In(a) % r.Size
	a.Other, a.Align = off, page
	n, rest := in.Length.In(a), r.Size-off
	switch {
	case n == 0:
		n = min(page, rest)
	case n > rest:
		n = n%rest + 1
	}
	at := model.Extent{Start: r.Start + off, Size: n}
	taken := slices.ContainsFunc(s.mapped, func(m flushMap) bool { return m.Taken.Overlaps(at) })
	m, err := pmem2.MapFromExisting(src.source, uintptr(at.Start), n, g)
	switch {
	case taken:
		if got := model.Of(err); got != model.Fails(pmem2.ErrMappingExists) {
			return fmt.Errorf("a map of %s, which another one has: got %v, want PMEM2_E_MAPPING_EXISTS", extents([]model.Extent{at}), got)
		}
		if m != nil {
			return m.Delete()
		}
		return nil
	case err != nil:
		return fmt.Errorf("a map of %s: %w", extents([]model.Extent{at}), err)
	}
	s.mapped = append(s.mapped, flushMap{model.Mapped{Taken: at, Size: n, Kind: src.kind, Granularity: g}, m, room})
	return nil
}
