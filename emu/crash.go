package emu

import (
	"cmp"
	"errors"
	"fmt"
	"iter"
	"math/bits"
	"math/rand/v2"
	"slices"

	"pmemlab/emu/persist"
	"pmemlab/emu/trace"
)

// CrashConfig says which of the states that a power failure could leave [Machine.Crash]
// returns. The zero value is exactly what was durable for certain.
type CrashConfig struct {
	// Seed picks one of all states at random, the same for the same seed and history; 0
	// is what was durable for certain.
	Seed uint64
	// Possible lets Seed pick from those too that need an order of stores which nobody saw.
	Possible bool
	// UnsafeShutdown are DIMMs whose flush on power failure fails, by their paths in sysfs
	// ([Device.DIMMPaths]): their count of dirty shutdowns rises, and what lies on them
	// and was written since the last deep flush of its region is as before.
	UnsafeShutdown []string
	// Poison makes bad blocks of what is lost on those DIMMs.
	Poison bool
}

// Crash is a power failure: it returns the machine as it boots again, with what was on the
// media; they share nothing. What was open and mapped, and every tmpfs, is gone. m goes
// on as if nothing had happened, so that many failures of one moment can be looked at.
//
// The zero config is what was durable for certain. A power failure that the hardware
// survives leaves the counts of dirty shutdowns alone; with UnsafeShutdown it didn't.
//
// The error is that of the memory for the new machine, says which path is no DIMM's, or
// wraps ENODEV after Shutdown.
func (m *Machine) Crash(cfg CrashConfig) (*Machine, error) {
	s, err := m.snapshot(cfg.Possible)
	if err != nil {
		return nil, err
	}
	img := s.durable()
	if cfg.Seed != 0 {
		img = s.pick(rand.New(rand.NewPCG(cfg.Seed, 0)))
	}
	if len(cfg.UnsafeShutdown) > 0 {
		if err := img.fail(cfg); err != nil {
			return nil, err
		}
	}
	return img.Machine()
}

// CrashOptions says which states [CrashStates.All] goes through.
type CrashOptions struct {
	// Possible adds the states that need an order of stores which nobody saw to the
	// proven ones: see [persist.Memory.Possible].
	Possible bool
	// Max bounds the states; 0 is 65,536. If there are more, what the file systems can say
	// gets even shares of it; in each All goes through those with one line that isn't at its
	// newest, with two, and so on, as far as they are at most half of the share, and
	// through a sample of all of them.
	Max uint64
	// Seed is that of the sample.
	Seed uint64
}

// CrashStates are the states that a power failure at one moment could leave. It doesn't
// change when the machine does, and holds a copy of what the machine's memory holds.
// Its methods aren't safe for concurrent use, but for Count and Complete.
type CrashStates struct {
	opts     CrashOptions
	versions []*crashVersion // the newest of the file systems' first
	certain  *crashVersion   // names and content that are durable for certain
	lost     bool            // versions of file systems were forgotten, or mixes of them left out
	trace    func() *trace.Log
}

// crashVersion are the states with the same names and sizes of files.
type crashVersion struct {
	boot   *blueprint
	index  blueprintIndex
	pages  map[int]map[uint64]*mediaPage // durable for certain, by object and page
	images *persist.Images
	where  func(off uint64) (object int, at uint64) // of the cells
	stage  *stage
}

// CrashStates returns the states that a power failure now could leave. Two of them differ
// in some byte, name or size. The caller closes it.
//
// # Proven and possible
//
// What a look can't know isn't guessed. Proven states follow from an order that a flush, a
// fence, a look, the machine's own copy or exact mode has seen; possible ones need an
// order that nobody saw.
//
//	seen                               proven                                 possible
//	words of a line, changed between   all of them or none                    any of them
//	two looks
//	two lines                          in any mix                             in any mix
//	a store of the machine's copy,     any of its words; stores to one line   any word at any
//	or of exact mode                   in their order                         of its values
//	eADR, changed between two looks    as the looks found it                  any mix
//	non-temporal stores                any word, until the fence              the same
//
// The machine's order is the one in which things were done: a store is visible to others at
// once. States that need a processor's store buffer to hold one back while the same goroutine goes
// on to flush another line, or to store in a non-temporal way, aren't among them.
//
// The error wraps ENODEV after Shutdown.
func (m *Machine) CrashStates(o CrashOptions) (*CrashStates, error) {
	s, err := m.snapshot(o.Possible)
	if err != nil {
		return nil, err
	}
	s.opts = o
	if s.opts.Max == 0 {
		s.opts.Max = 1 << 16
	}
	return s, nil
}

