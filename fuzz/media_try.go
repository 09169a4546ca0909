package fuzz

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"syscall"

	"pmemlab/emu"
	"pmemlab/fuzz/model"
	"pmemlab/pmem2"
	"pmemlab/pmem2/platform"
	"pmemlab/pmemset"
)

// mediaTry is one input on its way.
type mediaTry struct {
	m        *mediaMachine
	o        *mediaObject
	media    model.Media
	access   int
	src      *pmem2.Source
	bad      []model.Extent         // what went bad, in bytes of the source
	context  *pmem2.BadBlockContext // that is kept
	left     []pmem2.BadBlock       // that it has to give
	bytes    []byte                 // room for those of a file
	runs     []model.MediaRun       // room
	held     *pmem2.Map             // of the whole source, if it is mapped all the time
	steps    []mediaStep
	accepted bool
	located  bool // the model knows where the file lies
}

// mediaStep is something that has been done: enough to say it in words.
type mediaStep struct {
	kind   byte
	set    bool
	off, n uint64
	answer model.Kernel
}

func (t *mediaTry) run(scene *mediaScene, ops []mediaOp) error {
	m := t.m
	t.o = m.objects[int(scene.Object)%len(m.objects)]
	t.media, t.access, t.accepted, t.located = t.o.start, scene.access(), false, false
	t.bad, t.steps, t.context, t.held = t.bad[:0], t.steps[:0], nil, nil
	m.probe.kernel = model.Kernel{}
	if how := mediaAccesses[t.access]; t.media.Kind != model.Anonymous {
		t.media.Access, t.media.AppendOnly = how.access, how.append
	}
	if t.media.Access == model.WriteOnly {
		s, err := pmem2.SourceFromFD(t.o.fds[t.access], pmem2.On(&m.probe))
		if got, want := model.Of(err), model.Fails(pmem2.ErrInvalidFileHandle); got != want || s != nil {
			return fmt.Errorf("pmem2_source_from_fd: got %v, want %v", got, want)
		}
		return nil
	}
	t.src = t.o.sources[t.access]
	if t.media.Kind == model.File {
		if err := t.makeFile(scene); err != nil {
			return err
		}
	}
	if scene.Held >= 248 {
		if err := t.hold(); err != nil {
			return err
		}
	}
	for i := range int(scene.Count) % (mostBad + 1) {
		b := &scene.Bad[i]
		off, n := t.span(&b.Start, &b.Length, byte(i)<<2|scene.Blank&0x80)
		if err := t.spoil(off, n); err != nil {
			return err
		}
	}
	for i := range ops {
		if err := t.step(&ops[i]); err != nil {
			return err
		}
		if err := t.compareHeld(); err != nil {
			return err
		}
	}
	return t.compareBad()
}

// makeFile gives a file its size, its blocks in an order, and what it holds.
func (t *mediaTry) makeFile(scene *mediaScene) error {
	m, o, page := t.m, t.o, t.media.Page
	size := scene.Size.In(Around{Page: page, Size: 4 * page}) % (mediaFilePages*page + 1)
	t.media.Size = size
	if t.bytes == nil {
		t.bytes = make([]byte, mediaFilePages*page)
	}
	t.media.Bytes = t.bytes[:size]
	clear(t.media.Bytes)
	t.media.Allocated, t.media.Runs = nil, t.runs[:0]
	if err := m.emulated.Ftruncate(o.raw, int64(size)); err != nil {
		return err
	}
	pages := int((size + page - 1) / page)
	holes, blank := byte(0), byte(0)
	ordered := scene.Order%8 != 1 && scene.Order%8 != 3 && scene.Order%8 != 6
	if scene.Order >= 160 {
		holes, blank, ordered = scene.Holes, scene.Blank, false
	}
	for i := range pages {
		p := i
		switch scene.Order % 8 {
		case 1: // from the last to the first
			p = pages - 1 - i
		case 3: // the odd ones first
			p = 2*i + 1
			if i >= pages/2 {
				p = 2 * (i - pages/2)
			}
		case 6: // the second half first
			p = (i + pages/2) % pages
		}
		if holes>>p&1 != 0 {
			continue
		}
		at := uint64(p) * page
		t.media.Allocated = model.AddExtent(t.media.Allocated, model.Extent{Start: at, Size: page})
		if !ordered {
			if err := m.emulated.Fallocate(o.raw, platform.FallocKeepSize, int64(at), int64(page)); err != nil {
				return err
			}
		}
		if blank>>p&1 == 0 {
			copy(t.media.Bytes[at:min(at+page, size)], m.pattern[at:])
			if !ordered {
				_, err := m.host.Pwrite(o.raw, t.media.Bytes[at:min(at+page, size)], int64(at))
				if err != nil {
					return err
				}
			}
		}
	}
	if ordered && size > 0 {
		if _, err := m.host.Pwrite(o.raw, t.media.Bytes, 0); err != nil {
			return err
		}
	}
	if ordered { // where it lies is asked for when something goes bad
		return nil
	}
	return t.locate()
}

