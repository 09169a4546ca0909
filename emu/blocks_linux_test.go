package emu_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"golang.org/x/sys/unix"

	"pmemlab/emu"
	"pmemlab/pmem2/platform"
)

const punch = platform.FallocPunchHole | platform.FallocKeepSize

// fiemap lists all extents of a file.
func fiemap(t *testing.T, m *emu.Machine, fd int) []platform.FiemapExtent {
	t.Helper()
	n, err := m.Fiemap(fd, 0, 1<<40, 0, nil)
	if err != nil {
		t.Fatal(err)
	}
	all := make([]platform.FiemapExtent, n)
	if got, err := m.Fiemap(fd, 0, 1<<40, 0, all); got != n || err != nil {
		t.Fatalf("Fiemap: %d, %v; want %d", got, err, n)
	}
	return all
}

// Files come and go at random. No block has two owners, none that is bad or outside the
// device has one, extents that go on in each other are one, and what is allocated is what
// was asked for. The same history gives the same blocks.
func TestBlocks(t *testing.T) {
	t.Parallel()
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	var histories [2]string
	for i := range histories {
		histories[i] = blocksHistory(t, seed)
	}
	if histories[0] != histories[1] || histories[0] == "" {
		t.Errorf("one history, two placements:\n%s\n%s", histories[0], histories[1])
	}
}

func blocksHistory(t *testing.T, seed uint64) (history string) {
	rng := rand.New(rand.NewPCG(seed, 7))
	m := newMachine(t, emu.Config{})
	const blocks, pages = 300, 64
	fs := m.AddFS(emu.FS{Size: blocks * page, DAX: true})
	files := make([]*emu.File, 5)
	want := make([][pages]bool, len(files))
	for i := range files {
		files[i] = create(t, fs, fmt.Sprint(i), pages*page)
	}
	var bad [blocks]bool
	for step := range 600 {
		i := rng.IntN(len(files))
		fd := files[i].FD()
		n := 1 + rng.IntN(20)
		first := rng.IntN(pages - n + 1)
		off, length := int64(first*page), int64(n*page)
		switch rng.IntN(8) {
		case 0, 1:
			if err := m.Fallocate(fd, 0, off, length); err == unix.ENOSPC {
				continue
			} else if err != nil {
				t.Fatal(err)
			}
			for j := first; j < first+n; j++ {
				want[i][j] = true
			}
		case 2:
			// EFAULT: the page is bad and stays as it is.
			if _, err := m.Pwrite(fd, []byte{1}, off); err == unix.ENOSPC || err == unix.EFAULT {
				continue
			} else if err != nil {
				t.Fatal(err)
			}
			want[i][first] = true
		case 3, 4, 5:
			if err := m.Fallocate(fd, punch, off, length); err != nil {
				t.Fatal(err)
			}
			for j := first; j < first+n; j++ {
				want[i][j] = false
			}
		case 6:
			if err := files[i].Close(); err != nil {
				t.Fatal(err)
			}
			if err := fs.Remove(fmt.Sprint(i)); err != nil {
				t.Fatal(err)
			}
			files[i] = create(t, fs, fmt.Sprint(i), pages*page)
			want[i] = [pages]bool{}
		case 7:
			if b := rng.IntN(blocks); step%2 == 0 {
				if err := fs.BlockDevice().AddBadBlock(uint64(b*page), 1); err != nil {
					t.Fatal(err)
				}
				// Files may have it already: they keep it.
				bad[b] = true
			}
		}
		var owner [blocks]int
		for i, f := range files {
			var have [pages]bool
			all := fiemap(t, m, f.FD())
			faulty, err := fs.BadBlocks(fmt.Sprint(i))
			if err != nil {
				t.Fatal(err)
			}
			for k, e := range all {
				if k > 0 {
					before := all[k-1]
					if before.Logical+before.Length == e.Logical && before.Physical+before.Length == e.Physical &&
						before.Flags == e.Flags&^1 {
						t.Fatalf("step %d: file %d: extents %+v and %+v are one", step, i, before, e)
					}
				}
				if e.Flags&0x6 != 0 || e.Physical%page != 0 || e.Physical+e.Length > blocks*page {
					t.Fatalf("step %d: file %d: extent %+v has no place on the device", step, i, e)
				}
				for off := uint64(0); off < e.Length; off += page {
					have[(e.Logical+off)/page] = true
					b := (e.Physical + off) / page
					if owner[b] != 0 {
						t.Fatalf("step %d: files %d and %d are on block %d", step, owner[b]-1, i, b)
					}
					owner[b] = i + 1
					known := slices.ContainsFunc(faulty, func(x emu.BadBlock) bool {
						return x.Offset < e.Logical+off+page && e.Logical+off < x.Offset+x.Length
					})
					if bad[b] != known {
						t.Fatalf("step %d: file %d is on block %d, bad %t; it knows of %v", step, i, b, bad[b], faulty)
					}
				}
			}
			if have != want[i] {
				t.Fatalf("step %d: file %d is allocated at\n%v, want\n%v", step, i, have, want[i])
			}
			history += fmt.Sprint(all)
		}
	}
	return history
}

