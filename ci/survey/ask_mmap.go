package survey

import (
	"fmt"

	"pmemlab/pmem2/platform"
)

const undefinedFlag = 0x800000

// mmapFlags are the combinations that the matrix asks for: V is MAP_SHARED_VALIDATE, S is
// MAP_SYNC, bogus an undefined flag, 0 and 15 are no types.
var mmapFlags = []struct {
	name  string
	flags int
}{
	{"SHARED", platform.MapShared},
	{"PRIVATE", platform.MapPrivate},
	{"V", platform.MapSharedValidate},
	{"V+S", platform.MapSharedValidate | platform.MapSync},
	{"SHARED+S", platform.MapShared | platform.MapSync},
	{"PRIVATE+S", platform.MapPrivate | platform.MapSync},
	{"V+bogus", platform.MapSharedValidate | undefinedFlag},
	{"SHARED+bogus", platform.MapShared | undefinedFlag},
	{"PRIVATE+bogus", platform.MapPrivate | undefinedFlag},
	{"0", 0},
	{"15", 15},
	{"SHARED+POPULATE", platform.MapShared | platform.MapPopulate},
	{"SHARED+HUGETLB", platform.MapShared | platform.MapHugetlb},
	{"SHARED+NORESERVE", platform.MapShared | platform.MapNoreserve},
	{"SHARED+GROWSDOWN", platform.MapShared | mapGrowsdown},
}

const mapGrowsdown = 0x100

func (s *session) askMatrix() {
	s.each(func(o *object) {
		for _, mode := range o.modes {
			s.with(o, mode, func(fd int) { s.askCells(o, mode.name, fd, o.align) })
		}
	}, deviceDAX, file, directory, block, character)
	// One page of device DAX that has larger ones.
	s.each(func(o *object) {
		if o.align > page {
			s.with(o, readWrite, func(fd int) { s.askCells(o, "RDWR 4K", fd, page) })
		}
	}, deviceDAX)
	s.each(func(o *object) {
		if o.empty || o.closed {
			return
		}
		// The attribute comes after the open.
		s.with(o, readWrite, func(fd int) {
			if err := s.k.SetFlags(o.path, true, false); err != nil {
				s.fail("chattr +a: %w", err)
				return
			}
			s.askCells(o, "RDWR, then append-only", fd, o.align)
			if err := s.k.SetFlags(o.path, false, false); err != nil {
				s.fail("chattr -a: %w", err)
			}
		})
	}, file)
}

// askCells asks for all protections and flags; how says how fd was opened.
func (s *session) askCells(o *object, how string, fd int, length uint64) {
	for _, p := range protections {
		for _, f := range mmapFlags {
			if o.kind == block && f.flags&platform.MapPopulate != 0 {
				continue // it would make pages of a mounted file system's device dirty
			}
			at, err := s.k.Mmap(0, length, p.prot, f.flags, fd, 0)
			s.ask("mmap", fmt.Sprintf("%s %s %s", how, p.name, f.name), errnoText(err))
			if err == nil {
				s.unmap(at, length)
			}
		}
	}
}

// askOpen asks for flags of open. Nothing may be left changed by it.
func (s *session) askOpen() {
	modes := append([]openMode{}, openModes...)
	for _, m := range []openMode{readOnly, readWrite, writeOnly} {
		modes = append(modes,
			openMode{m.name + "+DIRECTORY", m.flags | platform.ODirectory},
			openMode{m.name + "+CREAT+EXCL", m.flags | platform.OCreat | platform.OExcl},
			openMode{m.name + "+CREAT", m.flags | platform.OCreat},
			openMode{m.name + "+TMPFILE", m.flags | platform.OTmpfile},
		)
	}
	modes = append(modes,
		openMode{"PATH+DIRECTORY", platform.OPath | platform.ODirectory},
		openMode{"PATH+CREAT+EXCL", platform.OPath | platform.OCreat | platform.OExcl},
		openMode{"3", platform.OWronly | platform.ORdwr},
	)
	s.each(func(o *object) {
		for _, m := range modes {
			s.askOpenMode(o.path, m.name, m.flags)
			s.askOpenMode(o.path+"/", "/ "+m.name, m.flags)
		}
		s.askOpenMode(o.path+"/x", "/x RDONLY", platform.ORdonly)
		if o.empty || o.closed || o.kind == directory || o.kind == character || o.kind == deviceDAX {
			for _, m := range []openMode{readOnly, readWrite, writeAppend} {
				s.askOpenMode(o.path, m.name+"+TRUNC", m.flags|platform.OTrunc)
			}
		}
	}, deviceDAX, file, directory, character)
	s.each(func(o *object) {
		for _, m := range []openMode{readOnly, readWrite, pathOnly} {
			s.askOpenMode(o.path, m.name, m.flags)
		}
	}, block)
}

func (s *session) askOpenMode(path, rule string, flags int) {
	fd, err := s.k.Open(path, flags, 0o600)
	s.ask("open", rule, errnoText(err))
	if err != nil {
		return
	}
	fl, err := s.k.GetFL(fd)
	if err != nil {
		s.ask("fcntl F_GETFL", rule, errnoText(err))
	} else {
		s.ask("fcntl F_GETFL", rule, hexText(uint64(fl)))
	}
	if err := s.k.Close(fd); err != nil {
		s.fail("closing: %w", err)
	}
}
