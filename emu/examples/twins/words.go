package twins

import (
	"encoding/binary"
	"fmt"
	"slices"

	"pmemlab/emu/examples/pmem"
	"pmemlab/pmem2"
)

// Words is an array of words. They are independent of each other: after a power failure
// in the middle of a change of several, each has its old or its new value.
type Words struct{ mem pmem.Memory }

// WordChange is the new value of a word.
type WordChange struct{ Index, Value uint64 }

// Set changes words: a batch, in which none waits for the one before, and one drain. The
// order in which they become durable doesn't matter: none is promised before the end.
func (w Words) Set(changes []WordChange) error {
	for _, c := range changes {
		var word [8]byte
		binary.NativeEndian.PutUint64(word[:], c.Value)
		if err := w.mem.Memcpy(w.mem.Bytes()[8*c.Index:8*c.Index+8], word[:], pmem2.MemNoDrain); err != nil {
			return err
		}
	}
	return w.mem.Drain()
}

// Save writes all words, changed or not, from the first on, and persists them: stores that
// change nothing, and lines that are flushed with the content that they had, are waste at
// worst.
func (w Words) Save(values []uint64) error {
	for i, v := range values {
		pmem.Store(w.mem.Bytes(), uint64(8*i), v)
	}
	return w.mem.Persist(w.mem.Bytes()[:8*len(values)])
}

// BatchCase is a life of Words in one file: Set is called n times.
func BatchCase(seed uint64, n int) pmem.Case {
	return wordsCase(seed, n, 8, func(w Words, from, to []uint64) error {
		var changed []WordChange
		for i := range to {
			if from[i] != to[i] {
				changed = append(changed, WordChange{uint64(i), to[i]})
			}
		}
		return w.Set(changed)
	})
}

// SilentCase is a life of Words in one file: Save is called n times.
func SilentCase(seed uint64, n int) pmem.Case {
	return wordsCase(seed, n, 2, func(w Words, _, to []uint64) error { return w.Save(to) })
}

// wordsCase changes up to most of 32 words in each step.
func wordsCase(seed uint64, n, most int, do func(w Words, from, to []uint64) error) pmem.Case {
	const words = 32
	r := pmem.Rand(seed)
	states := make([][]uint64, n+1)
	states[0] = make([]uint64, words)
	for i := range n {
		states[i+1] = append([]uint64(nil), states[i]...)
		for range 1 + r.IntN(most) {
			states[i+1][r.IntN(words)] = r.Uint64()
		}
	}
	open := func(files []pmem.Memory) (Words, error) {
		if len(files[0].Bytes()) < 8*words {
			return Words{}, fmt.Errorf("twins: %d bytes, %d are needed", len(files[0].Bytes()), 8*words)
		}
		return Words{files[0]}, nil
	}
	c := pmem.Steps(open, n, func(w Words, i int) error { return do(w, states[i], states[i+1]) },
		func(Words) struct{} { return struct{}{} }, make([]struct{}, n+1), func(_, _ struct{}) bool { return true })
	c.Check = func(files []pmem.Memory, acks []string) error {
		for i := range words {
			old, next := states[len(acks)][i], states[min(len(acks)+1, n)][i]
			got := pmem.Load(files[0].Bytes(), uint64(8*i))
			if got == old || got == next {
				continue
			}
			kind := pmem.ErrTorn
			if slices.ContainsFunc(states[:len(acks)], func(s []uint64) bool { return s[i] == got }) {
				kind = pmem.ErrLost
			}
			return fmt.Errorf("%w: word %d is %#x after %d operations, want %#x or, with the next, %#x", kind, i, got, len(acks), old, next)
		}
		return nil
	}
	return c
}
