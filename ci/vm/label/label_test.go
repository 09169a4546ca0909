package label

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"strings"
	"testing"
)

// image is a file in memory that remembers what was written where.
type image struct {
	bytes []byte
	err   error
}

func (i *image) WriteAt(p []byte, off int64) (int, error) {
	if i.err != nil {
		return 0, i.err
	}
	return copy(i.bytes[off:], p), nil
}

// sum is Fletcher's checksum by its definition: the sum of all words, and the sum of all
// words each as often as there are words from it on.
func sum(block []byte) uint64 {
	var low, high uint32
	n := uint32(len(block) / 4)
	for i := range n {
		w := binary.LittleEndian.Uint32(block[4*i:])
		low += w
		high += w * (n - i)
	}
	return uint64(high)<<32 | uint64(low)
}

// TestInitialize reads what was written as a kernel does when it looks for labels.
func TestInitialize(t *testing.T) {
	const memory = 1 << 20
	for _, c := range []struct{ size, slots, block int }{
		{MinSize, 510, 256},
		{MinSize + 256, 511, 256},
		{256 << 10, 1020, 256},
		{1 << 20, 4080, 768},
		{MaxSize, 65280, 8448},
	} {
		f := &image{bytes: make([]byte, memory+c.size)}
		random := rand.NewChaCha8([32]byte{byte(c.size >> 8)})
		_, _ = random.Read(f.bytes)
		before := bytes.Clone(f.bytes)
		if err := Initialize(f, int64(len(f.bytes)), int64(c.size)); err != nil {
			t.Fatalf("%d bytes: %v", c.size, err)
		}
		area := f.bytes[memory:]
		if !bytes.Equal(f.bytes[:memory], before[:memory]) || !bytes.Equal(area[2*c.block:], before[memory+2*c.block:]) {
			t.Errorf("%d bytes: more was written than two index blocks", c.size)
		}
		if 2*c.block+256*c.slots > c.size {
			t.Errorf("%d bytes: %d labels have no room", c.size, c.slots)
		}
		le := binary.LittleEndian
		for n := range 2 {
			b := area[n*c.block : (n+1)*c.block]
			if string(b[:16]) != "NAMESPACE_INDEX\x00" || !bytes.Equal(b[16:20], []byte{0, 0, 0, 1}) {
				t.Errorf("%d bytes, block %d: signature %q, flags and size %x", c.size, n, b[:16], b[16:20])
			}
			got := [7]uint64{uint64(le.Uint32(b[20:])), le.Uint64(b[24:]), le.Uint64(b[32:]), le.Uint64(b[40:]), le.Uint64(b[48:]), uint64(le.Uint32(b[56:])), uint64(le.Uint32(b[60:]))}
			want := [7]uint64{uint64(3 - n), uint64(n * c.block), uint64(c.block), uint64((1 - n) * c.block), uint64(2 * c.block), uint64(c.slots), 1 | 2<<16}
			if got != want {
				t.Errorf("%d bytes, block %d: got %v, want %v", c.size, n, got, want)
			}
			check := le.Uint64(b[64:])
			clear(b[64:72])
			if check != sum(b) {
				t.Errorf("%d bytes, block %d: checksum %#x, want %#x", c.size, n, check, sum(b))
			}
			for i := range 8 * (c.block - 72) {
				if free := b[72+i/8]>>(i%8)&1 == 1; free != (i < c.slots) {
					t.Fatalf("%d bytes, block %d: label %d of %d is free: %v", c.size, n, i, c.slots, free)
				}
			}
		}
	}
}

func TestInitializeErrors(t *testing.T) {
	full := errors.New("no space")
	for _, c := range []struct {
		file, size int64
		err        error
		want       string
	}{
		{1 << 30, MinSize - 1, nil, "label area of 131071 bytes: it can have 131072 to 16777216"},
		{1 << 30, MaxSize + 1, nil, "label area of 16777217 bytes"},
		{1 << 30, 0, nil, "label area of 0 bytes"},
		{1 << 30, -1, nil, "label area of -1 bytes"},
		{MinSize, MinSize, nil, "a file of 131072 bytes has no room"},
		{0, MinSize, nil, "a file of 0 bytes has no room"},
		{MinSize + 4096, MinSize, full, "at offset 4096: no space"},
	} {
		err := Initialize(&image{err: c.err, bytes: nil}, c.file, c.size)
		if err == nil || !strings.Contains(err.Error(), c.want) || c.err != nil && !errors.Is(err, c.err) {
			t.Errorf("file %d, area %d: got %v, want %q", c.file, c.size, err, c.want)
		}
	}
}
