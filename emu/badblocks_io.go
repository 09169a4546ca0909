package emu

import (
	"syscall"

	"pmemlab/pmem2/platform"
)

// Reads and writes over bad blocks, as Linux does them since 5.19: fs/dax.c for files of a
// DAX file system, the page cache for the others and for block devices, and below both
// drivers/nvdimm/pmem.c.

// readMedia is pread of a file or block device. mu must be held.
//
// With DAX an extent of the file that has a bad block in the range is refused as a whole:
// what was read of the extents before it is the answer, or EIO if that is nothing. Through
// the page cache all pages before the first bad one are read.
func (m *Machine) readMedia(o *object, fd int, p []byte, off int64) (int, error) {
	at := uint64(off)
	want := pagesOf(at, uint64(len(p)))
	flags, err := m.host.GetFL(fd)
	if err == nil && off >= 0 && len(p) > 0 && canRead(flags) && flags&platform.OPath == 0 &&
		o.class == classRegular && o.fs.cfg.DAX && off >= o.fs.maxFile() {
		return 0, syscall.EINVAL // ext4 has no blocks there to ask for
	}
	if err != nil || off < 0 || len(p) == 0 || !canRead(flags) || flags&platform.OPath != 0 ||
		want.end < want.start || !o.hasBad(want.start, want.end-want.start) {
		return m.host.Pread(fd, p, off)
	}
	bad := overlapping(o.badPages, want)[0].start
	if o.class == classRegular && o.fs.cfg.DAX {
		all, err := m.fiemap(o, fd)
		if err != nil {
			return 0, err
		}
		for _, e := range all {
			if e.Logical <= bad && bad < e.Logical+e.Length {
				bad = e.Logical
			}
		}
	}
	st, err := m.host.Fstat(fd)
	switch {
	case err != nil:
		return 0, err
	case at >= uint64(st.Size):
		return 0, nil
	case bad <= at:
		return 0, syscall.EIO
	}
	return m.host.Pread(fd, p[:min(uint64(len(p)), bad-at)], off)
}

// writeMedia is pwrite of a file or block device: at is where it writes, whatever off is.
// mu must be held.
func (m *Machine) writeMedia(o *object, fd int, p []byte, off int64, at uint64) (int, error) {
	end := at + uint64(len(p))
	done, errno := 0, syscall.Errno(0)
	for done < len(p) && end > at && end <= maxFileOffset {
		pos := at + uint64(done)
		pages := pagesOf(pos, end-pos)
		if !o.hasBad(pages.start, pages.end-pages.start) {
			break
		}
		n, write := uint64(0), true
		if o.class == classRegular && o.fs.cfg.DAX {
			n, errno = m.recoverDAX(o, fd, pos, end)
		} else {
			n, write, errno = m.recoverCached(o, pos, end)
		}
		if errno != 0 {
			break
		}
		if write {
			wrote, err := m.host.Pwrite(fd, p[done:done+int(n)], off+int64(done))
			if err != nil {
				return short(done, err)
			}
			done += wrote
			if wrote < int(n) {
				return done, nil
			}
		} else {
			done += int(n)
		}
		if err := m.healWritten(o, pos, pos+n); err != nil {
			return short(done, err)
		}
	}
	if errno != 0 {
		return short(done, errno)
	}
	wrote, err := m.host.Pwrite(fd, p[done:], off+int64(done))
	if err != nil {
		return short(done, err)
	}
	return done + wrote, nil
}

// short is the answer of a call that failed after it has done n bytes.
func short(n int, err error) (int, error) {
	if n > 0 {
		return n, nil
	}
	return 0, err
}

// recoverDAX is how many bytes from pos on are written next to a file of a DAX file system,
// in whose range up to end there is a bad page. One step goes up to the page, and with it
// if the bad sector isn't its first. If it has a bad page it must be of whole pages, so that
// they can be cleared: else EFAULT.
func (m *Machine) recoverDAX(o *object, fd int, pos, end uint64) (n uint64, errno syscall.Errno) {
	runs := o.blocksAt(pagesOf(pos, 1))
	if len(runs) == 0 { // a hole, where healthy blocks come
		return min(end, pagesOf(pos, 1).end) - pos, 0
	}
	page := pos &^ (pageSize - 1)
	all, err := m.fiemap(o, fd)
	if err != nil {
		errno, _ = errnoOf(err).(syscall.Errno)
		return 0, errno
	}
	for i, e := range all { // the kernel goes by extents, unwritten ones apart
		if page < e.Logical || page >= e.Logical+e.Length {
			continue
		}
		last := e.Logical + e.Length
		// What is converted first, and is one with its neighbour then, XFS takes for one.
		if next := i + 1; o.fs.cfg.Type == XFS && e.Flags&fiemapUnwritten != 0 && next < len(all) &&
			all[next].Logical == last && all[next].Physical == e.Physical+e.Length && all[next].Flags&fiemapUnwritten == 0 {
			last += all[next].Length
		}
		end = min(end, last)
	}
	bad := overlapping(o.badBytes(), pagesOf(page, end-page))
	if len(bad) == 0 {
		return end - pos, 0
	}
	end = min(end, page+max(roundUp(bad[0].start-page, pageSize), pageSize))
	if len(overlapping(bad, pagesOf(page, end-page))) > 0 &&
		((pos|end)%pageSize != 0 || !m.clears(o.fs.node)) {
		return 0, syscall.EFAULT
	}
	return end - pos, 0
}

// recoverCached is the same through the page cache, page by page. A part of a bad page
// can't be written, since the rest must be read: EIO. A whole one is written back; where
// that can't clear the bad block the data is lost, which fsync tells.
func (m *Machine) recoverCached(o *object, pos, end uint64) (n uint64, write bool, errno syscall.Errno) {
	page := pagesOf(pos, 1)
	end = min(end, page.end)
	dev := o
	if o.class == classRegular {
		dev = o.fs.node
	}
	switch {
	case !o.hasBad(page.start, pageSize):
		return end - pos, true, 0
	case end-pos < pageSize:
		return 0, false, syscall.EIO
	case !m.clears(dev):
		o.lostWrite = true
		return pageSize, false, 0
	}
	return pageSize, true, 0
}

// healWritten clears the bad blocks in the whole pages of [from, to), which were written.
// Others of the range are healthy. mu must be held.
func (m *Machine) healWritten(o *object, from, to uint64) error {
	whole := extent{roundUp(from, pageSize), to &^ (pageSize - 1)}
	if whole.start >= whole.end || !o.hasBad(whole.start, whole.end-whole.start) {
		return nil
	}
	dev, xs := o, []extent{whole}
	if o.class == classRegular {
		dev, xs = o.fs.node, nil
		for _, b := range o.blocksAt(whole) {
			xs = append(xs, extent{b.physical, b.physical + b.length})
		}
	}
	if !m.clears(dev) {
		return nil
	}
	return m.heal(dev, addExtents(xs, nil))
}
