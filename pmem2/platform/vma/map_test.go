package vma_test

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"pmemlab/pmem2/platform/vma"
)

var seed = flag.Uint64("seed", 0, "seed of the random tests; 0 takes the time")

// part is a payload that knows what it is a part of and how far in it starts.
type part struct {
	of  int
	off uint64
}

func (p part) advance(n uint64) part { return part{p.of, p.off + n} }

type entry = vma.Entry[part]

const top = ^uintptr(0)

func TestMap(t *testing.T) {
	type op struct {
		remove bool
		addr   uintptr
		n      uint64
	}
	rows := []struct {
		name    string
		ops     []op // the i-th inserts part{of: i}
		removed []entry
		want    []entry
	}{
		{name: "apart", ops: []op{{addr: 50, n: 10}, {addr: 10, n: 10}},
			want: []entry{{10, 10, part{1, 0}}, {50, 10, part{0, 0}}}},
		{name: "neighbours stay two", ops: []op{{addr: 10, n: 10}, {addr: 20, n: 10}},
			want: []entry{{10, 10, part{0, 0}}, {20, 10, part{1, 0}}}},
		{name: "into the middle", ops: []op{{addr: 10, n: 30}, {addr: 20, n: 10}},
			removed: []entry{{20, 10, part{0, 10}}},
			want:    []entry{{10, 10, part{0, 0}}, {20, 10, part{1, 0}}, {30, 10, part{0, 20}}}},
		{name: "over the same", ops: []op{{addr: 10, n: 30}, {addr: 10, n: 30}},
			removed: []entry{{10, 30, part{0, 0}}},
			want:    []entry{{10, 30, part{1, 0}}}},
		{name: "over two and a half", ops: []op{{addr: 0, n: 10}, {addr: 10, n: 10}, {addr: 20, n: 10}, {remove: true, addr: 5, n: 20}},
			removed: []entry{{5, 5, part{0, 5}}, {10, 10, part{1, 0}}, {20, 5, part{2, 0}}},
			want:    []entry{{0, 5, part{0, 0}}, {25, 5, part{2, 5}}}},
		{name: "remove what isn't there", ops: []op{{addr: 10, n: 10}, {remove: true, addr: 20, n: 10}},
			want: []entry{{10, 10, part{0, 0}}}},
		{name: "length 0", ops: []op{{addr: 10, n: 10}, {addr: 15, n: 0}, {remove: true, addr: 15, n: 0}},
			want: []entry{{10, 10, part{0, 0}}}},
		{name: "up to the top", ops: []op{{addr: top - 9, n: 10}, {remove: true, addr: top, n: 1}},
			removed: []entry{{top, 1, part{0, 9}}},
			want:    []entry{{top - 9, 9, part{0, 0}}}},
		{name: "past the top", ops: []op{{addr: 0, n: 5}, {addr: top - 9, n: 1 << 40}, {remove: true, addr: top - 4, n: ^uint64(0)}},
			removed: []entry{{top - 4, 5, part{1, 5}}},
			want:    []entry{{0, 5, part{0, 0}}, {top - 9, 5, part{1, 0}}}},
		{name: "everything but the last byte", ops: []op{{addr: 0, n: 5}, {addr: top, n: 1}, {remove: true, addr: 0, n: ^uint64(0)}},
			removed: []entry{{0, 5, part{0, 0}}},
			want:    []entry{{top, 1, part{1, 0}}}},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			m := vma.New(part.advance)
			var removed []entry
			for i, op := range row.ops {
				if op.remove {
					removed = m.Remove(op.addr, op.n)
				} else {
					removed = m.Insert(op.addr, op.n, part{of: i})
				}
			}
			if !slices.Equal(removed, row.removed) {
				t.Errorf("the last step removed %v, want %v", removed, row.removed)
			}
			if got := slices.Collect(m.All()); !slices.Equal(got, row.want) {
				t.Errorf("entries %v, want %v", got, row.want)
			}
		})
	}
}

func TestZeroMapKeepsPayloads(t *testing.T) {
	var m vma.Map[string]
	m.Insert(0, 30, "a")
	m.Remove(10, 10)
	want := []vma.Entry[string]{{Addr: 0, Len: 10, Value: "a"}, {Addr: 20, Len: 10, Value: "a"}}
	if got := slices.Collect(m.All()); !slices.Equal(got, want) {
		t.Errorf("entries %v, want %v", got, want)
	}
}

