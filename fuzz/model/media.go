package model

import (
	"math"
	"slices"
	"syscall"

	"pmemlab/pmem2"
)

// SectorSize is the unit, in bytes, in which media go bad.
const SectorSize = 512

// MediaRun is a part of a file that lies on its disk in one piece: whole pages, all of which
// have data or none.
type MediaRun struct {
	Logical, Physical, Length uint64
	Blank                     bool
}

// Media is a source and what its media hold. A device DAX is its own disk.
type Media struct {
	Kind       Kind
	DAX        bool // a file without the page cache before it
	NoDisk     bool // a file that lies on no region: a tmpfs's
	Merges     bool // a run without data that is written to is one with what lies behind it: XFS
	Access     Access
	AppendOnly bool // open with O_APPEND
	Page, Size uint64
	Largest    uint64     // that a file can be
	Room       uint64     // of the disk, in bytes; there is one file
	Bytes      []byte     // of the source; what is bad holds zeroes
	Bad        []Extent   // sectors of the disk, sorted and apart
	Runs       []MediaRun // of a file, in the order of the file: what the kernel says of it
	Allocated  []Extent   // of a file: whole pages, sorted and apart
}

// Kernel is what calls are answered instead of being made; what is 0 is made.
type Kernel struct {
	Pread, Pwrite syscall.Errno
	Most          uint64        // bytes that pread and pwrite transfer at a time
	Capabilities  syscall.Errno // of the bus
	NoScrub       bool          // the bus knows no such range
	ClearError    syscall.Errno
	Halves        bool // the firmware clears the first half, and says so
}

// Transfer is how a read or a write ends.
type Transfer struct {
	Result Result
	Done   uint64 // bytes that are transferred, from the first on
	// Loose says that of the others any may be that isn't on a bad page.
	Loose bool
}

// inRange are the checks of both pages, which come before anything is transferred.
func (m *Media) inRange(off, n uint64) Result {
	switch {
	case m.Kind == Anonymous:
		return Fails(pmem2.ErrSourceTypeNotSupported)
	case off > m.Size || n > m.Size-off:
		return Fails(pmem2.ErrLengthOutOfRange)
	}
	return OK
}

// Read is pmem2_source_pread_mcsafe(3).
func (m *Media) Read(off, n uint64, k Kernel) Transfer {
	if r := m.inRange(off, n); r != OK || n == 0 {
		return Transfer{Result: r}
	}
	if m.Kind == DeviceDAX {
		return m.copyDevice(off, n, false)
	}
	var t Transfer
	for t.Done < n {
		got, errno := m.pread(off+t.Done, n-t.Done, k)
		if t.Done += got; errno != 0 {
			t.Result = ioResult(errno, false)
			break
		}
	}
	return t
}

// Write is pmem2_source_pwrite_mcsafe(3). Of what is transferred loosely the bytes are the
// caller's to find out.
func (m *Media) Write(off uint64, p []byte, k Kernel) Transfer {
	n := uint64(len(p))
	r := m.inRange(off, n)
	switch {
	case r != OK || n == 0:
		return Transfer{Result: r}
	case m.Kind == DeviceDAX:
		t := m.copyDevice(off, n, true)
		copy(m.Bytes[off:], p[:t.Done])
		return t
	case m.AppendOnly: // pwrite would write elsewhere
		return Transfer{Result: FailsWith(syscall.EINVAL)}
	}
	var t Transfer
	for t.Done < n {
		got, errno := m.pwrite(off+t.Done, p[t.Done:], k)
		if t.Done += got; errno != 0 {
			t.Result = ioResult(errno, true)
			break
		}
	}
	return t
}

// ioResult is what an errno of pread or pwrite means. DAX tells a write to a bad block by EFAULT.
func ioResult(e syscall.Errno, writes bool) Result {
	if e == syscall.EIO || writes && e == syscall.EFAULT {
		return Fails(pmem2.ErrIOFail)
	}
	return FailsWith(e)
}

// copyDevice is a copy from or to a mapping of a device DAX. A bad page in it is a fault, before
// which nobody knows how far the copy has come.
func (m *Media) copyDevice(off, n uint64, writes bool) Transfer {
	switch {
	case m.Access == PathOnly:
		return Transfer{Result: FailsWith(syscall.EBADF)}
	case writes && m.Access == ReadOnly:
		return Transfer{Result: Fails(pmem2.ErrNoAccess)}
	case m.badPageIn(off, n) < n:
		return Transfer{Result: Fails(pmem2.ErrIOFail), Loose: true}
	}
	return Transfer{Done: n}
}

// pread is pread(2) of a file, of what is in it. The page cache reads up to the first bad
// page; with DAX a run is refused as a whole if what is read of it has one.
func (m *Media) pread(off, n uint64, k Kernel) (uint64, syscall.Errno) {
	switch {
	case k.Pread != 0:
		return 0, k.Pread
	case m.Access == PathOnly:
		return 0, syscall.EBADF
	case k.Most != 0:
		n = min(n, k.Most)
	}
	good := m.badPageIn(off, n)
	if m.DAX && good < n {
		run, _ := m.runAt(off + good)
		good = max(run.Logical, off) - off
	}
	if good == 0 {
		return 0, syscall.EIO
	}
	return good, 0
}

