package pmemset_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"flag"
	"math"
	"math/rand/v2"
	"runtime"
	"runtime/debug"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"pmemlab/pmem2"
	"pmemlab/pmem2/platform"
	"pmemlab/pmemset"
)

var (
	modelSeed      = flag.Uint64("model.seed", 1, "`seed` of TestModel's first sequence; the next one has the next number")
	modelSequences = flag.Uint64("model.sequences", 4_000, "`number` of TestModel's sequences")
)

// TestModel carries out random sequences of operations on sets and on a model of them,
// and compares all that can be seen after each.
func TestModel(t *testing.T) {
	sequences := *modelSequences
	if testing.Short() {
		sequences = min(sequences, 1_000)
	}
	// Most of what a sequence leaves is garbage.
	defer debug.SetGCPercent(debug.SetGCPercent(1000))
	var next atomic.Uint64
	var steps atomic.Uint64
	var wg sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		wg.Go(func() {
			for !t.Failed() && modelBatch(t, &next, sequences, &steps) {
			}
		})
	}
	wg.Wait()
	t.Logf("%d sequences from seed %d on, %d operations", min(next.Load(), sequences), *modelSeed, steps.Load())
}

// modelBatch carries out some sequences on one machine, and says whether there are more.
func modelBatch(t *testing.T, next *atomic.Uint64, sequences uint64, steps *atomic.Uint64) bool {
	st := newModelStorage()
	for range 500 {
		i := next.Add(1) - 1
		if i >= sequences || t.Failed() {
			break
		}
		seed := *modelSeed + i
		w := newModelWorld(st, rand.New(rand.NewPCG(seed, 0)))
		failure := w.run()
		steps.Add(w.steps)
		if failure != nil {
			t.Errorf("%v\nto repeat it: -run TestModel -model.seed %d -model.sequences 1\n%s", failure, seed, w.text())
			w.abandon()
			break
		}
	}
	if err := st.close(); err != nil && !t.Failed() {
		t.Error(err)
	}
	return next.Load() < sequences
}

// run carries out a sequence; nil says that set and model agree.
func (w *modelWorld) run() (failure any) {
	defer func() {
		failure = recover()
		if _, ok := failure.(modelFailure); failure != nil && !ok {
			w.did("panic: %v", failure)
			panic(w.text())
		}
	}()
	for range 30 {
		w.steps++
		if w.step() || w.IntN(4) == 0 {
			w.check()
		}
	}
	w.end()
	return nil
}

// step carries out an operation and says whether parts may have changed.
func (w *modelWorld) step() (changes bool) {
	i := w.IntN(len(w.sets))
	s, m := w.sets[i], w.space.sets[i]
	switch n := w.IntN(100); {
	case n < 42:
		w.mapOne(i, s, m)
	case n < 56:
		w.removeRange(i, s, m)
	case n < 63:
		w.removePart(i, s, m)
	case n < 64:
		w.deleteSet(i, s, m)
	default:
		w.stepBeside(n, i, s, m)
		return false
	}
	return true
}

// stepBeside carries out an operation that changes no part, by a number from 64 to 99.
func (w *modelWorld) stepBeside(n, i int, s *pmemset.Set, m *modelSet) {
	switch {
	case n < 74:
		w.coalescing(i, s, m)
	case n < 81:
		w.lookUp(i, s, m)
	case n < 87:
		w.drop()
	case n < 95:
		w.write(i, s, m)
	case n < 99:
		w.mapForeign()
	default:
		w.deleteSource()
	}
}

