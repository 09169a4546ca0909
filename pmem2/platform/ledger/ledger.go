// Package ledger pairs what was taken from a platform with what was given back
// to it, for tests that must leave nothing behind.
package ledger

import (
	"fmt"
	"maps"
	"slices"
	"sync"

	"pmemlab/pmem2/platform"
	"pmemlab/pmem2/platform/vma"
)

// Ledger is a Platform that passes every call on and keeps the mappings and
// descriptors that were taken through it and not given back. What was taken
// elsewhere it ignores, also when it is given back here.
//
// A mapping is held until it is unmapped, replaced (MapFixed, MremapFixed) or
// moved away, page by page. A call on mappings that fails changes nothing, also
// where a kernel has by then unmapped the target of MapFixed. A descriptor is
// given back by Close whatever Close returns, as on Linux.
//
// Put a Ledger round emu/fault, not inside: an injected fault is then an answer
// of the machine to the ledger as well.
//
// A Ledger is safe for concurrent use if the Platform beneath is. It holds no
// lock during a call.
type Ledger struct {
	platform.Platform
	pageSize uint64

	mu       sync.Mutex
	mappings *vma.Map[mapping]
	open     map[int]string // path by descriptor
}

// mapping is how a range was mapped.
type mapping struct {
	prot, flags, fd int
	path            string // of fd, where Open of this Ledger returned it
	offset          int64
}

// New returns a Ledger that holds nothing, on top of p.
func New(p platform.Platform) *Ledger {
	return &Ledger{
		Platform: p,
		pageSize: p.PageSize(),
		mappings: vma.New(mapping.from),
		open:     make(map[int]string),
	}
}

// Outstanding names what is held: mappings by address, then descriptors by
// number. It is empty when everything was given back. While other goroutines
// are inside a call it may lack what that call is about.
func (l *Ledger) Outstanding() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	// Neighbours that continue one another are one: a part that was given back
	// and taken again, because the call failed, leaves no trace.
	var mappings []vma.Entry[mapping]
	for e := range l.mappings.All() {
		if n := len(mappings) - 1; n >= 0 && mappings[n].Last()+1 == e.Addr && mappings[n].Value.from(mappings[n].Len) == e.Value {
			mappings[n].Len += e.Len
			continue
		}
		mappings = append(mappings, e)
	}
	var held []string
	for _, e := range mappings {
		held = append(held, fmt.Sprintf("mapping of %d bytes at %#x: %v", e.Len, e.Addr, e.Value))
	}
	for _, fd := range slices.Sorted(maps.Keys(l.open)) {
		held = append(held, fmt.Sprintf("descriptor %d of %s", fd, l.open[fd]))
	}
	return held
}

// from is the mapping from off bytes on.
func (m mapping) from(off uint64) mapping {
	if m.flags&platform.MapAnonymous == 0 {
		m.offset += int64(off)
	}
	return m
}

// String is as in /proc/pid/maps: protection, shared or private; then what is
// mapped, a file from which byte on.
func (m mapping) String() string {
	perm := []byte("---p")
	for i, p := range []int{platform.ProtRead, platform.ProtWrite, platform.ProtExec} {
		if m.prot&p != 0 {
			perm[i] = "rwx"[i]
		}
	}
	if m.flags&platform.MapType != platform.MapPrivate {
		perm[3] = 's'
	}
	switch {
	case m.flags&platform.MapAnonymous != 0:
		return string(perm) + " anonymous"
	case m.path == "":
		return fmt.Sprintf("%s descriptor %d from %#x", perm, m.fd, m.offset)
	}
	return fmt.Sprintf("%s descriptor %d (%s) from %#x", perm, m.fd, m.path, m.offset)
}

// Open is platform.Files.Open.
func (l *Ledger) Open(path string, flags int, mode uint32) (int, error) {
	fd, err := l.Platform.Open(path, flags, mode)
	if err == nil {
		l.mu.Lock()
		l.open[fd] = path
		l.mu.Unlock()
	}
	return fd, err
}

// Close is platform.Files.Close.
func (l *Ledger) Close(fd int) error {
	// Forgotten first: once it is closed another Open may return its number.
	l.mu.Lock()
	delete(l.open, fd)
	l.mu.Unlock()
	return l.Platform.Close(fd)
}

// Mmap is platform.Memory.Mmap.
func (l *Ledger) Mmap(addr uintptr, length uint64, prot, flags, fd int, off int64) (uintptr, error) {
	l.mu.Lock()
	m := mapping{prot, flags &^ (platform.MapFixed | platform.MapFixedNoreplace), fd, l.open[fd], off}
	l.mu.Unlock()
	got, err := l.Platform.Mmap(addr, length, prot, flags, fd, off)
	if err == nil {
		l.mu.Lock()
		l.mappings.Insert(got, l.pages(length), m)
		l.mu.Unlock()
	}
	return got, err
}

// Munmap is platform.Memory.Munmap.
func (l *Ledger) Munmap(addr uintptr, length uint64) error {
	// Forgotten first: once it is unmapped another Mmap may return its address.
	held := l.take(addr, l.pages(length))
	err := l.Platform.Munmap(addr, length)
	if err != nil {
		l.putBack(held)
	}
	return err
}

// Mremap is platform.Memory.Mremap.
func (l *Ledger) Mremap(addr uintptr, length, newLength uint64, flags int, newAddr uintptr) (uintptr, error) {
	size, newSize := l.pages(length), l.pages(newLength)
	var held []vma.Entry[mapping]
	if length != 0 {
		held = l.take(addr, size)
	}
	got, err := l.Platform.Mremap(addr, length, newLength, flags, newAddr)
	if err != nil {
		l.putBack(held)
		return got, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if length == 0 { // a second mapping of the same pages: mremap(2)
		for e := range l.mappings.Overlapping(addr, 1) {
			held = append(held, e) // grown below
		}
	}
	l.mappings.Remove(got, newSize)
	for i, e := range held {
		at := uint64(e.Addr - addr)
		if at >= newSize {
			break // cut off
		}
		n := min(e.Len, newSize-at)
		if i == len(held)-1 && newSize > size {
			n = newSize - at // grown
		}
		l.mappings.Insert(got+uintptr(at), n, e.Value)
	}
	return got, nil
}

// take removes what is held in a range.
func (l *Ledger) take(addr uintptr, n uint64) []vma.Entry[mapping] {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.mappings.Remove(addr, n)
}

func (l *Ledger) putBack(held []vma.Entry[mapping]) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, e := range held {
		l.mappings.Insert(e.Addr, e.Len, e.Value)
	}
}

// pages rounds a length up to whole pages, as the kernel does. A length that
// it refuses for its size becomes 0.
func (l *Ledger) pages(n uint64) uint64 { return (n + l.pageSize - 1) &^ (l.pageSize - 1) }
