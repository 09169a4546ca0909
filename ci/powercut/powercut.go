// Package powercut is what a machine does whose power is cut, and the check afterwards: it
// appends records to logs in persistent memory, persists each and acknowledges it; after
// the next boot each acknowledged record must be there whole. What comes behind them may
// be there or not.
//
// The control stores the same and persists nothing. Where it loses nothing, the machine
// can't show that Persist does anything: a virtual machine that is stopped keeps lines that
// were never flushed, since it has no caches of its own.
package powercut

import (
	"bytes"
	"errors"
	"fmt"

	"pmemlab/ci/vm/plan"
	"pmemlab/pmem2"
	"pmemlab/pmem2/platform"
)

// Options say what is in a log.
type Options struct {
	// Seed makes the records.
	Seed uint64
	// Records is how many are to be written, and 0 as many as there is room for, which are
	// about 700. For Check it is how many were acknowledged.
	Records int
	// NoPersist is the control, in a log of its own.
	NoPersist bool
}

// Write empties the log of the place, then appends records; each is persisted and then
// acknowledged with its number from 0 on. In the end it begins another record, without
// persisting it. Nothing is synced on return.
//
// The error is one of the machine, of ack, or says that so many records don't fit.
func Write(machine platform.Platform, place plan.Place, o Options, ack func(n int) error) (err error) {
	w, err := newWriter(machine, place, o)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, w.log.close()) }()
	for w.more() {
		n, err := w.append()
		if err == nil {
			err = ack(n)
		}
		if err != nil {
			return fmt.Errorf("place %s, record %d: %w", place.Name, n, err)
		}
	}
	w.tear()
	return nil
}

// writer appends to a log.
type writer struct {
	Options
	log  *log
	n    int    // records so far
	at   uint64 // where the next one comes
	next []byte
}

func newWriter(machine platform.Platform, place plan.Place, o Options) (*writer, error) {
	l, err := openLog(machine, place, o, true)
	if err != nil {
		return nil, err
	}
	w := &writer{Options: o, log: l, next: record(o, 0)}
	if err := l.clear(); err != nil {
		return nil, fmt.Errorf("place %s: emptying the log: %w", place.Name, errors.Join(err, l.close()))
	}
	return w, nil
}

// more says whether there is a record to be appended.
func (w *writer) more() bool {
	if w.Records == 0 {
		return w.fits()
	}
	return w.n < w.Records
}

func (w *writer) fits() bool { return w.at+uint64(len(w.next)) <= uint64(len(w.log.b)) }

// append appends the next record and returns its number. Every third is copied by the
// library, the others are stored by the program.
func (w *writer) append() (n int, err error) {
	n = w.n
	if !w.fits() {
		return n, fmt.Errorf("the log is full: it has %d bytes", len(w.log.b))
	}
	b := w.log.b[w.at:][:len(w.next)]
	switch {
	case w.NoPersist:
		copy(b, w.next)
	case n%3 == 0:
		err = w.log.m.Memcpy(b, w.next, 0)
	default:
		copy(b, w.next)
		err = w.log.m.Persist(b)
	}
	w.n++
	w.at += uint64(len(b))
	w.next = record(w.Options, w.n)
	return n, err
}

// tear stores a part of the next record, as its seed says.
func (w *writer) tear() {
	if w.fits() {
		copy(w.log.b[w.at:], w.next[:w.Seed%uint64(len(w.next))])
	}
}

// Result is what was found of the records of a log.
type Result struct {
	Place       string `json:"place"`
	Granularity string `json:"granularity"`
	Seed        uint64 `json:"seed"`
	Persisted   bool   `json:"persisted"`
	// Acknowledged records are either Whole or Missing: not there, or not all of them.
	Acknowledged int `json:"acknowledged"`
	Whole        int `json:"whole"`
	Missing      int `json:"missing"`
	// FirstMissing are the numbers of the first few.
	FirstMissing []int `json:"firstMissing,omitempty"`
	// Beyond are whole records behind the acknowledged ones: none has to be there.
	Beyond int `json:"beyond"`
}

// shownMissing is how many numbers FirstMissing has.
const shownMissing = 5

// Check reads the log of a place. The error is one of the machine: records that are
// missing are none.
func Check(machine platform.Platform, place plan.Place, o Options) (r Result, err error) {
	l, err := openLog(machine, place, o, false)
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, l.close()) }()
	r = Result{
		Place: place.Name, Granularity: l.m.StoreGranularity().String(), Seed: o.Seed, Persisted: !o.NoPersist, Acknowledged: o.Records,
	}
	at := uint64(0)
	for n := 0; ; n++ {
		want := record(o, n)
		var got []byte
		if at < uint64(len(l.b)) {
			got = l.b[at:]
		}
		whole := bytes.HasPrefix(got, want)
		switch {
		case n >= o.Records && !whole:
			return r, nil
		case n >= o.Records:
			r.Beyond++
		case whole:
			r.Whole++
		default:
			if r.Missing++; len(r.FirstMissing) < shownMissing {
				r.FirstMissing = append(r.FirstMissing, n)
			}
		}
		at += uint64(len(want))
	}
}

// finest says that stores at this granularity aren't flushed page by page.
func finest(granularity string) bool { return granularity != pmem2.GranularityPage.String() }
