package exact_test

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"pmemlab/emu/exact"
)

// These tests run in a program that was built with the overlay, by TestWithOverlay.

func needOverlay(t testing.TB) {
	if !exact.Enabled() {
		t.Skip("built without the overlay; TestWithOverlay runs this test with it")
	}
}

// watch maps n bytes of shared memory and watches it.
func watch(t testing.TB, n int) []byte {
	t.Helper()
	needOverlay(t)
	mem, err := unix.Mmap(-1, 0, n, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED|unix.MAP_ANON)
	if err != nil {
		t.Fatal(err)
	}
	drain(t)
	if err := exact.Watch(addr(mem), uint64(n)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := exact.Unwatch(addr(mem), uint64(n)); err != nil {
			t.Error(err)
		}
		drain(t)
		if err := unix.Munmap(mem); err != nil {
			t.Error(err)
		}
	})
	return mem
}

func addr(b []byte) uintptr { return uintptr(unsafe.Pointer(unsafe.SliceData(b))) }

// at points at a T in b.
func at[T any](b []byte, off int) *T { return (*T)(unsafe.Pointer(&b[off])) }

func drain(t testing.TB) (all []exact.Record) {
	t.Helper()
	if lost := exact.Drain(func(r exact.Record) { all = append(all, r) }); lost != 0 {
		t.Errorf("%d stores lost", lost)
	}
	return all
}

// show prints records for a comparison.
func show(base uintptr, all []exact.Record) (s []string) {
	for _, r := range all {
		late := ""
		if r.Late {
			late = " late"
		}
		s = append(s, fmt.Sprintf("%v +%d size %d %x%s", r.Kind, r.Addr-base, r.Size, r.Data, late))
	}
	return s
}

func wantRecords(t *testing.T, mem []byte, want ...string) {
	t.Helper()
	if got := show(addr(mem), drain(t)); !slices.Equal(got, want) {
		t.Errorf("records:\ngot  %s\nwant %s", strings.Join(got, "\n     "), strings.Join(want, "\n     "))
	}
}

type pair struct{ a, b uint64 }
type big [25]uint32

func TestOrdinaryBuild(t *testing.T) {
	if exact.Enabled() {
		t.Skip("built with the overlay")
	}
	mem := make([]byte, 64)
	if err := exact.Watch(addr(mem), 64); err != nil {
		t.Errorf("Watch: got %v, want nil", err)
	}
	mem[0] = 1
	a, b := exact.Ticket(), exact.Ticket()
	if b != a+1 {
		t.Errorf("tickets: got %d, %d, want numbers that follow each other", a, b)
	}
	if lost := exact.Drain(func(r exact.Record) { t.Errorf("got record %v, want none", r) }); lost != 0 {
		t.Errorf("lost: got %d, want 0", lost)
	}
	if got := exact.Reads(true); got != nil {
		t.Errorf("reads: got %v, want none", got)
	}
	if exact.SetRecording(true) {
		t.Error("SetRecording: got true, want false")
	}
	if err := exact.Unwatch(addr(mem), 64); err != nil {
		t.Errorf("Unwatch: got %v, want nil", err)
	}
}

var zero = 0 // what the compiler doesn't know

