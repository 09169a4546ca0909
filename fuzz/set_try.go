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

// setTry is one input on its way.
type setTry struct {
	m           *setMachine
	space       model.SetSpace
	sources     [setFiles]model.SetSource // of m.sources
	used        [setFiles]bool            // whether the source is what the input says by now
	sizes       [setFiles]byte
	reservation *pmem2.VMReservation
	sets        []*pmemset.Set // of space.Sets
	foreign     []*pmem2.Map   // of space.Foreign
	handles     []setHandle
	tags        bool
	listens     bool
	mapped      int // parts

	wanted, heard []model.SetEvent
	misheard      error // what the callback minds
	pieces        []model.SetPiece
	steps         []setStep
}

// setHandle is a reference to a part map.
type setHandle struct {
	set  int
	real *pmemset.PartMap
	part *model.SetPart // nil: the reference has been dropped
}

// reset forgets the input before.
func (t *setTry) reset(m *setMachine) {
	clear(t.handles)
	*t = setTry{
		m: m, sets: t.sets[:0], foreign: t.foreign[:0], handles: t.handles[:0], wanted: t.wanted[:0], heard: t.heard[:0],
		pieces: t.pieces[:0], steps: t.steps[:0],
	}
}

// run makes the sets, does the operations and takes everything away.
func (t *setTry) run(in *setWorld, ops []setOp) error {
	if err := t.begin(in); err != nil {
		return err
	}
	for n := range ops {
		if err := t.step(&ops[n]); err != nil {
			return err
		}
		if err := t.check(); err != nil {
			return err
		}
	}
	return t.end()
}

// begin makes the sets.
func (t *setTry) begin(in *setWorld) error {
	m := t.m
	m.begin(answers{})
	m.beginSlots(setBehinds[in.Behind%8], setStrides[in.Behind/8%4])
	t.sizes, t.tags, t.listens = in.Sizes, in.Tags%32 == 0, in.Listens%8 != 0
	t.space = model.SetSpace{
		Page: m.PageSize(), AddressSpace: setAddressSpace, LargestFile: setLargestFile,
	}
	required := pmem2.GranularityPage
	if in.Required%8 == 0 {
		required = pmem2.GranularityCacheLine
	}
	callback := t.hear
	if !t.listens {
		callback = nil
	}
	err := errors.Join(m.config.SetRequiredStoreGranularity(required), m.config.SetEventCallback(callback))
	if in.Reserve%2 == 1 {
		err = errors.Join(err, t.reserve(in))
	}
	if err != nil {
		return err
	}
	n := 1
	if in.Sets%4 == 0 {
		n = 2
	}
	t.said(setStep{what: setBegins, at: t.space.Reservation.Start, n: t.space.Reservation.Size, set: n, how: uint64(required)})
	for i := range n {
		configured := t.reservation != nil && (i == 0 || in.Reserve%8 != 1)
		t.space.Sets = append(t.space.Sets, &model.PartSet{Space: &t.space, Configured: configured, Required: required})
		t.sets = append(t.sets, nil)
		if err := t.newSet(i); err != nil {
			return err
		}
		if err := t.coalescing(i, &setOp{How: in.Joins % 4}); err != nil {
			return err
		}
	}
	return nil
}

// reserve makes the configured reservation.
func (t *setTry) reserve(in *setWorld) (err error) {
	page := t.m.PageSize()
	n := (1 + in.Room.Raw%64) * page
	switch in.Room.Anchor % 8 {
	case 0: // for device DAX
		n = (1 + in.Room.Raw%8) * 2 * mib
	case 1:
		n = 2*mib + page + in.Room.Raw%8*mib
	}
	at := t.m.nextSlot(n) + uintptr(setLies[in.Lie%8])
	t.reservation, err = pmem2.NewVMReservation(at, n, pmem2.On(t.m))
	t.space.Reservation = model.Extent{Start: uint64(at), Size: n}
	return err
}

// newSet makes the set of a model without parts.
func (t *setTry) newSet(i int) (err error) {
	var r *pmem2.VMReservation
	if t.space.Sets[i].Configured {
		r = t.reservation
	}
	err = t.m.config.SetReservation(r)
	if err == nil {
		t.sets[i], err = pmemset.New(t.m.config)
	}
	return err
}

// source makes a source what the input says, if it isn't yet.
func (t *setTry) source(i int) (*setSource, *model.SetSource, error) {
	s, m := t.m.sources[i], &t.sources[i]
	if t.used[i] {
		return s, m, nil
	}
	t.used[i] = true
	*m = s.model
	if s.gone {
		if err := t.m.openSource(s); err != nil {
			return nil, nil, err
		}
	}
	if s.model.Device {
		return s, m, nil
	}
	m.Size = setSizes[t.sizes[i]%16]
	t.said(setStep{what: setStarts, source: i, n: m.Size})
	return s, m, t.resize(s, m.Size)
}

// resize gives a file a size from outside.
func (t *setTry) resize(s *setSource, n uint64) error {
	if s.size == n {
		return nil
	}
	s.size = n
	return t.m.emulated.Ftruncate(s.sizer, int64(n))
}

