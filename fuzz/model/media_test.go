package model

import (
	"bytes"
	"math"
	"math/rand/v2"
	"slices"
	"syscall"
	"testing"

	"pmemlab/pmem2"
	"pmemlab/pmemset"
)

// mediaPages is a file of pages whose blocks lie at the pages of the disk that at has.
func mediaPages(dax bool, at ...uint64) *Media {
	const page = 4096
	size := uint64(len(at)) * page
	m := &Media{Kind: File, DAX: dax, Page: page, Size: size, Largest: 1 << 44, Room: 1 << 20, Bytes: bytes.Repeat([]byte{7}, int(size))}
	for i, p := range at {
		logical := uint64(i) * page
		m.Allocated = AddExtent(m.Allocated, Extent{logical, page})
		if n := len(m.Runs); n > 0 && m.Runs[n-1].Physical+m.Runs[n-1].Length == p*page {
			m.Runs[n-1].Length += page
			continue
		}
		m.Runs = append(m.Runs, MediaRun{Logical: logical, Physical: p * page, Length: page})
	}
	return m
}

// mediaBlank is a file of 4 pages, the second of which has no data.
func mediaBlank(merges bool) *Media {
	const page = 4096
	m := mediaPages(true, 9, 10, 11, 12)
	m.Merges = merges
	m.Runs = []MediaRun{{0, 9 * page, page, false}, {page, 10 * page, page, true}, {2 * page, 11 * page, 2 * page, false}}
	return m
}

func mediaDevice() *Media {
	return &Media{Kind: DeviceDAX, Page: 4096, Size: 1 << 20, Bytes: bytes.Repeat([]byte{7}, 1<<20)}
}

// TestMediaTransfers: where reads and writes end.
func TestMediaTransfers(t *testing.T) {
	const page = 4096
	ioFail, past := Fails(pmem2.ErrIOFail), Fails(pmem2.ErrLengthOutOfRange)
	for _, c := range []struct {
		name   string
		m      *Media
		writes bool
		bad    Extent
		off, n uint64
		want   Transfer
		left   []Extent
	}{
		{"all", mediaPages(false, 9, 10), false, Extent{}, 0, 2 * page, Transfer{Done: 2 * page}, nil},
		{"nothing at the end", mediaPages(false, 9), false, Extent{}, page, 0, Transfer{}, nil},
		{"a byte behind", mediaPages(false, 9), false, Extent{}, page, 1, Transfer{Result: past}, nil},
		{"a sum that wraps", mediaPages(true, 9), true, Extent{}, math.MaxUint64, 2, Transfer{Result: past}, nil},
		{"the page cache reads up to the bad page", mediaPages(false, 9, 10), false, Extent{page + 600, 1}, 100, page + 1, Transfer{Result: ioFail, Done: page - 100}, []Extent{{10*page + 512, 512}}},
		{"DAX reads up to the run", mediaPages(true, 9, 12, 13), false, Extent{2 * page, 1}, 100, 3*page - 100, Transfer{Result: ioFail, Done: page - 100}, []Extent{{13 * page, 512}}},
		{"a part of a bad page", mediaPages(false, 9), true, Extent{0, 1}, 512, 512, Transfer{Result: ioFail}, []Extent{{9 * page, 512}}},
		{"a whole one", mediaPages(false, 9), true, Extent{0, 1}, 0, page, Transfer{Done: page}, nil},
		{"a whole one behind a part", mediaPages(false, 9, 10), true, Extent{page + 512, 1}, 1, 2*page - 1, Transfer{Done: 2*page - 1}, nil},
		{"with DAX the bad sector isn't the page's first", mediaPages(true, 9, 10), true, Extent{page + 512, 1}, 1, 2*page - 1, Transfer{Result: ioFail}, []Extent{{10*page + 512, 512}}},
		{"and now it is", mediaPages(true, 9, 10), true, Extent{page, 1}, 1, 2*page - 1, Transfer{Done: 2*page - 1}, nil},
		{"up to what has no data", mediaBlank(false), true, Extent{2*page + 512, 1}, 100, 3 * page, Transfer{Done: 3 * page}, nil},
		{"and there, which is one with what follows", mediaBlank(true), true, Extent{2*page + 512, 1}, page, 3*page - 1, Transfer{Done: 3*page - 1}, nil},
		{"of which no part can be", mediaBlank(true), true, Extent{2*page + 512, 1}, page + 100, 2 * page, Transfer{Result: ioFail}, []Extent{{11*page + 512, 512}}},
		{"a device beside", mediaDevice(), false, Extent{page, 1}, 0, page, Transfer{Done: page}, []Extent{{page, 512}}},
		{"a device", mediaDevice(), true, Extent{page + 4000, 1}, page, 1, Transfer{Result: ioFail, Loose: true}, []Extent{{page + 3584, 512}}},
		{"anonymous memory", &Media{Page: page, Size: page}, false, Extent{}, 0, 0, Transfer{Result: Fails(pmem2.ErrSourceTypeNotSupported)}, nil},
	} {
		if c.bad.Size > 0 && !c.m.Spoil(c.bad.Start, c.bad.Size) {
			t.Errorf("%s: %v can't be made bad", c.name, c.bad)
		}
		var got Transfer
		if c.writes {
			got = c.m.Write(c.off, make([]byte, c.n), Kernel{})
		} else {
			got = c.m.Read(c.off, c.n, Kernel{})
		}
		if got != c.want || !slices.Equal(c.m.Bad, c.left) {
			t.Errorf("%s: got %+v, bad %v, want %+v, bad %v", c.name, got, c.m.Bad, c.want, c.left)
		}
	}
}

