package emu_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"unsafe"

	"pmemlab/emu"
	"pmemlab/pmem2"
	"pmemlab/pmem2/platform"
)

// What the litmus tests and the random programs share: a machine with memory mapped through
// pmem2, two goroutines that run operations when they are told to, and the set of the
// states that a power failure can leave.

type opKind int

const (
	opStore   opKind = iota // what a compiler makes of an assignment
	opCopy                  // the machine's copy with ordinary stores
	opCopyNT                // and with non-temporal ones
	opFlush                 // the machine's best instruction, or DC CVAP
	opCLFlush               // CLFLUSH
	opFence
	opPersist
	opMsync // of the pages of the range
	opLook
	opKinds
)

var opNames = [opKinds]string{"store", "copy", "copy-nt", "flush", "clflush", "fence", "persist", "msync", "look"}

// litmusOp is an operation of goroutine g, 0 or 1.
type litmusOp struct {
	kind opKind
	g    int
	off  uint64
	n    uint64 // of flushes
	data []byte // of stores
}

func (o litmusOp) String() string {
	switch o.kind {
	case opStore, opCopy, opCopyNT:
		return fmt.Sprintf("g%d %s %#x=%x", o.g, opNames[o.kind], o.off, o.data)
	case opFence, opLook:
		return fmt.Sprintf("g%d %s", o.g, opNames[o.kind])
	}
	return fmt.Sprintf("g%d %s [%#x,+%d)", o.g, opNames[o.kind], o.off, o.n)
}

// backing is what the memory is.
type backing int

const (
	onDevDax  backing = iota
	onDaxFile         // MAP_SYNC
	onVirtio          // DAX without MAP_SYNC
	onPages           // a file in the page cache
)

// rig is a machine with memory to run programs on. All of it is zero and durable before each.
type rig struct {
	m       *emu.Machine
	path    string // of the object
	mp      *pmem2.Map
	mem     []byte
	g       platform.Granularity
	ops     *platform.CacheOps
	clflush *platform.CacheOps
	threads [2]chan func()
	done    chan struct{}
	used    []uint64 // offsets of the lines that programs use
}

const rigSize = 2 << 20

func newRig(t testing.TB, cfg emu.Config, on backing) *rig {
	t.Helper()
	m := emu.NewMachine(cfg)
	r := &rig{m: m, done: make(chan struct{}), g: platform.GranularityCacheLine}
	if on == onDevDax {
		dax, mp := mapDax(t, m, rigSize)
		r.path, r.mp = dax.Path(), mp
	} else {
		fs := m.AddFS(emu.FS{Size: 16 << 20, DAX: on != onPages, VirtioPmem: on == onVirtio})
		r.path, r.mp = fs.Path("f"), mapFile(t, m, fs, rigSize)
	}
	if on == onPages {
		r.g = platform.GranularityPage
	}
	r.mem = r.mp.Bytes()
	r.ops = m.CacheOps(r.g)
	host, err := platform.NewHost(platform.Settings{NoCLWB: true, NoCLFLUSHOPT: true})
	if err != nil {
		t.Fatal(err)
	}
	r.clflush = m.CacheOpsOf(host, r.g)
	for i := range r.threads {
		r.threads[i] = make(chan func())
		go func() {
			for f := range r.threads[i] {
				f()
				r.done <- struct{}{}
			}
		}()
	}
	t.Cleanup(func() {
		for _, c := range r.threads {
			close(c)
		}
		if err := r.mp.Delete(); err != nil {
			t.Error(err)
		}
		if err := m.Shutdown(); err != nil {
			t.Error(err)
		}
	})
	return r
}

// mapFile maps all of the new file f, whose name and size are durable.
func mapFile(t testing.TB, m *emu.Machine, fs *emu.FileSystem, size uint64) *pmem2.Map {
	t.Helper()
	f, err := fs.Create("f", size)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := m.Fsync(f.FD()); err != nil {
		t.Fatal(err)
	}
	return mapOpen(t, m, f, pmem2.Shared)
}

