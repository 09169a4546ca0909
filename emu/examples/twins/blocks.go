package twins

import (
	"bytes"
	"errors"

	"pmemlab/emu/examples/pmem"
	"pmemlab/pmem2"
)

// Blocks is an array of blocks that grows: the number of blocks in the first line, then the
// blocks, which are written with non-temporal stores.
type Blocks struct{ mem pmem.Memory }

// BlockSize is the size of a block in bytes.
const BlockSize = 2 * pmem.Line

// Add adds a block, durably. Nothing is flushed, and nothing is missing: the stores of the copy
// pass the caches, and the drain at its end waits for them.
func (a Blocks) Add(block []byte) error {
	b := a.mem.Bytes()
	n := a.n()
	at := pmem.Line + n*BlockSize
	if len(block) != BlockSize || at+BlockSize > uint64(len(b)) {
		return errors.New("twins: the block has the wrong size, or the array is full")
	}
	if err := a.mem.Memcpy(b[at:at+BlockSize], block, pmem2.MemNonTemporal); err != nil {
		return err
	}
	pmem.Store(b, 0, n+1)
	return a.mem.Persist(b[:8])
}

// n is the number of blocks, no more than there's room for.
func (a Blocks) n() uint64 {
	b := a.mem.Bytes()
	return min(pmem.Load(b, 0), uint64(len(b)-pmem.Line)/BlockSize)
}

// BlocksCase is a life of Blocks in one file: n blocks.
func BlocksCase(seed uint64, n int) pmem.Case {
	r := pmem.Rand(seed)
	states := make([][]byte, n+1)
	for i := range n {
		states[i+1] = append(bytes.Clone(states[i]), pmem.Fill(r, BlockSize)...)
	}
	return pmem.Steps(
		func(files []pmem.Memory) (Blocks, error) { return Blocks{files[0]}, nil },
		n, func(a Blocks, i int) error { return a.Add(states[i+1][i*BlockSize:]) },
		func(a Blocks) []byte { return a.mem.Bytes()[pmem.Line:][:a.n()*BlockSize] },
		states, bytes.Equal)
}
