package emu

import (
	"pmemlab/emu/persist"
)

// lostRange is what a file held in a range of bytes that was cut off or made a hole: older
// versions of its file system still have it.
type lostRange struct {
	object int // number
	extent
	pages   map[uint64]*mediaPage // that were durable, in part outside the range
	epoch   *uint64               // that of the object's spans
	waiting waiting
}

// waiting is what of an object wasn't durable for certain, by offsets in the object; nil: all was.
type waiting struct{ proven, possible *persist.Images }

// waiting is what of the bytes x of o isn't durable, if an older version of the file system
// will want to know.
func (d *durability) waiting(o *object, x extent) (w waiting) {
	if o.fs == nil || len(o.fs.versions) == 0 {
		return w
	}
	mem := d.memory(o)
	pending := false
	for _, n := range o.spans {
		sp := d.media.spans[n]
		lo, hi := max(x.start, sp.off), min(x.end, sp.off+1<<spanBits)
		pending = pending || lo < hi && mem.Pending(n<<spanBits|lo&(1<<spanBits-1), hi-lo)
	}
	if !pending {
		return w
	}
	where := d.media.places().where
	of := func(images *persist.Images) *persist.Images {
		images = images.Edit(func(off uint64, size int) (uint64, bool, func([]byte)) {
			number, at := where(off)
			return at, number == o.number && at < x.end && x.start < at+uint64(size), nil
		})
		if images.Cells() == 0 {
			return nil
		}
		return images
	}
	if w.possible = of(mem.Possible()); w.possible != nil {
		w.proven = of(mem.Proven())
	}
	return w
}

// keepLost keeps what was cut off o for the version of its file system in which it was there.
func (o *object) keepLost(x extent, w waiting, pages map[uint64]*mediaPage) {
	if o.fs == nil || len(o.fs.versions) == 0 || o.class != classRegular {
		return
	}
	l := lostRange{object: o.number, extent: x, pages: pages, waiting: w}
	if r := o.home(); r != nil {
		l.epoch = &r.deepEpoch
	}
	v := o.fs.versions[len(o.fs.versions)-1]
	v.lost = append(v.lost, l)
}

// remains is what a power failure leaves of the bytes of objects.
type remains struct {
	pages  map[int]map[uint64]*mediaPage // durable for certain, by object and page
	images *persist.Images
}

// before is r with what was lost in its place.
func (r remains) before(l *lostRange, places *spanPlaces, possible bool) remains {
	r.pages = r.pagesBefore(l)
	page := r.pages[l.object]
	durable := func(at uint64, content []byte) { // a line's or sector's
		if p := page[at/pageSize]; p != nil {
			copy(content, p.data[at%pageSize:])
		} else {
			clear(content)
		}
	}
	within := func(at uint64, size int) (in extent, all bool) {
		in = extent{max(at, l.start), min(at+uint64(size), l.end)}
		return in, in.start == at && in.end == at+uint64(size)
	}
	older := l.waiting.proven
	if possible {
		older = l.waiting.possible
	}
	waited := map[uint64]bool{}
	if older != nil {
		for i := range older.Cells() {
			at, _, _ := older.Cell(i)
			waited[at] = true
		}
	}
	kept := map[uint64]bool{}
	r.images = r.images.Edit(func(off uint64, size int) (uint64, bool, func([]byte)) {
		number, at := places.where(off)
		in, all := within(at, size)
		if number != l.object || in.start >= in.end {
			return off, true, nil
		}
		if all {
			return off, false, nil
		}
		kept[at] = true
		if waited[at] { // among its contents are those of the time before
			return off, true, nil
		}
		return off, true, func(content []byte) {
			durable(in.start, content[in.start-at:in.end-at])
		}
	})
	if older == nil {
		return r
	}
	older = older.Edit(func(at uint64, size int) (uint64, bool, func([]byte)) {
		in, all := within(at, size)
		off := places.place(l.object, at)
		if all || kept[at] {
			return off, !kept[at], nil
		}
		return off, true, func(content []byte) {
			durable(at, content[:in.start-at])
			durable(in.end, content[in.end-at:])
		}
	})
	r.images = persist.Join(r.images, older)
	return r
}

// pagesBefore is the pages with those that were lost in their place.
func (r remains) pagesBefore(l *lostRange) map[int]map[uint64]*mediaPage {
	pages := map[int]map[uint64]*mediaPage{}
	for number, of := range r.pages {
		pages[number] = of
	}
	was := &span{epoch: l.epoch}
	of := map[uint64]*mediaPage{}
	for i, p := range r.pages[l.object] {
		if at := i * pageSize; at+pageSize <= l.start || l.end <= at {
			of[i] = p
		} else if l.start > at || at+pageSize > l.end {
			of[i] = p.withPart(&mediaPage{}, l.extent, at)
		}
	}
	for i, p := range l.pages {
		p = p.copy(was)
		if at := i * pageSize; l.start > at || at+pageSize > l.end {
			now := of[i]
			if now == nil {
				now = &mediaPage{}
			}
			p = now.withPart(p, l.extent, at)
		}
		of[i] = p
	}
	pages[l.object] = of
	return pages
}

// withPart is the page at offset at of an object, with the bytes in x as they are in old.
func (p *mediaPage) withPart(old *mediaPage, x extent, at uint64) *mediaPage {
	n := &mediaPage{data: p.data}
	lo, hi := max(x.start, at)-at, min(x.end-at, pageSize)
	copy(n.data[lo:hi], old.data[lo:hi])
	for line := range uint64(pageSize / lineSize) {
		from := p
		if start := line * lineSize; lo <= start && start < hi {
			from = old
		}
		if from.deepLines>>line&1 == 0 {
			continue
		}
		if n.deep == nil {
			n.deep = new([pageSize]byte)
		}
		n.deepLines |= 1 << line
		copy(n.deep[line*lineSize:][:lineSize], from.deep[line*lineSize:])
	}
	return n
}
