package emu_test

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"log"
	"os"
	"regexp"
	"strings"

	"pmemlab/emu"
	"pmemlab/pmem2"
)

// The page that README.md shows is made by
//
//	go test -trimpath ./emu -run '^ExampleExplore$' -explore.save /tmp/finding
//	chromium --headless --no-sandbox --hide-scrollbars --window-size=1180,636 \
//		--screenshot=emu/testdata/finding.png /tmp/finding/*.html
var exploreSave = flag.String("explore.save", "", "folder for what ExampleExplore finds; \"\": it isn't saved")

// addDevice gives m the device that device maps.
func addDevice(m *emu.Machine) error {
	m.AddDevDax(emu.DevDax{Size: 2 << 20})
	return m.Err()
}

// device maps a device DAX of the machine.
func device(m *emu.Machine) *pmem2.Map {
	dax, err := m.DevDax("/dev/dax0.0")
	if err != nil {
		log.Fatal(err)
	}
	f, err := dax.Open(os.O_RDWR)
	if err != nil {
		log.Fatal(err)
	}
	defer f.Close()
	src, err := pmem2.SourceFromFD(f.FD(), pmem2.On(m))
	if err != nil {
		log.Fatal(err)
	}
	cfg := pmem2.NewConfig()
	cfg.SetRequiredStoreGranularity(pmem2.GranularityCacheLine)
	mp, err := pmem2.NewMap(cfg, src)
	if err != nil {
		log.Fatal(err)
	}
	return mp
}

// base is v in words, with the names of source files without their folders.
func base(v any) string {
	return regexp.MustCompile(`[^ \t\n]*/([^/ ]+\.go:)`).ReplaceAllString(fmt.Sprint(v), "$1")
}

// saved saves a finding if it's asked for, and returns it.
func saved(f emu.CrashFinding) emu.CrashFinding {
	if *exploreSave != "" {
		if _, err := f.SaveTo(*exploreSave); err != nil {
			log.Fatal(err)
		}
	}
	return f
}

// A record of a log is persisted, and then counted. Power fails before each flush and fence,
// and each state that this can leave is checked.
func ExampleExplore() {
	texts := []string{"short", strings.Repeat("longer than a cache line ", 4)}
	workload := func(run *emu.Run) error {
		log := device(run.Machine) // mapped by pmem2, as above
		for i, text := range texts {
			copy(log.Bytes()[128*(i+1):], text)
			log.Persist(log.Bytes()[128*(i+1):][:64]) // the bug: not all of a long text
			log.Bytes()[0] = byte(i + 1)              // so many records are there
			log.Persist(log.Bytes()[:1])
		}
		return log.Delete()
	}
	check := func(c *emu.Crashed) error {
		log := device(c.Machine)
		for i, text := range texts[:log.Bytes()[0]] {
			if record := log.Bytes()[128*(i+1):]; string(record[:len(text)]) != text {
				return errors.Join(fmt.Errorf("record %d is torn", i), log.Delete())
			}
		}
		return log.Delete()
	}
	x, err := emu.Explore(workload, nil, check, emu.ExploreOptions{Setup: addDevice, InProcess: true})
	for _, f := range x.Findings {
		fmt.Println(saved(f).Err, base(f.Lost)) // base: without folders
	}
	fmt.Println(x.Points, "power failures,", x.Images, "images:", err)
	// Output:
	// check: record 1 is torn [line 0x140 of /dev/dax0.0: missing flush, stored before example_crash_test.go:77]
	// 9 power failures, 8 images: <nil>
}

// Seven stores to seven lines, of which nobody knows which have reached the media: each of
// them may have.
func ExampleMachine_CrashStates() {
	m := emu.NewMachine(emu.Config{})
	if err := addDevice(m); err != nil {
		log.Fatal(err)
	}
	pmem := device(m)
	b := pmem.Bytes()
	for i := range 7 {
		b[64*i] = byte(i + 1)
	}
	count := func(when string) {
		states, err := m.CrashStates(emu.CrashOptions{})
		if err != nil {
			log.Fatal(err)
		}
		different := map[string]bool{}
		for image, err := range states.All() {
			if err != nil {
				log.Fatal(err)
			}
			bytes, err := image.Bytes("/dev/dax0.0")
			if err != nil {
				log.Fatal(err)
			}
			different[string(bytes[:7*64])] = true
		}
		fmt.Println(when, states.Count(), len(different), states.Complete(), states.Close())
	}
	count("stored: ")
	if err := pmem.Flush(b[:7*64]); err != nil {
		log.Fatal(err)
	}
	count("flushed:")
	if err := pmem.Drain(); err != nil {
		log.Fatal(err)
	}
	count("fenced: ")
	fmt.Println(pmem.Delete(), m.Shutdown())
	// Output:
	// stored:  128 128 true <nil>
	// flushed: 128 128 true <nil>
	// fenced:  1 1 true <nil>
	// <nil> <nil>
}

// What a program does wrong without a power failure in sight.
func ExampleMachine_Findings() {
	m := emu.NewMachine(emu.Config{})
	if err := addDevice(m); err != nil {
		log.Fatal(err)
	}
	pmem := device(m)
	b := pmem.Bytes()
	copy(b, "stored")
	copy(b[64:], "flushed")
	pmem.Flush(b[64:71])
	for _, f := range m.Findings() {
		fmt.Println(f.Rule, f.Len, "bytes at", f.Off)
	}
	fmt.Println(base(m.Durable(b[64:71])))
	pmem.Persist(b[:128])
	fmt.Println(m.Durable(b[64:71]), len(m.Findings()))
	fmt.Println(pmem.Delete(), m.Shutdown())
	// Output:
	// flushed-never-fenced 7 bytes at 64
	// store-never-flushed 6 bytes at 0
	// emu: line 0x40 of /dev/dax0.0 isn't durable: flushed, and not fenced since; flushed at example_crash_test.go:159
	// <nil> 0
	// <nil> <nil>
}

// A state that a power failure could leave goes to another process, where a machine boots
// from it.
func ExampleImage_Save() {
	m := emu.NewMachine(emu.Config{})
	if err := addDevice(m); err != nil {
		log.Fatal(err)
	}
	pmem := device(m)
	copy(pmem.Bytes(), "durable")
	pmem.Persist(pmem.Bytes()[:7])
	copy(pmem.Bytes(), "at risk")
	states, err := m.CrashStates(emu.CrashOptions{})
	if err != nil {
		log.Fatal(err)
	}
	for image, err := range states.All() {
		if err != nil {
			log.Fatal(err)
		}
		var file bytes.Buffer
		if err := image.Save(&file); err != nil {
			log.Fatal(err)
		}
		loaded, err := emu.Load(&file)
		if err != nil {
			log.Fatal(err)
		}
		booted, err := loaded.Machine()
		if err != nil {
			log.Fatal(err)
		}
		again := device(booted)
		fmt.Printf("%s, lost: %v\n", again.Bytes()[:7], loaded.Lost())
		fmt.Println(again.Delete(), booted.Shutdown())
	}
	fmt.Println(states.Close(), pmem.Delete(), m.Shutdown())
	// Output:
	// at risk, lost: []
	// <nil> <nil>
	// durable, lost: [line 0x0 of /dev/dax0.0]
	// <nil> <nil>
	// <nil> <nil> <nil>
}
