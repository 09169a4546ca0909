package fuzz

import (
	"errors"
	"fmt"
	"runtime"
	"runtime/debug"

	"pmemlab/fuzz/model"
	"pmemlab/pmem2"
)

// mapFrom maps the source from an offset on.
func (t *mediaTry) mapFrom(from uint64, writes bool) (*pmem2.Map, error) {
	cfg := pmem2.NewConfig()
	errs := [...]error{cfg.SetRequiredStoreGranularity(pmem2.GranularityPage), cfg.SetOffset(from), nil}
	if !writes {
		errs[2] = cfg.SetProtection(pmem2.ProtRead)
	}
	if err := errors.Join(errs[:]...); err != nil {
		return nil, err
	}
	m, err := pmem2.NewMap(cfg, t.src)
	if err != nil {
		return nil, fmt.Errorf("mapping from offset %d on: %w", from, err)
	}
	return m, nil
}

// hold maps the source until the end.
func (t *mediaTry) hold() (err error) {
	if t.media.Kind == model.Anonymous || t.media.Access == model.PathOnly || t.media.Size == 0 {
		return nil
	}
	t.held, err = t.mapFrom(0, false)
	return err
}

// compareHeld looks at pages of what is mapped all the time, by what went bad and by the last
// step: each faults if it is bad, and holds what it must if it isn't.
func (t *mediaTry) compareHeld() error {
	if t.held == nil {
		return nil
	}
	for _, b := range t.bad {
		if err := t.comparePages(b.Start, b.Size); err != nil {
			return err
		}
	}
	if n := len(t.steps); n > 0 {
		if err := t.comparePages(t.steps[n-1].off, t.steps[n-1].n); err != nil {
			return err
		}
	}
	return t.locate()
}

// comparePages looks at the pages of a range, and at those beside it.
func (t *mediaTry) comparePages(off, n uint64) error {
	page, size := t.media.Page, t.media.Size
	if off > size {
		return nil
	}
	n = min(n, size-off, mediaMost)
	for at := max(off&^(page-1), page) - page; at < min(off+n+page, size); at += page {
		if t.media.Kind == model.File && !t.media.Has(at) { // a load would give a hole memory
			continue
		}
		var got byte
		fault := faults(func() { got = t.held.Bytes()[at] })
		if want := t.media.BadPage(at); fault != want {
			return fmt.Errorf("the page at %d faults in a mapping that was there before: %t, want %t", at, fault, want)
		}
		if !fault && got != t.media.Bytes[at] {
			return fmt.Errorf("the byte at %d is %#x in a mapping that was there before, want %#x", at, got, t.media.Bytes[at])
		}
	}
	return nil
}

// touch loads or stores a byte of the source through a mapping. A bad page faults.
func (t *mediaTry) touch(st mediaStep, op *mediaOp) error {
	if t.media.Kind == model.Anonymous || t.media.Access == model.PathOnly || t.media.Size == 0 {
		return nil
	}
	at := st.off % t.media.Size
	if t.media.Kind == model.File && !t.media.Has(at) { // what a hole becomes isn't known
		return nil
	}
	align, err := t.src.Alignment()
	if err != nil {
		return err
	}
	from := at &^ (align - 1)
	writes := t.media.Access == model.ReadWrite && !t.media.AppendOnly && op.Value%2 != 0
	m, err := t.mapFrom(from, writes)
	if err != nil {
		return err
	}
	b := &m.Bytes()[at-from]
	var got byte
	fault := faults(func() {
		if writes {
			*b = op.Value
		}
		got = *b
	})
	if err := m.Delete(); err != nil {
		return err
	}
	if want := t.media.BadPage(at); fault != want {
		return fmt.Errorf("an access to the byte at %d faults: %t, want %t", at, fault, want)
	}
	if fault {
		return nil
	}
	if writes {
		t.media.Bytes[at] = op.Value
		t.touched(at, 1)
	}
	// Emulated, a page that is loaded from counts as one with data, too.
	if err := t.locate(); err != nil {
		return err
	}
	if got != t.media.Bytes[at] {
		return fmt.Errorf("the byte at %d is %#x in a mapping, want %#x", at, got, t.media.Bytes[at])
	}
	return t.compare(at, 1)
}

// faults says whether f ends in a memory fault.
func faults(f func()) (fault bool) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		switch r := recover().(type) {
		case nil:
		case interface {
			runtime.Error
			Addr() uintptr
		}:
			fault = true
		default:
			panic(r)
		}
	}()
	f()
	return false
}
