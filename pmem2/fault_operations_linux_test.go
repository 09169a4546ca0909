package pmem2_test

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"pmemlab/emu"
	"pmemlab/pmem2"
	"pmemlab/pmem2/platform"
)

const (
	page    = 4096
	devPage = 2 << 20
)

// operation is one function of pmem2 in one situation. setup makes the situation
// and returns the call; its text describes a success.
type operation struct {
	name  string
	setup func(s *stage) (call func() (string, error))
	// given is a fault that is there in any case, so that the calls are made
	// which follow a failure.
	given string
	cfg   emu.Config
}

// maps is a call of NewMap: its success is described by the granularity.
func maps(s *stage, cfg *pmem2.Config, src *pmem2.Source) func() (string, error) {
	return func() (string, error) {
		m, err := pmem2.NewMap(cfg, src)
		if err != nil {
			if m != nil {
				s.t.Error("NewMap fails and returns a map")
			}
			return "", err
		}
		s.t.Cleanup(func() { m.Delete() })
		return m.StoreGranularity().String(), nil
	}
}

// inReservation is a config for a mapping at offset in a fresh reservation.
func inReservation(s *stage, offset uint64) *pmem2.Config {
	cfg := config(pmem2.GranularityPage)
	cfg.SetVMReservation(s.reservation(offset+4*devPage), offset)
	return cfg
}

// deletesPrepared is a call of PrepareDelete and Commit. They agree about what
// has happened to the maps.
func deletesPrepared(maps []*pmem2.Map) func() (string, error) {
	return func() (string, error) {
		d, err := pmem2.PrepareDelete(maps...)
		if err != nil {
			return "", err
		}
		gone, err := d.Commit()
		if !gone && err == nil {
			return "not gone", nil
		}
		for _, m := range maps {
			if (m.Address() == 0) != gone {
				return "a map that isn't as Commit says", nil
			}
		}
		return done(err)
	}
}

func deletesThree(s *stage) func() (string, error) {
	return deletesPrepared(s.sideBySide(1, 2, 1))
}

// deletesReserved is a call of Delete for a map in a reservation.
func deletesReserved(s *stage) func() (string, error) {
	m := s.newMap(inReservation(s, page), s.source(s.file(pageCache, page)))
	return func() (string, error) { return done(m.Delete()) }
}

func done(err error) (string, error) { return "done", err }

// noMappingLeft is a process with as many mappings as the kernel allows: what would be one
// more is refused, what takes the place of others isn't. With fewMappingsLeft there are a
// few to go: mremap, which may need some for a moment, is refused all the same.
const (
	noMappingLeft   = "(ENOMEM (Or (Op mremap) (And (Op mmap) (Not (Flags MAP_FIXED)) (Not (Flags MAP_FIXED_NOREPLACE)))))"
	fewMappingsLeft = "(ENOMEM (Op mremap))"
)

var (
	emuDefault = emu.Config{}
	pageCache  = emu.FS{Size: 1 << 30}
	daxFS      = emu.FS{Size: 1 << 30, DAX: true}
)

func devDax(s *stage) int {
	return s.open(s.m.AddDevDax(emu.DevDax{Size: 4 * devPage, Align: devPage}).Path(), platform.ORdwr)
}