// What the program punches out of the memfd itself is found out when somebody asks.
func TestBlocksBehindTheMachine(t *testing.T) {
	t.Parallel()
	m := newMachine(t, emu.Config{})
	fs := m.AddFS(emu.FS{Size: 1 << 20, DAX: true})
	f, g := create(t, fs, "f", 4*page), create(t, fs, "g", page)
	if _, err := m.Pwrite(f.FD(), make([]byte, 4*page), 0); err != nil {
		t.Fatal(err)
	}
	was := fiemap(t, m, f.FD())
	if err := unix.Fallocate(f.FD(), punch, page, page); err != nil {
		t.Fatal(err)
	}
	if now := fiemap(t, m, f.FD()); len(was) != 1 || len(now) != 2 || now[1].Physical != was[0].Physical+2*page {
		t.Errorf("extents %+v, and after the hole %+v", was, now)
	}
	if err := m.Fallocate(g.FD(), 0, 0, page); err != nil {
		t.Fatal(err)
	}
	if all := fiemap(t, m, g.FD()); len(all) != 1 || all[0].Physical != was[0].Physical+page {
		t.Errorf("the free block is that at %d; given was %+v", was[0].Physical+page, all)
	}
}

// The device is filled to its last block, those of the file system itself last; a bad block
// that no file has is room that is missing; and it isn't given to a file whose bad block
// was punched out.
func TestBlocksOfFullDevice(t *testing.T) {
	t.Parallel()
	const blocks = 128 // 2 of which are the file system's own
	m := newMachine(t, emu.Config{})
	fs := m.AddFS(emu.FS{Size: blocks * page, DAX: true})
	f := create(t, fs, "f", blocks*page)
	if err := m.Fallocate(f.FD(), 0, 0, (blocks-2)*page); err != nil {
		t.Fatal(err)
	}
	if all := fiemap(t, m, f.FD()); len(all) != 1 || all[0].Physical != 2*page {
		t.Errorf("all but two blocks: %+v", all)
	}
	other := m.AddFS(emu.FS{Size: blocks * page, DAX: true})
	root, err := other.Open("", platform.ORdonly, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	if all := fiemap(t, m, root.FD()); len(all) != 1 || all[0].Physical != 0 || all[0].Flags != 1 {
		t.Errorf("the directory on an empty device: %+v, want block 0", all)
	}
	if err := m.Fallocate(f.FD(), 0, 0, blocks*page); err != nil {
		t.Fatal(err)
	}
	if all := fiemap(t, m, f.FD()); len(all) != 2 || all[1].Physical != 0 || all[1].Length != 2*page {
		t.Errorf("all blocks: %+v", all)
	}
	dir, err := fs.Open("", platform.ORdonly, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer dir.Close()
	if all := fiemap(t, m, dir.FD()); len(all) != 1 || all[0].Flags != 0x7 {
		t.Errorf("the directory on a full device: %+v, want no place", all)
	}
	if err := fs.AddBadBlock("f", 10*page, 1); err != nil {
		t.Fatal(err)
	}
	if err := m.Fallocate(f.FD(), punch, 10*page, 2*page); err != nil {
		t.Fatal(err)
	}
	if err := m.Fallocate(f.FD(), 0, 10*page, 2*page); err != unix.ENOSPC {
		t.Errorf("two blocks, one of them bad: %v, want ENOSPC", err)
	}
	if err := m.Fallocate(f.FD(), 0, 10*page, page); err != nil {
		t.Errorf("the healthy one: %v", err)
	}
	// A store to a hole through a mapping finds no room, which the machine lets pass.
	a := mmap(t, m, f.FD(), blocks*page, 0)
	*at(a, 11*page) = 1
	all := fiemap(t, m, f.FD())
	if i := slices.IndexFunc(all, func(e platform.FiemapExtent) bool { return e.Logical == 11*page }); i < 0 ||
		all[i].Flags != 0x6 || all[i].Physical != 0 || all[i].Length != page {
		t.Errorf("the page without room: %+v in %+v", i, all)
	}
	if err := fs.AddBadBlock("f", 11*page, 1); err == nil {
		t.Error("a page without a block has a bad one")
	}
	if n, err := m.Pwrite(open(t, fs.BlockDevice()).FD(), make([]byte, blocks*page), 0); n != blocks*page || err != nil {
		t.Fatal(n, err)
	}
	if got := fs.BlockDevice().BadBlocks(); len(got) != 0 {
		t.Errorf("the device was written over and has %v", got)
	}
	if all := fiemap(t, m, f.FD()); slices.ContainsFunc(all, func(e platform.FiemapExtent) bool { return e.Flags&6 != 0 }) {
		t.Errorf("there is room again: %+v", all)
	}
}
