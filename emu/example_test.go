package emu_test

import (
	"fmt"
	"log"
	"os"

	"pmemlab/emu"
	"pmemlab/pmem2"
)

// A program that works on a file, where 4096 bytes are a page, fails on a device
// DAX of 2 MiB alignment. No NVDIMM is needed to see it.
func Example() {
	m := emu.NewMachine(emu.Config{})
	dax := m.AddDevDax(emu.DevDax{Size: 64 << 20, Align: 2 << 20})
	f, err := dax.Open(os.O_RDWR) // a descriptor like any other
	if err != nil {
		log.Fatal(err)
	}
	src, err := pmem2.SourceFromFD(f.FD(), pmem2.On(m)) // without On: this machine
	if err != nil {
		log.Fatal(err)
	}
	cfg := pmem2.NewConfig()
	cfg.SetRequiredStoreGranularity(pmem2.GranularityCacheLine)
	cfg.SetLength(4096)
	_, err = pmem2.NewMap(cfg, src)
	fmt.Println(err)

	cfg.SetLength(2 << 20)
	pmem, err := pmem2.NewMap(cfg, src)
	if err != nil {
		log.Fatal(err)
	}
	copy(pmem.Bytes(), "durable")
	fmt.Println(pmem.StoreGranularity(), pmem.Persist(pmem.Bytes()[:7]))
	fmt.Println(pmem.Delete(), f.Close(), m.Shutdown()) // Shutdown names what is left open or mapped
	// Output:
	// pmem2: NewMap: length 4096 is no multiple of the source's alignment 2097152: length unaligned (PMEM2_E_LENGTH_UNALIGNED)
	// CACHE_LINE <nil>
	// <nil> <nil> <nil>
}