func (w *modelWorld) mapOne(i int, s *pmemset.Set, m *modelSet) {
	f := w.st.files[w.IntN(len(w.st.files))]
	if len(m.parts) > 0 && w.IntN(8) != 0 { // mostly one that may fit
		for f.model.granularity != m.granularity || f.model.readOnly {
			f = w.st.files[w.IntN(len(w.st.files))]
		}
	}
	gen := modelGeneration(w.IntN(3))
	offset, length := w.request()
	w.did("set %d: map, generation %d, of %q: offset %d, length %d", i, gen, f.name, offset, length)
	var d pmemset.PartDescriptor
	var err error
	switch gen {
	case modelParts:
		d, err = w.mapPart(s, f, offset, length)
	default:
		cfg := pmemset.NewMapConfig(s)
		w.same(cfg.SetLength(length), 0)
		if err := cfg.SetOffset(offset); offset > math.MaxInt64 {
			w.same(err, pmemset.ErrOffsetOutOfRange)
			offset = 0
		} else {
			w.same(err, 0)
		}
		switch {
		case gen == modelMap:
			d, err = pmemset.Map(f.source, cfg)
		case offset == 0 && length == 0 && w.IntN(2) == 0:
			d, err = s.Map(f.source, nil)
		default:
			d, err = s.Map(f.source, cfg)
		}
	}
	out := m.plan(gen, &f.model, offset, length)
	if err != nil || !out.joins && !out.fresh {
		w.same(err, out.codes...)
		if d != (pmemset.PartDescriptor{}) {
			w.fail("a failure with %+v", d)
		}
		w.happened()
		return
	}
	at := uint64(d.Addr) + d.Size - out.length
	joined := m.previous != nil && d.Addr == m.previous.descriptor().Addr
	switch {
	case joined && !out.joins:
		w.fail("%+v joins the previous part map, which it can't", d)
	case joined && at != m.previous.end():
		w.fail("%+v: the new part doesn't start at %#x", d, m.previous.end())
	case !joined && !out.fresh:
		w.fail("%+v doesn't join the previous part map, which it must", d)
	case !joined && d.Size != out.length:
		w.fail("%+v: want %d bytes", d, out.length)
	case !joined && w.space.configured.size > 0 && at != out.at:
		w.fail("%+v: want it at %#x", d, out.at)
	case !joined && w.space.configured.size == 0 && at%out.rounded != 0:
		w.fail("%+v: want a multiple of %d", d, out.rounded)
	}
	if _, taken := w.space.occupied(at, out.length); taken {
		w.fail("%+v: the new part lies on another mapping", d)
	}
	p := m.add(gen, &f.model, offset, out, joined, at)
	if d != p.descriptor() {
		w.fail("%+v, want %+v", d, p.descriptor())
	}
	e := pmemset.Event{
		Type: pmemset.EventPartAdd, Addr: d.Addr, Len: d.Size,
		Added: pmemset.PartDescriptor{Addr: uintptr(at), Size: out.length}, PMem2Source: f.pmem2,
	}
	if w.listens && e.PMem2Source == nil { // that of the source itself
		if e.PMem2Source = w.events[0].PMem2Source; e.PMem2Source == nil {
			w.fail("PART_ADD without a source")
		}
	}
	w.happened(e)
	w.checkSize(f)
	w.show(p.pieces[len(p.pieces)-1])
}

// mapPart maps the way that keeps the part after a failure and consumes it else.
func (w *modelWorld) mapPart(s *pmemset.Set, f *modelStored, offset, length uint64) (pmemset.PartDescriptor, error) {
	part, err := pmemset.NewPart(s, f.source, offset, length)
	if err != nil {
		return pmemset.PartDescriptor{}, err
	}
	d, err := part.Map()
	if err == nil {
		events := w.events
		if _, err := part.Map(); !errors.Is(err, syscall.EINVAL) {
			w.fail("mapping a part twice: %v", err)
		}
		w.events = events
	}
	if err := part.Delete(); err != nil {
		w.fail("deleting a part: %v", err)
	}
	return d, err
}

func (w *modelWorld) coalescing(i int, s *pmemset.Set, m *modelSet) {
	c := pmemset.Coalescing(w.IntN(3))
	if w.IntN(2) == 0 {
		c = pmemset.CoalescingFull
	}
	var want pmemset.Code
	if w.IntN(12) == 0 {
		c, want = pmemset.Coalescing(w.pick(3, math.MaxUint64, math.MaxInt64, 1<<63)), pmemset.ErrInvalidCoalescingValue
	}
	w.did("set %d: coalescing %d", i, c)
	w.same(s.SetContiguousPartCoalescing(c), want)
	if want == 0 {
		m.coalescing = c
	}
	w.happened()
}

// address is one that something may happen at.
func (w *modelWorld) address(m *modelSet) uint64 {
	if len(m.parts) == 0 || w.IntN(16) == 0 {
		return w.pick(0, 1, modelPage, math.MaxUint64, math.MaxUint64-modelPage+1, 1<<63, w.space.configured.addr)
	}
	p := m.parts[w.IntN(len(m.parts))]
	q := p.pieces[w.IntN(len(p.pieces))]
	at := w.pick(q.addr, q.end(), q.addr+w.Uint64N(q.size), p.addr(), p.end())
	return at + w.pick(0, 0, 0, 1, modelPage, math.MaxUint64, math.MaxUint64-modelPage+1)
}

func (w *modelWorld) removeRange(i int, s *pmemset.Set, m *modelSet) {
	addr := w.address(m)
	var n uint64
	switch w.IntN(8) {
	case 0:
		n = w.pick(0, 0, math.MaxUint64, math.MaxUint64-addr, math.MaxUint64-addr+1, math.MaxUint64-addr+2, 1<<63)
	case 1, 2:
		n = w.pick(1, 2, modelPage, modelPage+1)
	default:
		if n = w.address(m) - addr; n > 1<<40 {
			n = 1 + w.Uint64N(4*modelPage)
		}
	}
	w.did("set %d: remove range %#x, %d bytes", i, addr, n)
	events, code := m.removeRange(addr, n)
	w.same(s.RemoveRange(uintptr(addr), n), code)
	w.happened(events...)
}

