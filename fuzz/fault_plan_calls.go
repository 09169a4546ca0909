package fuzz

import (
	"math/rand/v2"
	"strings"

	gofuzz "github.com/google/gofuzz"

	"pmemlab/pmem2/platform"
)

// silentMachine is a machine on which every call succeeds and does nothing.
type silentMachine struct{}

func (silentMachine) Open(string, int, uint32) (int, error)                       { return 3, nil }
func (silentMachine) Close(int) error                                             { return nil }
func (silentMachine) Unlink(string) error                                         { return nil }
func (silentMachine) Ftruncate(int, int64) error                                  { return nil }
func (silentMachine) Fstat(int) (s platform.Stat, err error)                      { return s, nil }
func (silentMachine) Statx(int) (s platform.Statx, err error)                     { return s, nil }
func (silentMachine) GetFL(int) (int, error)                                      { return 0, nil }
func (silentMachine) Pread(int, []byte, int64) (int, error)                       { return 0, nil }
func (silentMachine) Pwrite(int, []byte, int64) (int, error)                      { return 0, nil }
func (silentMachine) Fallocate(int, uint32, int64, int64) error                   { return nil }
func (silentMachine) Fsync(int) error                                             { return nil }
func (silentMachine) ClearError(int, uint64, uint64) (uint64, error)              { return 0, nil }
func (silentMachine) Mmap(uintptr, uint64, int, int, int, int64) (uintptr, error) { return 0, nil }
func (silentMachine) Munmap(uintptr, uint64) error                                { return nil }
func (silentMachine) Msync(uintptr, uint64, int) error                            { return nil }
func (silentMachine) PageSize() uint64                                            { return 4096 }
func (silentMachine) ReadAttr(string) (string, error)                             { return "", nil }
func (silentMachine) WriteAttr(string, string) error                              { return nil }
func (silentMachine) Readlink(string) (string, error)                             { return "", nil }
func (silentMachine) List(string) ([]string, error)                               { return nil, nil }
func (silentMachine) CacheOps(platform.Granularity) *platform.CacheOps            { return nil }

func (silentMachine) Fiemap(int, uint64, uint64, uint32, []platform.FiemapExtent) (int, error) {
	return 0, nil
}

func (silentMachine) ARSCapabilities(int, uint64, uint64) (c platform.ARSCap, err error) {
	return c, nil
}

func (silentMachine) Mremap(uintptr, uint64, uint64, int, uintptr) (uintptr, error) { return 0, nil }

// platformCalls are how many kinds of calls a plan can fail.
const platformCalls = 22

// planMakers make a call of each kind, in the order that plans have.
var planMakers = [platformCalls]func(p platform.Platform, path string, flags int) error{
	func(p platform.Platform, path string, flags int) error { _, err := p.Open(path, flags, 0); return err },
	func(p platform.Platform, _ string, _ int) error { return p.Close(3) },
	func(p platform.Platform, path string, _ int) error { return p.Unlink(path) },
	func(p platform.Platform, _ string, _ int) error { return p.Ftruncate(3, 1) },
	func(p platform.Platform, _ string, _ int) error { _, err := p.Fstat(3); return err },
	func(p platform.Platform, _ string, _ int) error { _, err := p.Statx(3); return err },
	func(p platform.Platform, _ string, _ int) error { _, err := p.GetFL(3); return err },
	func(p platform.Platform, _ string, _ int) error { _, err := p.Pread(3, nil, 0); return err },
	func(p platform.Platform, _ string, _ int) error { _, err := p.Pwrite(3, nil, 0); return err },
	func(p platform.Platform, _ string, flags int) error { return p.Fallocate(3, uint32(flags), 0, 1) },
	func(p platform.Platform, _ string, _ int) error { _, err := p.Fiemap(3, 0, 1, 0, nil); return err },
	func(p platform.Platform, _ string, _ int) error { return p.Fsync(3) },
	func(p platform.Platform, _ string, _ int) error { _, err := p.ARSCapabilities(3, 0, 1); return err },
	func(p platform.Platform, _ string, _ int) error { _, err := p.ClearError(3, 0, 1); return err },
	func(p platform.Platform, _ string, flags int) error {
		_, err := p.Mmap(0, 1, 0, flags, 3, 0)
		return err
	},
	func(p platform.Platform, _ string, _ int) error { return p.Munmap(0, 1) },
	func(p platform.Platform, _ string, _ int) error { _, err := p.Mremap(0, 1, 1, 0, 0); return err },
	func(p platform.Platform, _ string, flags int) error { return p.Msync(0, 1, flags) },
	func(p platform.Platform, path string, _ int) error { _, err := p.ReadAttr(path); return err },
	func(p platform.Platform, path string, _ int) error { return p.WriteAttr(path, "1") },
	func(p platform.Platform, path string, _ int) error { _, err := p.Readlink(path); return err },
	func(p platform.Platform, path string, _ int) error { _, err := p.List(path); return err },
}

