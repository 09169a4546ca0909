// Storetrace calls the cache operations for plugin.c to watch, under qemu-user. Its
// arguments are the settings: each "ISA,flag,…" with the flags noclwb, noclflushopt
// and nomovnt, or "host" for those of the environment.
package main

import (
	"fmt"
	"os"
	"runtime"
	"strings"
	"syscall"
	"unsafe"

	"pmemlab/pmem2/platform"
)

const (
	begin = 0x7000
	end   = begin + 1
	area  = 16 << 10
)

// The operations by their numbers in a call's id.
const (
	opCopy = iota
	opCopyNT
	opSet
	opSetNT
	opFlush
	opPersist
	opFence
	opPlanted
)

func main() {
	runtime.LockOSThread()
	h := platform.Host()
	base, err := h.Mmap(0, 2*area, platform.ProtRead|platform.ProtWrite, platform.MapPrivate|platform.MapAnonymous, -1, 0)
	if err != nil {
		fail(err)
	}
	for variant, arg := range os.Args[1:] {
		name, flags, _ := strings.Cut(arg, ",")
		p := h
		if name != "host" {
			if p, err = platform.NewHost(platform.Settings{
				ISA:          platform.ISA(name),
				NoCLWB:       strings.Contains(flags, "noclwb"),
				NoCLFLUSHOPT: strings.Contains(flags, "noclflushopt"),
				NoMOVNT:      strings.Contains(flags, "nomovnt"),
			}); err != nil {
				fail(err)
			}
		}
		trace(uintptr(variant), p.CacheOps(platform.GranularityCacheLine), base)
	}
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}

// trace makes every call; its id is that of the test.
func trace(variant uintptr, ops *platform.CacheOps, base uintptr) {
	call := func(op, offset, shift, n uintptr) {
		dst := base + 4096 + offset
		src := base + area + 4096 + offset
		if shift != 0 { // overlap: dst starts inside the source
			src = dst - shift
		}
		d, s := platform.Pointer(dst), platform.Pointer(src)
		var stack byte
		syscall.RawSyscall6(begin, dst, n, src, base, base+2*area, uintptr(unsafe.Pointer(&stack)))
		switch op {
		case opCopy:
			ops.Copy(d, s, n)
		case opCopyNT:
			ops.CopyNT(d, s, n)
		case opSet:
			ops.Set(d, 7, n)
		case opSetNT:
			ops.SetNT(d, 7, n)
		case opFlush:
			ops.Flush(d, n)
		case opPersist:
			ops.Persist(d, n)
		case opFence:
			ops.Fence()
		case opPlanted:
			planted(d, s, n)
		}
		syscall.RawSyscall6(end, variant<<48|op<<40|offset<<28|shift<<16|n, 0, 0, 0, 0, 0)
	}
	for op := uintptr(opCopy); op <= opPlanted; op++ {
		for n := uintptr(8); n <= 4104; n += 8 {
			call(op, n/8%8*8, 0, n) // each place of a word in a line
			if op <= opCopyNT {
				call(op, n/8*3%8*8, 24, n)
			}
		}
		if op == opPlanted {
			continue
		}
		for n := uintptr(0); n < 300; n++ {
			call(op, n*5%64, 0, n)
			if op <= opCopyNT && n > 0 {
				call(op, n*7%64, n%25+1, n)
			}
		}
	}
}

// planted is a copy as it must not be: 16 bytes at a time, and the rest by bytes.
func planted(dst, src unsafe.Pointer, n uintptr) {
	i := uintptr(0)
	for ; i+16 <= n; i += 16 {
		*(*[2]uint64)(unsafe.Add(dst, i)) = *(*[2]uint64)(unsafe.Add(src, i))
	}
	for ; i < n; i++ {
		*(*byte)(unsafe.Add(dst, i)) = *(*byte)(unsafe.Add(src, i))
	}
}
