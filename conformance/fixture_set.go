package conformance

import (
	"fmt"
	"slices"
	"strings"

	"pmemlab/pmem2"
	"pmemlab/pmem2/platform"
	"pmemlab/pmemset"
)

// What cases of libpmemset work with. All that a method of T makes is gone when the
// case has ended: sets before sources, and both before the reservations they use.

const kib = 1 << 10

// Sets is libpmemset. The case ends as not supported if the subject has none.
func (t *T) Sets() SetLibrary {
	sets := t.Lib.Sets()
	if sets == nil {
		t.NotSupportedf("libpmemset: the subject %s has none", t.subject.Name())
	}
	return sets
}

// NewSetConfig is a config as it is made: without a granularity.
func (t *T) NewSetConfig() SetConfig {
	c, err := t.Sets().NewSetConfig()
	t.Must(err, "NewSetConfig()")
	t.Check(c != nil, "NewSetConfig succeeds and returns no config")
	t.deleteAtEnd(c)
	return c
}

// SetConfig is a config that takes any granularity.
func (t *T) SetConfig() SetConfig {
	c := t.NewSetConfig()
	t.Must(c.SetRequiredStoreGranularity(pmem2.GranularityPage), "SetRequiredStoreGranularity(PAGE)")
	return c
}

// SetConfigIn is SetConfig with a reservation.
func (t *T) SetConfigIn(r Reservation) SetConfig {
	c := t.SetConfig()
	t.Must(c.SetReservation(r), "SetReservation()")
	return c
}

// Set is a set of that config, or of one that takes any granularity.
func (t *T) Set(cfg ...SetConfig) Set {
	if len(cfg) == 0 {
		cfg = append(cfg, t.SetConfig())
	}
	s, err := t.Sets().NewSet(cfg[0])
	t.Must(err, "NewSet()")
	t.Check(s != nil, "NewSet succeeds and returns no set")
	t.mu.Lock()
	t.sets = append(t.sets, s)
	t.mu.Unlock()
	t.Cleanup(t.deleteSets)
	return s
}

// NoSet expects NewSet to fail and to return no set.
func (t *T) NoSet(want string, cfg SetConfig, what string) {
	s, err := t.Sets().NewSet(cfg)
	if s != nil {
		t.deleteAtEnd(s)
	}
	t.Expect(want, err, "NewSet(%s)", what)
	t.Check(s == nil, "NewSet fails and returns a set all the same")
}

// deleteSets deletes the sets of the case, the last one first. It is called before
// whatever a set may use goes.
func (t *T) deleteSets() {
	t.mu.Lock()
	sets := t.sets
	t.sets = nil
	t.mu.Unlock()
	for _, s := range slices.Backward(sets) {
		_ = s.Delete()
	}
}

// Coalesce chooses the coalescing of what is mapped from now on.
func (t *T) Coalesce(s Set, c pmemset.Coalescing) {
	t.Must(s.SetContiguousPartCoalescing(c), "SetContiguousPartCoalescing(%d)", int(c))
}

// SetFile is a source of a fresh file of size bytes, and the file's path.
func (t *T) SetFile(size uint64) (path string, src SetSource) {
	path = t.made(t.Env.File(size)).Path()
	return path, t.SetSource(path)
}

// SetSource is a source of the file.
func (t *T) SetSource(path string) SetSource {
	src, err := t.Sets().SourceFromFile(path)
	return t.gotSetSource(src, err, "SourceFromFile(%s)", path)
}

// XSetSource is SetSource with flags.
func (t *T) XSetSource(path string, flags pmemset.SourceFlags) SetSource {
	src, err := t.Sets().XSourceFromFile(path, flags)
	return t.gotSetSource(src, err, "XSourceFromFile(%s, %#x)", path, uint64(flags))
}

// TemporarySetSource is a source of an unnamed file, and the directory that it is in.
func (t *T) TemporarySetSource() (dir Object, src SetSource) {
	dir = t.made(t.Env.Directory())
	src, err := t.Sets().SourceFromTemporary(dir.Path())
	return dir, t.gotSetSource(src, err, "SourceFromTemporary(%s)", dir.Path())
}

// SetSourceOf is a source of one of libpmem2's.
func (t *T) SetSourceOf(own Source) SetSource {
	src, err := t.Sets().SourceFromPMem2(own)
	return t.gotSetSource(src, err, "SourceFromPMem2()")
}

// NoSetSource expects SourceFromFile to fail and to return no source.
func (t *T) NoSetSource(want, path, what string) {
	src, err := t.Sets().SourceFromFile(path)
	t.gotNoSetSource(want, src, err, "SourceFromFile(%s)", what)
}

// NoXSetSource is NoSetSource with flags.
func (t *T) NoXSetSource(want, path string, flags pmemset.SourceFlags, what string) {
	src, err := t.Sets().XSourceFromFile(path, flags)
	t.gotNoSetSource(want, src, err, "XSourceFromFile(%s, %#x)", what, uint64(flags))
}

// gotSetSource expects a call to have succeeded and to have returned a source.
func (t *T) gotSetSource(src SetSource, err error, call string, args ...any) SetSource {
	t.Must(err, call, args...)
	t.Check(src != nil, call+" succeeds and returns no source", args...)
	t.deleteSourceAtEnd(src)
	return src
}

