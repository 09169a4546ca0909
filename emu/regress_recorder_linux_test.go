package emu

import (
	"bytes"
	"runtime"
	"runtime/debug"
	"strings"
	"sync"
	"testing"
	"unsafe"

	"pmemlab/pmem2/platform"
)

// Faults that the machine once had in what it keeps while it runs.

// mappedDevice is a machine with a device DAX of 2 MiB that is mapped at at; done gives
// everything back.
func mappedDevice(t *testing.T) (m *Machine, d *DaxDevice, at uintptr, done func()) {
	t.Helper()
	m = NewMachine(Config{})
	d = m.AddDevDax(DevDax{Size: 2 << 20})
	f, err := d.Open(platform.ORdwr)
	if err != nil {
		t.Fatal(err)
	}
	at, err = m.Mmap(0, 2<<20, platform.ProtRead|platform.ProtWrite, platform.MapShared, f.FD(), 0)
	if err != nil {
		t.Fatal(err)
	}
	return m, d, at, func() {
		t.Helper()
		for _, err := range []error{m.Munmap(at, 2<<20), f.Close(), m.Shutdown()} {
			if err != nil {
				t.Error(err)
			}
		}
	}
}

// TestRegressFaultAmidRecord: memory goes bad between the two reads of a line. The goroutine
// recovers, and its place in the order isn't waited for.
func TestRegressFaultAmidRecord(t *testing.T) {
	m, d, at, done := mappedDevice(t)
	ops := m.CacheOps(platform.GranularityCacheLine)
	m.Look()
	m.mu.Lock()
	o, err := d.medium()
	if err != nil {
		t.Fatal(err)
	}
	recovered := make(chan any)
	go func() {
		debug.SetPanicOnFault(true)
		defer func() { recovered <- recover() }()
		for { // until the ring is full, and mu wanted
			ops.Flush(platform.Pointer(at), 1)
		}
	}()
	// It has read the line once when it wants room in the ring.
	for buf := make([]byte, 1<<20); !strings.Contains(string(buf[:runtime.Stack(buf, true)]), "replayFull"); {
		runtime.Gosched()
	}
	if err := m.poison(o, []extent{{0, pageSize}}); err != nil {
		t.Error(err)
	}
	m.mu.Unlock()
	if r := <-recovered; r == nil {
		t.Error("no fault, want one")
	}
	ring := m.rec.ring.Load()
	for n := m.rec.head.Load() + 1; n <= m.rec.tail.Load(); n++ {
		if published(&ring[n%ringSize].ready) != n {
			t.Fatalf("record %d of %d never comes", n, m.rec.tail.Load())
		}
	}
	m.Look()
	done()
}

// TestRegressRunningEnds: what goroutines that are gone have done isn't remembered for ever.
func TestRegressRunningEnds(t *testing.T) {
	const page = pageSize
	m, _, at, done := mappedDevice(t)
	ops := m.CacheOps(platform.GranularityCacheLine)
	src := make([]byte, 256)
	for _, do := range []func(){
		func() { ops.CopyNT(platform.Pointer(at), unsafe.Pointer(&src[0]), 256) },
		func() { ops.CopyNT(platform.Pointer(at+10), unsafe.Pointer(&src[0]), 200) },
		func() { ops.Flush(platform.Pointer(at), page) },
		func() { ops.Persist(platform.Pointer(at+60), 10) },
	} {
		for range 3 {
			var wg sync.WaitGroup
			for range 10 {
				wg.Go(func() { do(); ops.Fence() })
			}
			wg.Wait()
		}
	}
	m.Look()
	if n := len(m.mem.running); n > 0 {
		t.Errorf("%d operations under way, want none: the goroutines are gone", n)
	}
	for _, e := range m.Trace().Events { // whoever they were, they were somebody
		if e.G != 0 && e.Kind.IsFlush() && len(e.Callers) == 0 {
			t.Errorf("event %d has no callers: %v", e.Seq, e.Kind)
		}
	}
	done()
}

// TestRegressReleasedFilesGo: pages are listed as written to only for somebody who takes them,
// and not when their file is gone.
func TestRegressReleasedFilesGo(t *testing.T) {
	m := NewMachine(Config{TraceEvents: -1})
	fs := m.AddFS(FS{Size: 64 << 20, DAX: true})
	ops := m.CacheOps(platform.GranularityCacheLine)
	before := func() {}
	write := func(remove bool) {
		f, err := fs.Create("f", 0)
		if err != nil {
			t.Fatal(err)
		}
		before()
		if _, err := m.Pwrite(f.FD(), bytes.Repeat([]byte{1}, 64<<10), 0); err != nil {
			t.Error(err)
		}
		ops.Fence()
		if err := m.Fsync(f.FD()); err != nil {
			t.Error(err)
		}
		if err := f.Close(); err != nil {
			t.Error(err)
		}
		if !remove {
			return
		}
		if err := fs.Remove("f"); err != nil {
			t.Error(err)
		}
	}
	listed := func() int {
		m.mu.Lock()
		defer m.mu.Unlock()
		return len(m.mem.media.touched)
	}
	write(false)
	if n := listed(); n > 0 {
		t.Errorf("%d pages are listed, want none: nobody takes them", n)
	}
	if err := fs.Remove("f"); err != nil {
		t.Error(err)
	}
	before = func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		m.mem.media.takeTouched(nil)
	}
	write(false)
	before = func() {}
	if n := listed(); n != 16 {
		t.Errorf("%d pages are listed, want 16", n)
	}
	generation := m.mem.media.generation
	if err := fs.Remove("f"); err != nil {
		t.Error(err)
	}
	write(true)
	if n := listed(); n != 0 || m.mem.media.generation == generation {
		t.Errorf("%d pages are listed, want none: the file is gone", n)
	}
	if err := m.Shutdown(); err != nil {
		t.Error(err)
	}
}

// TestRegressListingEnds: the list of pages that nobody takes doesn't grow without bound.
func TestRegressListingEnds(t *testing.T) {
	s := media{lastKey: noPage}
	o := &object{class: classDevDax, size: 1 << 40}
	base := s.place(o, 0)
	line := make([]byte, lineSize)
	s.takeTouched(nil)
	generation := s.generation
	for i := range uint64(maxTouched) {
		s.Write(base+i*pageSize, line)
		s.Write(base+i*pageSize, line)
	}
	if len(s.touched) != maxTouched || s.generation != generation {
		t.Errorf("%d pages are listed, want %d; generation %d, want %d", len(s.touched), maxTouched, s.generation, generation)
	}
	s.Write(base+maxTouched*pageSize, line)
	if len(s.touched) > 0 || s.generation == generation {
		t.Errorf("%d pages are listed and the generation is %d, want none and another one", len(s.touched), s.generation)
	}
	s.takeTouched(nil)
	s.Write(base, line)
	n := 0
	s.takeTouched(func(*object, uint64, *mediaPage) { n++ })
	if n != 1 {
		t.Errorf("%d pages, want 1", n)
	}
}
