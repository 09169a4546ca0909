package pmemset_test

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"strings"

	"pmemlab/pmem2"
	"pmemlab/pmem2/platform"
	"pmemlab/pmemset"
)

// sweepAsksNothing are the operations that make no platform call.
var sweepAsksNothing = []string{
	"SourceFromPMem2", "Source.Delete, of pmem2", "SetSDS", "SetBadBlockDetection",
	"Drain", "Persist, device DAX", "Memcpy, device DAX", "NewPart, of pmem2",
}

// sweepOperations: every exported function that can ask the platform anything, in the
// situations in which it asks something else. TestSweepIsComplete sees to the
// functions.
func sweepOperations() []sweepOperation {
	return slices.Concat(sweepSources, sweepMaps(), sweepMapsOnce, sweepRemovals, sweepRemovalsAtLimit(), sweepMemory)
}

func sweepDone(err error) (string, error) { return "done", err }

// sweepMakes is a call that makes a source, which goes at the end.
func sweepMakes(make func(s *sweepStage) func() (*pmemset.Source, error)) func(*sweepStage) func() (string, error) {
	return func(s *sweepStage) func() (string, error) {
		call := make(s)
		return func() (string, error) {
			src, err := call()
			if err == nil {
				s.keep(src)
			} else if src != nil {
				s.t.Errorf("%v, and a source", err)
			}
			return sweepDone(err)
		}
	}
}

func sweepOpens(flags pmemset.SourceFlags, there bool) func(*sweepStage) func() (string, error) {
	return sweepMakes(func(s *sweepStage) func() (*pmemset.Source, error) {
		path := s.path(sweepPageCache, "f")
		if there {
			s.file(sweepPageCache, "f", 3*sweepPage)
		}
		return func() (*pmemset.Source, error) { return pmemset.XSourceFromFile(path, flags, s.on()) }
	})
}

func sweepTemporary(s *sweepStage) func() (*pmemset.Source, error) {
	path := s.file(sweepPageCache, "beside", sweepPage)
	dir := path[:strings.LastIndex(path, "/")]
	return func() (*pmemset.Source, error) { return pmemset.SourceFromTemporary(dir, s.on()) }
}

// pmem2 is a source of pmem2 that goes at the end.
func (s *sweepStage) pmem2(path string) *pmem2.Source {
	s.t.Helper()
	fd, err := s.Open(path, platform.ORdwr, 0)
	s.must(err)
	src, err := pmem2.SourceFromFD(fd, pmem2.On(s))
	s.must(err)
	s.ends = append(s.ends, func() { s.must(src.Delete()); s.must(s.Close(fd)) })
	return src
}

// sweepAsks is a call on a source of a file or of a device DAX.
func sweepAsks(device bool, call func(src *pmemset.Source) (any, error)) func(*sweepStage) func() (string, error) {
	return func(s *sweepStage) func() (string, error) {
		path := ""
		if device {
			path = s.device()
		} else {
			path = s.file(sweepPageCache, "f", 3*sweepPage)
		}
		src := s.source(path, 0)
		return func() (string, error) {
			v, err := call(src)
			return fmt.Sprint(v), err
		}
	}
}

func sweepPread(src *pmemset.Source) (any, error) {
	return "done", src.PreadMCSafe(make([]byte, 100), 50)
}

func sweepPwrite(src *pmemset.Source) (any, error) {
	// What is there already: an error in the midst isn't to be seen in the file.
	b := make([]byte, 100)
	return "done", src.PwriteMCSafe(b, 2*sweepPage)
}

func sweepAlignment(src *pmemset.Source) (any, error) { return src.Alignment() }

// heal makes the file of badFile whole, as a program does that writes the page.
func (s *sweepStage) heal() {
	s.t.Helper()
	fd, err := s.m.Open(s.path(sweepDAX, "bad"), platform.ORdwr, 0)
	s.must(err)
	_, err = s.m.Pwrite(fd, bytes.Repeat([]byte{7}, sweepPage), sweepPage)
	s.must(err)
	s.must(s.m.Close(fd))
}

