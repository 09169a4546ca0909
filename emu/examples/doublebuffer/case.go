package doublebuffer

import (
	"bytes"

	"pmemlab/emu/examples/pmem"
)

// NewCase is a life of a double buffer in one file: n values are published.
func NewCase(seed uint64, n int) pmem.Case {
	const size = 160
	r := pmem.Rand(seed)
	states := make([][]byte, n+1)
	lengths := make([]int, n)
	states[0] = make([]byte, size)
	for i := range n {
		lengths[i] = r.IntN(size + 1)
		states[i+1] = make([]byte, size)
		copy(states[i+1], pmem.Fill(r, lengths[i]))
	}
	return pmem.Steps(
		func(files []pmem.Memory) (*Buffer, error) { return Open(files[0], size) },
		n, func(d *Buffer, i int) error { return d.Publish(states[i+1][:lengths[i]]) },
		(*Buffer).Value, states, bytes.Equal)
}