// locate asks where the file lies. All that is allocated, and nothing else, lies somewhere.
func (t *mediaTry) locate() (err error) {
	if t.media.Kind != model.File || t.media.NoDisk {
		return nil
	}
	if t.runs, err = t.m.locate(t.o, t.runs); err != nil {
		return fmt.Errorf("asking where the file lies: %w", err)
	}
	t.media.Runs, t.located = t.runs, true
	var lies []model.Extent
	for _, r := range t.runs {
		lies = model.AddExtent(lies, model.Extent{Start: r.Logical, Size: r.Length})
	}
	if !slices.Equal(lies, t.media.Allocated) {
		return fmt.Errorf("the file's blocks are at %v, want them at %v", lies, t.media.Allocated)
	}
	return nil
}

// span is a range of the source that two numbers stand for; pick picks a bad block that they
// may lie beside.
func (t *mediaTry) span(start, length *Number, pick byte) (off, n uint64) {
	a := Around{Page: t.media.Page, Align: model.SectorSize, Size: t.media.Size, Room: 2 * t.media.Page}
	end := a.Room
	if len(t.bad) > 0 {
		b := t.bad[int(pick>>2)%len(t.bad)]
		a.Room, end = b.Start, b.Start+b.Size
		if pick&0x80 != 0 {
			a.Room, end = end, a.Room
		}
	}
	off = start.In(a)
	a.Other, a.Room = off, end
	return off, length.In(a)
}

// spoil makes a range bad, a few pages of it.
func (t *mediaTry) spoil(off, n uint64) error {
	if t.media.Kind == model.Anonymous || t.media.NoDisk {
		return nil
	}
	if size := t.media.Size; off < size && n > 3*t.media.Page && n <= size-off {
		if n%128 == 0 && off%1024 == 0 { // more than the kernel lists in a line
			n = min(n, 600*model.SectorSize)
		} else {
			n %= 3 * t.media.Page
		}
	}
	t.steps = append(t.steps, mediaStep{kind: mediaSpoil, off: off, n: n})
	if !t.located {
		if err := t.locate(); err != nil {
			return err
		}
	}
	var err error
	if t.o.fs != nil {
		err = t.o.fs.AddBadBlock("file", off, n)
	} else {
		err = t.o.dev.AddBadBlock(off, n)
	}
	bad := t.media.Spoil(off, n)
	if bad != (err == nil) {
		return fmt.Errorf("making %d bytes at %d bad: got %v, want success: %t", n, off, err, bad)
	}
	if !bad {
		return nil
	}
	start := off &^ (model.SectorSize - 1)
	x := model.Extent{Start: start, Size: (off+n+model.SectorSize-1)&^(model.SectorSize-1) - start}
	t.bad = append(t.bad, x)
	t.touched(x.Start, x.Size)
	return t.locate()
}

// touched remembers what of a device DAX isn't as it was.
func (t *mediaTry) touched(off, n uint64) {
	if t.media.Kind == model.DeviceDAX && off < t.media.Size {
		t.o.dirty = model.AddExtent(t.o.dirty, model.Extent{Start: off, Size: min(n, t.media.Size-off)})
	}
}

