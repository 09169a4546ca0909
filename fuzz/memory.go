package fuzz

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime/debug"
	"slices"
	"syscall"
	"unsafe"

	"pmemlab/fuzz/model"
	"pmemlab/pmem2"
	"pmemlab/pmem2/platform"
)

// Memory is the target of pmem2_get_memmove_fn(3) and its like: the copies and sets of each
// instruction set that the CPU has, themselves.
var Memory = Target{
	Name:     "Memory",
	About:    "memmove, memcpy and memset: offsets, lengths, overlap and flags, on each instruction set",
	Accepted: "stored",
	New:      newMemoryInstance,
	Generate: func(r *rand.Rand) []byte { return randomBytes(r, memoryInputSize) },
}

// memoryInput is an input of the target Memory. What a byte picks is picked by its remainder.
type memoryInput struct {
	Machine byte // remainder by 32 of 31: see memory_durable.go; else of the machines
	Op      byte // remainder by 3: of model.MemOp, by 9: the granularity
	Flags   byte // multiples of 4: none; else the bits above the lowest two
	Strange byte // odd ones: through the function; below 64: flags that exclude each other; below 16: other lengths
	Sync    byte // above 247: msync fails
	Value   byte // to set
	Length  Number
	Dst     Number
	Src     Number // see memoryTry.place
}

// Layout is how it lies in bytes.
func (in *memoryInput) Layout(c *Codec) {
	for _, b := range []*byte{&in.Machine, &in.Op, &in.Flags, &in.Strange, &in.Sync, &in.Value} {
		c.Byte(b)
	}
	c.Number(&in.Length)
	c.Number(&in.Dst)
	c.Number(&in.Src)
}

const memoryInputSize = 6 + 3*NumberBytes

// memorySettings are those of the machines, for each instruction set.
var memorySettings = []platform.Settings{
	{}, {NoMOVNT: true}, {MOVNTThreshold: 1}, {MOVNTThreshold: 100}, {MOVNTThreshold: 4096}, {NoCLWB: true}, {NoCLWB: true, NoCLFLUSHOPT: true},
}

// memoryArena is how many bytes of memory there are, at least, between two pages that
// nothing may touch.
const memoryArena = 16 << 10

type memoryInstance struct {
	machines  []*memoryMachine
	host      platform.Platform
	mapped    uintptr // with the guards
	length    uint64
	arena     []byte
	pattern   []byte // what the arena holds before an input
	elsewhere []byte // memory of Go's
	want      []byte
	durable   []*durableMemory
}

func newMemoryInstance() (Instance, error) {
	i := &memoryInstance{}
	if err := i.fill(); err != nil {
		return nil, errors.Join(err, i.Close())
	}
	return i, nil
}

