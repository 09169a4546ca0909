package pmemset_test

import (
	"fmt"
	"slices"
	"strings"

	"pmemlab/pmem2"
	"pmemlab/pmem2/platform"
	"pmemlab/pmemset"
)

// sweepGeneration is one of the three ways to map; its name is what the operations
// start with.
type sweepGeneration struct {
	name  string
	grows pmemset.SourceFlags
	slack bool // of reservations that the library makes
	mapAt func(set *pmemset.Set, src *pmemset.Source, offset, length uint64) (pmemset.PartDescriptor, error)
}

var sweepGenerations = []sweepGeneration{
	{"Part.Map", pmemset.SourceFileTruncateIfNeeded, false,
		func(set *pmemset.Set, src *pmemset.Source, offset, length uint64) (d pmemset.PartDescriptor, err error) {
			p, err := pmemset.NewPart(set, src, offset, length)
			if err != nil {
				return d, err
			}
			return p.Map()
		}},
	{"Map", pmemset.SourceFileTruncateIfNeeded, false,
		func(set *pmemset.Set, src *pmemset.Source, offset, length uint64) (d pmemset.PartDescriptor, err error) {
			cfg := pmemset.NewMapConfig(set)
			if err = cfg.SetOffset(offset); err == nil {
				err = cfg.SetLength(length)
			}
			if err != nil {
				return d, err
			}
			return pmemset.Map(src, cfg)
		}},
	{"Set.Map", 0, true,
		func(set *pmemset.Set, src *pmemset.Source, offset, length uint64) (d pmemset.PartDescriptor, err error) {
			cfg := pmemset.NewMapConfig(nil)
			if err = cfg.SetOffset(offset); err == nil {
				err = cfg.SetLength(length)
			}
			if err != nil {
				return d, err
			}
			return set.Map(src, cfg)
		}},
}

// sweepMapping is a situation in which something is mapped.
type sweepMapping struct {
	name   string
	set    func(s *sweepStage) *sweepSet
	source func(s *sweepStage, g sweepGeneration) *pmemset.Source
	offset uint64
	length uint64
	fails  bool
	// afterPage is a part of one page that is mapped before with the same generation.
	afterPage bool
	// blocked says that the addresses behind that part are taken.
	blocked bool
	given   string // faults that are there in any case
}

// sweepNoFallocate is a file system without fallocate.
const sweepNoFallocate = "(EOPNOTSUPP (Op fallocate))"

func (m sweepMapping) operation(g sweepGeneration) sweepOperation {
	return sweepOperation{name: g.name + ", " + m.name, fails: m.fails, given: m.given, setup: func(s *sweepStage) func() (string, error) {
		set := m.set(s)
		src := m.source(s, g)
		if m.afterPage {
			d, err := g.mapAt(set.Set, s.source(s.file(sweepPageCache, "first", sweepPage), 0), 0, sweepPage)
			s.must(err)
			if m.blocked {
				s.block(d.Addr + sweepPage)
			}
		}
		return func() (string, error) {
			before := set.list()
			d, err := g.mapAt(set.Set, src, m.offset, m.length)
			if slices.ContainsFunc(before, func(p pmemset.PartDescriptor) bool { return p.Addr == d.Addr }) {
				return fmt.Sprintf("joined to %d bytes", d.Size), err
			}
			text := fmt.Sprintf("%d bytes", d.Size)
			if set.hook != nil {
				text += fmt.Sprintf(", %d bad blocks", strings.Count(strings.Join(set.events, "\n")+"\n", "BADBLOCK\n"))
			}
			return text, err
		}
	}}
}

// block takes the first page behind the reservation that ends at addr or behind it.
func (s *sweepStage) block(addr uintptr) {
	flags := platform.MapPrivate | platform.MapAnonymous | platform.MapFixedNoreplace
	for ; ; addr += sweepPage {
		if _, err := platform.Host().Mmap(addr, sweepPage, platform.ProtNone, flags, -1, 0); err == nil {
			s.ends = append(s.ends, func() { s.must(platform.Host().Munmap(addr, sweepPage)) })
			return
		}
	}
}

func sweepSet0(c pmemset.Coalescing) func(*sweepStage) *sweepSet {
	return func(s *sweepStage) *sweepSet { return s.set(nil, c) }
}

func sweepSetIn(c pmemset.Coalescing) func(*sweepStage) *sweepSet {
	return func(s *sweepStage) *sweepSet { return s.set(s.reservation(16*sweepPage), c) }
}

// sweepFile is a source of 8 pages that doesn't grow, or whatever flags say.
func sweepFile(s *sweepStage, _ sweepGeneration) *pmemset.Source { return s.pageSource() }