// TestMediaBlocks: what is listed, and what clearing leaves.
func TestMediaBlocks(t *testing.T) {
	const page = 4096
	block := func(off, n uint64) pmem2.BadBlock { return pmem2.BadBlock{Offset: off, Length: n} }
	for _, c := range []struct {
		name string
		m    *Media
		bad  []Extent
		want []pmem2.BadBlock
		clr  pmem2.BadBlock
		res  Result
		left int // bad blocks then
	}{
		{"whole blocks", mediaPages(true, 9, 10), []Extent{{600, 1}}, []pmem2.BadBlock{block(0, page)}, block(0, page), OK, 0},
		{"sectors that touch", mediaPages(true, 9, 10), []Extent{{page - 1, 2}}, []pmem2.BadBlock{block(0, 2*page)}, block(page, page), OK, 1},
		{"sectors that don't", mediaPages(true, 9, 10), []Extent{{0, 1}, {page, 1}}, []pmem2.BadBlock{block(0, page), block(page, page)}, block(1, page), FailsWith(syscall.EIO), 2},
		{"blocks apart on the disk", mediaPages(true, 10, 9), []Extent{{page - 1, 2}}, []pmem2.BadBlock{block(0, page), block(page, page)}, block(0, 0), FailsWith(syscall.EINVAL), 2},
		{"sectors of a device", mediaDevice(), []Extent{{page + 1, 600}}, []pmem2.BadBlock{block(page, 1024)}, block(page+256, 512), OK, 1},
		{"a line of 512", mediaDevice(), []Extent{{512, 513 * 512}}, []pmem2.BadBlock{block(512, 512*512), block(513*512, 512)}, block(0, 1<<20), OK, 0},
		{"behind a device", mediaDevice(), nil, nil, block(1<<20-512, 1024), Fails(pmem2.ErrLengthOutOfRange), 0},
		{"no multiple", mediaDevice(), nil, nil, block(128, 256), FailsWith(syscall.EINVAL), 0},
		{"offset 2^63", mediaPages(false, 9), nil, nil, block(1<<63, 0), Fails(pmem2.ErrOffsetOutOfRange), 0},
		{"length 2^63", mediaPages(false, 9), nil, nil, block(math.MaxInt64, 1<<63), Fails(pmem2.ErrLengthOutOfRange), 0},
		{"a sum of 2^63", mediaPages(false, 9), nil, nil, block(math.MaxInt64, 1), FailsWith(syscall.EFBIG), 0},
	} {
		for _, b := range c.bad {
			c.m.Spoil(b.Start, b.Size)
		}
		got, r := c.m.ListBadBlocks()
		if !slices.Equal(got, c.want) || r != OK {
			t.Errorf("%s: got %v, %v, want %v", c.name, got, r, c.want)
		}
		if got := c.m.Clear(c.clr, Kernel{}); got != c.res {
			t.Errorf("%s: clearing %v: got %v, want %v", c.name, c.clr, got, c.res)
		}
		if left, _ := c.m.ListBadBlocks(); len(left) != c.left {
			t.Errorf("%s: %v are left, want %d", c.name, left, c.left)
		}
	}
}

