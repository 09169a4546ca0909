package fuzz

import (
	"cmp"
	"debug/elf"
	"errors"
	"fmt"
	"math/bits"
	"os"
	"slices"
	"testing"

	"pmemlab/fuzz/corpus"
	"pmemlab/pmem2/platform"
)

// TestMain does one thing besides running tests: this program, when it is instrumented, is the
// one that knows what an input covers.
func TestMain(m *testing.M) {
	dir := os.Getenv(MinimizeVariable)
	if dir == "" {
		os.Exit(m.Run())
	}
	if err := minimizeAll(dir); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// minimizeAll removes from the corpora in dir what covers nothing that a shorter input doesn't.
func minimizeAll(dir string) error {
	counters, err := coverage()
	if err != nil {
		return err
	}
	for _, t := range Targets() {
		entries, err := corpus.Read(dir, t.Name)
		if err != nil {
			return err
		}
		i, err := t.New()
		if err != nil {
			return err
		}
		needless := covered(i, entries, counters)
		if err := i.Close(); err != nil {
			return err
		}
		for _, e := range needless {
			if err := os.Remove(e.Path); err != nil {
				return err
			}
		}
		fmt.Printf("%s %d %d\n", t.Name, len(entries), len(entries)-len(needless))
	}
	return nil
}

// covered returns those of the entries that cover nothing new, the shorter ones being first.
// Like the engine it tells apart how often an edge is passed, by powers of two.
func covered(i Instance, entries []corpus.Entry, counters []byte) (needless []corpus.Entry) {
	slices.SortStableFunc(entries, func(a, b corpus.Entry) int {
		return cmp.Or(cmp.Compare(len(a.Input), len(b.Input)), cmp.Compare(string(a.Input), string(b.Input)))
	})
	seen := make([]byte, len(counters))
	for k, e := range append([]corpus.Entry{{}}, entries...) { // what any input covers is no news
		clear(counters)
		_, err := i.Run(e.Input)
		news := err != nil // what fails is kept
		for at, n := range counters {
			if n == 0 {
				continue
			}
			if bucket := byte(1) << (bits.Len8(n) - 1); seen[at]&bucket == 0 {
				seen[at] |= bucket
				news = true
			}
		}
		if k > 0 && !news {
			needless = append(needless, e)
		}
	}
	return needless
}

// coverage are the counters of this program's edges, as the compiler has put them in for the
// engine: a section of the program.
func coverage() ([]byte, error) {
	f, err := elf.Open("/proc/self/exe")
	if err != nil {
		return nil, err
	}
	defer f.Close()
	s := f.Section(".go.fuzzcntrs")
	if s == nil || f.Type != elf.ET_EXEC {
		return nil, errors.New("this program isn't instrumented: go test -c -fuzz=. makes one that is")
	}
	return platform.Bytes(uintptr(s.Addr), s.Size), nil
}
