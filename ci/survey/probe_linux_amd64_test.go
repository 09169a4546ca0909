package survey

import (
	"runtime"
	"runtime/debug"
	"testing"

	"pmemlab/pmem2/platform"
)

func TestProbes(t *testing.T) {
	end, err := catchFaults()
	if err != nil {
		t.Fatal(err)
	}
	k := platform.Host()
	addr, err := k.Mmap(0, 4*4096, platform.ProtRead|platform.ProtWrite, platform.MapPrivate|platform.MapAnonymous, -1, 0)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name  string
		probe func(uintptr) uint64
		want  string
	}{{"load", load, "ok"}, {"store", store, "ok"}} {
		if got := faultText(c.probe(addr)); got != c.want {
			t.Errorf("%s: got %s, want %s", c.name, got, c.want)
		}
	}
	if got := *(*byte)(platform.Pointer(addr)); got != 0x5a {
		t.Errorf("store wrote %#x, want 0x5a", got)
	}
	if err := k.Munmap(addr, 4*4096); err != nil {
		t.Fatal(err)
	}
	for range 100 { // goroutines on other threads, with signal stacks of their own
		done := make(chan string)
		go func() {
			runtime.LockOSThread()
			done <- faultText(load(addr)) + ", " + faultText(store(addr+5000))
		}()
		if got := <-done; got != "SIGSEGV code 1, SIGSEGV code 1" {
			t.Fatalf("unmapped: got %s", got)
		}
	}
	// All other faults are still Go's.
	func() {
		defer func() {
			if recover() == nil {
				t.Error("a nil pointer was no panic")
			}
		}()
		var p *int
		*p = 1
	}()
	func() {
		defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
		defer func() {
			if recover() == nil {
				t.Error("a fault was no panic")
			}
		}()
		*(*byte)(platform.Pointer(addr)) = 1
	}()
	if err := end(); err != nil {
		t.Fatal(err)
	}
}