// badFile is a file on a DAX file system with a bad block in its second page.
func (s *sweepStage) badFile() string {
	path := s.written("bad", 4)
	s.must(s.systems[true].AddBadBlock("bad", sweepPage, 512))
	s.ends = append(s.ends, s.heal) // else it stays bad when the file has gone
	return path
}

// written is a file on a DAX file system whose pages are all allocated.
func (s *sweepStage) written(name string, pages uint64) string {
	s.t.Helper()
	path := s.file(sweepDAX, name, pages*sweepPage)
	fd, err := s.m.Open(path, platform.ORdwr, 0)
	s.must(err)
	_, err = s.m.Pwrite(fd, bytes.Repeat([]byte{7}, int(pages*sweepPage)), 0)
	s.must(err)
	s.must(s.m.Close(fd))
	return path
}

var sweepSources = []sweepOperation{
	{name: "SourceFromFile", setup: sweepMakes(func(s *sweepStage) func() (*pmemset.Source, error) {
		path := s.file(sweepPageCache, "f", sweepPage)
		return func() (*pmemset.Source, error) { return pmemset.SourceFromFile(path, s.on()) }
	})},
	{name: "SourceFromFile, device DAX", setup: sweepMakes(func(s *sweepStage) func() (*pmemset.Source, error) {
		path := s.device()
		return func() (*pmemset.Source, error) { return pmemset.SourceFromFile(path, s.on()) }
	})},
	{name: "XSourceFromFile, do not grow", setup: sweepOpens(pmemset.SourceFileDoNotGrow, true)},
	{name: "XSourceFromFile, create if needed, there", setup: sweepOpens(pmemset.SourceFileCreateIfNeeded, true)},
	{name: "XSourceFromFile, create if needed, not there", setup: sweepOpens(pmemset.SourceFileCreateIfNeeded, false)},
	{name: "XSourceFromFile, create always, there", setup: sweepOpens(pmemset.SourceFileCreateAlways, true)},
	{name: "XSourceFromFile, create always, not there", setup: sweepOpens(pmemset.CreateAlwaysMode(0o600), false)},
	{name: "SourceFromTemporary", setup: sweepMakes(sweepTemporary)},
	{name: "SourceFromTemporary, with a name", given: "(EOPNOTSUPP (Flags O_TMPFILE))", setup: sweepMakes(sweepTemporary)},
	{name: "SourceFromPMem2", setup: sweepMakes(func(s *sweepStage) func() (*pmemset.Source, error) {
		src := s.pmem2(s.file(sweepPageCache, "f", sweepPage))
		return func() (*pmemset.Source, error) { return pmemset.SourceFromPMem2(src) }
	})},
	{name: "Source.Delete", setup: func(s *sweepStage) func() (string, error) {
		src := s.source(s.file(sweepPageCache, "f", sweepPage), 0)
		return func() (string, error) { return sweepDone(src.Delete()) }
	}},
	{name: "Source.Delete, of pmem2", setup: func(s *sweepStage) func() (string, error) {
		src, err := pmemset.SourceFromPMem2(s.pmem2(s.file(sweepPageCache, "f", sweepPage)))
		s.must(err)
		return func() (string, error) { return sweepDone(src.Delete()) }
	}},
	{name: "Alignment, file", setup: sweepAsks(false, sweepAlignment)},
	{name: "Alignment, device DAX", setup: sweepAsks(true, sweepAlignment)},
	{name: "PreadMCSafe, file", setup: sweepAsks(false, sweepPread)},
	{name: "PreadMCSafe, device DAX", setup: sweepAsks(true, sweepPread)},
	{name: "PwriteMCSafe, file", setup: sweepAsks(false, sweepPwrite)},
	{name: "PwriteMCSafe, device DAX", setup: sweepAsks(true, sweepPwrite)},
	{name: "ClearBadBlock, file", setup: func(s *sweepStage) func() (string, error) {
		src := s.source(s.badFile(), 0)
		return func() (string, error) {
			return sweepDone(src.ClearBadBlock(pmem2.BadBlock{Offset: sweepPage, Length: sweepPage}))
		}
	}},
	{name: "ClearBadBlock, device DAX", setup: sweepAsks(true, func(src *pmemset.Source) (any, error) {
		return "done", src.ClearBadBlock(pmem2.BadBlock{Offset: sweepDevPage, Length: 512})
	})},
	{name: "SetBadBlockDetection", setup: sweepAsks(false, func(src *pmemset.Source) (any, error) {
		return "done", src.SetBadBlockDetection(true)
	})},
	{name: "SetSDS", setup: func(s *sweepStage) func() (string, error) {
		src := s.source(s.file(sweepDAX, "f", sweepPage), 0)
		return func() (string, error) { return sweepDone(src.SetSDS(pmemset.SDS{}, nil)) }
	}},
}

