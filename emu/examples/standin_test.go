package examples

import (
	"bytes"
	"fmt"
	"path/filepath"
	"runtime"
	"strings"
	"sync"

	"pmemlab/emu/examples/mutate"
	"pmemlab/emu/examples/pmem"
	"pmemlab/emu/persist"
	"pmemlab/pmem2"
)

// A stand-in for a machine and its exploration, small and on its own: memory is bytes, the
// model is told of every operation, and recovery runs in place on each image that is
// proven, before each fence and after each acknowledgement.

// lost is what an exploration found.
type lost struct {
	err     error
	where   []persist.Choice
	at      mutate.Place // the fence before which power failed, or
	after   string       // the operation after which it did
	acked   int
	program bool // not a crash: the program itself failed
}

func (l *lost) String() string {
	when := "before the fence at " + l.at.String()
	if l.after != "" {
		when = "after " + l.after
	}
	return fmt.Sprintf("power fails %s, cells not at their newest %v: %v", when, l.where, l.err)
}

// powerCut is the exploration of one life of a program.
type powerCut struct {
	files [][]byte
	known [][]byte // what the model was told
	model *persist.Memory
	c     pmem.Case
	max   uint64 // images at a point

	mu     sync.Mutex
	acks   []string
	images uint64
	found  *lost
	image  [][]byte // for recovery
	after  []pmem.Memory
}

const fileAt = 20 // a file begins at its number << fileAt in the model's memory

// explore runs the case's workload through the program, until something is found.
func explore(c pmem.Case, files int, p *mutate.Program, maxImages uint64) *powerCut {
	x := &powerCut{model: persist.New(persist.X86, nil), c: c, max: maxImages}
	var memory []pmem.Memory
	for i := range files {
		x.files = append(x.files, make([]byte, FileSize))
		x.known = append(x.known, make([]byte, FileSize))
		x.image = append(x.image, make([]byte, FileSize))
		x.after = append(x.after, bare(x.image[i]))
		memory = append(memory, p.Wrap(&recorded{x, i}))
	}
	if err := c.Workload(memory, x.ack); err != nil && x.found == nil {
		x.found = &lost{err: err, program: true}
	}
	return x
}

func (x *powerCut) ack(what string) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.acks = append(x.acks, what)
	x.look()
	x.crash(mutate.Place{}, what)
}

// look tells the model what changed since the last look.
func (x *powerCut) look() {
	var changes []persist.Change
	for i, b := range x.files {
		for at := 0; at < len(b); at += pmem.Line {
			if line := b[at : at+pmem.Line]; !bytes.Equal(line, x.known[i][at:at+pmem.Line]) {
				copy(x.known[i][at:], line)
				changes = append(changes, persist.Change{Off: uint64(i)<<fileAt + uint64(at), Data: bytes.Clone(line)})
			}
		}
	}
	if len(changes) > 0 {
		x.model.Observe(changes...)
	}
}

func (x *powerCut) crash(at mutate.Place, after string) {
	if x.found != nil {
		return
	}
	base := make([][]byte, len(x.known))
	for i := range base {
		base[i] = bytes.Clone(x.known[i])
	}
	set := func(off uint64, content []byte) { copy(base[off>>fileAt][off&(1<<fileAt-1):], content) }
	try := func(choices []persist.Choice) bool {
		x.images++
		for i := range base {
			copy(x.image[i], base[i])
		}
		err := x.c.Recover(x.after)
		if err == nil {
			err = x.c.Check(x.after, x.acks)
		}
		if err != nil {
			x.found = &lost{err: err, where: append([]persist.Choice(nil), choices...), at: at, after: after, acked: len(x.acks)}
		}
		return err == nil
	}
	images := x.model.Proven()
	n := uint64(0)
	for choices := range images.All(set) { // those with few lost lines first
		if !try(choices) || n == x.max/2 && images.Count() > x.max {
			break
		}
		n++
	}
	if x.found != nil || images.Count() <= x.max {
		return
	}
	for i := range base {
		copy(base[i], x.known[i])
	}
	for choices := range images.Sample(x.images, x.max/2, set) {
		if !try(choices) {
			return
		}
	}
}