// operations: every exported function that can ask the platform anything, in the
// situations in which it asks something else. TestFaultSweepIsComplete sees to
// the functions, TestFaultSweepTwice to calls that only a failure brings about.
var operations = []operation{
	{name: "SourceFromFD, file", setup: func(s *stage) func() (string, error) {
		fd := s.file(pageCache, page)
		return func() (string, error) { _, err := pmem2.SourceFromFD(fd, s.on()); return done(err) }
	}},
	{name: "SourceFromFD, device DAX", setup: func(s *stage) func() (string, error) {
		fd := devDax(s)
		return func() (string, error) { _, err := pmem2.SourceFromFD(fd, s.on()); return done(err) }
	}},
	{name: "SourceFromFile", setup: func(s *stage) func() (string, error) {
		fd, err := unix.FcntlInt(uintptr(s.file(pageCache, page)), unix.F_DUPFD_CLOEXEC, 0)
		if err != nil {
			s.t.Fatal(err)
		}
		f := os.NewFile(uintptr(fd), "f")
		s.t.Cleanup(func() { f.Close() })
		return func() (string, error) { _, err := pmem2.SourceFromFile(f, s.on()); return done(err) }
	}},
	{name: "Size, file", setup: func(s *stage) func() (string, error) {
		src := s.source(s.file(pageCache, page))
		return func() (string, error) { n, err := src.Size(); return fmt.Sprint(n), err }
	}},
	{name: "Size, device DAX", setup: func(s *stage) func() (string, error) {
		src := s.source(devDax(s))
		return func() (string, error) { n, err := src.Size(); return fmt.Sprint(n), err }
	}},
	{name: "Alignment, file", setup: func(s *stage) func() (string, error) {
		src := s.source(s.file(pageCache, page))
		return func() (string, error) { n, err := src.Alignment(); return fmt.Sprint(n), err }
	}},
	{name: "Alignment, device DAX", setup: func(s *stage) func() (string, error) {
		src := s.source(devDax(s))
		return func() (string, error) { n, err := src.Alignment(); return fmt.Sprint(n), err }
	}},
	{name: "NewMap, page cache", setup: func(s *stage) func() (string, error) {
		return maps(s, config(pmem2.GranularityPage), s.source(s.file(pageCache, page)))
	}},
	{name: "NewMap, DAX", setup: func(s *stage) func() (string, error) {
		return maps(s, config(pmem2.GranularityPage), s.source(s.file(daxFS, page)))
	}},
	{name: "NewMap, eADR", cfg: emu.Config{EADR: true}, setup: func(s *stage) func() (string, error) {
		return maps(s, config(pmem2.GranularityPage), s.source(s.file(daxFS, page)))
	}},
	{name: "NewMap, device DAX", setup: func(s *stage) func() (string, error) {
		return maps(s, config(pmem2.GranularityPage), s.source(devDax(s)))
	}},
	{name: "NewMap, private", setup: func(s *stage) func() (string, error) {
		cfg := config(pmem2.GranularityPage)
		cfg.SetSharing(pmem2.Private)
		return maps(s, cfg, s.source(s.file(pageCache, page)))
	}},
	{name: "NewMap, anonymous", setup: func(s *stage) func() (string, error) {
		src, _ := pmem2.SourceFromAnon(page, s.on())
		return maps(s, config(pmem2.GranularityPage), src)
	}},
	{name: "NewMap, append-only", setup: func(s *stage) func() (string, error) {
		fs := s.m.AddFS(pageCache)
		f, err := fs.Create("f", page)
		if err != nil {
			s.t.Fatal(err)
		}
		f.Close()
		if err := fs.SetAppendOnly("f", true); err != nil {
			s.t.Fatal(err)
		}
		return maps(s, config(pmem2.GranularityPage), s.source(s.open(fs.Path("f"), platform.ORdwr|platform.OAppend)))
	}},
	{name: "NewMap, too coarse", setup: func(s *stage) func() (string, error) {
		return maps(s, config(pmem2.GranularityByte), s.source(s.file(pageCache, page)))
	}},
	{name: "NewMap, reservation", setup: func(s *stage) func() (string, error) {
		return maps(s, inReservation(s, page), s.source(s.file(pageCache, page)))
	}},
	{name: "NewMap, reservation, DAX", setup: func(s *stage) func() (string, error) {
		return maps(s, inReservation(s, page), s.source(s.file(daxFS, page)))
	}},
	{name: "NewMap, reservation, device DAX", setup: func(s *stage) func() (string, error) {
		return maps(s, inReservation(s, devPage), s.source(devDax(s)))
	}},
	{name: "NewMap, reservation, private", setup: func(s *stage) func() (string, error) {
		cfg := inReservation(s, page)
		cfg.SetSharing(pmem2.Private)
		return maps(s, cfg, s.source(s.file(pageCache, page)))
	}},
	{name: "NewMap, reservation, anonymous", setup: func(s *stage) func() (string, error) {
		src, _ := pmem2.SourceFromAnon(page, s.on())
		return maps(s, inReservation(s, page), src)
	}},
	{name: "NewMap, reservation, too coarse", setup: func(s *stage) func() (string, error) {
		cfg := config(pmem2.GranularityByte)
		cfg.SetVMReservation(s.reservation(4*page), page)
		return maps(s, cfg, s.source(s.file(pageCache, page)))
	}},
	{name: "NewMap, reservation, mremap fails", given: "(ENOMEM (Op mremap))", setup: func(s *stage) func() (string, error) {
		return maps(s, inReservation(s, page), s.source(s.file(pageCache, page)))
	}},
	{name: "MapFromExisting", setup: func(s *stage) func() (string, error) {
		src, _ := pmem2.SourceFromAnon(page, s.on())
		return func() (string, error) {
			m, err := pmem2.MapFromExisting(src, 1<<40, page, pmem2.GranularityPage)
			if err == nil {
				err = m.Delete()
			}
			return done(err)
		}
	}},
	{name: "Map.Delete", setup: func(s *stage) func() (string, error) {
		m := s.newMap(config(pmem2.GranularityPage), s.source(s.file(pageCache, page)))
		return func() (string, error) { return done(m.Delete()) }
	}},
	{name: "Map.Delete, reservation", setup: deletesReserved},
	{name: "Map.Delete, reservation, mremap fails", given: "(EAGAIN (Op mremap))", setup: deletesReserved},
	{name: "Map.Delete, reservation, no mapping left", given: noMappingLeft, setup: deletesReserved},
	{name: "Map.Delete, reservation, few mappings left", given: fewMappingsLeft, setup: deletesReserved},
	{name: "PrepareDelete, Cancel", setup: func(s *stage) func() (string, error) {
		maps := s.sideBySide(1)
		return func() (string, error) {
			d, err := pmem2.PrepareDelete(maps...)
			if err != nil {
				return "", err
			}
			return done(d.Cancel())
		}
	}},
	{name: "PrepareDelete, Commit", setup: func(s *stage) func() (string, error) {
		return deletesPrepared(s.sideBySide(1))
	}},
	{name: "PrepareDelete, Commit, three maps", setup: deletesThree},
	{name: "PrepareDelete, Commit, mremap fails", given: "(EAGAIN (Op mremap))", setup: deletesThree},
	{name: "PrepareDelete, Commit, no mapping left", given: noMappingLeft, setup: deletesThree},
	{name: "PrepareDelete, Commit, few mappings left", given: fewMappingsLeft, setup: deletesThree},
	{name: "Persist, page cache", setup: func(s *stage) func() (string, error) {
		m := s.newMap(config(pmem2.GranularityPage), s.source(s.file(pageCache, page)))
		return func() (string, error) { return done(m.Persist(m.Bytes())) }
	}},
	{name: "Persist, two maps", setup: func(s *stage) func() (string, error) {
		src, r := s.source(s.file(pageCache, page)), s.reservation(2*page)
		var first *pmem2.Map
		for at := range uint64(2) {
			cfg := config(pmem2.GranularityPage)
			cfg.SetVMReservation(r, at*page)
			if m := s.newMap(cfg, src); first == nil {
				first = m
			}
		}
		return func() (string, error) { return done(first.Persist(platform.Bytes(r.Address(), 2*page))) }
	}},
	{name: "Flush, page cache", setup: func(s *stage) func() (string, error) {
		m := s.newMap(config(pmem2.GranularityPage), s.source(s.file(pageCache, page)))
		return func() (string, error) { return done(m.Flush(m.Bytes())) }
	}},
	{name: "Drain, page cache", setup: func(s *stage) func() (string, error) {
		m := s.newMap(config(pmem2.GranularityPage), s.source(s.file(pageCache, page)))
		return func() (string, error) { return done(m.Drain()) }
	}},
	{name: "Memcpy, page cache", setup: func(s *stage) func() (string, error) {
		m := s.newMap(config(pmem2.GranularityPage), s.source(s.file(pageCache, page)))
		return func() (string, error) { return done(m.Memcpy(m.Bytes(), make([]byte, page), 0)) }
	}},
	{name: "Persist, DAX", setup: func(s *stage) func() (string, error) {
		m := s.newMap(config(pmem2.GranularityPage), s.source(s.file(daxFS, page)))
		return func() (string, error) { return done(m.Persist(m.Bytes())) }
	}},
	{name: "Memset, page cache", setup: func(s *stage) func() (string, error) {
		m := s.newMap(config(pmem2.GranularityPage), s.source(s.file(pageCache, page)))
		return func() (string, error) { return done(m.Memset(m.Bytes(), 1, 0)) }
	}},
	{name: "Memmove, page cache", setup: func(s *stage) func() (string, error) {
		m := s.newMap(config(pmem2.GranularityPage), s.source(s.file(pageCache, page)))
		return func() (string, error) { return done(m.Memmove(m.Bytes(), make([]byte, page), 0)) }
	}},
	{name: "NewVMReservation", setup: func(s *stage) func() (string, error) {
		return func() (string, error) {
			r, err := pmem2.NewVMReservation(0, 4*page, s.on())
			if err == nil {
				s.t.Cleanup(func() { r.Delete() })
			}
			return done(err)
		}
	}},
	{name: "NewVMReservation, trimming fails", given: "(ENOMEM (And (Op munmap) (OnIndex 0)))", setup: func(s *stage) func() (string, error) {
		return func() (string, error) {
			r, err := pmem2.NewVMReservation(0, 4*page, s.on())
			if err == nil {
				s.t.Cleanup(func() { r.Delete() })
			}
			return done(err)
		}
	}},
	{name: "NewVMReservation, address", setup: func(s *stage) func() (string, error) {
		r, err := pmem2.NewVMReservation(0, 4*page, s.on())
		if err != nil {
			s.t.Fatal(err)
		}
		addr := r.Address()
		if err := r.Delete(); err != nil {
			s.t.Fatal(err)
		}
		return func() (string, error) {
			r, err := pmem2.NewVMReservation(addr, 4*page, s.on())
			if err == nil {
				s.t.Cleanup(func() { r.Delete() })
			}
			return done(err)
		}
	}},
	{name: "VMReservation.Delete", setup: func(s *stage) func() (string, error) {
		r := s.reservation(4 * page)
		return func() (string, error) { return done(r.Delete()) }
	}},
	{name: "Extend", setup: func(s *stage) func() (string, error) {
		r := s.reservation(4 * page)
		return func() (string, error) { return done(r.Extend(page)) }
	}},
	{name: "Shrink", setup: func(s *stage) func() (string, error) {
		r := s.reservation(4 * page)
		return func() (string, error) { return done(r.Shrink(0, page)) }
	}},
}