// gotNoSetSource expects a call to have failed and to have returned no source.
func (t *T) gotNoSetSource(want string, src SetSource, err error, call string, args ...any) {
	if src != nil {
		t.deleteSourceAtEnd(src)
	}
	t.Expect(want, err, call, args...)
	t.Check(src == nil, call+" fails and returns a source all the same", args...)
}

func (t *T) deleteSourceAtEnd(src SetSource) {
	t.Cleanup(func() {
		t.deleteSets()
		_ = src.Delete()
	})
}

// FreshPath names a file that isn't there, in a directory that is empty.
func (t *T) FreshPath() string { return t.made(t.Env.Directory()).Path() + "/new" }

// FileAt is the file of that path.
func (t *T) FileAt(path string) Object { return object{machine: t.Machine(), path: path} }

// StatOf is what fstat(2) tells of the file of that path.
func (t *T) StatOf(path string) platform.Stat {
	fd := t.Open(t.FileAt(path), platform.ORdonly)
	st, err := t.Machine().Fstat(fd)
	t.suite(err, "fstat of %s", path)
	t.Close(fd)
	return st
}

// CheckFileSize expects the file of that path to have size bytes.
func (t *T) CheckFileSize(path string, size uint64, when string) {
	got := uint64(t.StatOf(path).Size)
	t.Note("size of the file "+when, "%s", amount(got))
	t.Check(got == size, "%s the file has %s, want %s", when, amount(got), amount(size))
}

// MapConfig is a config for a mapping into set; the set may be nil for Set.Map.
func (t *T) MapConfig(set Set, offset, length uint64) MapConfig {
	c, err := t.Sets().NewMapConfig(set)
	t.mustQuietly(err, "NewMapConfig()")
	t.Check(c != nil, "NewMapConfig succeeds and returns no config")
	t.deleteAtEnd(c)
	t.mustQuietly(c.SetOffset(offset), "SetOffset(%#x)", offset)
	t.mustQuietly(c.SetLength(length), "SetLength(%#x)", length)
	return c
}

// SetMap maps as the generation does. What it returns is the part map that the set has
// there.
func (t *T) SetMap(g Generation, set Set, src SetSource, offset, length uint64) pmemset.PartDescriptor {
	d, err := g.Map(t, set, src, offset, length)
	call := mapCall(g, offset, length)
	t.Must(err, "%s", call)
	m, err := set.PartMapByAddress(d.Addr)
	t.mustQuietly(err, "PartMapByAddress(%#x), where %s has mapped", d.Addr, call)
	there := m.Descriptor()
	m.Drop()
	t.Check(there == d, "%s returns %s, and the set has %s there", call, partText(d), partText(there))
	return d
}

// NoSetMap expects mapping to fail, to return no descriptor and to leave the part maps
// of the set as they were. What it returns names libpmem2's error below, or is "".
func (t *T) NoSetMap(want string, g Generation, set Set, src SetSource, offset, length uint64) (cause string) {
	before := t.PartMaps(set)
	d, err := g.Map(t, set, src, offset, length)
	call := mapCall(g, offset, length)
	t.Expect(want, err, "%s", call)
	t.Check(d == pmemset.PartDescriptor{}, "%s fails and returns the descriptor %s all the same", call, partText(d))
	after := t.PartMaps(set)
	t.Check(slices.Equal(before, after), "%s fails, and of the part maps %s it makes %s", call, partsText(before), partsText(after))
	return t.Sets().Cause(err)
}

func mapCall(g Generation, offset, length uint64) string {
	return fmt.Sprintf("%s(offset %s, length %s)", g.call(), amount(offset), amount(length))
}

// PartMaps are the part maps of a set, one after the other as they come. No reference
// to them is left.
func (t *T) PartMaps(set Set) []pmemset.PartDescriptor {
	const most = 10_000
	var all []pmemset.PartDescriptor
	for m := set.FirstPartMap(); m != nil; {
		all = append(all, m.Descriptor())
		next := set.NextPartMap(m)
		m.Drop()
		m = next
		t.Check(len(all) <= most, "after %d part maps the set has more yet", most)
	}
	return all
}

// CheckParts expects a set to have exactly these part maps, given in any order, and to
// tell them by ascending address.
func (t *T) CheckParts(set Set, want ...pmemset.PartDescriptor) {
	got, want := t.PartMaps(set), slices.Clone(want)
	slices.SortFunc(want, func(a, b pmemset.PartDescriptor) int {
		if a.Addr < b.Addr {
			return -1
		}
		return 1
	})
	t.Note("part maps", "%s", partsText(got))
	t.Check(slices.Equal(got, want), "the part maps are %s, want %s", partsText(got), partsText(want))
}

// partText is a part map in brackets: "[0x7f0000000000 96K]".
func partText(d pmemset.PartDescriptor) string {
	return fmt.Sprintf("[%#x %s]", d.Addr, amount(d.Size))
}

func partsText(all []pmemset.PartDescriptor) string {
	if len(all) == 0 {
		return "none"
	}
	var texts []string
	for _, d := range all {
		texts = append(texts, partText(d))
	}
	return strings.Join(texts, " ")
}

// amount is a number of bytes: "96K", "3M", "100".
func amount(n uint64) string {
	for _, unit := range []struct {
		size uint64
		name string
	}{{gib, "G"}, {mib, "M"}, {kib, "K"}} {
		if n >= unit.size && n%unit.size == 0 {
			return fmt.Sprintf("%d%s", n/unit.size, unit.name)
		}
	}
	return fmt.Sprint(n)
}
