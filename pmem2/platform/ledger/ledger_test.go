package ledger_test

import (
	"slices"
	"syscall"
	"testing"

	"pmemlab/pmem2/platform"
	"pmemlab/pmem2/platform/ledger"
)

// kernel maps wherever it is asked to and fails every call while err is set.
type kernel struct {
	platform.Platform // nil: no other call is made
	err               error
	fd                int
	freed             func() // called where a kernel has given something free
}

func (k *kernel) free() {
	if freed := k.freed; freed != nil {
		k.freed = nil
		freed()
	}
}

func (k *kernel) PageSize() uint64 { return 0x1000 }

func (k *kernel) Open(string, int, uint32) (int, error) { return k.fd, k.err }

func (k *kernel) Close(int) error {
	k.free()
	return k.err
}

func (k *kernel) Mmap(addr uintptr, _ uint64, _, _, _ int, _ int64) (uintptr, error) {
	return addr, k.err
}

func (k *kernel) Munmap(uintptr, uint64) error {
	k.free()
	return k.err
}

func (k *kernel) Mremap(addr uintptr, _, _ uint64, flags int, newAddr uintptr) (uintptr, error) {
	if flags&platform.MremapFixed != 0 {
		addr = newAddr
	}
	k.free()
	return addr, k.err
}

