package survey

import (
	"strings"

	"pmemlab/pmem2/platform"
)

// advices are what madvise is asked for. MADV_COLD and MADV_PAGEOUT aren't: Linux 6.1 logs
// errors about DAX mappings with huge pages then.
var advices = []struct {
	name   string
	advice int
}{
	{"NORMAL", 0}, {"RANDOM", 1}, {"SEQUENTIAL", 2}, {"WILLNEED", 3}, {"DONTNEED", 4}, {"FREE", 8}, {"REMOVE", 9},
	{"DONTFORK", 10}, {"DOFORK", 11}, {"MERGEABLE", 12}, {"UNMERGEABLE", 13}, {"HUGEPAGE", 14}, {"NOHUGEPAGE", 15},
	{"DONTDUMP", 16}, {"DODUMP", 17}, {"WIPEONFORK", 18}, {"KEEPONFORK", 19}, {"POPULATE_READ", 22}, {"POPULATE_WRITE", 23},
	{"5", 5}, {"200", 200},
}

func (s *session) askAdvice() {
	s.askCases(func(m *mapped, how string) {
		prot, flags := howMapped(how)
		for _, c := range advices {
			for _, part := range []struct {
				rule   string
				off, n uint64
				free   bool // what is behind the mapping isn't mapped
			}{
				{"first 4K", 0, page, false}, {"first A", 0, m.a, false}, {"second A", m.a, m.a, false}, {"whole", 0, m.n, false},
				{"0", 0, 0, false}, {"at +1", 1, page, false}, {"past the end", m.n - m.a, m.a + page, true},
			} {
				// To populate all of a file takes memory and time, and is asked for no more than its parts.
				long := part.rule == "whole" && m.o.kind == file && strings.HasPrefix(c.name, "POPULATE")
				if long || m.a == page && part.rule == "first A" || !m.fresh(prot, flags) {
					continue
				}
				if part.free {
					m.vacate(m.at + uintptr(m.n))
				}
				rule := how + " " + c.name + " " + part.rule
				s.ask("madvise", rule, errnoText(m.k.Madvise(m.at+uintptr(part.off), part.n, c.advice)))
			}
		}
	})
}

// askVMFlags asks for the flags of mappings, as they are made and after calls.
func (s *session) askVMFlags() {
	s.askCases(func(m *mapped, how string) {
		prot, flags := howMapped(how)
		ask := func(rule string, call func() error) {
			if !m.fresh(prot, flags) || call() != nil {
				return
			}
			text, err := m.k.VMFlags(m.at)
			if err != nil {
				text = errnoText(err)
			}
			s.ask("VmFlags", how+" "+rule, text)
		}
		ask("made", func() error { return nil })
		ask("mprotect NONE", func() error { return m.protect(0, m.n, platform.ProtNone) })
		ask("mprotect RX", func() error { return m.protect(0, m.n, platform.ProtRead|platform.ProtExec) })
		ask("mprotect first A R", func() error { return m.protect(0, m.a, platform.ProtRead) })
		for _, c := range advices {
			switch c.name {
			case "RANDOM", "SEQUENTIAL", "DONTFORK", "DONTDUMP", "HUGEPAGE", "NOHUGEPAGE", "MERGEABLE":
				ask(c.name, func() error { return m.k.Madvise(m.at, m.n, c.advice) })
			}
		}
		ask("NOHUGEPAGE, HUGEPAGE", func() error {
			if err := m.k.Madvise(m.at, m.n, 15); err != nil {
				return err
			}
			return m.k.Madvise(m.at, m.n, 14)
		})
		ask("RANDOM, NORMAL", func() error {
			if err := m.k.Madvise(m.at, m.n, 1); err != nil {
				return err
			}
			return m.k.Madvise(m.at, m.n, 0)
		})
	})
	s.each(func(o *object) {
		s.with(o, readWrite, func(fd int) {
			for _, f := range mmapFlags {
				at, err := s.k.Mmap(0, o.align, protRW, f.flags&^platform.MapPopulate, fd, 0)
				if err != nil {
					continue
				}
				text, err := s.k.VMFlags(at)
				if err != nil {
					text = errnoText(err)
				}
				s.ask("VmFlags", f.name+" A", text)
				s.unmap(at, o.align)
			}
		})
	}, deviceDAX, file, block, character)
}