// pwrite is pwrite(2) of a file. Whole pages that are written over heal.
func (m *Media) pwrite(off uint64, p []byte, k Kernel) (uint64, syscall.Errno) {
	switch {
	case k.Pwrite != 0:
		return 0, k.Pwrite
	case m.Access != ReadWrite:
		return 0, syscall.EBADF
	case k.Most != 0:
		p = p[:min(uint64(len(p)), k.Most)]
	}
	pages := m.pagesOf(off, uint64(len(p)))
	if m.wanting(pages) > m.free() {
		return 0, syscall.ENOSPC
	}
	for done := uint64(0); done < uint64(len(p)); {
		at := off + done
		n, errno := m.step(at, uint64(len(p))-done)
		if errno != 0 {
			return done, only(errno, done == 0)
		}
		copy(m.Bytes[at:], p[done:done+n])
		m.writeOver(at, n)
		done += n
	}
	return uint64(len(p)), 0
}

// only is an errno if nothing was transferred: else that is what the call says.
func only(e syscall.Errno, nothing bool) syscall.Errno {
	if nothing {
		return e
	}
	return 0
}

// step is how much of a write is done in one go. The page cache goes page by page, and must read
// a page that it writes in part. DAX goes by runs, in each up to the first bad sector, rounded
// up to a page, but a page at least; what has a bad page must be whole pages.
func (m *Media) step(at, n uint64) (uint64, syscall.Errno) {
	start := at - at%m.Page
	run, placed := m.runAt(at)
	if !m.DAX || !placed {
		n = min(n, start+m.Page-at)
		if n < m.Page && m.badPageIn(at, n) < n {
			return 0, syscall.EIO
		}
		return n, 0
	}
	end := run.Logical + run.Length
	if next, ok := m.runAt(end); ok && m.Merges && run.Blank && !next.Blank && next.Physical == run.Physical+run.Length {
		end += next.Length
	}
	n = min(n, end-at)
	whole := m.pagesOf(at, n)
	first := firstOf(m.Bad, Extent{run.Physical + start - run.Logical, whole.Size})
	if first == whole.Size {
		return n, 0
	}
	n = min(n, start+max((first+m.Page-1)/m.Page*m.Page, m.Page)-at)
	if m.badPageIn(at, n) < n && (at%m.Page != 0 || n%m.Page != 0) {
		return 0, syscall.EFAULT
	}
	return n, 0
}

// writeOver gives the pages of a write room on the disk, and heals those that are written whole.
func (m *Media) writeOver(off, n uint64) {
	for at := off - off%m.Page; at < off+n; at += m.Page {
		if run, ok := m.runAt(at); ok && at >= off && at+m.Page <= off+n {
			m.Bad = cut(m.Bad, Extent{run.Physical + at - run.Logical, m.Page})
		}
	}
	pages := m.pagesOf(off, n)
	m.Allocated = AddExtent(m.Allocated, pages)
	m.fill(pages)
}

// fill gives pages of runs data. What lies side by side is one run then.
func (m *Media) fill(pages Extent) {
	if !slices.ContainsFunc(m.Runs, func(r MediaRun) bool { return r.Blank }) {
		return
	}
	var runs []MediaRun
	add := func(r MediaRun, from, to uint64, blank bool) {
		from, to = max(from, r.Logical), min(to, r.Logical+r.Length)
		if from >= to {
			return
		}
		part := MediaRun{from, r.Physical + from - r.Logical, to - from, blank}
		if n := len(runs); n > 0 {
			if last := &runs[n-1]; last.Blank == blank && last.Logical+last.Length == from && last.Physical+last.Length == part.Physical {
				last.Length += part.Length
				return
			}
		}
		runs = append(runs, part)
	}
	end := pages.Start + pages.Size
	for _, r := range m.Runs {
		add(r, 0, pages.Start, r.Blank)
		add(r, pages.Start, end, false)
		add(r, end, math.MaxUint64, r.Blank)
	}
	m.Runs = runs
}

// pagesOf are the whole pages that hold [off, off+n).
func (m *Media) pagesOf(off, n uint64) Extent {
	start := off - off%m.Page
	return Extent{start, (off + n - start + m.Page - 1) / m.Page * m.Page}
}

// runAt is the run that holds a byte of a file.
func (m *Media) runAt(at uint64) (MediaRun, bool) {
	for _, r := range m.Runs {
		if at >= r.Logical && at-r.Logical < r.Length {
			return r, true
		}
	}
	return MediaRun{}, false
}

// BadPage says whether the page of a byte can't be accessed.
func (m *Media) BadPage(at uint64) bool {
	at -= at % m.Page
	if m.Kind == File {
		run, ok := m.runAt(at)
		if !ok {
			return false
		}
		at = run.Physical + at - run.Logical
	}
	return firstOf(m.Bad, Extent{at, m.Page}) < m.Page
}