func (t *mediaTry) step(op *mediaOp) error {
	kind := mediaKinds[op.Kind%byte(len(mediaKinds))]
	off, n := t.span(&op.Offset, &op.Length, op.How)
	if kind == mediaClearBad || kind == mediaOverwrite {
		if list, _ := t.media.ListBadBlocks(); len(list) > 0 {
			b := list[int(op.How>>2)%len(list)]
			off, n = b.Offset, b.Length
			if page := t.media.Page; kind == mediaOverwrite && op.How&0x40 != 0 && off >= page { // with the page before
				off, n = off-page, n+page
			}
		}
	}
	// The end stays where it is.
	if off <= t.media.Size && n <= t.media.Size-off && n > mediaMost {
		off, n = off+n-mediaMost, mediaMost
	}
	st := mediaStep{kind: kind, set: op.How&1 != 0, off: off, n: n, answer: mediaAnswers[int(op.Answer)%len(mediaAnswers)]}
	if most := &st.answer.Most; *most != 0 {
		*most = max(*most, min(n, mediaMost)/16)
	}
	if t.media.Kind == model.Anonymous {
		st.set = false // libpmemset takes none
	}
	t.steps = append(t.steps, st)
	t.m.probe.kernel = st.answer
	t.m.probe.plain = t.media.Kind == model.File && len(t.media.Bad) == 0 && t.media.Roomy()
	defer func() { t.m.probe.kernel, t.m.probe.plain = model.Kernel{}, false }()
	switch kind {
	case mediaRead:
		return t.read(st, op)
	case mediaWrite, mediaOverwrite:
		return t.write(st, op)
	case mediaList:
		return t.list()
	case mediaNext:
		return t.next(op.How&1 != 0)
	case mediaClear, mediaClearBad:
		return t.clear(st, op)
	case mediaDetect:
		return t.detect(st, op)
	case mediaTouch:
		return t.touch(st, op)
	}
	t.steps = t.steps[:len(t.steps)-1]
	return t.spoil(off, n)
}

// setOf is the source of libpmemset that a step goes through.
func (t *mediaTry) setOf(op *mediaOp) *pmemset.Source {
	if t.access == 0 && op.How&2 != 0 {
		return t.o.byPath
	}
	return t.o.sets[t.access]
}

// ended compares how a call ended.
func (t *mediaTry) ended(what string, err error, set bool, want model.Result) error {
	if set {
		if got, want := model.OfSetMedia(err), model.SetMedia(want); got != want {
			return fmt.Errorf("%s: got %v (%v), want %v", what, got, err, want)
		}
	} else if got := model.Of(err); got != want {
		return fmt.Errorf("%s: got %v (%v), want %v", what, got, err, want)
	}
	return nil
}

// buffer are n bytes, of which those from mediaMost on can't be accessed.
func (t *mediaTry) buffer(n uint64) []byte { return platform.Bytes(t.m.buffers, min(n, mediaBuffers)) }

// untouched is what buffers hold before something is read into them.
const untouched = 0xee

func (t *mediaTry) read(st mediaStep, op *mediaOp) error {
	p := t.buffer(st.n)
	seen := p[:min(st.n, mediaMost)]
	copy(seen, t.m.before)
	want := t.media.Read(st.off, uint64(len(p)), st.answer)
	var err error
	if st.set {
		err = t.setOf(op).PreadMCSafe(p, st.off)
	} else {
		err = t.src.PreadMCSafe(p, st.off)
	}
	if err := t.ended("reading", err, st.set, want.Result); err != nil {
		return err
	}
	t.accepted = t.accepted || want.Done > 0
	if want.Done > 0 && !bytes.Equal(seen[:want.Done], t.media.Bytes[st.off:][:want.Done]) {
		return errors.New("reading gives other bytes than the source has")
	}
	if want.Done >= uint64(len(seen)) || bytes.Equal(seen[want.Done:], t.m.before[want.Done:len(seen)]) {
		return nil
	}
	for i := want.Done; i < uint64(len(seen)); i++ {
		if seen[i] == untouched {
			continue
		}
		if at := st.off + i; !want.Loose || seen[i] != t.media.Bytes[at] || t.media.BadPage(at) {
			return fmt.Errorf("reading has failed behind %d bytes, and byte %d of the buffer is %#x", want.Done, i, seen[i])
		}
	}
	return nil
}

func (t *mediaTry) write(st mediaStep, op *mediaOp) error {
	p := t.buffer(st.n)
	whole := uint64(len(p))
	readable := min(whole, mediaMost)
	if op.Value >= 240 && t.media.Kind == model.File && whole > 0 && whole <= mediaMost && !t.media.AnyBadPage(st.off, whole) {
		readable = op.Length.Raw >> 32 % whole
		if op.Value%2 != 0 { // before anything is written
			st.answer = model.Kernel{Pwrite: syscall.EFAULT}
			t.m.probe.kernel, t.steps[len(t.steps)-1] = st.answer, st
		}
		p = platform.Bytes(t.m.buffers+uintptr(mediaMost-readable), whole)
	}
	copy(p[:readable], t.m.stores[op.Value:])
	var want model.Transfer
	if whole <= mediaMost && readable < whole {
		want = model.Transfer{Result: t.media.WriteUnreadable(st.off, whole, st.answer), Loose: true}
	} else {
		want = t.media.Write(st.off, p, st.answer)
	}
	if want.Done > 0 || want.Loose {
		t.touched(st.off, whole)
	}
	var err error
	if st.set {
		err = t.setOf(op).PwriteMCSafe(p, st.off)
	} else {
		err = t.src.PwriteMCSafe(p, st.off)
	}
	if err := t.ended("writing", err, st.set, want.Result); err != nil {
		return err
	}
	t.accepted = t.accepted || want.Done > 0
	if want.Loose && st.off < t.media.Size {
		if err := t.settle(st.off, p[:readable], want.Done); err != nil {
			return err
		}
	}
	if t.located && (want.Done > 0 || want.Loose) {
		if err := t.locate(); err != nil {
			return err
		}
	}
	return t.compare(st.off, min(whole, mediaMost))
}