func (w *modelWorld) removePart(i int, s *pmemset.Set, m *modelSet) {
	var h *modelHandle
	if len(w.handles) > 0 && w.IntN(3) != 0 {
		h = w.handles[w.IntN(len(w.handles))]
	} else if len(m.parts) > 0 {
		h = w.take(i, s, m.parts[w.IntN(len(m.parts))])
	} else {
		w.did("set %d: remove part map nil", i)
		if err := s.RemovePartMap(nil); !errors.Is(err, syscall.EINVAL) {
			w.fail("removing nil: %v", err)
		}
		return
	}
	if h.part == nil {
		w.did("set %d: remove a part map by a dead reference", i)
		err := s.RemovePartMap(h.real)
		if !errors.Is(err, syscall.EINVAL) && !errors.Is(err, pmemset.ErrPartNotFound) {
			w.fail("removing by a dead reference: %v", err)
		}
		w.happened()
		return
	}
	w.did("set %d: remove part map %+v of set %d", i, h.part.descriptor(), h.set)
	events, code := m.removePart(h.part)
	w.same(s.RemovePartMap(h.real), code)
	if code == 0 {
		h.part = nil
	}
	w.happened(events...)
}

// take gets a reference to a part map, one way or another.
func (w *modelWorld) take(i int, s *pmemset.Set, p *modelPart) *modelHandle {
	m := w.space.sets[i]
	var real *pmemset.PartMap
	switch j := slices.Index(m.parts, p); {
	case j == 0 && w.IntN(2) == 0:
		real = s.FirstPartMap()
	case j > 0 && w.IntN(2) == 0:
		before := modelMust(s.PartMapByAddress(uintptr(m.parts[j-1].addr())))
		real = s.NextPartMap(before)
		before.Drop()
	default:
		var err error
		real, err = s.PartMapByAddress(uintptr(p.addr() + w.Uint64N(p.end()-p.addr())))
		w.same(err, 0)
	}
	if real == nil {
		w.fail("no part map at %+v", p.descriptor())
	}
	p.refs++
	h := &modelHandle{set: i, real: real, part: p}
	for _, other := range w.handles {
		if same := h.real.Same(other.real); other.part != nil && same != (p == other.part) {
			w.fail("%+v and %+v: the same is %t", p.descriptor(), other.part.descriptor(), same)
		}
	}
	w.handles = append(w.handles, h)
	return h
}

func (w *modelWorld) lookUp(i int, s *pmemset.Set, m *modelSet) {
	if len(m.parts) > 0 && w.IntN(2) == 0 {
		p := m.parts[w.IntN(len(m.parts))]
		w.did("set %d: hold %+v", i, p.descriptor())
		w.take(i, s, p)
		return
	}
	addr := w.address(m)
	w.did("set %d: look %#x up", i, addr)
	p, err := s.PartMapByAddress(uintptr(addr))
	if want := m.byAddress(addr); want != nil {
		w.same(err, 0)
		if p.Descriptor() != want.descriptor() {
			w.fail("%+v, want %+v", p.Descriptor(), want.descriptor())
		}
	} else {
		w.same(err, pmemset.ErrCannotFindPartMap)
	}
	p.Drop()
}

func (w *modelWorld) drop() {
	if len(w.handles) == 0 {
		return
	}
	i := w.IntN(len(w.handles))
	h := w.handles[i]
	w.did("drop reference %d", i)
	h.real.Drop()
	if h.part != nil {
		h.part.refs--
		h.part = nil
	}
	if w.IntN(2) == 0 { // one that has been dropped stays about for a while
		w.handles = slices.Delete(w.handles, i, i+1)
	}
}

