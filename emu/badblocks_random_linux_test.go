package emu_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"golang.org/x/sys/unix"

	"pmemlab/emu"
	"pmemlab/pmem2/platform"
)

const (
	modelPages = 48 // of each object
	arenaPages = 80
)

// modelObject is what an object must be like: for each page which sectors are bad and what
// the first byte of each is.
type modelObject struct {
	name  string
	fd    int
	file  bool
	size  int // pages up to the end
	add   func(off, n uint64) error
	bad   [modelPages][8]bool
	bytes [modelPages][8]byte
	// allocated: of a file, as far as that is certain; touched pages are.
	allocated [modelPages]bool
	dax       *emu.DaxDevice
}

func (o *modelObject) faults(page int) bool {
	return page >= o.size || slices.Contains(o.bad[page][:], true)
}

// modelPage is what is mapped to a page of the arena.
type modelPage struct {
	obj     *modelObject // nil: nothing of ours
	page    int
	private bool
	own     bool // written to by the process
	bytes   [8]byte
}

type badModel struct {
	t       *testing.T
	rng     *rand.Rand
	m       *emu.Machine
	objects []*modelObject
	base    uintptr
	arena   [arenaPages]modelPage
	bus     int
	stamp   byte
	done    map[string]int
}

// TestBadBlockModel does at random what maps, moves, spoils, heals and cuts, and compares
// every page of memory with a model after each step: whether it faults, and its bytes.
func TestBadBlockModel(t *testing.T) {
	seeds := uint64(3)
	if testing.Short() {
		seeds = 1
	}
	for seed := range seeds {
		t.Run(fmt.Sprintf("seed %d", seed), func(t *testing.T) { badBlockModel(t, seed) })
	}
}

func badBlockModel(t *testing.T, seed uint64) {
	const steps = 1500
	m := newMachine(t, emu.Config{})
	b := &badModel{t: t, rng: rand.New(rand.NewPCG(seed, 1)), m: m, done: map[string]int{}}
	dax := m.AddDevDax(emu.DevDax{Size: modelPages * page, Align: page})
	b.objects = append(b.objects, &modelObject{
		name: "dax", fd: open(t, dax).FD(), size: modelPages, add: dax.AddBadBlock, dax: dax,
	})
	fs := m.AddFS(emu.FS{Size: 256 << 20, DAX: true})
	for _, name := range []string{"f", "g"} {
		f := create(t, fs, name, modelPages*page)
		b.objects = append(b.objects, &modelObject{
			name: name, fd: f.FD(), file: true, size: modelPages,
			add: func(off, n uint64) error { return fs.AddBadBlock(name, off, n) },
		})
	}
	b.bus = bus(t, m, platform.ORdwr)
	var free func()
	free, b.base = reserve(t, m, arenaPages*page, page)
	ops := []struct {
		name string
		do   func()
	}{
		{"mmap", b.mmap}, {"mmap", b.mmap}, {"unmap", b.unmap}, {"move", b.move}, {"move", b.move},
		{"spoil", b.spoil}, {"spoil", b.spoil}, {"clear", b.clear}, {"write", b.write}, {"hole", b.hole},
		{"truncate", b.truncate}, {"allocate", b.allocate}, {"store", b.store},
	}
	for step := range steps {
		op := ops[b.rng.IntN(len(ops))]
		op.do()
		b.done[op.name]++
		if b.check(fmt.Sprintf("step %d, %s", step, op.name)); t.Failed() {
			return
		}
	}
	t.Logf("%v", b.done)
	for _, name := range []string{"faulting pages", "own pages", "moved", "grown", "duplicated", "left mapped", "healed"} {
		if b.done[name] == 0 {
			t.Errorf("no %s in %d steps: the mix tests nothing", name, steps)
		}
	}
	free()
}

func (b *badModel) addr(i int) uintptr { return b.base + uintptr(i*page) }

// span is a range of up to most pages in [0, n).
func (b *badModel) span(n, most int) (first, count int) {
	count = 1 + b.rng.IntN(min(n, most))
	return b.rng.IntN(n - count + 1), count
}

func (b *badModel) any() *modelObject { return b.objects[b.rng.IntN(len(b.objects))] }

func (b *badModel) anyFile() *modelObject { return b.objects[1+b.rng.IntN(len(b.objects)-1)] }

func (b *badModel) fail(what string, err error) {
	b.t.Helper()
	if err != nil {
		b.t.Errorf("%s: %v", what, err)
	}
}

