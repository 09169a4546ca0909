package survey

import (
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
			s.askBadFile(p, spoiler)
		}
	}
}

func (s *session) askBadFile(p plan.Place, spoiler Spoiler) {
	name := p.Mount + "/" + folder + "/bad"
	if err := s.makeFile(name, badPages*page); err != nil {
		s.fail("making %s: %w", name, err)
		return
	}
	fd, err := s.k.Open(name, platform.ORdwr, 0)
	if err != nil {
		s.fail("opening %s: %w", name, err)
		return
	}
	b := &badFile{session: s, fd: fd}
	defer func() { _ = s.k.Close(fd) }()
	if err := s.k.Fsync(fd); err != nil {
		s.fail("fsync: %w", err)
	}
	if stx, err := s.k.Statx(fd); err != nil || stx.Attributes&platform.StatxAttrDAX == 0 {
		return
	}
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