func TestOutstanding(t *testing.T) {
	const (
		rw    = platform.ProtRead | platform.ProtWrite
		anon  = platform.MapPrivate | platform.MapAnonymous
		fixed = platform.MremapMaymove | platform.MremapFixed
	)
	// Every row starts with 3 pages of a file, from its second page on, at
	// 0x10000, and one anonymous page at 0x20000.
	file := func(l *ledger.Ledger) {
		fd, _ := l.Open("/dax/f", platform.ORdwr, 0)
		l.Mmap(0x10000, 0x3000, rw, platform.MapShared, fd, 0x1000)
		l.Mmap(0x20000, 1, platform.ProtNone, anon, -1, 0)
	}
	const (
		whole = "mapping of 12288 bytes at 0x10000: rw-s descriptor 5 (/dax/f) from 0x1000"
		page  = "mapping of 4096 bytes at 0x20000: ---p anonymous"
		desc  = "descriptor 5 of /dax/f"
	)
	rows := []struct {
		name string
		do   func(k *kernel, l *ledger.Ledger)
		want []string
	}{
		{"nothing given back", func(*kernel, *ledger.Ledger) {}, []string{whole, page, desc}},
		{"all given back", func(_ *kernel, l *ledger.Ledger) {
			l.Close(5)
			l.Munmap(0x10000, 0x3000)
			l.Munmap(0x20000, 0x1000)
		}, nil},
		{"one munmap of all, rounded up", func(_ *kernel, l *ledger.Ledger) {
			l.Close(5)
			l.Munmap(0x10000, 0x10001)
		}, nil},
		{"a page out of the middle", func(_ *kernel, l *ledger.Ledger) { l.Munmap(0x11000, 0x1000) }, []string{
			"mapping of 4096 bytes at 0x10000: rw-s descriptor 5 (/dax/f) from 0x1000",
			"mapping of 4096 bytes at 0x12000: rw-s descriptor 5 (/dax/f) from 0x3000", page, desc}},
		{"fails", func(k *kernel, l *ledger.Ledger) {
			k.err = syscall.ENOMEM
			l.Munmap(0x10000, 0x1000)
			l.Munmap(0x12000, 0x1000)
			l.Mmap(0x10000, 0x1000, rw, anon|platform.MapFixed, -1, 0)
			l.Mremap(0x20000, 0x1000, 0x2000, fixed, 0x10000)
		}, []string{whole, page, desc}},
		{"close fails", func(k *kernel, l *ledger.Ledger) {
			k.err = syscall.EIO
			l.Close(5)
		}, []string{whole, page}},
		{"open fails", func(k *kernel, l *ledger.Ledger) {
			k.fd, k.err = -1, syscall.ENOENT
			l.Open("/none", 0, 0)
		}, []string{whole, page, desc}},
		{"another file's descriptor of that number", func(k *kernel, l *ledger.Ledger) {
			l.Close(5)
			l.Open("/dax/g", 0, 0)
		}, []string{whole, page, "descriptor 5 of /dax/g"}},
		{"a descriptor opened elsewhere", func(_ *kernel, l *ledger.Ledger) {
			l.Mmap(0x20000, 0x1000, platform.ProtRead, platform.MapPrivate|platform.MapFixed, 9, 0)
			l.Close(9)
		}, []string{whole, "mapping of 4096 bytes at 0x20000: r--p descriptor 9 from 0x0", desc}},
		{"MAP_FIXED over the front", func(_ *kernel, l *ledger.Ledger) {
			l.Mmap(0x10000, 0x2000, platform.ProtExec, anon|platform.MapFixed, -1, 0)
		}, []string{"mapping of 8192 bytes at 0x10000: --xp anonymous",
			"mapping of 4096 bytes at 0x12000: rw-s descriptor 5 (/dax/f) from 0x3000", page, desc}},
		{"moved over the anonymous page", func(_ *kernel, l *ledger.Ledger) {
			l.Mremap(0x10000, 0x3000, 0x3000, fixed, 0x1f000)
		}, []string{"mapping of 12288 bytes at 0x1f000: rw-s descriptor 5 (/dax/f) from 0x1000", desc}},
		{"last two pages moved and grown", func(_ *kernel, l *ledger.Ledger) {
			l.Mremap(0x11000, 0x2000, 0x4000, fixed, 0x30000)
		}, []string{"mapping of 4096 bytes at 0x10000: rw-s descriptor 5 (/dax/f) from 0x1000", page,
			"mapping of 16384 bytes at 0x30000: rw-s descriptor 5 (/dax/f) from 0x2000", desc}},
		{"shrunk in place", func(_ *kernel, l *ledger.Ledger) {
			l.Mremap(0x10000, 0x3000, 0x1000, 0, 0)
		}, []string{"mapping of 4096 bytes at 0x10000: rw-s descriptor 5 (/dax/f) from 0x1000", page, desc}},
		{"mapped a second time", func(_ *kernel, l *ledger.Ledger) {
			l.Mremap(0x11000, 0, 0x2000, fixed, 0x30000)
		}, []string{whole, page, "mapping of 8192 bytes at 0x30000: rw-s descriptor 5 (/dax/f) from 0x2000", desc}},
		{"what was mapped elsewhere moved over the page", func(_ *kernel, l *ledger.Ledger) {
			l.Mremap(0x50000, 0x1000, 0x1000, fixed, 0x20000)
		}, []string{whole, desc}},
		// Another goroutine gets what is free before the call has returned.
		{"the number comes back at once", func(k *kernel, l *ledger.Ledger) {
			k.freed = func() { l.Open("/dax/g", 0, 0) }
			l.Close(5)
		}, []string{whole, page, "descriptor 5 of /dax/g"}},
		{"the address comes back at once", func(k *kernel, l *ledger.Ledger) {
			k.freed = func() { l.Mmap(0x20000, 0x1000, rw, anon, -1, 0) }
			l.Munmap(0x20000, 0x1000)
		}, []string{whole, "mapping of 4096 bytes at 0x20000: rw-p anonymous", desc}},
		{"the address moved from comes back at once", func(k *kernel, l *ledger.Ledger) {
			k.freed = func() { l.Mmap(0x20000, 0x1000, rw, anon, -1, 0) }
			l.Mremap(0x20000, 0x1000, 0x1000, fixed, 0x30000)
		}, []string{whole, "mapping of 4096 bytes at 0x20000: rw-p anonymous",
			"mapping of 4096 bytes at 0x30000: ---p anonymous", desc}},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			k := &kernel{fd: 5}
			l := ledger.New(k)
			file(l)
			row.do(k, l)
			if got := l.Outstanding(); !slices.Equal(got, row.want) {
				t.Errorf("outstanding:\n%q\nwant:\n%q", got, row.want)
			}
		})
	}
}

func TestCacheOpsAreThoseBeneath(t *testing.T) {
	l := ledger.New(platform.Host())
	for g := platform.GranularityByte; g <= platform.GranularityPage; g++ {
		if got, want := l.CacheOps(g), platform.Host().CacheOps(g); got != want {
			t.Errorf("CacheOps(%v) = %p, want %p", g, got, want)
		}
	}
}
