package twofile

import (
	"pmemlab/emu/examples/pmem"
)

// NewCase is a life of a pair of files: n transactions, each with writes to both.
func NewCase(seed uint64, n int) pmem.Case {
	const size = 192 // of each file's data that is written to
	r := pmem.Rand(seed)
	transactions, states := make([][]Write, n), make([][2][size]byte, n+1)
	for i := range transactions {
		states[i+1] = states[i]
		for f := range 2 + r.IntN(2) {
			// No two writes of a transaction overlap: the first would be flushed for nothing.
			w := Write{File: f % 2, Off: uint64(f/2*size/2 + r.IntN(20)), Data: pmem.Fill(r, 1+r.IntN(size/2-20))}
			copy(states[i+1][w.File][w.Off:], w.Data)
			transactions[i] = append(transactions[i], w)
		}
	}
	return pmem.Steps(
		func(files []pmem.Memory) (*Store, error) { return Open(files[0], files[1]) },
		n, func(s *Store, i int) error { return s.Commit(transactions[i]...) },
		func(s *Store) [2][size]byte { return [2][size]byte{[size]byte(s.Data(0)), [size]byte(s.Data(1))} },
		states, func(a, b [2][size]byte) bool { return a == b })
}