// TestSetMedia: codes that libpmemset has of its own, and those that pass through.
func TestSetMedia(t *testing.T) {
	for r, want := range map[Result]SetResult{
		OK: SetOK, Fails(pmem2.ErrIOFail): SetFails(pmemset.ErrIOFail), FailsWith(syscall.EBADF): {Errno: syscall.EBADF},
		Fails(pmem2.ErrNoSupp): SetFails(pmemset.ErrBadBlockNoSupp), Fails(pmem2.ErrNoAccess): {Code: pmemset.Code(pmem2.ErrNoAccess)},
	} {
		if got := SetMedia(r); got != want {
			t.Errorf("%v: got %v, want %v", r, got, want)
		}
	}
}

// TestMediaTotal: any calls have one outcome, and leave extents that are sorted, apart and whole
// sectors.
func TestMediaTotal(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	number := func() uint64 {
		v := []uint64{0, 1, 511, 512, 4095, 4096, 8192, 1 << 20, 1<<63 - 1, 1 << 63, math.MaxUint64}[r.IntN(11)]
		return v + r.Uint64N(3) - 1
	}
	sizes := []uint64{0, 1, 511, 512, 4095, 4096, 5000, 12288}
	for n := range 2000 {
		m := mediaPages(r.IntN(2) == 0, 9, 10, 14)
		if r.IntN(3) == 0 {
			m = mediaDevice()
		}
		m.Access, m.AppendOnly, m.NoDisk = Access(r.IntN(4)), r.IntN(8) == 0, m.Kind == File && r.IntN(8) == 0
		k := Kernel{Most: uint64(r.IntN(2) * 700), Halves: r.IntN(8) == 0, NoScrub: r.IntN(16) == 0}
		for range 6 {
			off, length := number(), number()
			switch r.IntN(5) {
			case 0:
				m.Read(off, length, k)
			case 1:
				m.Write(off, make([]byte, sizes[r.IntN(len(sizes))]), k)
			case 2:
				m.Clear(pmem2.BadBlock{Offset: off, Length: length}, k)
			case 3:
				m.SetClear(pmem2.BadBlock{Offset: off, Length: length}, k)
			default:
				m.Spoil(off, length)
			}
			list, result := m.ListBadBlocks()
			if result != OK && len(list) > 0 || result == OK && !m.NoDisk && m.Kind == DeviceDAX && (len(list) > 0) != (len(m.Bad) > 0) {
				t.Fatalf("%d: %v, %v of %v", n, list, result, m.Bad)
			}
			for i, b := range m.Bad {
				if b.Start%SectorSize != 0 || b.Size%SectorSize != 0 || b.Size == 0 || i > 0 && m.Bad[i-1].Start+m.Bad[i-1].Size >= b.Start {
					t.Fatalf("%d: the bad sectors are %v", n, m.Bad)
				}
			}
		}
	}
}