// step does one operation.
func (t *setTry) step(op *setOp) error {
	t.wanted, t.heard = t.wanted[:0], t.heard[:0]
	i := int(op.Set) % len(t.sets)
	var err error
	switch kind := setKinds[op.Kind%32]; kind {
	case setMap:
		err = t.mapPart(i, op)
	case setCoalescing:
		err = t.coalescing(i, op)
	case setRemoveRange:
		err = t.removeRange(i, op)
	case setRemovePart:
		err = t.removePart(i, op)
	case setHold:
		err = t.hold(i, op)
	case setDrop:
		t.drop(op)
	case setLookUp:
		err = t.lookUp(i, op)
	case setForeign:
		err = t.mapForeign(op)
	case setResize:
		err = t.resizeFile(op)
	case setDelete:
		if op.How%2 == 0 {
			err = t.deleteSet(i)
		} else {
			err = t.deleteSource(op)
		}
	}
	return err
}

// ends holds the result of a call against what the model says.
func ends(call string, err error, want model.SetResult) error {
	if got := model.OfSet(err); got != want {
		return fmt.Errorf("%s: got %v (%v), want %v", call, got, err, want)
	}
	return nil
}

var einval = model.SetResult{Errno: syscall.EINVAL}

func (t *setTry) coalescing(i int, op *setOp) error {
	c := pmemset.Coalescing(op.How % 4)
	switch {
	case op.How%16 == 15:
		c = pmemset.Coalescing(op.A.In(Around{Page: 1}))
	case c == 3:
		c = pmemset.CoalescingFull
	}
	t.said(setStep{what: setCoalescing, set: i, n: uint64(c)})
	return ends("SetContiguousPartCoalescing", t.sets[i].SetContiguousPartCoalescing(c), t.space.Sets[i].SetCoalescing(c))
}

// place is an address that matters, and those around.
func (t *setTry) place(i int, op *setOp) (addr uint64, around Around) {
	m := t.space.Sets[i]
	around = Around{Page: t.space.Page, Size: t.space.Reservation.Size}
	base := t.space.Reservation.Start
	n := int(op.Pick)
	for _, p := range m.Parts {
		if n %= 64; n < len(p.Pieces) {
			q, e := p.Pieces[n], p.Extent()
			around.Size, around.Align, base = q.Size, q.Size, q.Start
			around.Room = e.Start + e.Size - q.Start
			break
		}
		n -= len(p.Pieces)
	}
	if base == 0 && len(m.Parts) > 0 { // more than there are: the last one
		base = m.Parts[len(m.Parts)-1].Extent().Start
	}
	if op.How%32 == 31 {
		base = 0
	}
	at := op.A.In(around)
	around.Other, around.Room = base+at, base+around.Room
	around.Size, around.Align = base+around.Size, around.Page
	return base + at, around
}

func (t *setTry) removeRange(i int, op *setOp) error {
	addr, around := t.place(i, op)
	n := op.B.In(around)
	t.said(setStep{what: setRemoveRange, set: i, at: addr, n: n})
	var want model.SetResult
	want, t.wanted = t.space.Sets[i].RemoveRange(addr, n)
	return ends("RemoveRange", t.sets[i].RemoveRange(uintptr(addr), n), want)
}

// removePart removes a part map by a reference that is held, or else by a fresh one.
func (t *setTry) removePart(i int, op *setOp) error {
	set, m := t.sets[i], t.space.Sets[i]
	if op.How%2 == 0 && len(t.handles) > 0 {
		h := &t.handles[int(op.Pick)%len(t.handles)]
		t.said(setStep{what: setRemovePart, set: i, at: uint64(h.real.Descriptor().Addr), how: 1})
		want := einval
		if h.part != nil {
			want, t.wanted = m.RemovePart(h.part)
		}
		if want == model.SetOK {
			h.part = nil
		}
		return ends("RemovePartMap", set.RemovePartMap(h.real), want)
	}
	if len(m.Parts) == 0 {
		return ends("RemovePartMap of nil", set.RemovePartMap(nil), einval)
	}
	p := m.Parts[int(op.Pick)%len(m.Parts)]
	if op.Pick >= 128 {
		p = m.Previous
	}
	t.said(setStep{what: setRemovePart, set: i, at: p.Extent().Start})
	real, err := t.take(i, p, op)
	if err != nil {
		return err
	}
	p.Refs++
	var want model.SetResult
	want, t.wanted = m.RemovePart(p)
	err = ends("RemovePartMap", set.RemovePartMap(real), want)
	if want != model.SetOK {
		p.Refs--
		real.Drop()
	}
	return err
}

// take gets a reference to a part map by an address.
func (t *setTry) take(i int, p *model.SetPart, op *setOp) (*pmemset.PartMap, error) {
	e := p.Extent()
	at := e.Start + op.A.Raw%e.Size
	if op.A.Anchor%2 == 1 {
		at = e.Start + e.Size - 1
	}
	real, err := t.sets[i].PartMapByAddress(uintptr(at))
	if err != nil {
		return nil, fmt.Errorf("no part map at %#x: %w", at, err)
	}
	return real, nil
}

