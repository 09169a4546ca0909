package examples

import (
	"pmemlab/emu/examples/appendlog"
	"pmemlab/emu/examples/doublebuffer"
	"pmemlab/emu/examples/hashtable"
	"pmemlab/emu/examples/pmem"
	"pmemlab/emu/examples/twins"
	"pmemlab/emu/examples/twofile"
)

// Example is a program with its crash test.
type Example struct {
	Name    string
	Package string // the folder of its source
	Files   int    // how many it has
	// NewCase makes a life of it with some operations, up to MaxOps: the same for the
	// same seed.
	NewCase func(seed uint64, ops int) pmem.Case
}

// FileSize is the size of each file of an example in bytes, in which MaxOps operations fit.
const (
	FileSize = 4096
	MaxOps   = 8
)

// All lists the examples: four programs, then the twins.
func All() []Example {
	return []Example{
		{"append log", "appendlog", 1, appendlog.NewCase},
		{"hash table", "hashtable", 1, hashtable.NewCase},
		{"double buffer", "doublebuffer", 1, doublebuffer.NewCase},
		{"two-file commit", "twofile", 2, twofile.NewCase},
		{"payload and flag in one line", "twins", 1, twins.OneLineCase},
		{"torn records with a checksum", "twins", 1, twins.TornCase},
		{"batch with one drain", "twins", 1, twins.BatchCase},
		{"silent stores", "twins", 1, twins.SilentCase},
		{"non-temporal copies", "twins", 1, twins.BlocksCase},
		{"two goroutines, each its own", "twins", 1, twins.OwnCase},
		{"two goroutines, handed over", "twins", 1, twins.HandOverCase},
	}
}