func TestKindsOfStores(t *testing.T) {
	for _, row := range []struct {
		name  string
		store func(mem []byte)
		want  []string
	}{
		{"byte", func(m []byte) { m[3] = 7 }, []string{"scalar +3 size 0 07"}},
		{"uint16", func(m []byte) { *at[uint16](m, 2) = 0x1234 }, []string{"scalar +2 size 0 3412"}},
		{"uint64", func(m []byte) { *at[uint64](m, 8) = 0x1122334455667788 }, []string{"scalar +8 size 0 8877665544332211"}},
		{"unaligned", func(m []byte) { *at[uint64](m, 61) = 0x1122334455667788 }, []string{"scalar +61 size 0 8877665544332211"}},
		{"complex", func(m []byte) { *at[complex128](m, 8) = 1 + 2i }, []string{"scalar +8 size 0 000000000000f03f0000000000000040"}},
		{"silent", func(m []byte) { *at[uint64](m, 8) = 0 }, []string{"scalar +8 size 0 00"}},
		{"twice", func(m []byte) { *at[uint64](m, 8) = 1; *at[uint64](m, 8) = 2 }, []string{"scalar +8 size 0 01", "scalar +8 size 0 02"}},
		{"neighbours", func(m []byte) { *at[uint64](m, 8) = 1; *at[uint64](m, 16) = 2 }, []string{"scalar +8 size 0 01", "scalar +16 size 0 02"}},
		{"backwards", func(m []byte) { *at[uint64](m, 16) = 1; *at[uint64](m, 8) = 2 }, []string{"scalar +16 size 0 01", "scalar +8 size 0 02"}},
		{"last byte", func(m []byte) { m[4095] = 9 }, []string{"scalar +4095 size 0 09"}},
		{"struct", func(m []byte) { *at[pair](m, 0) = pair{1, 2} }, []string{"block +0 size 16 01000000000000000200000000000000"}},
		{"array", func(m []byte) { *at[big](m, 4) = big{1, 24: 2} },
			[]string{"block +4 size 100 01000000" + strings.Repeat("00", 92) + "02000000"}},
		{"copy", func(m []byte) { copy(m[5:], "abc") }, []string{"block +5 size 3 616263"}},
		{"append", func(m []byte) { _ = append(m[:5], "abc"...) }, []string{"block +5 size 3 616263"}},
		{"clear", func(m []byte) { m[6] = 1; clear(m[5 : 8+zero]) }, []string{"scalar +6 size 0 01", "block +5 size 3 000000"}},
		{"48 bytes", func(m []byte) { copy(m, strings.Repeat("x", 48)) }, []string{"block +0 size 48 " + strings.Repeat("78", 48)}},
		{"49 bytes", func(m []byte) { copy(m, strings.Repeat("x", 49)) }, []string{"block +0 size 49 " + strings.Repeat("78", 49)}},
		{"read", func(m []byte) {
			storeRead(m[5:])
			m[5] = 0
		}, []string{"block +5 size 1 65", "scalar +5 size 0 00"}},
		{"bytes in a loop", func(m []byte) {
			for i := range 2 {
				m[i] = 1
			}
		}, []string{"scalar +0 size 0 01", "scalar +1 size 0 01"}},
		{"PutUint64", func(m []byte) { binary.LittleEndian.PutUint64(m[1:], 5) }, []string{"block +1 size 8 0500000000000000"}},
		{"PutUint16, big endian", func(m []byte) { binary.BigEndian.PutUint16(m[1:], 5) }, []string{"block +1 size 2 0005"}},
		{"PutUint32 twice in a line", func(m []byte) { binary.LittleEndian.PutUint32(m, 5); binary.LittleEndian.PutUint32(m[4:], 6) },
			[]string{"block +0 size 4 05000000", "block +4 size 4 06000000"}},
		{"PutUint64 through an interface", func(m []byte) { order[zero].PutUint64(m, 5) }, []string{"block +0 size 8 0500000000000000"}},
		{"store, add", func(m []byte) { atomic.StoreUint64(at[uint64](m, 8), 3); atomic.AddUint32(at[uint32](m, 8), 2) },
			[]string{"atomic +8 size 8 0300000000000000", "atomic +8 size 4 05000000"}},
		{"swap, and, or", func(m []byte) {
			atomic.SwapUint32(at[uint32](m, 8), 7)
			atomic.AndUint32(at[uint32](m, 8), 6)
			atomic.OrUint64(at[uint64](m, 8), 8)
		}, []string{"atomic +8 size 4 07000000", "atomic +8 size 4 06000000", "atomic +8 size 8 0e00000000000000"}},
		{"compare and swap", func(m []byte) {
			atomic.CompareAndSwapUint32(at[uint32](m, 8), 0, 1)
			atomic.CompareAndSwapUint64(at[uint64](m, 8), 5, 6)
		}, []string{"atomic +8 size 4 01000000"}},
		{"method", func(m []byte) { at[atomic.Int64](m, 8).Add(-1) }, []string{"atomic +8 size 8 ffffffffffffffff"}},
	} {
		t.Run(row.name, func(t *testing.T) {
			mem := watch(t, 4096)
			row.store(mem)
			wantRecords(t, mem, row.want...)
		})
	}
}