// write stores something, also across the boundary between two pieces.
func (w *modelWorld) write(i int, s *pmemset.Set, m *modelSet) {
	if len(m.parts) == 0 {
		w.did("set %d: persist and drain nothing", i)
		w.same(s.Persist(nil), 0)
		w.same(s.Drain(), 0)
		w.happened(pmemset.Event{Type: pmemset.EventFlush}, pmemset.Event{Type: pmemset.EventDrain}, pmemset.Event{Type: pmemset.EventDrain})
		return
	}
	p := m.parts[w.IntN(len(m.parts))]
	page := p.addr() + w.Uint64N((p.end()-p.addr())/modelPage)*modelPage
	from, to := page, page+8
	switch {
	case w.IntN(2) == 0 && page > p.addr():
		from -= 8
	case w.IntN(3) == 0:
		from, to = page+modelPage-8, page+modelPage
	}
	var data [16]byte
	for j := range data {
		data[j] = byte(w.Uint32())
	}
	src, dst := data[:to-from], platform.Bytes(uintptr(from), to-from)
	flags := pmem2.MemFlags(w.pick(0, 0, uint64(pmemset.MemNoDrain), uint64(pmemset.MemNoFlush), uint64(pmemset.MemTemporal)))
	w.did("set %d: write [%#x, %#x), flags %d", i, from, to, flags)
	e := pmemset.Event{Dst: uintptr(from), Len: to - from, Flags: flags}
	ends := flags&(pmemset.MemNoDrain|pmemset.MemNoFlush) == 0
	events := func(es ...pmemset.Event) {
		if ends {
			es = append(es, pmemset.Event{Type: pmemset.EventDrain})
		}
		if w.listens && e.Type != pmemset.EventSet && len(w.events) > 0 {
			es[0].Src = w.events[0].Src // where Go has put data
		}
		w.happened(es...)
	}
	switch w.IntN(4) {
	case 0:
		e.Type = pmemset.EventCopy
		w.same(s.Memcpy(dst, src, flags), 0)
		events(e)
	case 1:
		e.Type = pmemset.EventMove
		w.same(s.Memmove(dst, src, flags), 0)
		events(e)
	case 2:
		e.Type, e.Value = pmemset.EventSet, data[0]
		copy(src, bytes.Repeat(data[:1], len(src)))
		w.same(s.Memset(dst, data[0], flags), 0)
		events(e)
	case 3:
		copy(dst, src)
		w.same(s.Persist(dst), 0)
		ends = true
		events(pmemset.Event{Type: pmemset.EventFlush, Addr: uintptr(from), Len: to - from})
		w.same(s.DeepFlush(dst), 0)
		w.happened()
	}
	for at := from; at < to; at += 8 {
		for _, q := range p.pieces {
			if at < q.addr || at >= q.end() {
				continue
			}
			off, v := q.offset+at-q.addr, binary.LittleEndian.Uint64(src[at-from:])
			switch page := off / modelPage; {
			case page >= modelPages:
			case off%modelPage == 0:
				q.src.file.heads[page] = v
			default:
				q.src.file.last[page] = v
			}
		}
	}
}

// mapForeign has the program map something into the configured reservation itself, or
// delete what it has mapped.
func (w *modelWorld) mapForeign() {
	if w.reservation == nil {
		return
	}
	if n := len(w.foreign); n > 0 && w.IntN(2) == 0 {
		i := w.IntN(n)
		w.did("delete the program's mapping %+v", w.space.foreign[i])
		if err := w.foreign[i].Delete(); err != nil {
			w.fail("%v", err)
		}
		w.foreign, w.space.foreign = slices.Delete(w.foreign, i, i+1), slices.Delete(w.space.foreign, i, i+1)
		return
	}
	length := modelPage * (1 + w.Uint64N(3))
	offset := modelPage * w.Uint64N(w.space.configured.size/modelPage)
	w.did("the program maps %d bytes at %d in the reservation", length, offset)
	cfg := pmem2.NewConfig()
	modelMustDo(errors.Join(cfg.SetRequiredStoreGranularity(pmem2.GranularityPage), cfg.SetLength(length),
		cfg.SetVMReservation(w.reservation, offset)))
	m, err := pmem2.NewMap(cfg, w.st.foreign)
	if at := w.space.configured.addr + offset; err == nil {
		if !w.space.free(at, length) {
			_ = m.Delete()
			w.fail("it worked on what is taken")
		}
		w.foreign, w.space.foreign = append(w.foreign, m), append(w.space.foreign, modelRange{at, length})
	} else if w.space.free(at, length) {
		w.fail("it failed on what is free: %v", err)
	}
}

func (w *modelWorld) deleteSet(i int, s *pmemset.Set, m *modelSet) {
	w.did("set %d: delete, and a new one", i)
	w.same(s.Delete(), 0)
	w.happened()
	for _, h := range w.handles {
		if h.set == i {
			h.part = nil
		}
	}
	w.sets[i] = modelMust(pmemset.New(w.config))
	w.space.sets[i] = &modelSet{space: &w.space, required: m.required}
}

func (w *modelWorld) deleteSource() {
	f := w.st.files[w.IntN(len(w.st.files))]
	w.did("delete source %q", f.name)
	w.same(f.source.Delete(), 0)
	f.model.deleted = true
}