// twoParts is a set with two part maps, the lower one of three parts, of one page
// each; from is what the parts are of.
func (s *sweepStage) twoParts(r *pmem2.VMReservation, from *pmemset.Source) *sweepSet {
	s.t.Helper()
	set := s.set(r, pmemset.CoalescingFull)
	for range 3 {
		s.mapPage(set, from)
	}
	s.must(set.SetContiguousPartCoalescing(pmemset.CoalescingNone))
	s.mapPage(set, from)
	return set
}

// mapPage maps the first page of a source.
func (s *sweepStage) mapPage(set *sweepSet, from *pmemset.Source) pmemset.PartDescriptor {
	s.t.Helper()
	cfg := pmemset.NewMapConfig(nil)
	s.must(cfg.SetLength(sweepPage))
	d, err := set.Map(from, cfg)
	s.must(err)
	return d
}

func (s *sweepStage) pageSource() *pmemset.Source {
	return s.source(s.file(sweepPageCache, "f", 8*sweepPage), 0)
}

// sdsSource is a source with shutdown data, which has never been used.
func (s *sweepStage) sdsSource() *pmemset.Source {
	src := s.source(s.written("sds", 8), 0)
	s.must(src.SetSDS(pmemset.SDS{}, new(pmemset.PartState)))
	return src
}

// sweepRemoves is a call of RemovePartMap for the part map that holds a page of the
// coalesced one, which is the higher or the lower one, or for the other.
func sweepRemoves(coalesced bool, make func(s *sweepStage) *sweepSet) func(*sweepStage) func() (string, error) {
	return func(s *sweepStage) func() (string, error) {
		set := make(s)
		return func() (string, error) {
			for _, d := range set.list() {
				if (d.Size > sweepPage) == coalesced {
					p, err := set.PartMapByAddress(d.Addr)
					s.must(err)
					if err := set.RemovePartMap(p); err != nil {
						p.Drop()
						return "", err
					}
					return set.sizes(), nil
				}
			}
			return "no such part map", nil
		}
	}
}

// sizes are those of the part maps, the smallest first.
func (set *sweepSet) sizes() string {
	var pages []uint64
	for _, d := range set.list() {
		pages = append(pages, d.Size/sweepPage)
	}
	slices.Sort(pages)
	return fmt.Sprint("part maps of pages ", pages)
}

// sweepRange is a call of RemoveRange for pages of the coalesced part map.
func sweepRange(from, pages uint64, make func(s *sweepStage) *sweepSet) func(*sweepStage) func() (string, error) {
	return func(s *sweepStage) func() (string, error) {
		set := make(s)
		list := set.list()
		i := slices.IndexFunc(list, func(d pmemset.PartDescriptor) bool { return d.Size > sweepPage })
		at := list[i].Addr + uintptr(from*sweepPage)
		return func() (string, error) {
			err := set.RemoveRange(at, pages*sweepPage)
			return set.sizes(), err
		}
	}
}

