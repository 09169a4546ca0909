// Package hashtable is a hash table in persistent memory, with open addressing. A change of
// it is a change of one word.
package hashtable

import (
	"errors"
	"fmt"
	"iter"

	"pmemlab/emu/examples/pmem"
)

// The file: a word for each slot, and from the next line on the cells, one more than there
// are slots. A slot's word names the cell of its entry; a cell that no word names is free,
// whatever is in it. So entries are written where nobody looks, and switched to.
const (
	empty   = 0 // no entry, and there never was one: the search ends here
	deleted = 1
	named   = 2 // word − named is the number of the cell

	// A cell: the key, the length of the value in bytes, the value.
	cellSize = 2 * pmem.Line
	valueAt  = 16
	// MaxValue is the most bytes that a value can have.
	MaxValue = cellSize - valueAt
)

// Errors of Put.
var (
	ErrFull     = errors.New("hashtable: the table is full")
	ErrTooLarge = errors.New("hashtable: the value is too large")
)

// Table is an open table. It isn't safe for concurrent use.
type Table struct {
	mem     pmem.Memory
	slots   uint64
	cellsAt uint64
	used    []bool // of the cells; not persistent: Open finds it out
}

// Open opens the table in mem, or a new one if mem is zero. Nothing needs repair after a power
// failure, but which cells are free is found by a scan. It fails if mem isn't a table.
func Open(mem pmem.Memory) (*Table, error) {
	b := mem.Bytes()
	if len(b) < 3*cellSize {
		return nil, fmt.Errorf("hashtable: %d bytes, at least %d are needed", len(b), 3*cellSize)
	}
	slots := (uint64(len(b)) - cellSize - pmem.Line) / (8 + cellSize)
	t := &Table{mem: mem, slots: slots, cellsAt: (8*slots + pmem.Line - 1) &^ (pmem.Line - 1), used: make([]bool, slots+1)}
	for s := range slots {
		w := pmem.Load(b, 8*s)
		if w < named {
			continue
		}
		if w-named > slots || t.used[w-named] {
			return nil, fmt.Errorf("hashtable: slot %d names cell %d of %d, or it's named twice", s, w-named, slots+1)
		}
		t.used[w-named] = true
	}
	for s := range slots { // now that every word names a cell
		w := pmem.Load(b, 8*s)
		if w < named {
			continue
		}
		c := t.cell(w - named)
		if n := pmem.Load(c, 8); n > MaxValue {
			return nil, fmt.Errorf("hashtable: cell %d has a value of %d bytes, at most %d are allowed", w-named, n, MaxValue)
		}
		if at, found := t.find(pmem.Load(c, 0)); !found || at != s {
			return nil, fmt.Errorf("hashtable: the key of slot %d isn't found there but at %d", s, at)
		}
	}
	return t, nil
}

// Put sets the value of key, durably. Errors: ErrTooLarge, ErrFull, those of the memory;
// after the latter the table must be opened again.
func (t *Table) Put(key uint64, value []byte) error {
	slot, found := t.find(key)
	if len(value) > MaxValue {
		return fmt.Errorf("%w: %d bytes, at most %d are allowed", ErrTooLarge, len(value), MaxValue)
	}
	if slot == t.slots {
		return ErrFull
	}
	fresh := uint64(0)
	for t.used[fresh] { // there's one more than slots
		fresh++
	}
	c := t.cell(fresh)
	pmem.Store(c, 0, key)
	pmem.Store(c, 8, uint64(len(value)))
	copy(c[valueAt:], value)
	// Two lines, durable in any order; but the entry must be whole before the slot's word,
	// which can be evicted as soon as it's stored, names it.
	if err := t.mem.Persist(c[:valueAt+len(value)]); err != nil {
		return err
	}
	old := pmem.Load(t.mem.Bytes(), 8*slot)
	t.used[fresh] = true
	if err := t.set(slot, fresh+named); err != nil {
		return err
	}
	if found {
		// Free only now that the word is durable: else the next entry could be
		// written where the durable table still finds this key.
		t.used[old-named] = false
	}
	return nil
}

// Delete takes key and its value out of the table, durably; it may be missing. Errors: those
// of the memory; then the table must be opened again.
func (t *Table) Delete(key uint64) error {
	slot, found := t.find(key)
	if !found {
		return nil
	}
	old := pmem.Load(t.mem.Bytes(), 8*slot)
	if err := t.set(slot, deleted); err != nil {
		return err
	}
	t.used[old-named] = false // as in Put
	return nil
}

// Get returns the value of key, a part of the mapping that is good until the next change.
func (t *Table) Get(key uint64) (value []byte, ok bool) {
	slot, ok := t.find(key)
	if !ok {
		return nil, false
	}
	_, value = t.entry(slot)
	return value, true
}

// All goes through the entries, in no order.
func (t *Table) All() iter.Seq2[uint64, []byte] {
	return func(yield func(uint64, []byte) bool) {
		for s := range t.slots {
			if pmem.Load(t.mem.Bytes(), 8*s) >= named && !yield(t.entry(s)) {
				return
			}
		}
	}
}

// set changes a slot: the commit of every operation.
func (t *Table) set(slot, word uint64) error {
	b := t.mem.Bytes()
	pmem.Store(b, 8*slot, word) // at once: the old entry or the new one
	// The caller is told that the change is durable, and the old cell is used again.
	return t.mem.Persist(b[8*slot : 8*slot+8])
}

// find returns the slot of key, or the one to use for it, which is t.slots if there's none.
func (t *Table) find(key uint64) (slot uint64, found bool) {
	use := t.slots
	for i := range t.slots {
		s := (key*0x9E3779B97F4A7C15>>32 + i) % t.slots
		w := pmem.Load(t.mem.Bytes(), 8*s)
		if w >= named && pmem.Load(t.cell(w-named), 0) == key {
			return s, true
		}
		if w < named && use == t.slots {
			use = s
		}
		if w == empty {
			break
		}
	}
	return use, false
}

func (t *Table) entry(slot uint64) (key uint64, value []byte) {
	c := t.cell(pmem.Load(t.mem.Bytes(), 8*slot) - named)
	return pmem.Load(c, 0), c[valueAt : valueAt+pmem.Load(c, 8)]
}

func (t *Table) cell(i uint64) []byte {
	at := t.cellsAt + i*cellSize
	return t.mem.Bytes()[at : at+cellSize]
}
