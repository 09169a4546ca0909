package emu

// media is the durable content of all the machine's objects, sparse, in one space of
// offsets: each object has its own part of it. It is the persist.Media of the machine.
//
// A page also remembers what its lines held at the last deep flush of their region, as far
// as they were written since: a failed flush-on-failure can lose the newer content.
type media struct {
	spans []*span // by number; nil: unused
	free  []uint64

	// generation rises when spans come and go.
	generation int
	// touched are the pages that were written to since takeTouched, each once, as long as listing.
	touched []touchedPage
	listing bool

	// The page that was used last, and its span.
	lastKey  uint64
	lastPage *mediaPage
}

// A span is a part of an object of up to 64 TiB; nearly all objects have one.
const spanBits = 46

type span struct {
	obj   *object
	off   uint64 // in the object
	pages map[uint64]*mediaPage
	epoch *uint64 // deep flushes of the region it's on; nil: none reach it
}

type mediaPage struct {
	data [pageSize]byte
	// deep is the content at the last deep flush, of the lines in deepLines, as long as
	// epoch is that of the span.
	deep      *[pageSize]byte
	deepLines uint64
	epoch     uint64
	touched   bool
}

type touchedPage struct {
	obj *object
	off uint64
	*mediaPage
}

const noPage = ^uint64(0)

// base is where the span of o that holds off begins, in the common space.
func (s *media) base(o *object, off uint64) uint64 {
	hi := off >> spanBits
	for _, n := range o.spans {
		if s.spans[n].off>>spanBits == hi {
			return n << spanBits
		}
	}
	n := uint64(len(s.spans))
	if k := len(s.free); k > 0 {
		n, s.free = s.free[k-1], s.free[:k-1]
	} else {
		s.spans = append(s.spans, nil)
	}
	sp := &span{obj: o, off: hi << spanBits, pages: map[uint64]*mediaPage{}}
	if r := o.home(); r != nil {
		sp.epoch = &r.deepEpoch
	}
	s.generation++
	s.spans[n] = sp
	o.spans = append(o.spans, n)
	return n << spanBits
}

// place is the offset of the byte off of o in the common space.
func (s *media) place(o *object, off uint64) uint64 {
	return s.base(o, off) | off&(1<<spanBits-1)
}

// at is the object and the offset in it of what is at off in the common space.
func (s *media) at(off uint64) (*object, uint64) {
	sp := s.spans[off>>spanBits]
	return sp.obj, sp.off | off&(1<<spanBits-1)
}

// drop gives up the spans of o.
func (s *media) drop(o *object) {
	for _, n := range o.spans {
		s.spans[n] = nil
		s.free = append(s.free, n)
	}
	o.spans = nil
	s.lastKey = noPage
	s.endListing()
}

func (s *media) page(off uint64) *mediaPage {
	key := off / pageSize
	if key != s.lastKey {
		s.lastKey, s.lastPage = key, s.spans[off>>spanBits].pages[off&(1<<spanBits-1)/pageSize]
	}
	return s.lastPage
}

// Read is that of persist.Media.
func (s *media) Read(off uint64, p []byte) {
	page := s.page(off)
	switch {
	case page == nil:
		clear(p)
	case len(p) == lineSize:
		*(*[lineSize]byte)(p) = *(*[lineSize]byte)(page.data[off%pageSize:])
	default:
		copy(p, page.data[off%pageSize:])
	}
}

// Write is that of persist.Media.
func (s *media) Write(off uint64, p []byte) {
	page := s.page(off)
	sp := s.spans[off>>spanBits]
	if page == nil {
		page = &mediaPage{}
		sp.pages[off&(1<<spanBits-1)/pageSize] = page
		s.lastPage = page
	}
	if sp.epoch != nil {
		page.keepDeep(*sp.epoch, off%pageSize, uint64(len(p)))
	}
	if len(p) == lineSize {
		*(*[lineSize]byte)(page.data[off%pageSize:]) = *(*[lineSize]byte)(p)
	} else {
		copy(page.data[off%pageSize:], p)
	}
	if s.listing && !page.touched {
		if len(s.touched) == maxTouched { // nobody takes them any more, it seems
			s.endListing()
			return
		}
		page.touched = true
		o, at := s.at(off)
		s.touched = append(s.touched, touchedPage{o, at &^ (pageSize - 1), page})
	}
}

// maxTouched is how many pages are listed at most.
const maxTouched = 1 << 14

// endListing ends the list of pages that were written to: what was taken of the media before
// is out of date.
func (s *media) endListing() {
	for _, t := range s.touched {
		t.touched = false
	}
	s.touched, s.listing = nil, false
	s.generation++
}

// takeTouched calls f, if it isn't nil, with the pages that were written to since the last time,
// which is good as long as the generation is that of the last time. The list begins with
// the first call.
func (s *media) takeTouched(f func(o *object, off uint64, p *mediaPage)) {
	for _, t := range s.touched {
		t.touched = false
		if f != nil {
			f(t.obj, t.off, t.mediaPage)
		}
	}
	clear(s.touched)
	s.touched, s.listing = s.touched[:0], true
}

// keepDeep saves what the lines of [off, off+n) hold, before they are written.
func (p *mediaPage) keepDeep(epoch, off, n uint64) {
	if p.epoch != epoch {
		p.epoch, p.deepLines = epoch, 0
	}
	if n <= lineSize && p.deepLines>>(off/lineSize)&1 != 0 {
		return
	}
	for at := off &^ (lineSize - 1); at < off+n; at += lineSize {
		if bit := uint64(1) << (at / lineSize); p.deepLines&bit == 0 {
			if p.deep == nil {
				p.deep = new([pageSize]byte)
			}
			copy(p.deep[at:at+lineSize], p.data[at:])
			p.deepLines |= bit
		}
	}
}

// cut forgets the pages of o from offset from up to to; of pages that are in it in part
// the bytes become zero. It returns copies of what is lost, by page.
func (s *media) cut(o *object, from, to uint64) map[uint64]*mediaPage {
	var lost map[uint64]*mediaPage
	s.endListing()
	for _, n := range o.spans {
		sp := s.spans[n]
		for i, page := range sp.pages {
			start := sp.off + i*pageSize
			if start+pageSize <= from || start >= to {
				continue
			}
			if lost == nil {
				lost = map[uint64]*mediaPage{}
			}
			if from <= start && start+pageSize <= to {
				delete(sp.pages, i)
				lost[start/pageSize] = page
				continue
			}
			saved := *page
			lost[start/pageSize] = &saved
			lo, hi := max(from, start)-start, min(to-start, pageSize)
			clear(page.data[lo:hi])
			if page.deep != nil {
				deep := *page.deep // the copy has the old one
				clear(deep[lo:hi])
				page.deep = &deep
			}
			for line := roundUp(lo, lineSize) / lineSize; (line+1)*lineSize <= hi; line++ {
				page.deepLines &^= 1 << line
			}
		}
	}
	s.lastKey = noPage
	return lost
}