// snapshot looks at all memory and returns what could be left of it.
func (m *Machine) snapshot(possible bool) (*CrashStates, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.down {
		return nil, errDown
	}
	m.look(nil, everything)
	if !possible { // no operation is under way
		m.mem.lines.Settle()
	}
	return m.snapshotSeen(possible)
}

// snapshotSeen is snapshot without a look. mu must be held.
func (m *Machine) snapshotSeen(possible bool) (*CrashStates, error) {
	d := m.mem
	images := d.images(possible)
	boot, err := m.blueprint()
	if err != nil {
		return nil, err
	}
	last := d.lastSeq + 2
	s := &CrashStates{trace: func() *trace.Log { return m.traceUpTo(last) }}
	places := d.media.places()
	now := remains{map[int]map[uint64]*mediaPage{}, images}
	for _, sp := range d.media.spans {
		if sp == nil {
			continue
		}
		if now.pages[sp.obj.number] == nil {
			now.pages[sp.obj.number] = map[uint64]*mediaPage{}
		}
		for i, page := range sp.pages {
			now.pages[sp.obj.number][sp.off/pageSize+i] = page.copy(sp)
		}
	}
	s.add(boot, now, places)
	// Each file system can be at each of its versions, whatever the others are at. Of all
	// the mixes there are those in which one goes back, and that in which all go back to their oldest.
	oldest, left := boot, now
	mixes, wentBack := uint64(1), 0
	for i := range boot.FileSystems {
		at := slices.IndexFunc(m.mounts, func(fs *FileSystem) bool { return fs.mount == boot.FileSystems[i].Mount })
		fs := m.mounts[at]
		s.lost = s.lost || fs.versionsLost
		names, r, had := &boot.FileSystems[i], now, len(s.versions)
		for _, v := range slices.Backward(fs.versions) {
			names = v.before(names)
			for j := range v.lost {
				l := &v.lost[len(v.lost)-1-j]
				r, left = r.before(l, places, possible), left.before(l, places, possible)
			}
			s.add(boot.withNames(i, names), r, places)
		}
		oldest = oldest.withNames(i, names)
		if n := uint64(len(s.versions) - had); n > 0 {
			mixes = min(mixes*(n+1), 1<<32)
			wentBack++
		}
	}
	if wentBack > 1 {
		s.add(oldest, left, places)
	}
	s.certain = &crashVersion{boot: oldest, index: oldest.index(), pages: left.pages}
	s.lost = s.lost || mixes > uint64(len(s.versions))
	return s, nil
}

// add adds the states with the names of boot, if they aren't there yet.
func (s *CrashStates) add(boot *blueprint, r remains, places *spanPlaces) {
	index := boot.index()
	v := &crashVersion{boot: boot, index: index, pages: r.pages, where: places.where}
	v.images = index.trim(r.images, places.where)
	if !slices.ContainsFunc(s.versions, v.same) {
		s.versions = append(s.versions, v)
	}
}

// images are those that a power failure now could leave, or amid the last operation.
func (d *durability) images(possible bool) *persist.Images {
	if possible {
		return persist.Join(d.lines.Possible(), d.sectors.Possible())
	}
	return persist.Join(d.lines.Proven(), d.sectors.Proven())
}

// copy is the page with what a failed flush on power failure would leave, if that's known.
func (p *mediaPage) copy(sp *span) *mediaPage {
	c := &mediaPage{data: p.data}
	if sp.epoch != nil && p.epoch == *sp.epoch && p.deepLines != 0 {
		deep := *p.deep
		c.deep, c.deepLines = &deep, p.deepLines
	}
	return c
}

// Count is how many states there are, or [math.MaxUint64] if it's that or more.
func (s *CrashStates) Count() uint64 {
	var sum uint64
	for _, v := range s.versions {
		n := v.images.Count()
		if sum += n; sum < n {
			return ^uint64(0)
		}
	}
	return sum
}

// Complete says that Count counts every state. A line can have too many contents, see
// [persist.Images.Complete], and a file system too many versions; of what several file
// systems said before there are too many mixes.
func (s *CrashStates) Complete() bool {
	return !s.lost && !slices.ContainsFunc(s.versions, func(v *crashVersion) bool { return !v.images.Complete() })
}

