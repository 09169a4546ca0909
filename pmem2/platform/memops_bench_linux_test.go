package platform

import (
	"fmt"
	"testing"
)

// benchPages are n bytes of mapped memory, as persistent memory is to a routine.
func benchPages(b *testing.B, n int) []byte {
	base, err := Host().Mmap(0, uint64(n), ProtRead|ProtWrite, MapPrivate|MapAnonymous, -1, 0)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := Host().Munmap(base, uint64(n)); err != nil {
			b.Error(err)
		}
	})
	mem := Bytes(base, uint64(n))
	generic.set(at(mem, 0), 1, uintptr(n))
	return mem
}

// BenchmarkMemOps: what CacheOps costs for each instruction set, with the fence that
// makes it durable. off1 is a destination one byte past a line.
func BenchmarkMemOps(b *testing.B) {
	const longest = 16 << 20
	dst, src := benchPages(b, longest+4096), benchPages(b, longest+4096)
	for _, isa := range ISAs() {
		h, err := NewHost(Settings{ISA: isa})
		if err != nil {
			b.Fatal(err)
		}
		ops := h.CacheOps(GranularityCacheLine)
		for _, n := range []uintptr{8, 64, 255, 256, 4096, 64 << 10, 1 << 20, longest} {
			for _, off := range []int{0, 1} {
				d, s := at(dst, off), at(src, 0)
				for _, op := range []struct {
					name string
					call func()
				}{
					{"Copy", func() { ops.Copy(d, s, n); ops.Flush(d, n); ops.Fence() }},
					{"CopyNT", func() { ops.CopyNT(d, s, n); ops.Fence() }},
					{"Set", func() { ops.Set(d, 1, n); ops.Flush(d, n); ops.Fence() }},
					{"SetNT", func() { ops.SetNT(d, 1, n); ops.Fence() }},
				} {
					b.Run(fmt.Sprintf("%s/%s/%d/off%d", op.name, isa, n, off), func(b *testing.B) {
						b.ReportAllocs()
						b.SetBytes(int64(n))
						for b.Loop() {
							op.call()
						}
					})
				}
			}
		}
	}
}

// BenchmarkPersist: each instruction that the CPU has, on lines that are clean after
// the first time.
func BenchmarkPersist(b *testing.B) {
	mem := benchPages(b, 1<<20)
	seen := map[string]bool{}
	for _, s := range []Settings{{}, {NoCLWB: true}, {NoCLWB: true, NoCLFLUSHOPT: true}} {
		h, err := NewHost(s)
		if err != nil {
			b.Fatal(err)
		}
		ops := h.CacheOps(GranularityCacheLine)
		if seen[ops.Instruction] {
			continue
		}
		seen[ops.Instruction] = true
		for _, n := range []uintptr{8, 64, 4096, 64 << 10, 1 << 20} {
			b.Run(fmt.Sprintf("%s/%d", ops.Instruction, n), func(b *testing.B) {
				b.ReportAllocs()
				b.SetBytes(int64(n))
				for b.Loop() {
					ops.Persist(at(mem, 0), n)
				}
			})
		}
	}
}

// TestMemOpsAllocate: nothing is allocated, whatever is called.
func TestMemOpsAllocate(t *testing.T) {
	variants(t, func(t *testing.T, ops *CacheOps) {
		dst, src := pages(t, 8192), pages(t, 8192)
		if got := testing.AllocsPerRun(100, func() {
			ops.Copy(at(dst, 1), at(src, 0), 1000)
			ops.CopyNT(at(dst, 1), at(src, 0), 1000)
			ops.Set(at(dst, 1), 3, 1000)
			ops.SetNT(at(dst, 1), 3, 1000)
			ops.Flush(at(dst, 1), 1000)
			ops.Fence()
			ops.Persist(at(dst, 1), 1000)
		}); got != 0 {
			t.Errorf("%v allocations", got)
		}
	})
}
