package emu

import (
	"errors"
	"fmt"
	iofs "io/fs"
	"slices"
	"syscall"

	"pmemlab/emu/exact"
	"pmemlab/emu/persist"
	"pmemlab/pmem2/platform"
)

// stage is memory in which one image after the other is set up: that of a machine of its
// own, which boots from it again and again.
type stage struct {
	m       *Machine
	pages   map[int]map[uint64]*mediaPage // what is durable for certain: the images' background
	where   func(off uint64) (object int, at uint64)
	objects map[int]*stagedObject
	// The span that was written to last, by its number, and its object.
	lastSpan uint64
	last     *stagedObject
	zero     [pageSize]byte
	host     *watchedHost
	keepers  map[string]*stagedObject // by the paths that they are opened by
}

// stagedObject is an object of the stage's machine, with all of it mapped.
type stagedObject struct {
	*object
	mem  staged // to be set up
	view staged // to be looked at
	// changed is the memfd's change time when it was last known to be as it's to be.
	changed int64
	size    uint64 // in bytes
}

// watchedHost notes what is opened for writing: with a descriptor of the host's a recovery can
// write past the machine. The machine's mu guards it.
type watchedHost struct {
	platform.Platform
	writable []string
}

// Open is that of [platform.Platform].
func (h *watchedHost) Open(path string, flags int, mode uint32) (int, error) {
	if flags&(platform.OWronly|platform.ORdwr) != 0 {
		h.writable = append(h.writable, path)
	}
	return h.Platform.Open(path, flags, mode)
}

// staged is a mapping of a whole object.
type staged struct {
	addr uintptr
	b    []byte
}

// newStage builds the machine of v and sets up what is durable for certain.
func newStage(v *crashVersion) (*stage, error) {
	m, err := v.boot.build()
	if err != nil {
		return nil, err
	}
	s := &stage{m: m, pages: v.pages, where: v.where, objects: map[int]*stagedObject{}, keepers: map[string]*stagedObject{}, lastSpan: noPage}
	m.mu.Lock()
	defer m.mu.Unlock()
	s.host = &watchedHost{Platform: m.host}
	m.host = s.host
	m.unrecorded()
	for _, o := range m.objects {
		if o.kept() == keptNot {
			continue
		}
		if err := s.add(o); err != nil {
			m.mu.Unlock()
			err = errors.Join(err, s.close())
			m.mu.Lock()
			return nil, err
		}
	}
	return s, nil
}

// add maps o and fills it.
func (s *stage) add(o *object) error {
	st := &stagedObject{object: o}
	s.objects[o.number] = st
	size := o.lastSize()
	st.size = size
	s.keepers[procFD(o.keeper)] = st
	if size == 0 {
		return nil
	}
	size = roundUp(size, pageSize)
	at, err := s.m.host.Mmap(0, size, platform.ProtRead|platform.ProtWrite, platform.MapShared|platform.MapNoreserve, o.keeper, 0)
	if err != nil {
		return fmt.Errorf("emu: no room for an image of %s: %w", o.name, err)
	}
	st.mem = staged{at, platform.Bytes(at, size)}
	at, err = s.m.host.Mmap(0, size, platform.ProtRead, platform.MapShared|platform.MapNoreserve, o.keeper, 0)
	if err != nil {
		return fmt.Errorf("emu: no room for an image of %s: %w", o.name, err)
	}
	st.view = staged{at, platform.Bytes(at, size)}
	for i, page := range s.pages[o.number] {
		if at := i * pageSize; at < size {
			copy(st.mem.b[at:], page.data[:])
		}
	}
	st.changed, _, err = changeTime(o.keeper)
	return err
}

func (s *stage) close() error {
	var errs []error
	for _, o := range s.objects {
		for _, b := range [...]staged{o.mem, o.view} {
			if b.b != nil {
				errs = append(errs, s.m.host.Munmap(b.addr, uint64(len(b.b))))
			}
		}
	}
	return errors.Join(append(errs, s.m.Shutdown())...)
}

// setter puts the lines of an image in place.
func (s *stage) setter() persist.Setter {
	return func(off uint64, content []byte) {
		number, at := s.where(off)
		if span := off >> spanBits; span != s.lastSpan {
			s.lastSpan, s.last = span, s.objects[number]
		}
		copy(s.last.mem.b[at:], content)
	}
}