func TestOverlappingStopsAndAllocatesNothing(t *testing.T) {
	m := vma.New(part.advance)
	for i := range 10 {
		m.Insert(uintptr(i)*10, 10, part{of: i})
	}
	seen := 0
	for range m.Overlapping(5, 80) {
		if seen++; seen == 3 {
			break
		}
	}
	if seen != 3 {
		t.Errorf("saw %d entries before the break, want 3", seen)
	}
	var sum uint64
	if n := testing.AllocsPerRun(100, func() {
		for e := range m.Overlapping(5, 80) {
			sum += e.Len
		}
		e, _ := m.At(33)
		sum += e.Len
	}); n != 0 {
		t.Errorf("Overlapping and At allocate %v times a run, want 0", n)
	}
}

// model holds a payload for each byte of a small window of the address space.
type model struct {
	base  uintptr
	bytes [64]*part
}

// cells yields the indexes of the window that the range covers.
func (m *model) cells(addr uintptr, n uint64) (cells []int) {
	for i := range m.bytes {
		if a := m.base + uintptr(i); a >= addr && uint64(a-addr) < n {
			cells = append(cells, i)
		}
	}
	return cells
}

// entries joins cells that continue each other.
func (m *model) entries(cells []int) (entries []entry) {
	for _, i := range cells {
		p := m.bytes[i]
		if p == nil {
			continue
		}
		if k := len(entries) - 1; k >= 0 && entries[k].Last()+1 == m.base+uintptr(i) &&
			entries[k].Value.advance(entries[k].Len) == *p {
			entries[k].Len++
			continue
		}
		entries = append(entries, entry{Addr: m.base + uintptr(i), Len: 1, Value: *p})
	}
	return entries
}

// TestMapAgainstModel compares random steps with a model that knows each byte,
// in windows at the bottom, in the middle and at the top of the address space.
func TestMapAgainstModel(t *testing.T) {
	s := *seed
	if s == 0 {
		s = uint64(time.Now().UnixNano())
	}
	t.Logf("-seed=%d", s)
	for _, base := range []uintptr{0, 1 << 30, top - 63} {
		t.Run(fmt.Sprintf("base %#x", base), func(t *testing.T) {
			r := rand.New(rand.NewPCG(s, uint64(base)))
			m, naive := vma.New(part.advance), model{base: base}
			all := naive.cells(base, 64)
			for step := range 5000 {
				addr, n := base+uintptr(r.IntN(64)), uint64(r.IntN(24))
				if r.IntN(8) == 0 {
					n = uint64(addr) // often past the window, at the top past the end
				}
				cells := naive.cells(addr, n)
				want := naive.entries(cells)
				if got := slices.Collect(m.Overlapping(addr, n)); !slices.Equal(got, want) {
					t.Fatalf("step %d: Overlapping(%#x, %d) = %v, want %v", step, addr, n, got, want)
				}
				var got []entry
				op := "Insert"
				if r.IntN(3) == 0 {
					op = "Remove"
					got = m.Remove(addr, n)
				} else {
					got = m.Insert(addr, n, part{of: step})
				}
				for k, i := range cells {
					naive.bytes[i] = nil
					if op == "Insert" {
						naive.bytes[i] = &part{step, uint64(k)}
					}
				}
				if !slices.Equal(got, want) {
					t.Fatalf("step %d: %s(%#x, %d) removed %v, want %v", step, op, addr, n, got, want)
				}
				// What the map knows beyond the window the model can't see.
				m.Remove(base+64, uint64(top-63-base))
				want = naive.entries(all)
				if got := slices.Collect(m.All()); !slices.Equal(got, want) || m.Len() != len(want) {
					t.Fatalf("step %d: after %s(%#x, %d) the entries are %v, want %v", step, op, addr, n, got, want)
				}
				i := r.IntN(64)
				e, ok := m.At(base + uintptr(i))
				if p := naive.bytes[i]; ok != (p != nil) ||
					ok && e.Value.advance(uint64(base)+uint64(i)-uint64(e.Addr)) != *p {
					t.Fatalf("step %d: At(%#x) = %v, %v, the model has %v", step, base+uintptr(i), e, ok, p)
				}
			}
		})
	}
}
