package model

import (
	"errors"
	"math"
	"syscall"

	"pmemlab/pmem2"
	"pmemlab/pmemset"
)

// ClearUnit is the unit, in bytes, in which the firmware clears errors.
const ClearUnit = 256

// mostSectors is how many sectors a line of the kernel's list has at most.
const mostSectors = 512

// ListBadBlocks is pmem2_badblock_context_new(3), and what pmem2_badblock_next(3) gives one by
// one then. Of a device DAX they are the lines of the kernel's list; of a file those parts of
// them that are its, as whole blocks of the file system.
func (m *Media) ListBadBlocks() ([]pmem2.BadBlock, Result) {
	switch {
	case m.Kind == Anonymous:
		return nil, Fails(pmem2.ErrNoSupp)
	case m.NoDisk:
		return nil, OK
	case m.Kind == File && m.Access == PathOnly: // it can't be asked where it lies
		return nil, FailsWith(syscall.EBADF)
	}
	var list []pmem2.BadBlock
	if m.Kind == DeviceDAX {
		for _, e := range m.Bad {
			for at := e.Start; at < e.Start+e.Size; at += mostSectors * SectorSize {
				list = append(list, pmem2.BadBlock{Offset: at, Length: min(e.Start+e.Size-at, mostSectors*SectorSize)})
			}
		}
		return list, OK
	}
	for _, r := range m.Runs {
		joins := false // the page before is bad, and its last sector
		for at := uint64(0); at < r.Length; at += m.Page {
			page := Extent{r.Physical + at, m.Page}
			if firstOf(m.Bad, page) == m.Page {
				joins = false
				continue
			}
			if joins && firstOf(m.Bad, Extent{page.Start, SectorSize}) == 0 {
				list[len(list)-1].Length += m.Page
			} else {
				list = append(list, pmem2.BadBlock{Offset: r.Logical + at, Length: m.Page})
			}
			joins = firstOf(m.Bad, Extent{page.Start + m.Page - SectorSize, SectorSize}) == 0
		}
	}
	return list, OK
}

// Clear is pmem2_badblock_clear(3), with a context that there is.
func (m *Media) Clear(b pmem2.BadBlock, k Kernel) Result {
	switch {
	case b.Offset > math.MaxInt64:
		return Fails(pmem2.ErrOffsetOutOfRange)
	case b.Length > math.MaxInt64:
		return Fails(pmem2.ErrLengthOutOfRange)
	case m.Kind == DeviceDAX:
		return m.clearDevice(b, k)
	}
	return m.clearFile(b)
}

// clearFile punches a hole and allocates it anew.
func (m *Media) clearFile(b pmem2.BadBlock) Result {
	end := b.Offset + b.Length
	switch {
	case m.Access == PathOnly:
		return FailsWith(syscall.EBADF)
	case b.Length == 0:
		return FailsWith(syscall.EINVAL)
	case m.Access != ReadWrite:
		return FailsWith(syscall.EBADF)
	case end > m.Largest:
		return FailsWith(syscall.EFBIG)
	}
	first, last := (b.Offset+m.Page-1)/m.Page*m.Page, end/m.Page*m.Page
	// Of pages that aren't whole the rest must be read.
	if b.Offset < first && m.BadPage(b.Offset) || end > last && m.BadPage(end) {
		return FailsWith(syscall.EIO)
	}
	m.zero(Extent{b.Offset, b.Length})
	if first < last {
		m.Allocated = cut(m.Allocated, Extent{first, last - first})
		m.freeRuns(first, last)
	}
	pages := m.pagesOf(b.Offset, b.Length)
	if m.wanting(pages) > m.free() {
		return FailsWith(syscall.ENOSPC)
	}
	m.Allocated = AddExtent(m.Allocated, pages)
	return OK
}

// freeRuns takes [first, last) out of the runs.
func (m *Media) freeRuns(first, last uint64) {
	var left []MediaRun
	for _, r := range m.Runs {
		end := r.Logical + r.Length
		if from, to := r.Logical, min(end, first); from < to {
			left = append(left, MediaRun{from, r.Physical, to - from, r.Blank})
		}
		if from := max(r.Logical, last); from < end {
			left = append(left, MediaRun{from, r.Physical + from - r.Logical, end - from, r.Blank})
		}
	}
	m.Runs = left
}

// clearDevice has the firmware clear the sectors that are in the block as a whole. What can be
// written to then is filled with zeroes.
func (m *Media) clearDevice(b pmem2.BadBlock, k Kernel) Result {
	switch {
	case b.Offset > m.Size || b.Length > m.Size-b.Offset:
		return Fails(pmem2.ErrLengthOutOfRange)
	case b.Length == 0:
		return FailsWith(syscall.EINVAL)
	case k.Capabilities != 0:
		return FailsWith(k.Capabilities)
	case k.NoScrub, b.Offset%ClearUnit != 0, b.Length%ClearUnit != 0:
		return FailsWith(syscall.EINVAL)
	case k.ClearError != 0:
		return FailsWith(k.ClearError)
	}
	n := b.Length
	if k.Halves {
		n = n / 2 &^ (ClearUnit - 1)
	}
	first, last := (b.Offset+SectorSize-1)/SectorSize*SectorSize, (b.Offset+n)/SectorSize*SectorSize
	if first < last {
		m.Bad = cut(m.Bad, Extent{first, last - first})
	}
	if n < b.Length {
		return FailsWith(syscall.ENXIO)
	}
	if m.Access != ReadWrite {
		return OK
	}
	for at := b.Offset; at < b.Offset+b.Length; at += m.Page - at%m.Page {
		if !m.BadPage(at) {
			clear(m.Bytes[at:min(b.Offset+b.Length, at+m.Page-at%m.Page)])
		}
	}
	return OK
}

// SetClear is pmemset_badblock_clear(3). Its own checks come first.
func (m *Media) SetClear(b pmem2.BadBlock, k Kernel) SetResult {
	switch {
	case b.Offset > math.MaxInt64:
		return SetFails(pmemset.ErrOffsetOutOfRange)
	case b.Length > math.MaxInt64:
		return SetFails(pmemset.ErrLengthOutOfRange)
	}
	if _, r := m.ListBadBlocks(); r != OK {
		return SetMedia(r)
	}
	return SetMedia(m.Clear(b, k))
}

// SetMedia is what libpmemset makes of a result of libpmem2, where it accesses media: some codes
// have one there, the others stay what they are.
func SetMedia(r Result) SetResult {
	switch r.Code {
	case 0:
		return SetResult{Errno: r.Errno}
	case pmem2.ErrIOFail:
		return SetFails(pmemset.ErrIOFail)
	case pmem2.ErrLengthOutOfRange:
		return SetFails(pmemset.ErrLengthOutOfRange)
	case pmem2.ErrOffsetOutOfRange:
		return SetFails(pmemset.ErrOffsetOutOfRange)
	case pmem2.ErrNoSupp:
		return SetFails(pmemset.ErrBadBlockNoSupp)
	}
	return SetResult{Code: pmemset.Code(r.Code), Errno: r.Errno}
}

// OfSetMedia is the result that an error of libpmemset's media functions stands for. What
// libpmem2 has said passes through.
func OfSetMedia(err error) SetResult {
	var set *pmemset.Error
	if err == nil || errors.As(err, &set) && (set.Code != 0 || set.Errno != 0) {
		return OfSet(err)
	}
	var below *pmem2.Error
	if errors.As(err, &below) {
		return SetResult{Code: pmemset.Code(below.Code), Errno: below.Errno}
	}
	return OfSet(err)
}