func (t *setTry) hold(i int, op *setOp) error {
	m := t.space.Sets[i]
	if len(m.Parts) == 0 {
		return nil
	}
	p := m.Parts[int(op.Pick)%len(m.Parts)]
	t.said(setStep{what: setHold, set: i, at: p.Extent().Start})
	real, err := t.take(i, p, op)
	if err != nil {
		return err
	}
	for _, h := range t.handles {
		if same := h.real.Same(real); h.part != nil && same != (h.part == p) {
			return fmt.Errorf("whether part maps at %#x and %#x are the same: got %t", h.real.Descriptor().Addr, p.Extent().Start, same)
		}
	}
	p.Refs++
	t.handles = append(t.handles, setHandle{i, real, p})
	return nil
}

// drop gives a reference back; what has been given back stays about for a while.
func (t *setTry) drop(op *setOp) {
	if len(t.handles) == 0 {
		return
	}
	n := int(op.Pick) % len(t.handles)
	h := &t.handles[n]
	t.said(setStep{what: setDrop, set: h.set, at: uint64(h.real.Descriptor().Addr)})
	h.real.Drop()
	if h.part != nil {
		h.part.Refs--
		h.part = nil
	}
	if op.How%2 == 0 {
		t.handles = slices.Delete(t.handles, n, n+1)
	}
}

func (t *setTry) lookUp(i int, op *setOp) error {
	addr, _ := t.place(i, op)
	t.said(setStep{what: setLookUp, set: i, at: addr})
	want := model.SetFails(pmemset.ErrCannotFindPartMap)
	p := t.space.Sets[i].ByAddress(addr)
	if p != nil {
		want = model.SetOK
	}
	real, err := t.sets[i].PartMapByAddress(uintptr(addr))
	defer real.Drop()
	if err := ends("PartMapByAddress", err, want); err != nil || p == nil {
		return err
	}
	return t.describes("PartMapByAddress", real.Descriptor(), p.Extent())
}

// describes holds a descriptor against an extent.
func (t *setTry) describes(what string, d pmemset.PartDescriptor, e model.Extent) error {
	if uint64(d.Addr) != e.Start || d.Size != e.Size {
		return fmt.Errorf("%s: got %d bytes at %#x, want %d at %#x", what, d.Size, d.Addr, e.Size, e.Start)
	}
	return nil
}

// mapForeign is a mapping that the program makes in the reservation, or the deletion of one.
func (t *setTry) mapForeign(op *setOp) error {
	if t.reservation == nil {
		return nil
	}
	if n := len(t.foreign); n > 0 && op.How%2 == 0 {
		i := int(op.Pick) % n
		t.said(setStep{what: setForeign, at: t.space.Foreign[i].Start})
		err := t.foreign[i].Delete()
		t.foreign, t.space.Foreign = slices.Delete(t.foreign, i, i+1), slices.Delete(t.space.Foreign, i, i+1)
		return err
	}
	page := t.space.Page
	offset, n := op.A.Raw%(t.space.Reservation.Size/page)*page, (1+op.B.Raw%4)*page
	t.said(setStep{what: setForeign, at: t.space.Reservation.Start + offset, n: n})
	want := t.space.MapForeign(offset, n)
	cfg := pmem2.NewConfig()
	err := errors.Join(cfg.SetRequiredStoreGranularity(pmem2.GranularityPage), cfg.SetLength(n),
		cfg.SetVMReservation(t.reservation, offset))
	if err != nil {
		return err
	}
	got, err := pmem2.NewMap(cfg, t.m.anon)
	if got != nil {
		t.foreign = append(t.foreign, got)
	}
	if r := model.Of(err); r != want {
		return fmt.Errorf("the program's mapping: got %v (%v), want %v", r, err, want)
	}
	return nil
}

// resizeFile is another program that changes the size of a file.
func (t *setTry) resizeFile(op *setOp) error {
	i := int(op.Pick) % setFiles
	s, m, err := t.source(i)
	if err != nil || m.Device || s.gone {
		return err
	}
	n := op.A.In(Around{Page: t.space.Page, Size: m.Size})
	if n > setLargestFile {
		n = setSizes[n%16]
	}
	t.said(setStep{what: setResize, source: i, n: n})
	m.Size = n
	return t.resize(s, n)
}

// deleteSet deletes a set, whatever references to its part maps are held, and makes a new one.
func (t *setTry) deleteSet(i int) error {
	t.said(setStep{what: setDelete, set: i})
	old := t.space.Sets[i]
	t.space.Sets[i] = &model.PartSet{Space: &t.space, Configured: old.Configured, Required: old.Required}
	return errors.Join(t.sets[i].Delete(), t.newSet(i))
}

func (t *setTry) deleteSource(op *setOp) error {
	i := int(op.Pick) % setFiles
	s, m, err := t.source(i)
	if err != nil {
		return err
	}
	t.said(setStep{what: setDelete, how: 1, source: i})
	m.Deleted, s.gone = true, true
	return s.source.Delete()
}
