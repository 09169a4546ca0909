package emu

// syncFaults are the pages of files that were stored to through mappings with MAP_SYNC since
// the kernel last made them read-only: a store to another one is a write fault, which commits what was
// done to the file.
type syncFaults struct {
	pages map[*object]map[uint64]struct{}
	// The page that was stored to last.
	object *object
	page   uint64
}

// first notes a store to the page of o that holds off, and says whether it's the first one.
func (f *syncFaults) first(o *object, off uint64) bool {
	page := off / pageSize
	if f.object == o && f.page == page {
		return false
	}
	f.object, f.page = o, page
	of := f.pages[o]
	if _, ok := of[page]; ok {
		return false
	}
	if of == nil {
		of = map[uint64]struct{}{}
		if f.pages == nil {
			f.pages = map[*object]map[uint64]struct{}{}
		}
		f.pages[o] = of
	}
	of[page] = struct{}{}
	return true
}

// forget makes the pages x of o read-only.
func (f *syncFaults) forget(o *object, x extent) {
	f.object = nil
	if x == everything {
		delete(f.pages, o)
		return
	}
	for page := range f.pages[o] {
		if page*pageSize < x.end && x.start < (page+1)*pageSize {
			delete(f.pages[o], page)
		}
	}
}
