package fault_test

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"sync"
	"syscall"
	"testing"

	"pmemlab/emu/fault"
	"pmemlab/pmem2/platform"
)

// machine answers every call with values of its own and keeps what it was asked.
type machine struct {
	asked []string
	mute  bool // keep nothing
}

var errMachine = syscall.EROFS

func (m *machine) ask(name string, args ...any) error {
	if !m.mute {
		m.asked = append(m.asked, fmt.Sprint(name, args))
	}
	return errMachine
}

func (m *machine) Open(p string, f int, mode uint32) (int, error) {
	return 3, m.ask("Open", p, f, mode)
}
func (m *machine) Close(fd int) error              { return m.ask("Close", fd) }
func (m *machine) Unlink(p string) error           { return m.ask("Unlink", p) }
func (m *machine) Ftruncate(fd int, n int64) error { return m.ask("Ftruncate", fd, n) }
func (m *machine) Fsync(fd int) error              { return m.ask("Fsync", fd) }
func (m *machine) GetFL(fd int) (int, error)       { return 4, m.ask("GetFL", fd) }
func (m *machine) Fstat(fd int) (platform.Stat, error) {
	return platform.Stat{Ino: 5}, m.ask("Fstat", fd)
}
func (m *machine) Statx(fd int) (platform.Statx, error) {
	return platform.Statx{Attributes: 6}, m.ask("Statx", fd)
}
func (m *machine) Pread(fd int, b []byte, off int64) (int, error) {
	return 7, m.ask("Pread", fd, b, off)
}
func (m *machine) Pwrite(fd int, b []byte, off int64) (int, error) {
	return 8, m.ask("Pwrite", fd, b, off)
}
func (m *machine) Fallocate(fd int, mode uint32, off, n int64) error {
	return m.ask("Fallocate", fd, mode, off, n)
}
func (m *machine) Fiemap(fd int, start, n uint64, flags uint32, e []platform.FiemapExtent) (int, error) {
	return 9, m.ask("Fiemap", fd, start, n, flags, e)
}
func (m *machine) ARSCapabilities(fd int, addr, n uint64) (platform.ARSCap, error) {
	return platform.ARSCap{Status: 10}, m.ask("ARSCapabilities", fd, addr, n)
}
func (m *machine) ClearError(fd int, addr, n uint64) (uint64, error) {
	return 11, m.ask("ClearError", fd, addr, n)
}
func (m *machine) Mmap(addr uintptr, n uint64, prot, flags, fd int, off int64) (uintptr, error) {
	if m.mute {
		return 12, nil
	}
	return 12, m.ask("Mmap", addr, n, prot, flags, fd, off)
}
func (m *machine) Munmap(addr uintptr, n uint64) error {
	if m.mute {
		return nil
	}
	return m.ask("Munmap", addr, n)
}
func (m *machine) Mremap(addr uintptr, n, newN uint64, flags int, newAddr uintptr) (uintptr, error) {
	return 13, m.ask("Mremap", addr, n, newN, flags, newAddr)
}
func (m *machine) Msync(addr uintptr, n uint64, flags int) error {
	return m.ask("Msync", addr, n, flags)
}
func (m *machine) ReadAttr(p string) (string, error)                { return "14", m.ask("ReadAttr", p) }
func (m *machine) WriteAttr(p, text string) error                   { return m.ask("WriteAttr", p, text) }
func (m *machine) Readlink(p string) (string, error)                { return "15", m.ask("Readlink", p) }
func (m *machine) List(p string) ([]string, error)                  { return []string{"16"}, m.ask("List", p) }
func (m *machine) PageSize() uint64                                 { return 4096 }
func (m *machine) CacheOps(platform.Granularity) *platform.CacheOps { return &machineOps }

var machineOps platform.CacheOps

// arguments makes values for a method, all different and none zero.
func arguments(method reflect.Type) (args []reflect.Value) {
	for i := range method.NumIn() {
		v := reflect.New(method.In(i)).Elem()
		switch v.Kind() {
		case reflect.String:
			v.SetString(fmt.Sprint("path", i))
		case reflect.Slice:
			v.Set(reflect.MakeSlice(v.Type(), 20+i, 20+i))
		default:
			v.Set(reflect.ValueOf(20 + i).Convert(v.Type()))
		}
		args = append(args, v)
	}
	return args
}

