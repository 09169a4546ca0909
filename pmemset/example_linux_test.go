package pmemset_test

import (
	"fmt"
	"log"

	"pmemlab/emu"
	"pmemlab/pmem2"
	"pmemlab/pmem2/platform"
	"pmemlab/pmemset"
)

// Three files become one range of memory: with full coalescing, each part starts where
// the one before it ends. The machine is an emulated one with persistent memory; without
// [pmemset.On] and [pmem2.On] it is the one that the program runs on.
func Example() {
	const size = 64 << 10
	m := emu.NewMachine(emu.Config{})
	fs := m.AddFS(emu.FS{Size: 16 << 20, DAX: true})

	// The range that the parts are to lie in.
	range3, err := pmem2.NewVMReservation(0, 3*size, pmem2.On(m))
	check(err)
	cfg := pmemset.NewConfig()
	check(cfg.SetRequiredStoreGranularity(pmem2.GranularityPage))
	check(cfg.SetReservation(range3))
	set, err := pmemset.New(cfg)
	check(err)
	check(set.SetContiguousPartCoalescing(pmemset.CoalescingFull))

	where := pmemset.NewMapConfig(nil)
	check(where.SetLength(size))
	var all pmemset.PartDescriptor
	for _, name := range []string{"a", "b", "c"} {
		src, err := pmemset.XSourceFromFile(fs.Path(name), pmemset.SourceFileCreateIfNeeded, pmemset.On(m))
		check(err)
		all, err = set.Map(src, where) // the file grows to 64 KiB
		check(err)
		check(src.Delete()) // what is mapped doesn't need it
	}
	fmt.Println(all.Size, all.Addr == range3.Address())

	text := []byte("in two files")
	check(set.Memcpy(all.Bytes()[size-6:][:len(text)], text, 0)) // durable when it returns
	check(set.Delete())
	check(range3.Delete())

	for _, name := range []string{"a", "b"} {
		fmt.Printf("%s: %q … %q\n", name, readAt(m, fs, name, 0, 6), readAt(m, fs, name, size-6, 6))
	}
	check(m.Shutdown())
	// Output:
	// 196608 true
	// a: "\x00\x00\x00\x00\x00\x00" … "in two"
	// b: " files" … "\x00\x00\x00\x00\x00\x00"
}

// Everything in a source, and a look at where it lies.
func ExampleSet_Map() {
	m := emu.NewMachine(emu.Config{})
	fs := m.AddFS(emu.FS{Size: 16 << 20, DAX: true})
	f, err := fs.Create("data", 1<<20)
	check(err)
	check(f.Close())

	cfg := pmemset.NewConfig()
	check(cfg.SetRequiredStoreGranularity(pmem2.GranularityCacheLine))
	set, err := pmemset.New(cfg)
	check(err)
	src, err := pmemset.SourceFromFile(fs.Path("data"), pmemset.On(m))
	check(err)

	part, err := set.Map(src, nil)
	check(err)
	fmt.Println(set.StoreGranularity())

	found, err := set.PartMapByAddress(part.Addr + 12345)
	check(err)
	fmt.Println(found.Descriptor() == part, part.Size)
	check(set.RemovePartMap(found)) // the reference goes with it
	fmt.Println(set.FirstPartMap() == nil)

	check(src.Delete())
	check(set.Delete())
	check(m.Shutdown())
	// Output:
	// CACHE_LINE <nil>
	// true 1048576
	// true
}

// The same three files with the interface of July 2021: the map config names the set, and
// a file only grows with leave.
func Example_mapAPI() {
	const size = 64 << 10
	m := emu.NewMachine(emu.Config{})
	fs := m.AddFS(emu.FS{Size: 16 << 20, DAX: true})
	range3, err := pmem2.NewVMReservation(0, 3*size, pmem2.On(m))
	check(err)
	cfg := pmemset.NewConfig()
	check(cfg.SetRequiredStoreGranularity(pmem2.GranularityPage))
	check(cfg.SetReservation(range3))
	set, err := pmemset.New(cfg)
	check(err)
	check(set.SetContiguousPartCoalescing(pmemset.CoalescingFull))

	where := pmemset.NewMapConfig(set)
	check(where.SetLength(size))
	var all pmemset.PartDescriptor
	for _, name := range []string{"a", "b", "c"} {
		const flags = pmemset.SourceFileCreateIfNeeded | pmemset.SourceFileTruncateIfNeeded
		src, err := pmemset.XSourceFromFile(fs.Path(name), flags, pmemset.On(m))
		check(err)
		all, err = pmemset.Map(src, where)
		check(err)
		check(src.Delete())
	}
	check(set.Memset(all.Bytes(), '*', pmemset.MemNonTemporal))
	check(set.Delete())
	check(range3.Delete())

	for _, name := range []string{"a", "b", "c"} {
		fmt.Printf("%s: %s … %s\n", name, readAt(m, fs, name, 0, 3), readAt(m, fs, name, size-3, 3))
	}
	check(m.Shutdown())
	// Output:
	// a: *** … ***
	// b: *** … ***
	// c: *** … ***
}

// The same three files with the interface of release 1.11: a part is made first, then
// mapped.
func Example_partsAPI() {
	const size = 64 << 10
	m := emu.NewMachine(emu.Config{})
	fs := m.AddFS(emu.FS{Size: 16 << 20, DAX: true})
	range3, err := pmem2.NewVMReservation(0, 3*size, pmem2.On(m))
	check(err)
	cfg := pmemset.NewConfig()
	check(cfg.SetRequiredStoreGranularity(pmem2.GranularityPage))
	check(cfg.SetReservation(range3))
	set, err := pmemset.New(cfg)
	check(err)
	check(set.SetContiguousPartCoalescing(pmemset.CoalescingFull))

	var all pmemset.PartDescriptor
	for _, name := range []string{"a", "b", "c"} {
		f, err := fs.Create(name, size)
		check(err)
		check(f.Close())
		src, err := pmemset.SourceFromFile(fs.Path(name), pmemset.On(m))
		check(err)
		part, err := pmemset.NewPart(set, src, 0, size)
		check(err)
		all, err = part.Map() // which consumes the part
		check(err)
		check(src.Delete())
	}
	b := all.Bytes()
	for i := range b {
		b[i] = "abc"[i/size]
	}
	check(set.Persist(b))
	check(set.Delete())
	check(range3.Delete())

	for _, name := range []string{"a", "b", "c"} {
		fmt.Printf("%s: %s … %s\n", name, readAt(m, fs, name, 0, 3), readAt(m, fs, name, size-3, 3))
	}
	check(m.Shutdown())
	// Output:
	// a: aaa … aaa
	// b: bbb … bbb
	// c: ccc … ccc
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}

// readAt reads n bytes of a file of the emulated machine.
func readAt(m *emu.Machine, fs *emu.FileSystem, name string, offset int64, n int) []byte {
	f, err := fs.Open(name, platform.ORdonly, 0)
	check(err)
	b := make([]byte, n)
	_, err = m.Pread(f.FD(), b, offset)
	check(err)
	check(f.Close())
	return b
}