// recorded is a file of the program.
type recorded struct {
	x *powerCut
	i int
}

func (r *recorded) off(b []byte) uint64 {
	f := r.x.files[r.i]
	return uint64(r.i)<<fileAt + uint64(cap(f)-cap(b)) // b is a part of f
}

func (r *recorded) Bytes() []byte { return r.x.files[r.i] }

func (r *recorded) Persist(b []byte) error { return r.do(b, true, true) }
func (r *recorded) Flush(b []byte) error   { return r.do(b, true, false) }
func (r *recorded) Drain() error           { return r.do(nil, false, true) }

func (r *recorded) do(b []byte, flush, fence bool) error {
	r.x.mu.Lock()
	defer r.x.mu.Unlock()
	r.x.look()
	g := goroutine()
	if flush && len(b) > 0 {
		r.x.model.Flush(g, r.off(b), uint64(len(b)))
	}
	if fence {
		r.x.crash(callerPlace(), "")
		r.x.model.Fence(g)
	}
	return nil
}

func (r *recorded) Memcpy(dst, src []byte, flags pmem2.MemFlags) error {
	return r.Memmove(dst, src, flags)
}

func (r *recorded) Memset(dst []byte, c byte, flags pmem2.MemFlags) error {
	return r.Memmove(dst, bytes.Repeat([]byte{c}, len(dst)), flags)
}

func (r *recorded) Memmove(dst, src []byte, flags pmem2.MemFlags) error {
	if !flags.Valid() {
		return fmt.Errorf("flags %#x", flags)
	}
	nonTemporal := flags&(pmem2.MemNonTemporal|pmem2.MemWC) != 0 || len(dst) >= 256 && flags&(pmem2.MemTemporal|pmem2.MemWB|pmem2.MemNoFlush) == 0
	if nonTemporal && len(dst) > 0 {
		r.x.mu.Lock()
		r.x.look()
		copy(dst, src)
		copy(r.x.known[r.i][cap(r.x.files[r.i])-cap(dst):], src)
		r.x.model.StoreNT(goroutine(), r.off(dst), src)
		r.x.mu.Unlock()
	} else {
		copy(dst, src)
	}
	return r.do(dst, flags&pmem2.MemNoFlush == 0 && !nonTemporal, flags&(pmem2.MemNoFlush|pmem2.MemNoDrain) == 0)
}

// bare is memory after the crash: it only has content.
type bare []byte

func (b bare) Bytes() []byte                                  { return b }
func (b bare) Persist([]byte) error                           { return nil }
func (b bare) Flush([]byte) error                             { return nil }
func (b bare) Drain() error                                   { return nil }
func (b bare) Memcpy(dst, src []byte, _ pmem2.MemFlags) error { copy(dst, src); return nil }
func (b bare) Memmove(dst, src []byte, _ pmem2.MemFlags) error {
	copy(dst, src)
	return nil
}
func (b bare) Memset(dst []byte, c byte, _ pmem2.MemFlags) error {
	copy(dst, bytes.Repeat([]byte{c}, len(dst)))
	return nil
}

// callerPlace is the innermost line that is neither here nor in the mutator.
func callerPlace() mutate.Place {
	pcs := make([]uintptr, 16)
	frames := runtime.CallersFrames(pcs[:runtime.Callers(2, pcs)])
	for {
		f, more := frames.Next()
		if !more || !strings.HasSuffix(f.File, "standin_test.go") && filepath.Base(filepath.Dir(f.File)) != "mutate" {
			return mutate.Place{File: f.File, Line: f.Line}
		}
	}
}

func goroutine() (g int64) {
	b := make([]byte, 32)
	_, _ = fmt.Sscanf(string(b[:runtime.Stack(b, false)]), "goroutine %d", &g)
	return g
}
