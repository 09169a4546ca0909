// Package label writes the label area of an NVDIMM: what a kernel keeps its list of
// namespaces in. A region whose DIMMs have a valid one, empty or not, is labelled (nstype 5)
// and can be cut into several namespaces; one whose DIMMs have zeroes there is a single
// namespace (nstype 4).
package label

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
)

// Limits of a label area, in bytes.
const (
	MinSize = 128 << 10 // QEMU refuses less
	MaxSize = 16 << 20  // far above any real one, and what a field of 32 bits can tell
)

const (
	labelSize  = 256 // of version 1.2
	indexUnit  = 256
	headerSize = 72
)

// index is an index block, as the UEFI specification has it in its section of namespace
// labels. All fields are little-endian. A bit for each label that is free follows.
type index struct {
	Signature                          [16]byte
	_                                  [3]byte
	LabelSize                          uint8 // a power of two, from 128
	Sequence                           uint32
	Offset, Size, OtherOffset, LabelAt uint64
	Labels                             uint32
	Major, Minor                       uint16
	Checksum                           uint64
}

// Initialize makes the last size bytes of the file of an NVDIMM, which has fileSize bytes, a
// label area without labels. These are what QEMU takes the area to be when it's told
// label-size=size. Labels that are there are forgotten; namespaces that they described are
// lost.
func Initialize(f io.WriterAt, fileSize, size int64) error {
	switch {
	case size < MinSize || size > MaxSize:
		return fmt.Errorf("label area of %d bytes: it can have %d to %d", size, MinSize, MaxSize)
	case fileSize <= size:
		return fmt.Errorf("label area of %d bytes: a file of %d bytes has no room for it and for memory", size, fileSize)
	}
	if _, err := f.WriteAt(indexBlocks(size), fileSize-size); err != nil {
		return fmt.Errorf("writing the label area at offset %d: %w", fileSize-size, err)
	}
	return nil
}

// indexBlocks are the two index blocks that an area of that size begins with.
func indexBlocks(size int64) []byte {
	// The kernel takes a label and one byte of index for each.
	labels := size / (labelSize + 1)
	blockSize := roundUp(headerSize+roundUp(labels, 8)/8, indexUnit)
	var blocks []byte
	for n := range int64(2) {
		block := make([]byte, 0, blockSize)
		// Appending can't fail: the structure has a fixed size.
		block, _ = binary.Append(block, binary.LittleEndian, index{
			Signature: [16]byte([]byte("NAMESPACE_INDEX\x00")),
			LabelSize: 1,
			Sequence:  uint32(3 - n), // of 1, 2, 3, 1 the one that comes after the other's is valid
			Offset:    uint64(n * blockSize), Size: uint64(blockSize), OtherOffset: uint64((1 - n) * blockSize),
			LabelAt: uint64(2 * blockSize), Labels: uint32(labels), Major: 1, Minor: 2,
		})
		block = append(block, bytes.Repeat([]byte{0xff}, int(labels/8))...)
		if rest := labels % 8; rest > 0 {
			block = append(block, 1<<rest-1)
		}
		block = block[:blockSize]
		binary.LittleEndian.PutUint64(block[headerSize-8:], fletcher64(block))
		blocks = append(blocks, block...)
	}
	return blocks
}

func roundUp(n, unit int64) int64 { return (n + unit - 1) / unit * unit }

// fletcher64 is Fletcher's checksum of a multiple of 4 bytes.
func fletcher64(block []byte) uint64 {
	var low, high uint32
	for ; len(block) > 0; block = block[4:] {
		low += binary.LittleEndian.Uint32(block)
		high += low
	}
	return uint64(high)<<32 | uint64(low)
}
