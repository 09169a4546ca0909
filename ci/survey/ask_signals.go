package survey

import (
	"fmt"
	"slices"

	"pmemlab/pmem2/platform"
)

// touchedProtections are those that allow accesses or not on every CPU: with protection
// keys what is mapped with PROT_EXEC alone can't be read.
var touchedProtections = slices.DeleteFunc(slices.Clone(protections), func(p protection) bool { return p.prot == platform.ProtExec })

// askSignals asks for the signal of accesses to files that change under a mapping, and to
// mappings that don't allow them.
func (s *session) askSignals() {
	s.each(func(o *object) {
		if o.empty || o.closed {
			return
		}
		for _, how := range []string{"SHARED RW", "V+S RW", "PRIVATE RW"} {
			s.with(o, readWrite, func(fd int) { s.askChanges(o, fd, how) })
		}
	}, file)
	s.askCases(func(m *mapped, how string) {
		prot, flags := howMapped(how)
		touch := func(rule string, off uint64) {
			s.ask("load", how+" "+rule, faultText(load(m.at+uintptr(off))))
			s.ask("store", how+" "+rule, faultText(store(m.at+uintptr(off))))
		}
		touch("mapped", 0)
		touch("mapped, last byte", m.n-1)
		for _, p := range touchedProtections {
			if !m.fresh(prot, flags) || m.protect(m.a, m.a, p.prot) != nil {
				continue
			}
			touch("after mprotect "+p.name+", before it", m.a-1)
			touch("after mprotect "+p.name, m.a)
			touch("after mprotect "+p.name+", behind it", 2*m.a)
		}
		if m.fresh(prot, flags) && m.cut(m.a, m.a) == nil {
			touch("after munmap, before it", m.a-1)
			touch("after munmap", m.a)
			touch("after munmap, behind it", 2*m.a)
		}
		if m.fresh(prot, flags) && s.k.Madvise(m.at, m.n, 4) == nil {
			touch("after DONTNEED", m.a)
		}
	})
	for _, p := range touchedProtections {
		s.each(func(o *object) {
			s.with(o, readWrite, func(fd int) {
				for _, f := range mmapFlags[:2] {
					at, err := s.k.Mmap(0, o.align, p.prot, f.flags, fd, 0)
					if err != nil {
						continue
					}
					rule := f.name + " " + p.name
					s.ask("load", rule, faultText(load(at)))
					if o.kind != block {
						s.ask("store", rule, faultText(store(at)))
					}
					s.unmap(at, o.align)
				}
			})
		}, deviceDAX, file, block, character)
	}
}

// askChanges changes the size and the blocks of a file under its mapping.
func (s *session) askChanges(o *object, fd int, how string) {
	prot, flags := howMapped(how)
	n := (o.size + page - 1) &^ (page - 1)
	at, err := s.k.Mmap(0, n+2*page, prot, flags, fd, 0)
	if err != nil {
		return
	}
	defer s.unmap(at, n+2*page)
	look := func(when string) {
		for _, c := range []struct {
			rule string
			off  uint64
		}{
			{"first byte", 0}, {"second page", page}, {"4M", 4 << 20}, {"last byte", o.size - 1}, {"behind the last byte", o.size},
			{"end of the last page", n - 1}, {"page behind it", n},
		} {
			rule := how + " " + when + ", " + c.rule
			s.ask("load", rule, faultText(load(at+uintptr(c.off))))
			s.ask("store", rule, faultText(store(at+uintptr(c.off))))
		}
	}
	change := func(when string, call func() error) {
		s.ask("change", how+" "+when, errnoText(call()))
		look(when)
	}
	truncate := func(to uint64) func() error {
		return func() error { return s.k.Ftruncate(fd, int64(to)) }
	}
	punch := func(off, length uint64) func() error {
		return func() error {
			return s.k.Fallocate(fd, fallocPunchHole|fallocKeepSize, int64(off), int64(length))
		}
	}
	look("unchanged")
	change("punched at 4K", punch(page, page))
	change("punched all of it", punch(0, o.size))
	change("cut to 4M+1", truncate(4<<20+1))
	change("cut to 4M", truncate(4<<20))
	change("cut to 4K", truncate(page))
	change("cut to 1", truncate(1))
	change("cut to 0", truncate(0))
	change("grown again", truncate(o.size))
	change("grown by a page", truncate(n+page))
	change("its size again", truncate(o.size))
	change("allocated again", func() error { return s.k.Fallocate(fd, 0, 0, int64(o.size)) })

	// What a hole holds, and what was behind an end that came back.
	name := o.path + ".bytes"
	if err := s.makeFile(name, 3*page); err != nil {
		s.fail("making %s: %w", name, err)
		return
	}
	s.askBytes(name, how, prot, flags)
	if err := s.k.Unlink(name); err != nil {
		s.fail("unlink of %s: %w", name, err)
	}
}

// askBytes asks what is read where there was something before.
func (s *session) askBytes(name, how string, prot, flags int) {
	fd, err := s.k.Open(name, platform.ORdwr, 0)
	if err != nil {
		s.fail("opening %s: %w", name, err)
		return
	}
	defer func() { _ = s.k.Close(fd) }()
	at, err := s.k.Mmap(0, 3*page, prot, flags, fd, 0)
	if err != nil {
		s.fail("mapping %s: %w", name, err)
		return
	}
	defer s.unmap(at, 3*page)
	mapped := platform.Bytes(at, 3*page)
	look := func(when string) {
		text, buf := "", make([]byte, 1)
		for _, off := range []int{0, 100, page, 2 * page, 2*page + 100} {
			if fault := faultText(load(at + uintptr(off))); fault != "ok" {
				text += fault + ", "
				continue
			}
			n, err := s.k.Pread(fd, buf, int64(off))
			text += fmt.Sprintf("%d by the mapping and %d by pread (%s), ", mapped[off], buf[0]*byte(max(n, 0)), numberText(n, err))
		}
		s.ask("bytes", how+" "+when, text)
	}
	look("as written")
	mapped[100] = 99
	look("one stored")
	_, err = s.k.Pwrite(fd, []byte{77}, 2*page+100)
	s.ask("change", how+" one written", errnoText(err))
	look("one written")
	s.ask("change", how+" a page punched", errnoText(s.k.Fallocate(fd, fallocPunchHole|fallocKeepSize, page, page)))
	look("a page punched")
	s.ask("change", how+" part of a page punched", errnoText(s.k.Fallocate(fd, fallocPunchHole|fallocKeepSize, 0, 50)))
	look("part of a page punched")
	s.ask("change", how+" cut inside a page", errnoText(s.k.Ftruncate(fd, 2*page+50)))
	look("cut inside a page")
	s.ask("change", how+" grown again inside it", errnoText(s.k.Ftruncate(fd, 3*page)))
	look("grown again inside it")
}