// Close frees what All holds. The states can't be used any more.
func (s *CrashStates) Close() error {
	var errs []error
	for _, v := range s.versions {
		if v.stage != nil {
			errs = append(errs, v.stage.close())
			v.stage = nil
		}
	}
	return errors.Join(errs...)
}

// All goes through the states, each once, those with the fewest lines that aren't at their
// newest content first; see [CrashOptions.Max]. A state is good until the next; the
// error is that of the memory for them, and ends it.
func (s *CrashStates) All() iter.Seq2[*Image, error] {
	return func(yield func(*Image, error) bool) {
		shares := s.shares(s.opts.Max)
		for i, v := range s.versions {
			if shares[i] == 0 {
				continue
			}
			if v.stage == nil {
				var err error
				if v.stage, err = newStage(v); err != nil {
					yield(nil, err)
					return
				}
			}
			img := &Image{states: s, version: v, stage: v.stage}
			more := true
			v.all(shares[i], s.opts.Seed, func(choices []choice) bool {
				img.choices = choices
				more = yield(img, nil)
				return more
			})
			if !more {
				return
			}
		}
	}
}

// shares divides limit states among the versions: evenly, but what one doesn't need is for
// the others.
func (s *CrashStates) shares(limit uint64) []uint64 {
	shares := make([]uint64, len(s.versions))
	order := make([]int, len(s.versions))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int {
		return cmp.Compare(s.versions[a].images.Count(), s.versions[b].images.Count())
	})
	for i, at := range order {
		among := uint64(len(order) - i)
		shares[at] = min(s.versions[at].images.Count(), (limit+among-1)/among)
		limit -= shares[at]
	}
	return shares
}

// all calls show with at most limit states, in place, until it returns false.
func (v *crashVersion) all(limit, seed uint64, show func([]choice) bool) {
	defer v.stage.reset(v.images)
	v.enumerate(limit, seed, v.stage.setter(), show)
}

// smallest is the largest k for which the images with at most k cells that aren't at
// their newest are at most limit, and how many that is; -1 if there's none.
func (v *crashVersion) smallest(limit uint64) (count uint64, k int) {
	var others []float64
	for i := range v.images.Cells() {
		if _, _, contents := v.images.Cell(i); contents > 1 {
			others = append(others, float64(contents-1))
		}
	}
	// Elementary symmetric polynomials. Of k cells there are 2ᵏ images at least, so that
	// those of more than the limit's bits aren't needed.
	sums := make([]float64, min(len(others), bits.Len64(limit))+1)
	sums[0] = 1
	for i, x := range others {
		for j := min(i+1, len(sums)-1); j > 0; j-- {
			sums[j] += sums[j-1] * x
		}
	}
	total := 0.0
	for k, x := range sums {
		if total+x > float64(limit) {
			return uint64(total), k - 1
		}
		total += x
	}
	return uint64(total), len(sums) - 1
}

// durable is the state with exactly what was durable for certain.
func (s *CrashStates) durable() *Image {
	return &Image{states: s, version: s.certain, fixed: s.certain.pages}
}

// pick is one of the states at random.
func (s *CrashStates) pick(rng *rand.Rand) *Image {
	v := s.versions[rng.IntN(len(s.versions))]
	img := &Image{states: s, version: v}
	for i := range v.images.Cells() {
		_, _, contents := v.images.Cell(i)
		if k := rng.Uint64N(contents); k > 0 {
			img.choices = append(img.choices, choice{Cell: i, Version: k})
		}
	}
	return img
}

// Image is one of the states that a power failure could leave: what is on the media.
type Image struct {
	states  *CrashStates
	version *crashVersion
	choices []persist.Choice
	// fixed is the content instead of that of choices.
	fixed  map[int]map[uint64]*mediaPage
	bad    []badRange // to be added at the boot
	lost   []Line     // of an image that was loaded
	unsafe []string   // DIMMs whose counts are to rise at the boot
	// stage has the bytes; it's the image's own if owned.
	stage *stage
	owned bool
}

type badRange struct {
	object int
	x      extent
}

// Line is a cache line, or sector of the page cache, of an image.
type Line struct {
	Object string // the path on the machine
	Off    uint64 // in the object, in bytes
	Len    uint64
	// Versions is how many contents the line can have, and Version which one it has in the
	// image, counted from the newest, 0.
	Versions, Version uint64
}

// String returns what it is: "line 0x40 of /dev/dax0.0".
func (l Line) String() string {
	unit := "line"
	if l.Len == sectorSize {
		unit = "sector"
	}
	return fmt.Sprintf("%s %#x of %s", unit, l.Off, l.Object)
}