func mapOpen(t testing.TB, m *emu.Machine, f *emu.File, sharing pmem2.Sharing) *pmem2.Map {
	t.Helper()
	src, err := pmem2.SourceFromFD(f.FD(), pmem2.On(m))
	if err != nil {
		t.Fatal(err)
	}
	cfg := pmem2.NewConfig()
	if err := cfg.SetRequiredStoreGranularity(pmem2.GranularityPage); err != nil {
		t.Fatal(err)
	}
	if err := cfg.SetSharing(sharing); err != nil {
		t.Fatal(err)
	}
	mp, err := pmem2.NewMap(cfg, src)
	if err != nil {
		t.Fatal(err)
	}
	return mp
}

// on has goroutine g run f.
func (r *rig) on(g int, f func()) {
	r.threads[g] <- f
	<-r.done
}

func (r *rig) at(off uint64) unsafe.Pointer { return unsafe.Pointer(&r.mem[off]) }

func (r *rig) do(t testing.TB, o litmusOp) {
	r.on(o.g, func() {
		n := uintptr(len(o.data))
		switch o.kind {
		case opStore:
			copy(r.mem[o.off:], o.data)
		case opCopy:
			r.ops.Copy(r.at(o.off), unsafe.Pointer(&o.data[0]), n)
		case opCopyNT:
			r.ops.CopyNT(r.at(o.off), unsafe.Pointer(&o.data[0]), n)
		case opFlush:
			r.ops.Flush(r.at(o.off), uintptr(o.n))
		case opCLFlush:
			r.clflush.Flush(r.at(o.off), uintptr(o.n))
		case opFence:
			r.ops.Fence()
		case opPersist:
			r.ops.Persist(r.at(o.off), uintptr(o.n))
		case opMsync:
			first := o.off &^ 4095
			err := r.m.Msync(uintptr(r.at(first)), o.off+o.n-first, platform.MsSync)
			if err != nil {
				t.Error(err)
			}
		case opLook:
			r.m.Look()
		}
	})
}

// reset makes all lines that programs use zero, and durable.
func (r *rig) reset(t testing.TB) {
	r.on(1, r.ops.Fence)
	r.on(0, func() {
		for _, off := range r.used {
			r.ops.Set(r.at(off), 0, 64)
			r.ops.Flush(r.at(off), 64)
		}
		r.ops.Fence()
		if r.g == platform.GranularityPage {
			if err := r.m.Msync(r.mp.Address(), rigSize, platform.MsSync); err != nil {
				t.Error(err)
			}
		}
	})
}

// states calls show with the memory in each of the states that a power failure now could
// leave. It's an error if there aren't as many as Count says, or two of them are the same.
func (r *rig) states(t testing.TB, possible bool, show func(mem []byte)) {
	t.Helper()
	s, err := r.m.CrashStates(emu.CrashOptions{Possible: possible})
	if err != nil {
		t.Fatal(err)
	}
	distinct := map[string]bool{}
	var n uint64
	for img, err := range s.All() {
		if err != nil {
			t.Fatal(err)
		}
		mem, err := img.Bytes(r.path)
		if err != nil {
			t.Fatal(err)
		}
		n++
		distinct[r.content(mem)] = true
		show(mem)
	}
	if n != s.Count() || n != uint64(len(distinct)) || !s.Complete() {
		t.Errorf("All yields %d states, %d of them distinct; Count is %d, Complete %t", n, len(distinct), s.Count(), s.Complete())
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

// content is what the used lines hold.
func (r *rig) content(mem []byte) string {
	b := make([]byte, 0, 64*len(r.used))
	for _, off := range r.used {
		b = append(b, mem[off:off+64]...)
	}
	return string(b)
}

func sortedSet(set map[string]bool) string {
	return strings.Join(slices.Sorted(maps.Keys(set)), " ")
}
