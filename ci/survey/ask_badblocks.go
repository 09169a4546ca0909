package survey

import (
	"errors"
	"fmt"
	"regexp"
	"strings"

	"pmemlab/ci/vm/plan"
	"pmemlab/pmem2/platform"
)

// Spoiler is a kernel whose media can be made bad.
type Spoiler interface {
	// Spoil makes the sector of 512 bytes bad that byte off of the file is on, and returns
	// when the kernel knows.
	Spoil(path string, off uint64) error
}

const (
	badPages = 16   // of the file
	badPage  = 3    // the bad one
	badByte  = 1024 // in it, where the bad sector begins
)

// askBadBlocks asks for accesses to a file with DAX that goes bad while it is mapped: what a
// page cache has of a bad block is a matter of time. Without a Spoiler there is nothing to ask.
func (s *session) askBadBlocks() {
	spoiler, ok := s.k.(Spoiler)
	if !ok {
		return
	}
	for _, p := range s.places {
		if p.Kind == plan.FSDax && p.Mount != "" {
			s.object = p.Name
			s.askBadExtents(p, spoiler)
			s.askBadFile(p, spoiler)
		}
	}
}

// openFresh makes an empty file and opens it; ok is false if it isn't one with DAX.
func (s *session) openFresh(name string) (fd int, ok bool) {
	fd, err := s.k.Open(name, platform.ORdwr|platform.OCreat|platform.OTrunc, 0o644)
	if err != nil {
		s.fail("making %s: %w", name, err)
		return -1, false
	}
	stx, err := s.k.Statx(fd)
	if err != nil || stx.Attributes&platform.StatxAttrDAX == 0 {
		_ = s.k.Close(fd)
		return -1, false
	}
	return fd, true
}

// askBadExtents asks how far writes go in files of one piece of the disk, each of which has no
// data in page 1, and whose page 2 is bad.
func (s *session) askBadExtents(p plan.Place, spoiler Spoiler) {
	for i, c := range []struct {
		rule   string
		n, off int
	}{
		{"from a part of page 0", 3 * page, 100}, {"from page 0", 4 * page, 0}, {"to a part of the bad page", 2*page + 600, 0},
		{"parts of page 0 and the bad one", 2*page + 600, 100}, {"from a part of page 1", 2 * page, page + 100}, {"from page 1", 3 * page, page},
		{"page 1", page, page}, {"page 1 and a part of the bad one", page + 600, page}, {"the bad page and a part of the next", page + 100, 2 * page},
	} {
		name := fmt.Sprintf("%s/%s/bad-extents-%d", p.Mount, folder, i)
		fd, ok := s.openFresh(name)
		if !ok {
			return
		}
		if s.makeBadExtents(spoiler, p, name, fd, 2) {
			n, err := s.k.Pwrite(fd, make([]byte, c.n), int64(c.off))
			s.ask("pwrite over extents", c.rule, numberText(n, err))
		}
		_ = s.k.Close(fd)
	}
	s.askBadWithoutData(p, spoiler)
	(&badFile{session: s}).listed(p)
}

// makeBadExtents makes a file whose page 1 has no data, and makes a page bad. XFS, which finds
// another place for a page that is given back, gets all its blocks at once; ext4 writes zeroes
// to what is left of a short extent without data, so that page 1 there has one of its own.
func (s *session) makeBadExtents(spoiler Spoiler, p plan.Place, name string, fd int, bad uint64) (ok bool) {
	buf := make([]byte, 4*page)
	var errs []error
	write := func(first, last int64) {
		_, err := s.k.Pwrite(fd, buf[:(last-first+1)*page], first*page)
		errs = append(errs, err)
	}
	if p.FS == "xfs" {
		errs = append(errs, s.k.Fallocate(fd, 0, 0, 4*page))
		write(0, 0)
		write(2, 3)
	} else {
		write(0, 3)
		errs = append(errs, s.k.Fallocate(fd, fallocPunchHole|fallocKeepSize, page, page), s.k.Fallocate(fd, 0, page, page))
	}
	errs = append(errs, s.k.Fsync(fd), spoiler.Spoil(name, bad*page+badByte))
	if err := errors.Join(errs...); err != nil {
		s.fail("making %s, bad in page %d: %w", name, bad, err)
		return false
	}
	return true
}

// askBadWithoutData asks for reads of a bad page that has no data.
func (s *session) askBadWithoutData(p plan.Place, spoiler Spoiler) {
	name := p.Mount + "/" + folder + "/bad-without-data"
	fd, ok := s.openFresh(name)
	if !ok {
		return
	}
	defer func() { _ = s.k.Close(fd) }()
	if !s.makeBadExtents(spoiler, p, name, fd, 1) {
		return
	}
	buf := make([]byte, 4*page)
	for _, c := range []struct {
		rule   string
		n, off int
	}{{"page 1", page, page}, {"all", 4 * page, 0}, {"to page 1", page, 0}, {"from page 2", 2 * page, 2 * page}} {
		n, err := s.k.Pread(fd, buf[:c.n], int64(c.off))
		s.ask("pread without data", c.rule, numberText(n, err))
	}
	for what, flags := range map[string]int{"shared": platform.MapShared, "private": platform.MapPrivate} {
		at, err := s.k.Mmap(0, 4*page, protRW, flags, fd, 0)
		if err != nil {
			s.fail("mmap: %w", err)
			return
		}
		s.ask("load without data", what, faultText(load(at+page+badByte)))
		s.unmap(at, 4*page)
	}
}