// badPageIn is how many bytes of [off, off+n) lie before the first bad page; n if none is.
func (m *Media) badPageIn(off, n uint64) uint64 {
	if len(m.Bad) == 0 {
		return n
	}
	for at := off - off%m.Page; at < off+n; at += m.Page {
		if m.BadPage(at) {
			return max(at, off) - off
		}
	}
	return n
}

// wanting are the bytes of pages that have no room on the disk yet.
func (m *Media) wanting(pages Extent) uint64 {
	n := pages.Size
	for _, e := range m.Allocated {
		if from, to := max(e.Start, pages.Start), min(e.Start+e.Size, pages.Start+pages.Size); from < to {
			n -= to - from
		}
	}
	return n
}

// free are the bytes of the disk that can be given to the file: no bad page is.
func (m *Media) free() uint64 {
	n := m.Room
	for _, e := range m.Allocated {
		n -= min(e.Size, n)
	}
	var pages []Extent
	for _, b := range m.Bad {
		pages = AddExtent(pages, m.pagesOf(b.Start, b.Size))
	}
	for _, b := range pages {
		free := b.Size
		for _, r := range m.Runs {
			if from, to := max(b.Start, r.Physical), min(b.Start+b.Size, r.Physical+r.Length); from < to {
				free -= to - from
			}
		}
		n -= min(free, n)
	}
	return n
}

// Spoil makes the sectors bad that hold [off, off+n) of the source: false if that isn't inside
// it, or isn't allocated as a whole.
func (m *Media) Spoil(off, n uint64) bool {
	if n == 0 || off > math.MaxInt64 || n > math.MaxInt64-off || m.NoDisk || m.Kind == Anonymous {
		return false
	}
	start := off - off%SectorSize
	x := Extent{start, (off + n - start + SectorSize - 1) / SectorSize * SectorSize}
	if m.Kind == DeviceDAX {
		if off > m.Size || n > m.Size-off {
			return false
		}
		m.Bad = AddExtent(m.Bad, x)
	} else {
		if m.wanting(x) != 0 {
			return false
		}
		for at := x.Start; at < x.Start+x.Size; at += SectorSize {
			run, _ := m.runAt(at)
			m.Bad = AddExtent(m.Bad, Extent{run.Physical + at - run.Logical, SectorSize})
		}
	}
	m.zero(x)
	return true
}

// zero is what is left of bytes that are lost.
func (m *Media) zero(x Extent) {
	if x.Start < m.Size {
		clear(m.Bytes[x.Start:min(x.Start+x.Size, m.Size)])
	}
}

// firstOf is where in x the first byte is that one of the extents has, counted from its start;
// its size if none has any.
func firstOf(all []Extent, x Extent) uint64 {
	for _, e := range all {
		if e.Overlaps(x) {
			return max(e.Start, x.Start) - x.Start
		}
	}
	return x.Size
}

// AddExtent adds x to extents that are sorted and apart, as they are then, too.
func AddExtent(all []Extent, x Extent) []Extent {
	i := 0
	for i < len(all) && all[i].Start+all[i].Size < x.Start {
		i++
	}
	j := i
	for j < len(all) && all[j].Start <= x.Start+x.Size {
		end := max(x.Start+x.Size, all[j].Start+all[j].Size)
		x.Start = min(x.Start, all[j].Start)
		x.Size = end - x.Start
		j++
	}
	return slices.Replace(all, i, j, x)
}

// cut takes x out of extents.
func cut(all []Extent, x Extent) []Extent {
	var left []Extent
	end := x.Start + x.Size
	for _, e := range all {
		if !e.Overlaps(x) {
			left = append(left, e)
			continue
		}
		if e.Start < x.Start {
			left = append(left, Extent{e.Start, x.Start - e.Start})
		}
		if e.Start+e.Size > end {
			left = append(left, Extent{end, e.Start + e.Size - end})
		}
	}
	return left
}

// AnyBadPage says whether a page of [off, off+n) is bad, as far as that is in the source.
func (m *Media) AnyBadPage(off, n uint64) bool {
	return m.inRange(off, n) == OK && m.badPageIn(off, n) < n
}

// Has says whether the byte of a file has a block.
func (m *Media) Has(at uint64) bool { return m.wanting(Extent{at, 1}) == 0 }

// WriteUnreadable is Write to a file, of a buffer that can't be read to its end, where no page is
// bad: the fault is the caller's. What comes before it may be written.
func (m *Media) WriteUnreadable(off, n uint64, k Kernel) Result {
	r := m.inRange(off, n)
	switch {
	case r != OK:
		return r
	case m.AppendOnly:
		return FailsWith(syscall.EINVAL)
	case k.Pwrite == syscall.EIO:
		return Fails(pmem2.ErrIOFail)
	case k.Pwrite != 0:
		return FailsWith(k.Pwrite)
	case m.Access != ReadWrite:
		return FailsWith(syscall.EBADF)
	case m.wanting(m.pagesOf(off, n)) > m.free():
		return FailsWith(syscall.ENOSPC)
	}
	return FailsWith(syscall.EFAULT)
}

// Roomy says that no write to the file can lack room.
func (m *Media) Roomy() bool { return m.free() > m.Size+m.Page }