// reset sets the lines of the images back to what is durable for certain.
func (s *stage) reset(images *persist.Images) {
	for i := range images.Cells() {
		off, size, _ := images.Cell(i)
		number, at := s.where(off)
		copy(s.objects[number].mem.b[at:][:size], s.background(number, at)[at%pageSize:])
	}
}

// background is the page that holds at of an object.
func (s *stage) background(number int, at uint64) []byte {
	if page := s.pages[number][at/pageSize]; page != nil {
		return page.data[:]
	}
	return s.zero[:]
}

// bytes is the content of the device or file path.
func (s *stage) bytes(path string) ([]byte, error) {
	s.m.mu.Lock()
	defer s.m.mu.Unlock()
	o := s.m.nodes[path]
	if fs, name := s.m.mounted(path); fs != nil {
		var err error
		if o, err = fs.find(name); err != nil {
			return nil, &iofs.PathError{Op: "bytes", Path: path, Err: err}
		}
	}
	if o == nil || s.objects[o.number] == nil {
		return nil, &iofs.PathError{Op: "bytes", Path: path, Err: syscall.ENOENT}
	}
	size := o.lastSize()
	return s.objects[o.number].view.b[:size], nil
}

// run boots the stage's machine on the image that is set up, which do may change, and sets it
// back to what is durable for certain. The stage can't be used again if ok is false: do has left
// something open, or has changed more than bytes.
func (s *stage) run(do func(*Machine) error) (ok bool, err error) {
	m := s.m
	m.mu.Lock()
	m.touched = m.touched[:0]
	m.reads = m.reads[:0]
	s.host.writable = s.host.writable[:0]
	before := m.changes()
	m.mu.Unlock()
	exact.Reads(true)
	err = do(m)
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.rec.exact {
		collectStores() // nobody wants those of a recovery
	}
	if m.maps.Len() > 0 || len(m.fds) > 0 || m.changes() != before {
		return false, err
	}
	for _, t := range m.touched {
		o := s.objects[t.object.number]
		if o == nil {
			continue
		}
		for at := t.start; at < min(t.end, uint64(len(o.mem.b))); at += pageSize {
			if page, want := o.mem.b[at:at+pageSize], s.background(o.number, at); string(page) != string(want) {
				copy(page, want)
			}
		}
	}
	return s.undoWrites(), err
}

// undoWrites sets back what a recovery has written past the machine, to objects that it has
// opened and not mapped: the change time of those that are mapped tells nothing. It returns
// false if that can't be. m.mu must be held.
func (s *stage) undoWrites() bool {
	for i, path := range s.host.writable {
		o := s.keepers[path]
		if o == nil || slices.Contains(s.host.writable[:i], path) ||
			slices.ContainsFunc(s.m.touched, func(t touchedPages) bool { return t.object == o.object }) {
			continue
		}
		at, _, err := changeTime(o.keeper)
		if err != nil || o.lastSize() != o.size {
			return false
		}
		if at == o.changed && !recent(at) {
			continue
		}
		o.changed = at
		if s.restore(o) != nil {
			return false
		}
	}
	return true
}

// restore sets all of o back to what is durable for certain.
func (s *stage) restore(o *stagedObject) error {
	for i, page := range s.pages[o.number] {
		if at := i * pageSize; at < uint64(len(o.mem.b)) {
			copy(o.mem.b[at:], page.data[:])
		}
	}
	xs, err := written(o.keeper)
	for _, x := range xs {
		for at := x.start &^ (pageSize - 1); at < min(x.end, uint64(len(o.mem.b))); at += pageSize {
			if s.pages[o.number][at/pageSize] == nil {
				clear(o.mem.b[at : at+pageSize])
			}
		}
	}
	return err
}

// touchedPages are pages of an object that may have been written to.
type touchedPages struct {
	object *object
	extent
}

// unrecorded has the machine remember which pages were touched and nothing else of what is
// done to memory. mu must be held.
func (m *Machine) unrecorded() {
	m.mem.off = true
	for g := range m.ops {
		m.ops[g] = m.cpu.CacheOps(platform.Granularity(g))
	}
}

// touch notes pages for a stage.
func (m *Machine) touch(o *object, x extent) {
	m.touched = append(m.touched, touchedPages{o, pagesOf(x.start, x.end-x.start)})
}

// changes counts what was changed besides bytes. mu must be held.
func (m *Machine) changes() int { return m.altered + int(m.sysfs.edits.Load()) }