var order = []binary.ByteOrder{binary.LittleEndian}

// TestAtomicResults compares the results of the recorded operations with those of the same
// on memory that isn't watched.
func TestAtomicResults(t *testing.T) {
	mem := watch(t, 4096)
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	var plain [2]uint64
	for i := range 2000 {
		v, w := r.Uint64()&0xff00ff00ff, r.Uint64()&1
		run := func(p *uint64) (res []any) {
			p32 := (*uint32)(unsafe.Pointer(p))
			switch i % 14 {
			case 0:
				res = append(res, atomic.LoadUint32(p32))
			case 1:
				atomic.StoreUint32(p32, uint32(v))
			case 2:
				res = append(res, atomic.SwapUint32(p32, uint32(v)))
			case 3:
				res = append(res, atomic.AddUint32(p32, uint32(v)))
			case 4:
				res = append(res, atomic.AndUint32(p32, uint32(v)))
			case 5:
				res = append(res, atomic.OrUint32(p32, uint32(v)))
			case 6:
				res = append(res, atomic.CompareAndSwapUint32(p32, *p32+uint32(w), uint32(v)))
			case 7:
				res = append(res, atomic.LoadUint64(p))
			case 8:
				atomic.StoreUint64(p, v)
			case 9:
				res = append(res, atomic.SwapUint64(p, v))
			case 10:
				res = append(res, atomic.AddUint64(p, v))
			case 11:
				res = append(res, atomic.AndUint64(p, v))
			case 12:
				res = append(res, atomic.OrUint64(p, v))
			case 13:
				res = append(res, atomic.CompareAndSwapUint64(p, *p+w, v))
			}
			return append(res, *p)
		}
		if got, want := run(at[uint64](mem, 64)), run(&plain[0]); !slices.Equal(got, want) {
			t.Fatalf("operation %d: got %v, want %v", i, got, want)
		}
	}
}

func TestCallers(t *testing.T) {
	mem := watch(t, 4096)
	for _, store := range []func(){
		func() { storeByte(mem) },
		func() { storeCopy(mem) },
		func() { storeAtomic(mem) },
		func() { storeClear(mem) },
	} {
		store()
		for _, r := range drain(t) {
			frames := runtime.CallersFrames(r.PCs[:])
			f, _ := frames.Next()
			for strings.HasPrefix(f.Function, "sync/atomic.") {
				f, _ = frames.Next()
			}
			up, _ := frames.Next()
			if !strings.HasPrefix(f.Function, "pmemlab/emu/exact_test.store") || !strings.HasSuffix(f.File, "exact_linux_test.go") {
				t.Errorf("innermost caller of %v: got %s %s:%d, want a function store…", r.Kind, f.Function, f.File, f.Line)
			}
			if !strings.HasPrefix(up.Function, "pmemlab/emu/exact_test.TestCallers.func") {
				t.Errorf("caller of %s: got %s, want a function in TestCallers", f.Function, up.Function)
			}
		}
	}
}

// TestCallersInRuntime: those don't come first.
func TestCallersInRuntime(t *testing.T) {
	mem := watch(t, 4096)
	storeRead(mem)
	all := drain(t)
	if len(all) != 1 {
		t.Fatalf("got %v, want one record", show(addr(mem), all))
	}
	if f, _ := runtime.CallersFrames(all[0].PCs[:]).Next(); !strings.HasPrefix(f.Function, "syscall.") {
		t.Errorf("innermost caller: got %s, want a function of package syscall", f.Function)
	}
}

// storeRead reads the byte 'e' from a pipe into m.
func storeRead(m []byte) {
	r, w, err := os.Pipe()
	if err != nil {
		panic(err)
	}
	defer r.Close()
	w.WriteString("e")
	w.Close()
	if _, err := r.Read(m); err != nil {
		panic(err)
	}
}

//go:noinline
func storeByte(m []byte) { m[0] = 1 }

//go:noinline
func storeCopy(m []byte) { copy(m, "abcdefgh") }

//go:noinline
func storeAtomic(m []byte) { at[atomic.Uint32](m, 0).Store(4) }

//go:noinline
func storeClear(m []byte) { clear(m[:20+zero]) }