// TestEveryMethod calls every method of a wrapped machine that can fail, first
// with nothing in its way, then with a fault.
func TestEveryMethod(t *testing.T) {
	seen := fault.Op(0)
	for method := range reflect.TypeFor[platform.Platform]().Methods() {
		if method.Type.Out(method.Type.NumOut()-1) != reflect.TypeFor[error]() {
			continue
		}
		t.Run(method.Name, func(t *testing.T) {
			args := arguments(method.Type)
			direct := &machine{}
			want := reflect.ValueOf(direct).MethodByName(method.Name).Call(args)

			m := &machine{}
			p := fault.Wrap(m)
			p.StartRecording(0)
			call := reflect.ValueOf(p).MethodByName(method.Name)
			got := call.Call(args)
			for i := range want {
				if !reflect.DeepEqual(got[i].Interface(), want[i].Interface()) {
					t.Errorf("result %d is %v, want %v", i, got[i], want[i])
				}
			}
			if !slices.Equal(m.asked, direct.asked) {
				t.Errorf("the machine was asked %q, want %q", m.asked, direct.asked)
			}

			p.Set(fault.MustParse("(EXDEV)"))
			got = call.Call(args)
			for i, v := range got[:len(got)-1] {
				fd := method.Name == "Open" && v.Int() == -1
				if !v.IsZero() && !fd {
					t.Errorf("with a fault result %d is %v, want the zero value (-1 for a descriptor)", i, v)
				}
			}
			if err := got[len(got)-1].Interface(); err != syscall.EXDEV {
				t.Errorf("with a fault the error is %v of type %T, want the Errno EXDEV", err, err)
			}
			if len(m.asked) != 1 {
				t.Errorf("the fault reached the machine: %q", m.asked[1:])
			}

			log := p.Log()
			if len(log) != 2 {
				t.Fatalf("the log has %d calls, want 2: %v", len(log), log)
			}
			for i, c := range log {
				if c.Seq != i || c.Index != i || c.Injected != (i == 1) ||
					!errors.Is(c.Err, []error{errMachine, syscall.EXDEV}[i]) {
					t.Errorf("call %d is logged as %v", i, c)
				}
				// Each argument that a Call can hold is in there: none is zero.
				fields := 0
				for _, v := range reflect.ValueOf(c).Fields() {
					if !v.IsZero() {
						fields++
					}
				}
				fields -= 2 + 3*i // Op, Err; Seq, Index, Injected
				if lacks := map[string]int{"Open": 1}[method.Name]; fields != len(args)-lacks && method.Name != "Fiemap" {
					t.Errorf("%d arguments in %+v, want %d", fields, c, len(args)-lacks)
				}
			}
			if seen&log[0].Op != 0 || p.Count(log[0].Op) != 2 || p.Count(fault.All) != 2 {
				t.Errorf("kind %v: met before, or counts %d of it and %d of all, want 2",
					log[0].Op, p.Count(log[0].Op), p.Count(fault.All))
			}
			seen |= log[0].Op
		})
	}
	if seen != fault.All {
		t.Errorf("no method is of kind %v", fault.All&^seen)
	}
	if p := fault.Wrap(&machine{}, fault.MustParse("(EIO)")); p.CacheOps(0) != &machineOps || p.PageSize() != 4096 {
		t.Error("CacheOps or PageSize isn't that of the machine")
	}
}

func TestResetAndSet(t *testing.T) {
	m := &machine{}
	p := fault.Wrap(m, fault.MustParse("(EIO (And (Op fsync) (OnIndex 1)))"))
	p.StartRecording(0)
	fsync := func() error { return p.Fsync(3) }
	results := func(n int) (errs []error) {
		for range n {
			errs = append(errs, fsync())
		}
		return errs
	}
	ok, eio := error(errMachine), error(syscall.EIO)
	expect := func(when string, want ...error) {
		t.Helper()
		if got := results(len(want)); !slices.Equal(got, want) {
			t.Errorf("%s: %v, want %v", when, got, want)
		}
	}
	expect("at first", ok, eio, ok)
	p.Reset()
	expect("after Reset", ok, eio, ok)
	if n, log := p.Count(fault.OpFsync), p.Log(); n != 3 || len(log) != 3 || log[0].Seq != 0 {
		t.Errorf("after Reset and 3 calls: counted %d, log %v", n, log)
	}
	p.Set(fault.FailCall(syscall.EIO, 4), fault.FailCall(syscall.EXDEV, 4), fault.FailCall(syscall.EXDEV, 5))
	expect("call 4 since Reset", ok, eio, syscall.EXDEV)
	p.Set()
	p.Reset()
	expect("without plans", ok, ok, ok, ok, ok, ok)
}