// Lost are the lines that aren't at their newest content.
func (i *Image) Lost() []Line {
	lost := slices.Clone(i.lost)
	for _, c := range i.choices {
		lost = append(lost, i.line(c))
	}
	return lost
}

func (i *Image) line(c persist.Choice) Line {
	off, size, contents := i.version.images.Cell(c.Cell)
	object, at := i.version.where(off)
	return Line{i.version.index[object].path, at, uint64(size), contents, c.Version}
}

// Bytes is the content of a device or file, by its path, to be looked at only. Of an image of
// [CrashStates.All] it's good until the next one; of others until [Image.Close], without which it
// takes memory for good. The error wraps ENOENT if there's none of that name in this image.
func (i *Image) Bytes(path string) ([]byte, error) {
	if i.stage == nil {
		alone := *i.version
		alone.pages = i.pages()
		st, err := newStage(&alone)
		if err != nil {
			return nil, err
		}
		i.stage, i.owned = st, true
	}
	return i.stage.bytes(path)
}

// Close frees what Bytes holds. The image can still be used; closing it twice does nothing.
func (i *Image) Close() error {
	if !i.owned {
		return nil
	}
	st := i.stage
	i.stage, i.owned = nil, false
	return st.close()
}

// pages is what is on the media, by object and page.
func (i *Image) pages() map[int]map[uint64]*mediaPage {
	if i.fixed != nil {
		return i.fixed
	}
	return i.version.merged(i.choices)
}

// Machine boots: it returns a new machine with this image on its media, which shares
// nothing with the one that failed.
func (i *Image) Machine() (*Machine, error) {
	m, err := i.version.boot.build()
	if err != nil {
		return nil, err
	}
	if err := i.fill(m); err != nil {
		return nil, errors.Join(err, m.Shutdown())
	}
	return m, nil
}

// contents goes through all pages of the image that aren't all zeroes.
func (i *Image) contents() iter.Seq[content] {
	return func(yield func(content) bool) {
		pages := i.pages()
		for _, number := range sortedKeys(pages) {
			size := i.version.index[number].size // 0: it isn't there
			for _, p := range sortedKeys(pages[number]) {
				off, page := p*pageSize, pages[number][p]
				if off >= size || page.data == ([pageSize]byte{}) {
					continue
				}
				if !yield(content{Object: number, Off: off, Data: page.data[:min(pageSize, size-off)]}) {
					return
				}
			}
		}
	}
}

// merged is the pages of the version with the choices in them.
func (v *crashVersion) merged(choices []persist.Choice) map[int]map[uint64]*mediaPage {
	pages := map[int]map[uint64]*mediaPage{}
	own := map[*mediaPage]bool{}
	for number, of := range v.pages {
		pages[number] = of
	}
	cloned := map[int]bool{}
	v.images.Apply(choices, func(off uint64, data []byte) {
		number, at := v.where(off)
		if !cloned[number] {
			cloned[number] = true
			of := map[uint64]*mediaPage{}
			for i, p := range pages[number] {
				of[i] = p
			}
			pages[number] = of
		}
		page := pages[number][at/pageSize]
		if page == nil || !own[page] {
			next := &mediaPage{}
			if page != nil {
				next.data = page.data
			}
			page = next
			own[page] = true
			pages[number][at/pageSize] = page
		}
		copy(page.data[at%pageSize:], data)
	})
	return pages
}

// fill puts the image's contents and bad blocks into m, which was just built.
func (i *Image) fill(m *Machine) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	objects := m.byNumber()
	for c := range i.contents() {
		o := objects[c.Object]
		if o == nil {
			continue
		}
		if _, err := m.host.Pwrite(o.keeper, c.Data, int64(c.Off)); err != nil {
			return fmt.Errorf("emu: no memory for %s: %w", o.name, err)
		}
		m.mem.media.put(o, c.Off, c.Data)
	}
	for _, path := range i.unsafe {
		if err := m.sysfs.raise(path); err != nil {
			return err
		}
	}
	for _, b := range i.bad {
		if o := objects[b.object]; o != nil {
			if err := m.poisonBytes(o, b.x); err != nil {
				return err
			}
		}
	}
	return nil
}

// byNumber are the objects of the machine. mu must be held.
func (m *Machine) byNumber() map[int]*object {
	all := map[int]*object{}
	for _, o := range m.objects {
		all[o.number] = o
	}
	return all
}
