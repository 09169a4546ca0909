package appendlog

import (
	"bytes"
	"slices"

	"pmemlab/emu/examples/pmem"
)

// NewCase is a life of a log in one file: n batches of records. Of 4096 bytes, 8 batches
// never fill it.
func NewCase(seed uint64, n int) pmem.Case {
	r := pmem.Rand(seed)
	batches, states := make([][][]byte, n), make([][][]byte, n+1)
	for i := range batches {
		for range 1 + r.IntN(3) {
			batches[i] = append(batches[i], pmem.Fill(r, r.IntN(100)))
		}
		states[i+1] = slices.Concat(states[i], batches[i])
	}
	return pmem.Steps(
		func(files []pmem.Memory) (*Log, error) { return Open(files[0]) },
		n, func(l *Log, i int) error { return l.Append(batches[i]...) },
		func(l *Log) [][]byte { return slices.Collect(l.All()) },
		states, func(a, b [][]byte) bool { return slices.EqualFunc(a, b, bytes.Equal) })
}