// sweepLong is one that is longer than what a reservation has to spare.
func sweepLong(s *sweepStage, _ sweepGeneration) *pmemset.Source {
	return s.source(s.file(sweepPageCache, "long", 5<<20), 0)
}

func sweepGrowing(s *sweepStage, g sweepGeneration) *pmemset.Source {
	return s.source(s.file(sweepPageCache, "grows", sweepPage), g.grows)
}

func sweepTemp(s *sweepStage, _ sweepGeneration) *pmemset.Source {
	src, err := sweepTemporary(s)()
	s.must(err)
	return s.keep(src)
}

func sweepDev(s *sweepStage, _ sweepGeneration) *pmemset.Source { return s.deviceSource() }
func sweepDAXFile(s *sweepStage, _ sweepGeneration) *pmemset.Source {
	return s.daxSource()
}
func sweepSDSFile(s *sweepStage, _ sweepGeneration) *pmemset.Source { return s.sdsSource() }

func sweepFromPMem2(s *sweepStage, _ sweepGeneration) *pmemset.Source {
	src, err := pmemset.SourceFromPMem2(s.pmem2(s.file(sweepPageCache, "f", 8*sweepPage)))
	s.must(err)
	return s.keep(src)
}

// sweepBad is a source that looks for bad blocks, and has one.
func sweepBad(s *sweepStage, _ sweepGeneration) *pmemset.Source {
	src := s.source(s.badFile(), 0)
	s.must(src.SetBadBlockDetection(true))
	return src
}

// sweepHealing is a set whose callback makes the bad blocks go, by means that don't
// fail.
func sweepHealing(s *sweepStage) *sweepSet {
	set := s.set(nil, pmemset.CoalescingNone)
	set.hook = func(e *pmemset.Event) {
		if e.Type == pmemset.EventBadBlock {
			s.heal()
		}
	}
	s.undo = func() {
		if bad, err := s.systems[true].BadBlocks("bad"); err != nil || len(bad) == 0 {
			s.must(s.systems[true].AddBadBlock("bad", sweepPage, 512))
		}
	}
	return set
}

// sweepMaps are the situations that every generation knows.
func sweepMaps() (all []sweepOperation) {
	const none, full, opportunistic = pmemset.CoalescingNone, pmemset.CoalescingFull, pmemset.CoalescingOpportunistic
	for _, g := range sweepGenerations {
		for _, m := range []sweepMapping{
			{name: "fresh", set: sweepSet0(none), source: sweepFile, length: 2 * sweepPage},
			{name: "all of it", set: sweepSet0(none), source: sweepFile},
			{name: "of pmem2", set: sweepSet0(none), source: sweepFromPMem2, offset: sweepPage, length: 2 * sweepPage},
			{name: "coalescing", set: sweepSet0(full), source: sweepFile, length: 2 * sweepPage, afterPage: true},
			{name: "coalescing, much", set: sweepSet0(full), source: sweepLong, length: 5 << 20, afterPage: true},
			{name: "opportunistic", set: sweepSet0(opportunistic), source: sweepFile, length: 2 * sweepPage, afterPage: true},
			{name: "opportunistic, no room", set: sweepSet0(opportunistic), source: sweepLong, length: 5 << 20, afterPage: true, blocked: true},
			{name: "coalescing, no room", set: sweepSet0(full), source: sweepLong, length: 5 << 20, afterPage: true, blocked: true, fails: true},
			{name: "configured reservation", set: sweepSetIn(none), source: sweepFile, length: 2 * sweepPage},
			{name: "configured reservation, coalescing", set: sweepSetIn(full), source: sweepFile, length: 2 * sweepPage, afterPage: true},
			{name: "growing", set: sweepSet0(none), source: sweepGrowing, offset: sweepPage, length: 2 * sweepPage},
			{name: "growing, by ftruncate", set: sweepSet0(none), source: sweepGrowing, offset: sweepPage, length: 2 * sweepPage, given: sweepNoFallocate},
			{name: "growing, coalescing", set: sweepSet0(full), source: sweepGrowing, length: 4 * sweepPage, afterPage: true},
			{name: "temporary", set: sweepSet0(none), source: sweepTemp, length: 2 * sweepPage},
			{name: "device DAX", set: sweepSet0(none), source: sweepDev, offset: sweepDevPage, length: sweepDevPage},
			{name: "DAX", set: sweepSet0(none), source: sweepDAXFile, length: 2 * sweepPage},
			{name: "SDS", set: sweepSet0(none), source: sweepSDSFile, length: 2 * sweepPage},
			{name: "bad block", set: sweepHealing, source: sweepBad, length: 2 * sweepPage},
			{name: "mismatch", set: sweepSet0(full), source: sweepDAXFile, length: 2 * sweepPage, afterPage: true, fails: true},
		} {
			all = append(all, m.operation(g))
		}
	}
	return all
}