func TestRecordingIsBounded(t *testing.T) {
	p := fault.Wrap(&machine{})
	p.StartRecording(2)
	for range 3 {
		p.Fsync(3)
	}
	if log := p.Log(); len(log) != 2 || log[1].Seq != 1 {
		t.Errorf("a log of 2 after 3 calls: %v", log)
	}
	p.StopRecording()
	p.Reset()
	p.Fsync(3)
	if log := p.Log(); len(log) != 0 {
		t.Errorf("recorded after StopRecording: %v", log)
	}
	if n := p.Count(fault.All); n != 1 {
		t.Errorf("counted %d calls after Reset, want 1", n)
	}
}

func TestHook(t *testing.T) {
	m := &machine{}
	p := fault.Wrap(m, fault.FailCall(syscall.EIO, 1))
	var seen []string
	p.SetHook(func(c fault.Call) {
		// Deadlocks if a lock were held; changes later calls alone.
		seen = append(seen, fmt.Sprintf("%v, %d asked, %d counted", c, len(m.asked), p.Count(fault.All)))
		p.Set()
		if c.Seq == 0 {
			p.Set(fault.FailCall(syscall.EIO, 1))
		}
	})
	p.Close(3)
	p.Close(4)
	p.SetHook(nil)
	p.Close(5)
	want := []string{"0 close#0(3) = ok, 0 asked, 1 counted", "1 close#1(4) = EIO (injected), 1 asked, 2 counted"}
	if !slices.Equal(seen, want) {
		t.Errorf("the hook saw %q, want %q", seen, want)
	}
}

// TestConcurrently counts and fails across goroutines: one call and one alone
// is the n-th, and none is lost.
func TestConcurrently(t *testing.T) {
	const goroutines, each = 8, 200
	m := &machine{mute: true}
	p := fault.Wrap(m, fault.MustParse("(EIO (And (Op munmap) (OnIndex 700))) (EXDEV (And (Op mmap) (FromIndex 1500)))"))
	p.StartRecording(goroutines * each)
	p.SetHook(func(fault.Call) {})
	failed := make([]int, goroutines)
	var wg sync.WaitGroup
	for g := range goroutines {
		wg.Go(func() {
			for i := range each {
				if _, err := p.Mmap(0, 4096, 0, 0, -1, 0); err != nil {
					failed[g]++
				}
				if err := p.Munmap(0, 4096); err != nil {
					failed[g]++
				}
				if i%50 == 0 {
					p.Log()
				}
			}
		})
	}
	wg.Wait()
	sum := 0
	for _, n := range failed {
		sum += n
	}
	if want := 1 + goroutines*each - 1500; sum != want {
		t.Errorf("%d calls failed, want %d", sum, want)
	}
	if n := p.Count(fault.Memory); n != 2*goroutines*each {
		t.Errorf("counted %d calls, want %d", n, 2*goroutines*each)
	}
	for i, c := range p.Log() {
		if c.Seq != i || c.Injected != (c.Err != nil) {
			t.Fatalf("entry %d of the log is %v", i, c)
		}
	}
}

func TestPassingOnAllocatesNothing(t *testing.T) {
	p := fault.Wrap(&machine{mute: true})
	if n := testing.AllocsPerRun(100, func() {
		p.Mmap(0, 4096, 0, 0, 3, 0)
		p.Munmap(12, 4096)
	}); n != 0 {
		t.Errorf("Mmap and Munmap allocate %v times, want 0", n)
	}
}

func BenchmarkPassingOn(b *testing.B) {
	m := &machine{mute: true}
	for name, p := range map[string]platform.Platform{
		"bare":    m,
		"wrapped": fault.Wrap(m),
		"plan":    fault.Wrap(m, fault.MustParse("(EIO (And (Op mmap munmap) (Not (FromIndex 0))))")),
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				p.Munmap(12, 4096)
			}
		})
	}
}
