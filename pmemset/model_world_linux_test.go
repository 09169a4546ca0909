package pmemset_test

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"unsafe"

	"pmemlab/emu"
	"pmemlab/pmem2"
	"pmemlab/pmem2/platform"
	"pmemlab/pmemset"
)

// modelStorage is a machine with files and sources for many sequences, one at a time.
type modelStorage struct {
	machine *emu.Machine
	on      *modelPlatform
	tmp     string
	files   []*modelStored
	foreign *pmem2.Source // what the program maps itself is of it
}

// modelStored is a file with its source, and the model's view of both.
type modelStored struct {
	name     string
	model    modelSource
	file     modelFile
	source   *pmemset.Source
	open     func() (*pmemset.Source, error)
	pmem2    *pmem2.Source // of a source of pmem2
	fd       int           // 0 for a temporary file
	view     []byte        // modelPages of the file
	readOnly int           // another descriptor of the file, or 0
}

// modelPlatform counts the bytes of address space that are taken.
type modelPlatform struct {
	platform.Platform
	mapped uint64
}

func (p *modelPlatform) Mmap(addr uintptr, n uint64, prot, flags, fd int, off int64) (uintptr, error) {
	at, err := p.Platform.Mmap(addr, n, prot, flags, fd, off)
	if err == nil {
		p.mapped += n
	}
	return at, err
}

func (p *modelPlatform) Munmap(addr uintptr, n uint64) error {
	err := p.Platform.Munmap(addr, n)
	if err == nil {
		p.mapped -= n
	}
	return err
}

// Mremap is what the library uses it for: moving something over something.
func (p *modelPlatform) Mremap(addr uintptr, from, to uint64, flags int, target uintptr) (uintptr, error) {
	at, err := p.Platform.Mremap(addr, from, to, flags, target)
	if err == nil {
		p.mapped -= from
	}
	return at, err
}