// settle finds out what a write has left that failed nobody knows where: of each byte behind done
// what was there or, where the page isn't bad, what was to be written.
func (t *mediaTry) settle(off uint64, p []byte, done uint64) error {
	n := min(uint64(len(p)), t.media.Size-off)
	got := t.m.contents[:n]
	if _, err := t.m.host.Pread(t.o.raw, got, int64(off)); err != nil {
		return err
	}
	for i := done; i < n; i++ {
		at := off + i
		if got[i] == t.media.Bytes[at] {
			continue
		}
		if got[i] != p[i] || t.media.BadPage(at) {
			return fmt.Errorf("a write that failed has made the byte at %d %#x", at, got[i])
		}
		t.media.Bytes[at] = got[i]
	}
	if t.media.Kind == model.File && !t.media.NoDisk { // holes may have got blocks
		runs, err := t.m.locate(t.o, t.runs)
		t.runs = runs
		if err != nil {
			return err
		}
		for _, r := range runs {
			t.media.Allocated = model.AddExtent(t.media.Allocated, model.Extent{Start: r.Logical, Size: r.Length})
		}
	}
	return nil
}

// compare holds what the media hold around [off, off+n) against what they must.
func (t *mediaTry) compare(off, n uint64) error {
	size, page := t.media.Size, t.media.Page
	from, to := uint64(0), size
	if t.media.Kind == model.Anonymous {
		return nil
	}
	if t.media.Kind == model.DeviceDAX {
		if off > size {
			off = size
		}
		n = min(n, size-off)
		from, to = off-min(off, page), min(off+n+page, size)
	}
	got := t.m.contents[:to-from]
	read, err := t.m.host.Pread(t.o.raw, got, int64(from))
	switch {
	case err != nil:
		return err
	case read < len(got):
		return fmt.Errorf("the source ends at %d, want %d", from+uint64(read), size)
	case !bytes.Equal(got, t.media.Bytes[from:to]):
		for i := range got {
			if got[i] != t.media.Bytes[from+uint64(i)] {
				return fmt.Errorf("the byte at %d is %#x now, want %#x", from+uint64(i), got[i], t.media.Bytes[from+uint64(i)])
			}
		}
	}
	if t.media.Kind == model.File {
		if st, err := t.m.emulated.Fstat(t.o.raw); err != nil || uint64(st.Size) != size {
			return errors.Join(fmt.Errorf("the file has %d bytes now, want %d", st.Size, size), err)
		}
	}
	return nil
}

// compareBad holds what the machine says of bad blocks against what it must.
func (t *mediaTry) compareBad() error {
	var got []emu.BadBlock
	switch {
	case t.o.dev != nil:
		got = t.o.dev.BadBlocks()
	case t.o.fs != nil && !t.o.start.NoDisk:
		got = t.o.fs.BlockDevice().BadBlocks()
	}
	same := len(got) == len(t.media.Bad)
	for i := 0; same && i < len(got); i++ {
		same = got[i].Offset == t.media.Bad[i].Start && got[i].Length == t.media.Bad[i].Size
	}
	if !same {
		return fmt.Errorf("the disk has the bad blocks %v, want %v", got, t.media.Bad)
	}
	return nil
}

// end takes everything back, and says what was left.
func (t *mediaTry) end() error {
	m := t.m
	m.probe.kernel = model.Kernel{}
	err := t.context.Delete()
	if t.held != nil {
		err = errors.Join(err, t.held.Delete())
	}
	t.context, t.left, t.held = nil, nil, nil
	if held := m.probe.leftovers(); err == nil {
		err = held
	}
	if n := m.probe.open; n != 0 {
		m.probe.open = 0
		if err == nil {
			err = fmt.Errorf("%d descriptors more are open than were before", n)
		}
	}
	if failure := m.reset(t.o); err == nil {
		err = failure
	}
	return err
}