func sweepOwn(s *sweepStage) *sweepSet { return s.twoParts(nil, s.pageSource()) }
func sweepConfigured(s *sweepStage) *sweepSet {
	return s.twoParts(s.reservation(16*sweepPage), s.pageSource())
}
func sweepWithSDS(s *sweepStage) *sweepSet { return s.twoParts(nil, s.sdsSource()) }

// sweepQuiet is a set whose last part came from a Part.
func sweepQuiet(s *sweepStage) *sweepSet {
	set, src := sweepOwn(s), s.source(s.file(sweepPageCache, "g", sweepPage), 0)
	s.must(set.SetContiguousPartCoalescing(pmemset.CoalescingFull))
	p, err := pmemset.NewPart(set.Set, src, 0, sweepPage)
	s.must(err)
	_, err = p.Map()
	s.must(err)
	return set
}

func sweepDeletes(make func(s *sweepStage) *sweepSet) func(*sweepStage) func() (string, error) {
	return func(s *sweepStage) func() (string, error) {
		set := make(s)
		return func() (string, error) { return sweepDone(set.Delete()) }
	}
}

func sweepWhole(s *sweepStage) func() (string, error) {
	set := sweepOwn(s)
	return func() (string, error) {
		err := set.RemoveRange(1, 1<<63)
		return set.sizes(), err
	}
}

// sweepLimits are processes that can't have a mapping more: what would be one is refused,
// what takes the place of others isn't. With a few left mremap, which may need some for a
// moment, is refused all the same.
var sweepLimits = map[string]string{
	"no mapping left":   "(ENOMEM (Or (Op mremap) (And (Op mmap) (Not (Flags MAP_FIXED)) (Not (Flags MAP_FIXED_NOREPLACE)))))",
	"few mappings left": "(ENOMEM (Op mremap))",
}

// sweepRemovalsAtLimit: what makes room can't need any.
func sweepRemovalsAtLimit() (all []sweepOperation) {
	for _, limit := range slices.Sorted(maps.Keys(sweepLimits)) {
		for _, op := range []sweepOperation{
			{name: "RemovePartMap", setup: sweepRemoves(true, sweepOwn)},
			{name: "RemoveRange, whole", setup: sweepRange(0, 3, sweepOwn)},
			{name: "RemoveRange, head", untold: true, setup: sweepRange(0, 1, sweepOwn)},
			{name: "RemoveRange, middle", untold: true, setup: sweepRange(1, 1, sweepOwn)},
			{name: "RemoveRange, tail", untold: true, setup: sweepRange(1, 2, sweepOwn)},
			{name: "Set.Delete", untold: true, mute: true, setup: sweepDeletes(sweepOwn)},
		} {
			op.name += ", " + limit
			op.given = sweepLimits[limit]
			all = append(all, op)
		}
	}
	return all
}

