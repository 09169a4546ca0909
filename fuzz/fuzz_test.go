package fuzz

import (
	"math/rand/v2"
	"testing"
	"time"
)

// native is the native target of t: the coverage engine makes its inputs.
func native(f *testing.F, t Target) {
	if t.Seeds != nil {
		for _, s := range t.Seeds() {
			f.Add(s)
		}
	}
	f.Add([]byte{})
	i, err := t.New()
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() {
		if err := i.Close(); err != nil {
			f.Error(err)
		}
	})
	f.Fuzz(func(tt *testing.T, input []byte) {
		if _, err := i.Run(input); err != nil {
			tt.Errorf("%v\n%s", err, Reproducer(t.Name, input))
		}
	})
}

func FuzzEmpty(f *testing.F) { native(f, Empty) }
func FuzzMap(f *testing.F)   { native(f, Map) }

// TestGenerated runs the first inputs of the fast generator.
func TestGenerated(t *testing.T) {
	for _, target := range Targets() {
		t.Run(target.Name, func(t *testing.T) {
			i, err := target.New()
			if err != nil {
				t.Fatal(err)
			}
			accepted, n := 0, 300000
			start := time.Now()
			for k := range n {
				input := target.Generate(rand.New(rand.NewPCG(1, uint64(k))))
				ok, err := i.Run(input)
				if err != nil {
					t.Fatalf("%v\n%s", err, Reproducer(target.Name, input))
				}
				if ok {
					accepted++
				}
			}
			t.Logf("%d of %d, %v each", accepted, n, time.Since(start)/time.Duration(n))
			if err := i.Close(); err != nil {
				t.Error(err)
			}
		})
	}
}