func (i *memoryInstance) fill() (err error) {
	if i.host, err = platform.NewHost(platform.Settings{}); err != nil {
		return err
	}
	page := i.host.PageSize()
	size := (memoryArena + page - 1) &^ (page - 1)
	i.length = size + 2*page
	if i.mapped, err = i.host.Mmap(0, i.length, platform.ProtNone, platform.MapPrivate|platform.MapAnonymous, -1, 0); err != nil {
		i.length = 0
		return err
	}
	at, err := i.host.Mmap(i.mapped+uintptr(page), size, platform.ProtRead|platform.ProtWrite,
		platform.MapPrivate|platform.MapAnonymous|platform.MapFixed, -1, 0)
	if err != nil {
		return err
	}
	i.arena = platform.Bytes(at, size)
	i.pattern, i.elsewhere = randomBytes(rand.New(rand.NewPCG(1, 2)), int(size)), randomBytes(rand.New(rand.NewPCG(3, 4)), int(size))
	copy(i.arena, i.pattern)
	i.want = bytes.Clone(i.pattern)
	for _, isa := range platform.ISAs() {
		for _, s := range memorySettings {
			s.ISA = isa
			m, err := newMemoryMachine(s)
			if err != nil {
				return err
			}
			i.machines = append(i.machines, m)
		}
		for _, eadr := range []bool{false, true} {
			d, err := newDurableMemory(platform.Settings{ISA: isa}, eadr)
			if d != nil {
				i.durable = append(i.durable, d)
			}
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// Close is Instance.Close.
func (i *memoryInstance) Close() error {
	var errs []error
	for _, d := range i.durable {
		errs = append(errs, d.close())
	}
	if i.length != 0 {
		errs = append(errs, i.host.Munmap(i.mapped, i.length))
	}
	return errors.Join(errs...)
}

// Run is Instance.Run. An access outside what an operation is about is mostly a fault, or
// changes a byte.
func (i *memoryInstance) Run(input []byte) (stored bool, err error) {
	var in memoryInput
	Decode(input, &in)
	t := memoryTry{}
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if why := recover(); why != nil {
			err = fmt.Errorf("panic: %v", why)
		}
		if err != nil {
			copy(i.arena, i.pattern)
			copy(i.want, i.pattern)
			err = fmt.Errorf("%s: %w", t.words(), err)
		}
	}()
	if in.Machine%32 == 31 {
		return true, i.durable[int(in.Machine>>5)%len(i.durable)].run(&in, &t)
	}
	t.machine = i.machines[int(in.Machine)%len(i.machines)]
	t.decode(&in, uint64(len(i.arena)), t.machine.settings)
	return i.run(&t)
}

// memoryTry is one input on its way.
type memoryTry struct {
	q                model.MemRequest
	machine          *memoryMachine
	isa              platform.ISA
	dst, src, length uint64
	value            byte
	elsewhere        bool // the source isn't in the arena
	function         bool
	want             model.Stored
}

// lengths are those at which a copy changes its ways.
var lengths = [...]uint64{0, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192}

// distances are those that matter, mostly none.
var distances = [32]int64{1, -1, 2, -2, 7, -7, 8, -8, 9, 31, 32, -32, 63, -63, 64, -64, 4, -4}

func beside(v uint64, n Number) uint64 { return v + uint64(distances[n.Delta%32]) }

// decode is what an input asks for, in an arena of so many bytes.
func (t *memoryTry) decode(in *memoryInput, arena uint64, s platform.Settings) {
	q := &t.q
	t.isa, t.value, t.function = s.ISA, in.Value, in.Strange%2 == 1
	q.Op, q.Granularity = model.MemOp(in.Op%3), pmem2.Granularity(in.Op/3%3)
	q.NonTemporal, q.Threshold = !s.NoMOVNT && s.ISA != platform.ISAGeneric && s.ISA != platform.ISAARM64, platform.DefaultMOVNTThreshold
	if s.MOVNTThreshold != 0 {
		q.Threshold = s.MOVNTThreshold
	}
	if in.Flags%4 != 0 {
		q.Flags = pmem2.MemFlags(in.Flags >> 2)
	}
	if in.Strange > 63 && q.Flags&(pmem2.MemNonTemporal|pmem2.MemWC) != 0 {
		q.Flags &^= pmem2.MemTemporal | pmem2.MemWB | pmem2.MemNoFlush // these exclude each other
	}
	if in.Sync > 247 {
		q.SyncErrno = flushSync[int(in.Sync)%len(flushSync)]
	}
	var n uint64
	switch a := int(in.Length.Anchor) % (len(lengths) + 6); {
	case a < len(lengths):
		n = lengths[a]
	case a == len(lengths):
		n = q.Threshold
	case a == len(lengths)+1:
		n = in.Length.Raw % arena
	case a == len(lengths)+2:
		n = in.Length.Raw % (arena / 8)
	case a == len(lengths)+3:
		n = in.Length.Raw % (arena / 64)
	default:
		n = in.Length.Raw % 80
	}
	if n = beside(n, in.Length); n > arena {
		n %= arena
	}
	t.length = n
	t.place(in, arena)
	q.Length, q.Source = n, n
	switch in.Strange {
	case 2, 4:
		q.Flags |= 64 << (in.Value % 26)
	case 6:
		q.Source = min(n+1, arena-t.src)
	case 8:
		q.Source = max(n, 1) - 1
	case 10, 11, 12:
		t.elsewhere = true
	}
	overlap := t.src < t.dst+n && t.dst < t.src+n
	if q.Op == model.CopyBytes && overlap && !t.elsewhere {
		q.Op = model.MoveBytes // the caller promises that they don't
	}
}

// place says where the ranges lie: at the ends of the arena, beside lines and pages, and a
// source beside the destination.
func (t *memoryTry) place(in *memoryInput, arena uint64) {
	n, most := t.length, arena-t.length
	fit := func(v uint64) uint64 {
		if v > most {
			return v % (most + 1)
		}
		return v
	}
	d, s := in.Dst, in.Src
	switch d.Anchor % 8 {
	case 0:
		t.dst = 0
	case 1:
		t.dst = most
	case 2, 3:
		t.dst = d.Raw % (most + 1)
	case 4:
		t.dst = d.Raw % (arena / 4096) * 4096
	case 5: // to end with a line
		t.dst = d.Raw%(arena/cacheLine)*cacheLine - n
	default:
		t.dst = d.Raw % (arena / cacheLine) * cacheLine
	}
	t.dst = fit(beside(t.dst, d))
	switch s.Anchor % 12 {
	case 0:
		t.src = 0
	case 1:
		t.src = most
	case 2, 3, 4:
		t.src = t.dst
	case 5:
		t.src = t.dst + n
	case 6:
		t.src = t.dst - n
	case 7:
		t.src = t.dst + s.Raw%(n+1)
	case 8:
		t.src = t.dst - s.Raw%(n+1)
	default:
		t.src = s.Raw % (most + 1)
	}
	t.src = fit(beside(t.src, s))
}

// apply is what the model makes of the arena.
func (t *memoryTry) apply(after, before, elsewhere []byte) {
	switch {
	case !t.want.Bytes:
	case t.q.Op == model.SetBytes:
		model.Set(after, t.dst, t.length, t.value)
	case t.elsewhere:
		model.Move(after, elsewhere, t.dst, t.src, t.length)
	default:
		model.Move(after, before, t.dst, t.src, t.length)
	}
}

// call does it.
func (t *memoryTry) call(m *pmem2.Map, arena, elsewhere []byte) error {
	q := &t.q
	from := arena
	if t.elsewhere {
		from = elsewhere
	}
	dst, src := arena[t.dst:t.dst+t.length], from[t.src:t.src+q.Source]
	switch {
	case q.Op == model.SetBytes && t.function:
		return m.MemsetFunc()(dst, t.value, q.Flags)
	case q.Op == model.SetBytes:
		return m.Memset(dst, t.value, q.Flags)
	case q.Op == model.CopyBytes && t.function:
		return m.MemcpyFunc()(dst, src, q.Flags)
	case q.Op == model.CopyBytes:
		return m.Memcpy(dst, src, q.Flags)
	case t.function:
		return m.MemmoveFunc()(dst, src, q.Flags)
	}
	return m.Memmove(dst, src, q.Flags)
}

// run runs an input on the CPU of the host.
func (i *memoryInstance) run(t *memoryTry) (bool, error) {
	t.want = model.Memory(t.q)
	base := uint64(uintptr(unsafe.Pointer(unsafe.SliceData(i.arena))))
	m, err := pmem2.MapFromExisting(t.machine.source, uintptr(base), uint64(len(i.arena)), t.q.Granularity)
	if err != nil {
		return false, err
	}
	t.machine.begin(t.q.SyncErrno)
	result := t.call(m, i.arena, i.elsewhere)
	t.apply(i.want, i.pattern, i.elsewhere)
	switch {
	case model.Of(result) != t.want.Result:
		err = fmt.Errorf("got %v (%v), want %v", model.Of(result), result, t.want.Result)
	case !bytes.Equal(i.arena, i.want):
		err = differ(i.arena, i.want)
	default:
		err = t.compare(model.Extent{Start: base + t.dst, Size: t.length})
	}
	copy(i.arena[t.dst:t.dst+t.length], i.pattern[t.dst:])
	copy(i.want[t.dst:t.dst+t.length], i.pattern[t.dst:])
	return t.want.Bytes, errors.Join(err, m.Delete())
}

// differ says where memory isn't what it must be.
func differ(got, want []byte) error {
	for i := range got {
		if got[i] != want[i] {
			return fmt.Errorf("the byte at %d is %#x, want %#x", i, got[i], want[i])
		}
	}
	return errors.New("the lengths differ")
}

// compare holds what the CPU was asked for against what must be.
func (t *memoryTry) compare(dst model.Extent) error {
	got, want := &t.machine.memoryRecord, &t.want
	var lines, pages []model.Extent
	if want.Flush {
		lines = []model.Extent{dst.Rounded(cacheLine)}
	}
	if want.Sync {
		pages = []model.Extent{dst.Rounded(t.machine.PageSize())}
	}
	switch {
	case got.nonTemporal != want.NonTemporal:
		return fmt.Errorf("stored in a non-temporal way: %t, want %t", got.nonTemporal, want.NonTemporal)
	case got.settles && t.q.Granularity == pmem2.GranularityCacheLine && !want.Flush:
		return errors.New("stored past the cache, or flushed, and nothing asks for it")
	case !slices.Equal(got.lines, lines) && !got.settles:
		return fmt.Errorf("got the lines of %s flushed, want %s, those of %s", extents(got.lines), extents(lines), extents([]model.Extent{dst}))
	case !slices.Equal(got.synced, pages):
		return fmt.Errorf("got msync of %s, want %s", extents(got.synced), extents(pages))
	case want.Fence == model.Fenced && !got.fenced:
		return errors.New("there is no fence behind it")
	case want.Fence == model.NotFenced && got.fences > 0:
		return errors.New("there is a fence that nothing asks for")
	}
	return nil
}

// words say what is tried.
func (t *memoryTry) words() string {
	q := &t.q
	what := [...]string{model.MoveBytes: "memmove", model.CopyBytes: "memcpy", model.SetBytes: "memset"}[q.Op]
	from := fmt.Sprintf("%d bytes from %d on", q.Source, t.src)
	switch {
	case q.Op == model.SetBytes:
		from = fmt.Sprintf("the byte %#x", t.value)
	case t.elsewhere:
		from += " of other memory"
	}
	s := fmt.Sprintf("%s of %s to %d bytes at %d, flags %#x, %v, %s, threshold %d", what, from, q.Length, t.dst, uint32(q.Flags), q.Granularity, t.isa, q.Threshold)
	if q.SyncErrno != 0 {
		s += fmt.Sprintf(", msync answers %v", q.SyncErrno)
	}
	if t.machine != nil {
		s += fmt.Sprintf(", %+v", t.machine.settings)
	}
	return s
}

// memoryRecord is what an operation has asked of the CPU and the kernel.
type memoryRecord struct {
	lines, synced []model.Extent // lines of instructions, pages of msync
	nonTemporal   bool           // there were such stores
	settles       bool           // what was stored waits for a fence alone
	fences        int
	fenced        bool // there is a fence behind all
}

// memoryMachine is the host with other settings: its cache operations are noted and
// executed, msync is noted.
type memoryMachine struct {
	platform.Platform
	memoryRecord
	settings platform.Settings
	source   *pmem2.Source
	ops      [3]*platform.CacheOps
	errno    syscall.Errno // of msync
}

func newMemoryMachine(s platform.Settings) (*memoryMachine, error) {
	host, err := platform.NewHost(s)
	if err != nil {
		return nil, err
	}
	m := &memoryMachine{Platform: host, settings: s}
	for g := range m.ops {
		m.ops[g] = m.noted(host.CacheOps(platform.Granularity(g)))
	}
	m.source, err = pmem2.SourceFromAnon(host.PageSize(), pmem2.On(m))
	return m, err
}

// noted are operations that are executed, and noted.
func (m *memoryMachine) noted(host *platform.CacheOps) *platform.CacheOps {
	ops := *host
	stored := func(n uintptr, nonTemporal, settles bool) {
		if n > 0 {
			m.nonTemporal, m.settles, m.fenced = nonTemporal, settles, false
		}
	}
	flushed := func(p unsafe.Pointer, n uintptr) {
		if n > 0 && host.Instruction != "" {
			m.lines = append(m.lines, model.Extent{Start: uint64(uintptr(p)), Size: uint64(n)}.Rounded(cacheLine))
			m.fenced = false
		}
	}
	fenced := func() { m.fenced, m.fences = true, m.fences+1 }
	ops.Flush = func(p unsafe.Pointer, n uintptr) { host.Flush(p, n); flushed(p, n) }
	ops.Persist = func(p unsafe.Pointer, n uintptr) { host.Persist(p, n); flushed(p, n); fenced() }
	ops.Fence = func() { host.Fence(); fenced() }
	ops.Copy = func(dst, src unsafe.Pointer, n uintptr) { host.Copy(dst, src, n); stored(n, false, false) }
	ops.Set = func(dst unsafe.Pointer, c byte, n uintptr) { host.Set(dst, c, n); stored(n, false, false) }
	ops.CopyNT = func(dst, src unsafe.Pointer, n uintptr) { host.CopyNT(dst, src, n); stored(n, host.NonTemporal, true) }
	ops.SetNT = func(dst unsafe.Pointer, c byte, n uintptr) { host.SetNT(dst, c, n); stored(n, host.NonTemporal, true) }
	return &ops
}

// begin forgets the input before.
func (m *memoryMachine) begin(e syscall.Errno) {
	m.memoryRecord = memoryRecord{lines: m.lines[:0], synced: m.synced[:0]}
	m.errno = e
}

// CacheOps are the operations that are noted.
func (m *memoryMachine) CacheOps(g platform.Granularity) *platform.CacheOps {
	if !g.Valid() {
		return nil
	}
	return m.ops[g]
}

// Msync is msync(2) that does nothing.
func (m *memoryMachine) Msync(addr uintptr, length uint64, _ int) error {
	page := m.PageSize()
	m.synced = append(m.synced, model.Extent{Start: uint64(addr), Size: (length + page - 1) &^ (page - 1)})
	if m.errno != 0 {
		return m.errno
	}
	return nil
}
