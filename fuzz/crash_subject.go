package fuzz

import (
	"pmemlab/emu"
	"pmemlab/emu/persist"
	"pmemlab/fuzz/model"
	"pmemlab/pmem2/platform"
)

// crashSubject is memory that programs run on, zero and durable before each.
type crashSubject interface {
	// config says what it is.
	config() model.CrashConfig
	// machine says that it's a whole machine: to ask for all its states takes long.
	machine() bool
	// clflush says that it knows CLFLUSH.
	clflush() bool
	do(o *model.CrashOp) error
	// durable says why bytes aren't durable, if they aren't.
	durable(off, n uint64) (why, err error)
	states(possible bool) (crashList, error)
	// crash is what a machine that boots again has: what is durable for certain, or with a
	// seed one of the states. nil: nothing boots here.
	crash(seed uint64, possible bool) ([]byte, error)
	// atRisk is what the machine's checker says of bytes that can be lost, if it does.
	atRisk() (string, error)
	reset() error
	close() error
}

// crashList are the states of a moment.
type crashList interface {
	count() uint64
	complete() bool
	// all shows the states in turn, at most limit of them; 0: all.
	all(limit, seed uint64, show func(image []byte) bool) error
	// boot is what a machine has that boots with the state that is shown. nil: nothing boots here.
	boot() ([]byte, error)
	close()
}

// crashPlace is what is mapped on a machine.
type crashPlace int

const (
	crashSync  crashPlace = iota // a file with MAP_SYNC
	crashDAX                     // one with DAX, and without
	crashCache                   // one in the page cache
)

// crashMachines are how many of the crashSubjects are whole machines. They come first.
const crashMachines = 6

// crashSubjects are the memories, each whole machine beside the part of one that alone knows
// what is durable: that takes more programs in the same time.
var crashSubjects = [...]struct {
	name string
	make func() (crashSubject, error)
}{
	{"a machine with ADR", onCrashMachine(emu.Config{}, crashSync, model.CrashADR)},
	{"a machine with ADR that has CLFLUSH alone", onCrashMachine(emu.Config{
		CPU: platform.Settings{NoCLWB: true, NoCLFLUSHOPT: true},
	}, crashSync, model.CrashADR)},
	{"a machine with eADR", onCrashMachine(emu.Config{EADR: true}, crashSync, model.CrashEADR)},
	{"an Arm64 machine", onCrashMachine(emu.Config{Model: emu.Arm64}, crashDAX, model.CrashArm64)},
	{"a machine's page cache", onCrashMachine(emu.Config{}, crashCache, model.CrashPages)},
	{"a machine with ADR on a host without PAGEMAP_SCAN", onCrashMachine(emu.Config{NoPageScan: true}, crashSync, model.CrashADR)},
	{"x86 memory", onCrashMemory(persist.X86, model.CrashADR)},
	{"x86 memory with eADR", onCrashMemory(persist.X86EADR, model.CrashEADR)},
	{"Armv8 memory", onCrashMemory(persist.Arm64, model.CrashArm64)},
	{"a page cache", onCrashMemory(persist.PageCache, model.CrashPages)},
	{"x86 memory", onCrashMemory(persist.X86, model.CrashADR)},
	{"x86 memory with eADR", onCrashMemory(persist.X86EADR, model.CrashEADR)},
}
