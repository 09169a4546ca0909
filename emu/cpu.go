package emu

import (
	"unsafe"

	"pmemlab/emu/check"
	"pmemlab/emu/trace"
	"pmemlab/pmem2/platform"
)

// CacheOps returns the machine's operations for stores of granularity g: one struct
// for each machine and granularity. An invalid granularity has none: nil.
func (m *Machine) CacheOps(g platform.Granularity) *platform.CacheOps {
	if !g.Valid() {
		return nil
	}
	return m.ops[g]
}

// flushKind is the instruction that a flush executes on the machine's CPU.
type flushKind uint8

const (
	flushNone flushKind = iota
	flushCLWB
	flushCLFLUSHOPT
	flushCLFLUSH
	flushDCCVAP
)

var flushKinds = [...]struct {
	kind     trace.Kind
	strength check.Kind
}{
	flushNone: {trace.NoFlush, check.None}, flushCLWB: {trace.CLWB, check.Weak}, flushCLFLUSHOPT: {trace.CLFLUSHOPT, check.Weak},
	flushCLFLUSH: {trace.CLFLUSH, check.Strong}, flushDCCVAP: {trace.DCCVAP, check.Weak},
}

func (k flushKind) kind() trace.Kind     { return flushKinds[k].kind }
func (k flushKind) strength() check.Kind { return flushKinds[k].strength }
func (k flushKind) String() string       { return k.kind().String() }

// flushKind is what the host's instruction is on the machine.
func (m *Machine) flushKind(instruction string) flushKind {
	switch {
	case instruction == "":
		return flushNone
	case m.cfg.Model == Arm64:
		return flushDCCVAP
	case instruction == "CLFLUSHOPT":
		return flushCLFLUSHOPT
	case instruction == "CLFLUSH":
		return flushCLFLUSH
	}
	return flushCLWB
}

// callersSkip is how many frames stand between the recorder and whoever calls one of the
// machine's operations.
const callersSkip = 2

// newCacheOps puts the recorder around the operations of the host's CPU. What they do to
// memory are the very instructions that a real machine runs, also for another model of CPU:
// a model differs in what may be lost.
func (m *Machine) newCacheOps(host *platform.CacheOps) *platform.CacheOps {
	ops := *host
	r := &m.rec
	by := m.flushKind(host.Instruction)
	nonTemporal := host.NonTemporal && m.cfg.Model == X86
	ops.Flush = func(p unsafe.Pointer, n uintptr) {
		r.flushed(p, n, by, false)
		host.Flush(p, n)
	}
	ops.Fence = func() {
		r.fence()
		host.Fence()
	}
	ops.Persist = func(p unsafe.Pointer, n uintptr) {
		r.flushed(p, n, by, true)
		host.Persist(p, n)
	}
	copying := func(c func(dst, src unsafe.Pointer, n uintptr), nonTemporal bool, by flushKind) func(dst, src unsafe.Pointer, n uintptr) {
		return func(dst, src unsafe.Pointer, n uintptr) {
			if n > 0 {
				r.storing(dst, n)
			}
			c(dst, src, n)
			if n > 0 {
				r.stored(dst, n, nonTemporal, by)
			}
		}
	}
	setting := func(s func(dst unsafe.Pointer, c byte, n uintptr), nonTemporal bool, by flushKind) func(dst unsafe.Pointer, c byte, n uintptr) {
		return func(dst unsafe.Pointer, c byte, n uintptr) {
			if n > 0 {
				r.storing(dst, n)
			}
			s(dst, c, n)
			if n > 0 {
				r.stored(dst, n, nonTemporal, by)
			}
		}
	}
	ops.Copy = copying(host.Copy, false, flushNone)
	ops.CopyNT = copying(host.CopyNT, nonTemporal, by)
	ops.Set = setting(host.Set, false, flushNone)
	ops.SetNT = setting(host.SetNT, nonTemporal, by)
	return &ops
}
