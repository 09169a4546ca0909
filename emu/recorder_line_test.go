package emu

import (
	"math/rand/v2"
	"testing"
	"unsafe"
)

// TestSameLine compares lines that differ in one bit, in two, in none.
func TestSameLine(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	for range 10_000 {
		var a, b [lineWords]uint64
		for i := range a {
			if rng.IntN(2) > 0 {
				a[i] = rng.Uint64()
			}
		}
		b = a
		for range rng.IntN(3) {
			b[rng.IntN(lineWords)] ^= 1 << rng.IntN(64)
		}
		x, y := lineOf(&a), lineOf(&b)
		if got := sameLine(x, y); got != (a == b) {
			t.Fatalf("%x and %x: the same: %t", a, b, got)
		}
		if copyLine(x, y); a != b {
			t.Fatalf("%x isn't copied: %x", b, a)
		}
	}
}

func lineOf(words *[lineWords]uint64) *[lineSize]byte {
	return (*[lineSize]byte)(unsafe.Pointer(words))
}
