package powercut

import (
	"encoding/binary"
	"hash/crc32"
	"math/rand/v2"
)

// A record is a header of four little-endian numbers and what it holds: the length of all
// of it and a checksum of what follows, 4 bytes each, the seed and the record's number, 8
// bytes each. One comes right behind the other, so most span cache lines, and some pages.
const (
	headerSize  = 24
	mostPayload = 700
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// record makes record n of a log. Those of the control are others, so that no log passes
// for another.
func record(o Options, n int) []byte {
	kind := uint64(0)
	if o.NoPersist {
		kind = 1 << 63
	}
	random := rand.New(rand.NewPCG(o.Seed, kind|uint64(n)))
	b := make([]byte, headerSize+1+random.IntN(mostPayload))
	for i := headerSize; i < len(b); i++ {
		b[i] = byte(random.Uint32())
	}
	binary.LittleEndian.PutUint32(b, uint32(len(b)))
	binary.LittleEndian.PutUint64(b[8:], o.Seed)
	binary.LittleEndian.PutUint64(b[16:], uint64(n))
	binary.LittleEndian.PutUint32(b[4:], crc32.Checksum(b[8:], castagnoli))
	return b
}
