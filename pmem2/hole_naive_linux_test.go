//go:build naiveplacement

package pmem2_test

import "testing"

// TestHoleLosesMemory: mapping straight over the placeholder loses another
// thread's page, every time. It proves that the test of the right order, which
// does the same, could fail.
func TestHoleLosesMemory(t *testing.T) {
	const rounds = 100
	lost := 0
	for range rounds {
		t.Run("", func(t *testing.T) {
			if mapBesideSquatter(t).lost() {
				lost++
			}
		})
	}
	if lost != rounds {
		t.Errorf("the naive order lost the other thread's page in %d of %d rounds, want all", lost, rounds)
	}
}
