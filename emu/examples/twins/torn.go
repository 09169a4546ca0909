package twins

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"slices"

	"pmemlab/emu/examples/pmem"
)

// Torn is a log without a tail: a record carries its number and a checksum, and the log ends
// where that doesn't fit. A power failure may tear the last record as it likes.
type Torn struct {
	mem     pmem.Memory
	end     int
	records [][]byte // parts of the mapping
}

// A record: its number, from 1 on; its length; the checksum of both and the bytes; the bytes,
// filled up to a multiple of 8.
const tornHeader = 24

// OpenTorn opens the log in mem, or a new one if mem is zero. A torn record is dropped: the
// next one overwrites it.
func OpenTorn(mem pmem.Memory) (*Torn, error) {
	t := &Torn{mem: mem}
	for {
		b := mem.Bytes()[t.end:]
		if len(b) < tornHeader {
			return t, nil
		}
		n := binary.NativeEndian.Uint64(b[8:])
		if binary.NativeEndian.Uint64(b) != uint64(len(t.records)+1) || n > uint64(len(b)-tornHeader)&^7 ||
			binary.NativeEndian.Uint64(b[16:]) != tornSum(b[:tornHeader+n]) {
			return t, nil
		}
		t.records = append(t.records, b[tornHeader:tornHeader+n])
		t.end += tornHeader + int(n+7)&^7
	}
}

// Append adds a record, durably.
func (t *Torn) Append(record []byte) error {
	frame := make([]byte, tornHeader+(len(record)+7)&^7)
	if len(frame) > len(t.mem.Bytes())-t.end {
		return errors.New("twins: the log is full")
	}
	binary.NativeEndian.PutUint64(frame, uint64(len(t.records)+1))
	binary.NativeEndian.PutUint64(frame[8:], uint64(len(record)))
	copy(frame[tornHeader:], record)
	binary.NativeEndian.PutUint64(frame[16:], tornSum(frame[:tornHeader+len(record)]))
	at := t.mem.Bytes()[t.end : t.end+len(frame)]
	// Number, length, checksum and bytes in one go and in any order: what lacks a part of
	// itself has the wrong checksum.
	if err := t.mem.Memcpy(at, frame, 0); err != nil {
		return err
	}
	t.records = append(t.records, at[tornHeader:tornHeader+len(record)])
	t.end += len(frame)
	return nil
}

// tornSum is the checksum of a record and its header, but for the checksum in that.
func tornSum(b []byte) uint64 {
	return uint64(crc32.Update(crc32.ChecksumIEEE(b[:16]), crc32.IEEETable, b[tornHeader:]))
}

// TornCase is a life of a Torn in one file: n records.
func TornCase(seed uint64, n int) pmem.Case {
	r := pmem.Rand(seed)
	states := make([][][]byte, n+1)
	for i := range n {
		states[i+1] = append(slices.Clip(states[i]), pmem.Fill(r, 1+r.IntN(150)))
	}
	return pmem.Steps(
		func(files []pmem.Memory) (*Torn, error) { return OpenTorn(files[0]) },
		n, func(t *Torn, i int) error { return t.Append(states[n][i]) },
		func(t *Torn) [][]byte { return t.records },
		states, func(a, b [][]byte) bool { return slices.EqualFunc(a, b, bytes.Equal) })
}