// planPieces are what the bytes from 0x80 on stand for in the text of a plan.
var planPieces = [...]string{
	"(EIO ", "(And ", "(Or ", "(Not ", "(Op ", "(Call ", "(PathMatch \"", "(Anonymous)", "(FileBacked)", "(Flags ", "(OnIndex ", "(FromIndex ",
	"(Randomly ", "EACCES", "ENOSPC", "ENOTSUP", "EOPNOTSUPP", "2147483647", "2147483648", "18446744073709551615", "18446744073709551616",
	"0.5 7", "1e-3 0", "0x1p-2", "NaN", "1.0000001", "mmap", "files", "memory", "sysfs", "read-attr", "MAP_SYNC", "MAP_PRIVATE", "O_TMPFILE",
	"O_RDONLY", "MS_SYNC", "MAP_SHARED", "*", "[a-z]", "[^a", "\\", "\"", "\"))", "))", " ", "\n", "\x80", "\xff", "é", "\u2028", "\x00", "\\xff", "\\u00e9", "\\n",
	"(Op mmap)", "(OnIndex 1)", "(Not (Not (Not (Not (Not (Not (Not (Not (Not (Not ", "))))))))))",
}

// planInputBytes makes an input: a text that is mostly a plan, or a tree.
func planInputBytes(r *rand.Rand) []byte {
	bits := r.Uint64()
	if bits&3 == 0 {
		b := append(make([]byte, 0, 64), 0)
		b = append(b, planExamples[int(bits>>8&0xff)%len(planExamples)]...)
		for n := bits >> 2 & 3; n > 0; n-- {
			v := r.Uint64()
			at := 1 + int(v>>16&0xff)%len(b)
			switch v & 3 {
			case 0:
				b = b[:at]
			case 1, 2:
				b = append(b[:at], append([]byte{byte(v >> 8)}, b[at:]...)...)
			case 3:
				if at < len(b) {
					b[at] = byte(v >> 8)
				}
			}
		}
		return b
	}
	var calls [16]planCall
	var nodes [10]planNode
	head := planHead{Structured: 1, Rules: byte(bits >> 16), Calls: byte(len(calls)), Blank: byte(bits >> 24)}
	n := 2 + bits>>8%9
	fillAll(planFillers, r, calls[:])
	fillAll(planFillers, r, nodes[:n])
	b := Encode(make([]byte, 0, 128), &head)
	return EncodeAll(EncodeAll(b, calls[:]), nodes[:n])
}

var planFillers = newFillers(func(n *planNode, c gofuzz.Continue) {
	v := c.Uint32()
	*n = planNode{byte(v), byte(v >> 8), byte(v >> 16)}
}, func(n *planCall, c gofuzz.Continue) {
	v := c.Uint32()
	*n = planCall{byte(v), byte(v >> 8), byte(v >> 16)}
})

// planSeeds are these plans as inputs.
func planSeeds() [][]byte {
	var seeds [][]byte
	for _, text := range planExamples {
		seeds = append(seeds, append([]byte{0}, text...))
	}
	deep := strings.Repeat("(Not ", 100)
	return append(seeds, append([]byte{0}, "(EIO "+deep+"(Anonymous)"+strings.Repeat(")", 101)...))
}