// TestLastStores are those that no later action of their goroutine finishes.
func TestLastStores(t *testing.T) {
	mem := watch(t, 4096)
	var stored, leave atomic.Int32
	for i := range 8 {
		go func() {
			p := at[uint64](mem, 64*i)
			// Nothing here finishes the store but the drain: the goroutine spins in
			// code that has no hooks.
			storeAndSpin(p, uint64(i)+100, &stored, &leave)
		}()
	}
	for loadRaw(&stored) != 8 {
		runtime.Gosched()
	}
	got := map[uintptr]uint64{}
	for _, r := range drain(t) {
		got[r.Addr-addr(mem)] = uint64(r.Data[0])
	}
	addRaw(&leave)
	for i := range 8 {
		if got[uintptr(64*i)] != uint64(i)+100 {
			t.Errorf("store of goroutine %d: got %d, want %d", i, got[uintptr(64*i)], i+100)
		}
	}
	for loadRaw(&stored) != 16 {
		runtime.Gosched()
	}
	if late := drain(t); len(late) != 0 {
		t.Errorf("after all is done: got %v, want nothing late", show(addr(mem), late))
	}
}

// The race detector's calls finish stores; these have none.

//go:norace
//go:noinline
func loadRaw(p *atomic.Int32) int32 { return *(*int32)(unsafe.Pointer(p)) }

//go:norace
//go:noinline
func addRaw(p *atomic.Int32) { *(*int32)(unsafe.Pointer(p))++ }

var rawMu sync.Mutex

func storeAndSpin(p *uint64, v uint64, stored, leave *atomic.Int32) {
	*p = v
	spin(stored, leave)
}

//go:norace
func spin(stored, leave *atomic.Int32) {
	casAdd((*int32)(unsafe.Pointer(stored)))
	for loadRaw(leave) == 0 {
		runtime.Gosched()
	}
	casAdd((*int32)(unsafe.Pointer(stored)))
}

//go:norace
//go:noinline
func casAdd(p *int32) { atomic.AddInt32(p, 1) }

// TestValuesUnderLock: each goroutine overwrites what another has stored, so that a value
// that is read too late is another's.
func TestValuesUnderLock(t *testing.T) {
	mem := watch(t, 4096)
	for name, pass := range map[string]func() (acquire, release func()){
		"mutex": func() (func(), func()) { return rawMu.Lock, rawMu.Unlock },
		"channel": func() (func(), func()) {
			c := make(chan bool, 1)
			c <- true
			return func() { <-c }, func() { c <- true }
		},
		"unbuffered channel": func() (func(), func()) {
			c := make(chan bool)
			go func() {
				for range 4*300 + 1 {
					c <- true
					<-c
				}
			}()
			return func() { <-c }, func() { c <- true }
		},
	} {
		t.Run(name, func(t *testing.T) {
			acquire, release := pass()
			p := at[uint64](mem, 128)
			*p = 0
			drain(t)
			var wg sync.WaitGroup
			for range 4 {
				wg.Go(func() {
					for range 300 {
						acquire()
						*p = *p + 1
						release()
					}
				})
			}
			wg.Wait()
			all := drain(t)
			if len(all) != 1200 {
				t.Fatalf("got %d records, want 1200", len(all))
			}
			var word [8]byte
			for i, r := range all {
				copy(word[:], r.Data)
				if got := binary.LittleEndian.Uint64(word[:]); got != uint64(i)+1 {
					t.Fatalf("store %d: got %d, want %d", i, got, i+1)
				}
			}
		})
	}
}

func TestTicketOrdersStores(t *testing.T) {
	mem := watch(t, 4096)
	mem[0] = 1
	a := exact.Ticket()
	mem[0] = 2
	b := exact.Ticket()
	all := drain(t)
	if len(all) != 2 || all[0].Seq >= a || all[1].Seq <= a || all[1].Seq >= b {
		t.Errorf("got records %+v around tickets %d and %d, want store, ticket, store, ticket", all, a, b)
	}
	// A ticket takes the content: what isn't instrumented may store next.
	mem[8] = 1
	exact.Ticket()
	storeRaw(&mem[8], 2)
	wantRecords(t, mem, "scalar +8 size 0 01")
}

//go:norace
//go:noinline
func storeRaw(p *byte, v byte) { *p = v }