func (b *badModel) mmap() {
	o := b.any()
	to, n := b.span(arenaPages, 12)
	first := b.rng.IntN(modelPages + 2) // also past the end
	private := o.file && b.rng.IntN(3) == 0
	flags := platform.MapShared
	if private {
		flags = platform.MapPrivate
	}
	_, err := b.m.Mmap(b.addr(to), uint64(n*page), readWrite, flags|platform.MapFixed, o.fd, int64(first*page))
	b.fail("mmap", err)
	for i := range n {
		b.arena[to+i] = modelPage{obj: o, page: first + i, private: private}
	}
}

func (b *badModel) unmap() {
	to, n := b.span(arenaPages, 12)
	b.fill(to, n)
}

// fill puts a placeholder to pages of the arena, which must stay ours.
func (b *badModel) fill(to, n int) {
	_, err := b.m.Mmap(b.addr(to), uint64(n*page), platform.ProtNone, anonymous|platform.MapFixed, -1, 0)
	b.fail("placeholder", err)
	for i := range n {
		b.arena[to+i] = modelPage{}
	}
}

// move moves a part of what is one mapping.
func (b *badModel) move() {
	from := b.rng.IntN(arenaPages)
	p := b.arena[from]
	if p.obj == nil {
		return
	}
	n := 1
	for from+n < arenaPages && n < 10 {
		next := b.arena[from+n]
		if next.obj != p.obj || next.page != p.page+n || next.private != p.private {
			break
		}
		n++
	}
	n = 1 + b.rng.IntN(n)
	newN := 1 + b.rng.IntN(n+3)
	if end := from + n; newN > n { // all of the mapping must be moved, for it to grow
		if end < arenaPages && b.arena[end].obj == p.obj && b.arena[end].page == p.page+n && b.arena[end].private == p.private {
			newN = n
		}
	}
	flags, oldN := moveFixed, n
	switch b.rng.IntN(4) {
	case 0:
		newN, flags = n, flags|4 // MREMAP_DONTUNMAP
	case 1:
		if !p.private {
			oldN = 0
		}
	}
	to := b.rng.IntN(arenaPages)
	if to+newN > arenaPages || to < from+n && from < to+newN {
		return
	}
	_, err := b.m.Mremap(b.addr(from), uint64(oldN*page), uint64(newN*page), flags, b.addr(to))
	if err != nil {
		b.t.Errorf("mremap of %d pages of %s from %d on, to %d pages, flags %d: %v", oldN, p.obj.name, p.page, newN, flags, err)
		return
	}
	moved := slices.Clone(b.arena[from : from+n])
	for i := range newN {
		now := modelPage{obj: p.obj, page: p.page + i, private: p.private}
		if i < n && oldN > 0 {
			now = moved[i]
		}
		b.arena[to+i] = now
	}
	switch {
	case oldN == 0:
		b.done["duplicated"]++
	case flags&4 != 0:
		b.done["left mapped"]++
		for i := range n {
			b.arena[from+i].own = false // the process's pages have gone
		}
	default:
		b.done["moved"]++
		if newN > n {
			b.done["grown"]++
		}
		b.fill(from, n)
	}
}

func (b *badModel) spoil() {
	o := b.any()
	first, n := b.span(modelPages*8, 20)
	holes := false
	if o.file {
		for s := first; s < first+n; s++ {
			holes = holes || !o.allocated[s/8]
		}
		if holes {
			return
		}
	}
	b.fail("AddBadBlock", o.add(uint64(first*sector), uint64(n*sector)))
	for s := first; s < first+n; s++ {
		o.bad[s/8][s%8] = true
		o.bytes[s/8][s%8] = 0
	}
}

func (b *badModel) clear() {
	o := b.objects[0]
	first, n := b.span(modelPages*2*8, 60) // in units of 256
	phys := address(b.t, b.m, &o.dax.Device)
	_, err := b.m.ClearError(b.bus, phys+uint64(first*256), uint64(n*256))
	b.fail("ClearError", err)
	for s := (first + 1) / 2; s < (first+n)/2; s++ {
		if o.bad[s/8][s%8] {
			b.done["healed"]++
		}
		o.bad[s/8][s%8] = false
	}
}

func (b *badModel) write() {
	o := b.anyFile()
	first, n := b.span(modelPages, 4)
	b.stamp++
	p := slices.Repeat([]byte{b.stamp}, n*page)
	got, err := b.m.Pwrite(o.fd, p, int64(first*page))
	if got != len(p) || err != nil {
		b.t.Errorf("Pwrite of %d pages at %d: %d, %v", n, first, got, err)
	}
	o.size = max(o.size, first+n)
	for i := first; i < first+n; i++ {
		if slices.Contains(o.bad[i][:], true) {
			b.done["healed"]++
		}
		o.bad[i] = [8]bool{}
		o.bytes[i] = [8]byte(slices.Repeat([]byte{b.stamp}, 8))
		o.allocated[i] = true
	}
}