var sweepRemovals = []sweepOperation{
	{name: "RemovePartMap", setup: sweepRemoves(false, sweepOwn)},
	{name: "RemovePartMap, coalesced", setup: sweepRemoves(true, sweepOwn)},
	{name: "RemovePartMap, configured reservation", setup: sweepRemoves(true, sweepConfigured)},
	{name: "RemovePartMap, SDS", setup: sweepRemoves(true, sweepWithSDS)},
	{name: "RemovePartMap, of a Part", untold: true, setup: sweepRemoves(true, sweepQuiet)},
	{name: "RemovePartMap, the only one", setup: sweepRemoves(false, func(s *sweepStage) *sweepSet {
		set := s.set(nil, pmemset.CoalescingNone)
		s.mapPage(set, s.pageSource())
		return set
	})},
	{name: "RemoveRange, whole", setup: sweepRange(0, 3, sweepOwn)},
	{name: "RemoveRange, head", untold: true, setup: sweepRange(0, 1, sweepOwn)},
	{name: "RemoveRange, tail", untold: true, setup: sweepRange(1, 2, sweepOwn)},
	{name: "RemoveRange, middle", untold: true, setup: sweepRange(1, 1, sweepOwn)},
	{name: "RemoveRange, middle, configured reservation", untold: true, setup: sweepRange(1, 1, sweepConfigured)},
	{name: "RemoveRange, tail, SDS", untold: true, setup: sweepRange(1, 2, sweepWithSDS)},
	{name: "RemoveRange, two part maps", partial: true, setup: sweepWhole},
	{name: "Set.Delete", untold: true, mute: true, setup: sweepDeletes(sweepOwn)},
	{name: "Set.Delete, configured reservation", untold: true, mute: true, setup: sweepDeletes(sweepConfigured)},
	{name: "Set.Delete, SDS", untold: true, mute: true, setup: sweepDeletes(sweepWithSDS)},
}

// sweepWorks is a call on the memory of the coalesced part map.
func sweepWorks(from func(s *sweepStage) *pmemset.Source, work func(set *pmemset.Set, b []byte) error) func(*sweepStage) func() (string, error) {
	return func(s *sweepStage) func() (string, error) {
		src := from(s)
		size, err := src.Alignment()
		s.must(err)
		set := s.set(nil, pmemset.CoalescingFull)
		var d pmemset.PartDescriptor
		for range 2 {
			cfg := pmemset.NewMapConfig(nil)
			s.must(cfg.SetLength(size))
			d, err = set.Map(src, cfg)
			s.must(err)
		}
		b := d.Bytes()[size-sweepPage : size+sweepPage]
		return func() (string, error) { return sweepDone(work(set.Set, b)) }
	}
}

func (s *sweepStage) deviceSource() *pmemset.Source { return s.source(s.device(), 0) }
func (s *sweepStage) daxSource() *pmemset.Source {
	return s.source(s.file(sweepDAX, "f", 8*sweepPage), 0)
}

var (
	sweepPersist   = (*pmemset.Set).Persist
	sweepDeepFlush = (*pmemset.Set).DeepFlush
	sweepMemcpy    = func(set *pmemset.Set, b []byte) error { return set.Memcpy(b, bytes.Clone(b), 0) }
	sweepMemory    = []sweepOperation{
		{name: "Persist", setup: sweepWorks((*sweepStage).pageSource, sweepPersist)},
		{name: "Persist, device DAX", setup: sweepWorks((*sweepStage).deviceSource, sweepPersist)},
		{name: "Flush", setup: sweepWorks((*sweepStage).pageSource, (*pmemset.Set).Flush)},
		{name: "Drain", setup: sweepWorks((*sweepStage).pageSource, func(set *pmemset.Set, _ []byte) error { return set.Drain() })},
		{name: "DeepFlush", setup: sweepWorks((*sweepStage).pageSource, sweepDeepFlush)},
		{name: "DeepFlush, DAX", setup: sweepWorks((*sweepStage).daxSource, sweepDeepFlush)},
		{name: "DeepFlush, device DAX", setup: sweepWorks((*sweepStage).deviceSource, sweepDeepFlush)},
		{name: "Memcpy", setup: sweepWorks((*sweepStage).pageSource, sweepMemcpy)},
		{name: "Memcpy, device DAX", setup: sweepWorks((*sweepStage).deviceSource, sweepMemcpy)},
		{name: "Memmove", setup: sweepWorks((*sweepStage).pageSource, func(set *pmemset.Set, b []byte) error {
			return set.Memmove(b, bytes.Clone(b), 0)
		})},
		{name: "Memset", setup: sweepWorks((*sweepStage).pageSource, func(set *pmemset.Set, b []byte) error {
			return set.Memset(b[64:sweepPage], 0, 0) // where zeroes are
		})},
	}
)
