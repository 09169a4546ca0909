package fuzz

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
)

// native is the native target of t: the coverage engine makes its inputs.
func native(f *testing.F, t Target) {
	f.Add([]byte{})
	if t.Seeds != nil {
		for _, s := range t.Seeds() {
			f.Add(s)
		}
	}
	i, err := t.New()
	if err != nil {
		f.Fatal(err)
	}
	var accepted, all uint64
	f.Cleanup(func() {
		if err := i.Close(); err != nil {
			f.Error(err)
		}
		if dir := os.Getenv(CountsVariable); dir != "" {
			text := fmt.Sprintln(accepted, all)
			if err := os.WriteFile(filepath.Join(dir, fmt.Sprint(os.Getpid())), []byte(text), 0o666); err != nil {
				f.Error(err)
			}
		}
	})
	f.Fuzz(func(tt *testing.T, input []byte) {
		ok, err := i.Run(input)
		if err != nil {
			tt.Errorf("%v\n%s", err, Reproducer(t.Name, input))
		}
		all++
		if ok {
			accepted++
		}
	})
}

func FuzzEmpty(f *testing.F) { native(f, Empty) }
func FuzzMap(f *testing.F)   { native(f, Map) }

// TestGenerated runs the first inputs of the fast generator, and sees that what an input does
// doesn't depend on what was before.
func TestGenerated(t *testing.T) {
	for _, target := range Targets() {
		t.Run(target.Name, func(t *testing.T) {
			i, err := target.New()
			if err != nil {
				t.Fatal(err)
			}
			const n = 2000
			accepted := 0
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
			if accepted == 0 {
				t.Errorf("none of %d inputs is accepted", n)
			}
			if err := i.Close(); err != nil {
				t.Error(err)
			}
		})
	}
}