func (s *session) askBadFile(p plan.Place, spoiler Spoiler) {
	name := p.Mount + "/" + folder + "/bad"
	fd, ok := s.openFresh(name)
	if !ok {
		return
	}
	defer func() { _ = s.k.Close(fd) }()
	if err := s.makeFile(name, badPages*page); err != nil {
		s.fail("making %s: %w", name, err)
		return
	}
	if err := s.k.Fsync(fd); err != nil {
		s.fail("fsync: %w", err)
	}
	b := &badFile{session: s, fd: fd, lists: 1} // behind that of the other files
	before := b.mmap(platform.MapShared)
	if fault := load(before); fault != 0 {
		s.fail("the file can't be read: %s", faultText(fault))
	}
	if err := spoiler.Spoil(name, badPage*page+badByte); err != nil {
		s.fail("making it bad: %w", err)
		return
	}
	b.listed(p)
	b.look("bad", before)
	for _, c := range []struct {
		rule   string
		n, off int
	}{
		{"the bad sector", 512, badPage*page + badByte}, {"beside it in its page", 512, badPage * page},
		{"before its page", page, (badPage - 1) * page}, {"behind its page", page, (badPage + 1) * page},
		{"across it", 4 * page, (badPage - 2) * page}, {"its page", page, badPage * page},
	} {
		n, err := s.k.Pwrite(fd, make([]byte, c.n), int64(c.off))
		s.ask("pwrite", c.rule, numberText(n, err))
		s.ask("fsync", "after pwrite "+c.rule, errnoText(s.k.Fsync(fd)))
		b.look("after pwrite "+c.rule, before)
	}
	s.ask("fallocate PUNCH_HOLE", "its page", errnoText(s.k.Fallocate(fd, fallocPunchHole|fallocKeepSize, badPage*page, page)))
	b.look("punched", before)
	s.ask("fallocate", "its page", errnoText(s.k.Fallocate(fd, 0, badPage*page, page)))
	b.look("allocated again", before)
	b.listed(p)
	s.unmap(before, badPages*page)
}

type badFile struct {
	*session
	fd    int
	lists int // how often it was looked at them
}

func (b *badFile) mmap(flags int) uintptr {
	at, err := b.k.Mmap(0, badPages*page, protRW, flags, b.fd, 0)
	if err != nil {
		b.fail("mmap: %w", err)
	}
	return at
}

// look asks for accesses by all ways. The mapping before is from when nothing was bad.
func (b *badFile) look(when string, before uintptr) {
	buf := make([]byte, badPages*page)
	for _, c := range []struct {
		rule   string
		n, off int
	}{
		{"bad sector", 512, badPage*page + badByte}, {"beside it in its page", 512, badPage * page}, {"page before", page, (badPage - 1) * page},
		{"its page", page, badPage * page}, {"page behind", page, (badPage + 1) * page}, {"last page", page, (badPages - 1) * page},
	} {
		n, err := b.k.Pread(b.fd, buf[:c.n], int64(c.off))
		b.ask("pread", when+", "+c.rule, numberText(n, err))
	}
	now, private := b.mmap(platform.MapShared), b.mmap(platform.MapPrivate)
	for _, m := range []struct {
		rule string
		at   uintptr
	}{{"mapped before", before}, {"mapped now", now}, {"private", private}} {
		for _, c := range []struct {
			rule string
			off  uintptr
		}{
			{"bad sector", badPage*page + badByte}, {"beside it in its page", badPage * page}, {"page before", (badPage - 1) * page},
			{"page behind", (badPage + 1) * page}, {"first page", 0},
		} {
			b.ask("load", fmt.Sprintf("%s, %s, %s", when, m.rule, c.rule), faultText(load(m.at+c.off)))
		}
	}
	b.unmap(now, badPages*page)
	b.unmap(private, badPages*page)
}

var badList = regexp.MustCompile(`^(\d+ 1\n)*$`)

// listed asks what the attributes badblocks list: how many there are.
func (b *badFile) listed(p plan.Place) {
	b.lists++
	st, ok := b.statDevice(p.Device)
	if !ok {
		return
	}
	for what, at := range map[string]string{
		"region": p.Region + "/badblocks", "device": fmt.Sprintf("dev/block/%d:%d/badblocks", st.Major(), st.Minor()),
	} {
		text, err := b.k.ReadAttr(at)
		answer := errnoText(err)
		if err == nil {
			answer = fmt.Sprintf("%q", text)
			if badList.MatchString(text) {
				answer = fmt.Sprint(strings.Count(text, "\n"))
			}
		}
		b.ask("badblocks of "+what, fmt.Sprintf("at look %d", b.lists), answer)
	}
}
