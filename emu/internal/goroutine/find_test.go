package goroutine

import (
	"runtime"
	"testing"
)

// On the systems that have assembly, the fast ways have to be found: else a new version of
// Go would make everything slow unnoticed.
func TestFound(t *testing.T) {
	ID()
	if !fast {
		t.Skip("no assembly for " + runtime.GOOS + "/" + runtime.GOARCH)
	}
	if off := found.goid.Load(); off == 0 {
		t.Error("the offset of the number: got none")
	}
	if n := found.frames.Load(); n < 1 {
		t.Errorf("frames between: got %d, want 1 at least", n)
	}
}

// The slow ways give the same.
func TestSlow(t *testing.T) {
	if got, want := parseID(), ID(); got != want {
		t.Errorf("parseID: got %d, want %d", got, want)
	}
	var quick [Depth]uintptr
	Callers(0, &quick)
	slow := slowCallers(0)
	if got, want := entry(slow[0]), entry(quick[0]); got != want || got == 0 {
		t.Errorf("slowCallers: got %#x, want %#x", got, want)
	}
	defer found.frames.Store(found.frames.Swap(-1))
	defer found.goid.Store(found.goid.Swap(0))
	var again [Depth]uintptr
	Callers(0, &again)
	if got, want := entry(again[0]), entry(quick[0]); got != want {
		t.Errorf("Callers by the runtime: got %#x, want %#x", got, want)
	}
	Callers(1, &again)
	if got, want := entry(again[0]), entry(quick[1]); got != want {
		t.Errorf("Callers by the runtime, skip 1: got %#x, want %#x", got, want)
	}
	if got, want := ID(), parseID(); got != want {
		t.Errorf("ID by the runtime: got %d, want %d", got, want)
	}
}