// gone is what is left of pages that were cut off the file.
func (o *modelObject) gone(first, end int) {
	for i := first; i < end; i++ {
		o.bad[i], o.bytes[i], o.allocated[i] = [8]bool{}, [8]byte{}, false
	}
}

func (b *badModel) hole() {
	o := b.anyFile()
	first, n := b.span(modelPages, 6)
	b.fail("hole", b.m.Fallocate(o.fd, platform.FallocPunchHole|platform.FallocKeepSize, int64(first*page), int64(n*page)))
	o.gone(first, first+n)
}

func (b *badModel) truncate() {
	o := b.anyFile()
	size := b.rng.IntN(modelPages + 1)
	b.fail("ftruncate", b.m.Ftruncate(o.fd, int64(size*page)))
	o.gone(size, modelPages)
	o.size = size
	for i, p := range b.arena {
		if p.obj == o && p.page >= size {
			b.arena[i].own = false // Linux takes the process's own pages behind the end, too
		}
	}
	if b.rng.IntN(3) > 0 {
		b.fail("ftruncate", b.m.Ftruncate(o.fd, modelPages*page))
		o.size = modelPages
	}
}

func (b *badModel) allocate() {
	o := b.anyFile()
	first, n := b.span(modelPages, 8)
	b.fail("fallocate", b.m.Fallocate(o.fd, 0, int64(first*page), int64(n*page)))
	o.size = max(o.size, first+n)
	for i := first; i < first+n; i++ {
		o.allocated[i] = true
	}
}

// store stores to a page in the ordinary way.
func (b *badModel) store() {
	i := b.rng.IntN(arenaPages)
	p := &b.arena[i]
	if p.obj == nil || !p.own && p.obj.faults(p.page) {
		return
	}
	s := b.rng.IntN(8)
	b.stamp++
	if p.private && !p.own {
		p.own, p.bytes = true, p.obj.bytes[p.page]
		p.obj.allocated[p.page] = true
	}
	*at(b.addr(i), uint64(s*sector)) = b.stamp
	if p.own {
		p.bytes[s] = b.stamp
	} else {
		p.obj.bytes[p.page][s] = b.stamp
		p.obj.allocated[p.page] = true
	}
}

// check compares all of the arena and what sysfs lists with the model.
func (b *badModel) check(step string) {
	b.t.Helper()
	for i, p := range b.arena {
		if p.obj == nil {
			continue
		}
		want := "."
		if !p.own && p.obj.faults(p.page) {
			want = "B"
			b.done["faulting pages"]++
		}
		if p.own {
			b.done["own pages"]++
		}
		if got := access(b.addr(i), !p.private); got != want {
			b.t.Errorf("%s: page %d of the arena, %d of %s, private %t, own %t: %s, want %s",
				step, i, p.page, p.obj.name, p.private, p.own, got, want)
			return
		}
		if want == "B" {
			continue
		}
		bytes := p.obj.bytes[p.page%modelPages]
		if p.own {
			bytes = p.bytes
		} else {
			p.obj.allocated[p.page] = true // by the access
		}
		for s, v := range bytes {
			if got := *at(b.addr(i), uint64(s*sector)); got != v {
				b.t.Errorf("%s: page %d of the arena, %d of %s, private %t, own %t: sector %d has %d, want %d",
					step, i, p.page, p.obj.name, p.private, p.own, s, got, v)
				return
			}
		}
	}
	for _, o := range b.objects[:1] {
		text := ""
		for s := 0; s < modelPages*8; {
			n := 0
			for s+n < modelPages*8 && o.bad[(s+n)/8][(s+n)%8] {
				n++
			}
			if n > 0 {
				text += fmt.Sprintf("%d %d\n", infoBlock/sector+s, n)
			}
			s += n + 1
		}
		attr(b.t, b.m, o.dax.RegionPath()+"/badblocks", text)
	}
	for _, o := range b.objects[1:] {
		for i := range modelPages {
			_, err := b.m.Pread(o.fd, make([]byte, page), int64(i*page))
			want := error(nil)
			if i < o.size && o.faults(i) {
				want = unix.EIO
			}
			if !errors.Is(err, want) {
				b.t.Errorf("%s: Pread of page %d of %s: %v, want %v", step, i, o.name, err, want)
				return
			}
		}
	}
}