// sweepMapsOnce are situations that don't depend on the generation.
var sweepMapsOnce = []sweepOperation{
	{name: "Set.Map, mismatch, growing", fails: true, setup: sweepMismatchGrowing},
	{name: "Set.Map, mismatch, growing, by ftruncate", fails: true, given: sweepNoFallocate, setup: sweepMismatchGrowing},
	{name: "Set.Map, mismatch, configured reservation", fails: true, setup: func(s *sweepStage) func() (string, error) {
		set := s.set(s.reservation(16*sweepPage), pmemset.CoalescingNone)
		s.mapPage(set, s.pageSource())
		src := s.daxSource()
		return func() (string, error) { _, err := set.Map(src, nil); return sweepDone(err) }
	}},
	{name: "Set.Map, configured reservation, opportunistic, taken", setup: func(s *sweepStage) func() (string, error) {
		r := s.reservation(16 * sweepPage)
		set, src := s.set(r, pmemset.CoalescingOpportunistic), s.pageSource()
		s.mapPage(set, src)
		s.userMap(r, 2*sweepPage)
		return func() (string, error) {
			d, err := set.Map(src, nil)
			return fmt.Sprintf("%d bytes at %d", d.Size, d.Addr-r.Address()), err
		}
	}},
	{name: "Set.Map, coalescing, device DAX", setup: func(s *sweepStage) func() (string, error) {
		set, src := s.set(nil, pmemset.CoalescingFull), s.deviceSource()
		cfg := pmemset.NewMapConfig(nil)
		s.must(cfg.SetLength(sweepDevPage))
		_, err := set.Map(src, cfg)
		s.must(err)
		return func() (string, error) {
			d, err := set.Map(src, nil)
			return fmt.Sprintf("joined to %d bytes", d.Size), err
		}
	}},
	{name: "Set.Map, SDS, coalescing", setup: func(s *sweepStage) func() (string, error) {
		set, src := s.set(nil, pmemset.CoalescingFull), s.sdsSource()
		s.mapPage(set, src)
		return func() (string, error) {
			d, err := set.Map(src, nil)
			return fmt.Sprintf("joined to %d bytes", d.Size), err
		}
	}},
	{name: "Part.Map, made before", setup: func(s *sweepStage) func() (string, error) {
		set := s.set(nil, pmemset.CoalescingNone)
		p, err := pmemset.NewPart(set.Set, s.pageSource(), 0, sweepPage)
		s.must(err)
		return func() (string, error) {
			d, err := p.Map() // a failure doesn't consume it
			return fmt.Sprintf("%d bytes", d.Size), err
		}
	}},
	{name: "NewPart", setup: func(s *sweepStage) func() (string, error) {
		set, src := s.set(nil, pmemset.CoalescingNone), s.pageSource()
		return func() (string, error) { return sweepNewPart(set, src) }
	}},
	{name: "NewPart, of pmem2", setup: func(s *sweepStage) func() (string, error) {
		set, src := s.set(nil, pmemset.CoalescingNone), sweepFromPMem2(s, sweepGeneration{})
		return func() (string, error) { return sweepNewPart(set, src) }
	}},
}

// sweepMismatchGrowing is a call that makes a file grow, and cuts it back.
func sweepMismatchGrowing(s *sweepStage) func() (string, error) {
	set := s.set(nil, pmemset.CoalescingNone)
	s.mapPage(set, s.pageSource())
	src := s.source(s.file(sweepDAX, "grows", sweepPage), 0)
	cfg := pmemset.NewMapConfig(nil)
	s.must(cfg.SetLength(2 * sweepPage))
	return func() (string, error) { _, err := set.Map(src, cfg); return sweepDone(err) }
}

func sweepNewPart(set *sweepSet, src *pmemset.Source) (string, error) {
	p, err := pmemset.NewPart(set.Set, src, 0, sweepPage)
	if err == nil {
		err = p.Delete()
	}
	return sweepDone(err)
}

// userMap is a map of the program's own in a reservation.
func (s *sweepStage) userMap(r *pmem2.VMReservation, offset uint64) {
	s.t.Helper()
	cfg := pmem2.NewConfig()
	s.must(cfg.SetRequiredStoreGranularity(pmem2.GranularityPage))
	s.must(cfg.SetVMReservation(r, offset))
	m, err := pmem2.NewMap(cfg, s.pmem2(s.file(sweepPageCache, "user", sweepPage)))
	s.must(err)
	s.ends = append(s.ends, func() { s.must(m.Delete()) })
}
