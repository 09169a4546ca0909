package fuzz

import (
	"math/rand/v2"
	"testing"

	"pmemlab/emu"
	"pmemlab/pmem2/platform"
	"pmemlab/pmem2/platform/ledger"
)

// TestReservationForReal runs sequences where memory is really mapped: the kernel of the host
// answers as the address space of the target does.
func TestReservationForReal(t *testing.T) {
	var held *ledger.Ledger
	i, err := newSpaceInstance(func(e *emu.Machine) platform.Platform {
		held = ledger.New(e)
		return held
	})
	if err != nil {
		t.Fatal(err)
	}
	i.next = nextReservationStep
	mapped := 0
	const n = 600
	for k := range n {
		input := Reservation.Generate(rand.New(rand.NewPCG(11, uint64(k))))
		ok, err := i.Run(input)
		if err != nil {
			t.Fatalf("input %d: %v", k, err)
		}
		if ok {
			mapped++
		}
		if left := held.Outstanding(); len(left) != 0 {
			t.Fatalf("input %d leaves %v: %s", k, left, i.words())
		}
	}
	if mapped < n/10 {
		t.Errorf("%d of %d inputs map something into a reservation", mapped, n)
	}
	if err := i.Close(); err != nil {
		t.Error(err)
	}
}