// modelMust is for what isn't the subject of the test.
func modelMust[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func modelMustDo(err error) {
	if err != nil {
		panic(err)
	}
}

func newModelStorage() *modelStorage {
	m := emu.NewMachine(emu.Config{})
	st := &modelStorage{machine: m, on: &modelPlatform{Platform: m}}
	dax := m.AddFS(emu.FS{Size: 64 << 20, DAX: true})
	plain := m.AddFS(emu.FS{Size: 64 << 20})
	st.tmp = dax.Path("")
	on := pmemset.On(st.on)
	add := func(fs *emu.FileSystem, name string, model modelSource, open func(path string, fd int) (*pmemset.Source, error)) *modelStored {
		f := modelMust(fs.Create(name, 0))
		modelMustDo(f.Close())
		path := fs.Path(name)
		s := &modelStored{name: name, model: model, fd: modelMust(m.Open(path, platform.ORdwr|platform.OCloexec, 0))}
		fd := s.fd
		if model.readOnly {
			fd = modelMust(m.Open(path, platform.ORdonly|platform.OCloexec, 0))
			s.readOnly = fd
		}
		s.view = platform.Bytes(modelMust(platform.Host().Mmap(0, modelPages*modelPage, platform.ProtRead|platform.ProtWrite, platform.MapShared, s.fd, 0)), modelPages*modelPage)
		s.open = func() (*pmemset.Source, error) { return open(path, fd) }
		s.model.file = &s.file
		return s
	}
	byPath := func(flags pmemset.SourceFlags) func(string, int) (*pmemset.Source, error) {
		return func(path string, _ int) (*pmemset.Source, error) { return pmemset.XSourceFromFile(path, flags, on) }
	}
	cacheLine, page := pmem2.GranularityCacheLine, pmem2.GranularityPage
	st.files = []*modelStored{
		add(dax, "final", modelSource{growsFinal: true, granularity: cacheLine}, byPath(0)),
		add(dax, "old", modelSource{growsOld: true, granularity: cacheLine}, byPath(pmemset.SourceFileTruncateIfNeeded)),
		add(plain, "page", modelSource{growsFinal: true, granularity: page}, byPath(0)),
	}
	for _, ro := range []bool{false, true} {
		name := "pmem2"
		if ro {
			name = "read-only"
		}
		var s *modelStored
		s = add(dax, name, modelSource{growsFinal: true, readOnly: ro, granularity: cacheLine}, func(_ string, fd int) (*pmemset.Source, error) {
			if s.pmem2 == nil {
				s.pmem2 = modelMust(pmem2.SourceFromFD(fd, pmem2.On(st.on)))
			}
			return pmemset.SourceFromPMem2(s.pmem2)
		})
		st.files = append(st.files, s)
	}
	temporary := &modelStored{name: "temporary", model: modelSource{growsOld: true, growsFinal: true, granularity: cacheLine}}
	temporary.open = func() (*pmemset.Source, error) { return pmemset.SourceFromTemporary(st.tmp, on) }
	temporary.model.file = &temporary.file
	st.files = append(st.files, temporary)

	f := modelMust(dax.Create("foreign", 64<<10))
	modelMustDo(f.Close())
	st.foreign = modelMust(pmem2.SourceFromFD(modelMust(m.Open(dax.Path("foreign"), platform.ORdwr, 0)), pmem2.On(st.on)))
	return st
}

// close gives everything back and says what the library has left.
func (st *modelStorage) close() error {
	for _, f := range st.files {
		modelMustDo(f.source.Delete())
		if f.fd != 0 {
			modelMustDo(platform.Host().Munmap(uintptr(unsafe.Pointer(&f.view[0])), modelPages*modelPage))
			modelMustDo(st.machine.Close(f.fd))
		}
		if f.readOnly != 0 { // also if no sequence was left that opens a source of it
			modelMustDo(st.machine.Close(f.readOnly))
		}
	}
	modelMustDo(st.machine.Close(modelMust(st.foreign.FD())))
	return st.machine.Shutdown()
}

// reset gives each file a new size and new contents, and a source that isn't deleted.
func (st *modelStorage) reset(r *rand.Rand) {
	for i, f := range st.files {
		if f.source == nil || f.model.deleted || f.fd == 0 && f.file.size > 0 {
			modelMustDo(f.source.Delete())
			f.source, f.model.deleted = modelMust(f.open()), false
		}
		f.file = modelFile{}
		if f.fd == 0 {
			continue
		}
		modelMustDo(st.machine.Ftruncate(f.fd, 0))
		switch r.IntN(8) {
		case 0:
		case 1:
			f.file.size = 3*modelPage + 100
		default:
			f.file.size = modelPage * (1 + r.Uint64N(10))
		}
		modelMustDo(st.machine.Ftruncate(f.fd, int64(f.file.size)))
		for p := range f.file.size / modelPage {
			v := uint64(i+1)<<56 | p<<32 | r.Uint64N(1<<32)
			f.file.heads[p], f.file.last[p] = v, ^v
			binary.LittleEndian.PutUint64(f.view[p*modelPage:], v)
			binary.LittleEndian.PutUint64(f.view[(p+1)*modelPage-8:], ^v)
		}
	}
}

// modelWorld is a sequence under way: sets, and the model of each.
type modelWorld struct {
	*rand.Rand
	st      *modelStorage
	history []modelStep
	steps   uint64

	config      *pmemset.Config
	reservation *pmem2.VMReservation
	space       modelSpace
	foreign     []*pmem2.Map // as space.foreign
	sets        []*pmemset.Set
	handles     []*modelHandle

	listens bool
	events  []pmemset.Event
}

type modelStep struct {
	format string
	args   []any
}

// modelHandle is a reference that is held.
type modelHandle struct {
	set  int
	real *pmemset.PartMap
	part *modelPart // nil once dropped or deleted
}

// modelFailure is what a sequence ends with if set and model disagree.
type modelFailure string

func (w *modelWorld) fail(format string, args ...any) {
	panic(modelFailure(fmt.Sprintf(format, args...)))
}

func (w *modelWorld) did(format string, args ...any) {
	w.history = append(w.history, modelStep{format, args})
}

func (w *modelWorld) text() string {
	var b strings.Builder
	for i, s := range w.history {
		fmt.Fprintf(&b, "%4d  %s\n", i, fmt.Sprintf(s.format, s.args...))
	}
	return b.String()
}

// same fails unless err is what the model says: nil for 0.
func (w *modelWorld) same(err error, want ...pmemset.Code) {
	var got pmemset.Code
	if err != nil && !errors.As(err, &got) {
		w.fail("error %v, want %v", err, want)
	}
	if !slices.Contains(want, got) {
		w.fail("error %v, want one of %v", err, want)
	}
}

// happened compares the events of a step.
func (w *modelWorld) happened(want ...pmemset.Event) {
	if !w.listens {
		want = nil
	}
	if !slices.Equal(w.events, want) {
		w.fail("events %+v, want %+v", w.events, want)
	}
	w.events = w.events[:0]
}

// hear is the callback: it keeps the event, and looks whether what it is about can be
// seen.
func (w *modelWorld) hear(set *pmemset.Set, e *pmemset.Event) error {
	w.events = append(w.events, *e)
	if e.Type != pmemset.EventPartAdd && e.Type != pmemset.EventPartRemove {
		return errors.New("that nobody minds")
	}
	p, err := set.PartMapByAddress(e.Addr + uintptr(e.Len-1))
	switch {
	case e.Type == pmemset.EventPartRemove && err == nil:
		p.Drop()
		w.fail("a part map is there at its PART_REMOVE")
	case e.Type == pmemset.EventPartAdd && err != nil:
		w.fail("at PART_ADD: %v", err)
	case e.Type == pmemset.EventPartAdd:
		if d := p.Descriptor(); d.Addr != e.Addr || d.Size != e.Len {
			w.fail("at PART_ADD of %d bytes at %#x the part map is %+v", e.Len, e.Addr, d)
		}
		p.Drop()
	}
	_ = platform.Bytes(e.Addr, 1)[0] // a fault otherwise
	return errors.New("that nobody minds")
}

// newModelWorld makes the sets of a sequence.
func newModelWorld(st *modelStorage, r *rand.Rand) *modelWorld {
	w := &modelWorld{Rand: r, st: st, listens: r.IntN(8) != 0, config: pmemset.NewConfig()}
	st.reset(r)
	required := pmem2.GranularityPage
	if r.IntN(4) == 0 {
		required = pmem2.GranularityCacheLine
	}
	modelMustDo(w.config.SetRequiredStoreGranularity(required))
	if w.listens {
		modelMustDo(w.config.SetEventCallback(w.hear))
	}
	if r.IntN(2) == 0 {
		w.reservation = modelMust(pmem2.NewVMReservation(0, modelPage*(1+r.Uint64N(30)), pmem2.On(st.on)))
		modelMustDo(w.config.SetReservation(w.reservation))
		w.space.configured = modelRange{uint64(w.reservation.Address()), w.reservation.Size()}
	}
	for range 1 + r.IntN(2) {
		w.sets = append(w.sets, modelMust(pmemset.New(w.config)))
		w.space.sets = append(w.space.sets, &modelSet{space: &w.space, required: required})
	}
	w.did("required granularity %v, %d sets, reservation %+v, events %t", required, len(w.sets), w.space.configured, w.listens)
	for _, f := range st.files {
		w.did("source %q has %d bytes", f.name, f.file.size)
	}
	return w
}

// end gives everything back, and nothing must be left.
func (w *modelWorld) end() {
	w.did("the end")
	for _, f := range w.foreign {
		w.same(f.Delete(), 0)
	}
	for i, s := range w.sets {
		w.same(s.Delete(), 0)
		w.space.sets[i].parts = nil
		w.happened()
	}
	if w.reservation != nil {
		if a, n := w.reservation.Address(), w.reservation.Size(); uint64(a) != w.space.configured.addr || n != w.space.configured.size {
			w.fail("the configured reservation is %d bytes at %#x now", n, a)
		}
		if err := w.reservation.Delete(); err != nil {
			w.fail("the configured reservation: %v", err)
		}
	}
	for _, f := range w.st.files {
		w.checkSize(f)
		for p := range min(f.file.size/modelPage, modelPages) {
			if f.fd != 0 {
				w.holds(f.view[p*modelPage:(p+1)*modelPage], &f.file, p)
			}
		}
	}
	if n := w.st.on.mapped; n != 0 {
		w.fail("%d bytes of address space are still taken", n)
	}
}

// abandon gives back what it can after a failure.
func (w *modelWorld) abandon() {
	for _, f := range w.foreign {
		_ = f.Delete()
	}
	for _, s := range w.sets {
		_ = s.Delete()
	}
	if w.reservation != nil {
		_ = w.reservation.Delete()
	}
}

// holds compares the ends of a page with the model's file.
func (w *modelWorld) holds(page []byte, f *modelFile, p uint64) {
	head, last := binary.LittleEndian.Uint64(page), binary.LittleEndian.Uint64(page[modelPage-8:])
	if head != f.heads[p] || last != f.last[p] {
		w.fail("page %d holds %#x … %#x, want %#x … %#x", p, head, last, f.heads[p], f.last[p])
	}
}

// checkSize compares the size of a file.
func (w *modelWorld) checkSize(f *modelStored) {
	switch {
	case f.fd != 0:
		if st := modelMust(w.st.machine.Fstat(f.fd)); st.Size != int64(f.file.size) {
			w.fail("source %q has %d bytes, want %d", f.name, st.Size, f.file.size)
		}
	case !f.model.deleted:
		// Nobody else has it open.
		w.same(f.source.PreadMCSafe(nil, f.file.size), 0)
		w.same(f.source.PreadMCSafe(nil, f.file.size+1), pmemset.ErrLengthOutOfRange)
	}
}

// check compares everything that can be seen of the sets.
func (w *modelWorld) check() {
	for i, s := range w.sets {
		m := w.space.sets[i]
		g, err := s.StoreGranularity()
		if len(m.parts) == 0 {
			w.same(err, pmemset.ErrNoPartMapped)
		} else if err != nil || g != m.granularity {
			w.fail("set %d: granularity %v, %v; want %v", i, g, err, m.granularity)
		}
		p := s.FirstPartMap()
		for j, want := range m.parts {
			if p == nil || p.Descriptor() != want.descriptor() {
				w.fail("set %d: part map %d is %+v, want %+v", i, j, p.Descriptor(), want.descriptor())
			}
			next := s.NextPartMap(p)
			p.Drop()
			p = next
		}
		if p != nil {
			w.fail("set %d: a part map too many: %+v", i, p.Descriptor())
		}
	}
	for _, h := range w.handles {
		var want pmemset.PartDescriptor
		if h.part != nil {
			want = h.part.descriptor()
		}
		if got := h.real.Descriptor(); got != want {
			w.fail("the part map of a reference is %+v, want %+v", got, want)
		}
	}
	// Some page of some piece.
	if m := w.space.sets[w.IntN(len(w.sets))]; len(m.parts) > 0 {
		p := m.parts[w.IntN(len(m.parts))]
		w.show(p.pieces[w.IntN(len(p.pieces))])
	}
	w.checkSpace()
}

// show looks at a page of a piece, and at its last.
func (w *modelWorld) show(q modelPiece) {
	pages := q.size / modelPage
	for _, p := range []uint64{w.Uint64N(pages), pages - 1} {
		if at := q.offset/modelPage + p; at < modelPages {
			w.holds(platform.Bytes(uintptr(q.addr+p*modelPage), modelPage), q.src.file, at)
		}
	}
}

// checkSpace says whether the library has taken no more address space than it may.
func (w *modelWorld) checkSpace() {
	may := w.space.configured.size
	for _, m := range w.space.sets {
		may += m.needs()
	}
	if n := w.st.on.mapped; n > may {
		w.fail("%d bytes of address space are taken, %d may be", n, may)
	}
}

func (w *modelWorld) pick(of ...uint64) uint64 { return of[w.IntN(len(of))] }

// request is the offset and length of a map call: mostly good ones.
func (w *modelWorld) request() (offset, length uint64) {
	offset, length = w.Uint64N(8)*modelPage, (1+w.Uint64N(6))*modelPage
	if w.IntN(3) == 0 {
		offset = 0
	}
	switch w.IntN(24) {
	case 0:
		offset = w.pick(1, 100, modelPage-1, modelPage+1, 24*modelPage)
	case 1:
		offset = w.pick(math.MaxInt64, math.MaxInt64-modelPage+1, 1<<63, 1<<63+modelPage, math.MaxUint64, math.MaxUint64-modelPage+1)
	}
	switch w.IntN(32) {
	case 0, 1, 2, 3, 4:
		length = 0
	case 5, 6:
		length = w.pick(1, 100, modelPage-1, modelPage+1, 3*modelPage+100)
	case 7:
		length = w.pick(1<<47, 1<<47+modelPage, math.MaxInt64-modelPage+1, math.MaxInt64, 1<<63, math.MaxUint64-modelPage+1, math.MaxUint64)
	case 8:
		length = (1 + w.Uint64N(32)) * modelPage
	case 9:
		switch w.IntN(8) {
		case 0:
			length = 2*modelGigantic + modelPage*w.Uint64N(2)
		case 1:
			length = 2*modelGigantic - modelPage
		case 2, 3:
			length = modelHuge * (1 + w.Uint64N(3))
		}
	}
	return offset, length
}
