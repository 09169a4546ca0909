// Package mutate breaks programs: it stands between a program and its persistent memory,
// knows the lines of source from which the memory is called, and can change what is done at
// one of them. A crash test that finds nothing wrong with the program that results has
// missed something, unless the two programs are equivalent.
//
//	var p mutate.Program
//	err := run(p.Wrap(mem)) // the correct program, which tells the sites
//	for _, m := range p.Mutants() {
//		broken := mutate.Program{Mutant: m}
//		err := run(broken.Wrap(mem))
//		…
//	}
package mutate

import (
	"cmp"
	"fmt"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"unsafe"

	"pmemlab/emu/examples/pmem"
	"pmemlab/pmem2"
)

// Place is a line of source.
type Place struct {
	File string
	Line int
}

func (p Place) String() string { return fmt.Sprintf("%s:%d", filepath.Base(p.File), p.Line) }

// Mutation is a change of one call.
type Mutation string

// The mutations, and the calls that have them.
const (
	LeftOut     Mutation = "left out"                     // Persist, Flush, Drain
	FlushOnly   Mutation = "flush only"                   // Persist
	DrainOnly   Mutation = "drain only"                   // Persist
	Elsewhere   Mutation = "drained by another goroutine" // Persist, Drain
	NoFirstLine Mutation = "without the first line"       // Persist and Flush of several
	NoLastLine  Mutation = "without the last line"        // Persist and Flush of several
	NoDrain     Mutation = "with NODRAIN"                 // copies without
	Drain       Mutation = "without NODRAIN"              // copies with
	NoFlush     Mutation = "with NOFLUSH"                 // copies without
	NonTemporal Mutation = "with NONTEMPORAL"             // copies without
	Temporal    Mutation = "TEMPORAL, not NONTEMPORAL"    // copies with NONTEMPORAL
)

const nonTemporal = pmem2.MemNonTemporal | pmem2.MemWC

// Mutant is a program with one call changed. The zero value is the correct program.
type Mutant struct {
	Place    Place
	Mutation Mutation
}

// Program stands between a program and its memory. The zero value changes nothing. It may be
// used by several goroutines at once.
type Program struct {
	Mutant Mutant

	mu    sync.Mutex
	calls map[Place]call // what was seen
}

// call is what was seen at a place, of all times it was called.
type call struct {
	method string
	flags  pmem2.MemFlags
	lines  int // the most that a range touched
}

// Wrap returns mem with the mutant's change.
func (p *Program) Wrap(mem pmem.Memory) pmem.Memory { return &memory{mem, p} }

// Places are the lines from which the memory was called, in the order of their names.
func (p *Program) Places() []Place {
	p.mu.Lock()
	defer p.mu.Unlock()
	var all []Place
	for at := range p.calls {
		all = append(all, at)
	}
	slices.SortFunc(all, func(a, b Place) int { return cmp.Or(strings.Compare(a.File, b.File), a.Line-b.Line) })
	return all
}

// Mutants are the changes of the calls that were seen, one at a time.
func (p *Program) Mutants() []Mutant {
	var all []Mutant
	for _, at := range p.Places() {
		for _, m := range p.calls[at].mutations() {
			all = append(all, Mutant{at, m})
		}
	}
	return all
}

func (c call) mutations() []Mutation {
	var all []Mutation
	switch c.method {
	case "Drain":
		return []Mutation{LeftOut, Elsewhere}
	case "Persist":
		all = []Mutation{LeftOut, FlushOnly, DrainOnly, Elsewhere}
	case "Flush":
		all = []Mutation{LeftOut}
	default:
		if c.flags&pmem2.MemNoFlush != 0 {
			return nil // the Flush that it needs is a call of its own
		}
		all = []Mutation{NoFlush}
		all = append(all, either(c.flags&pmem2.MemNoDrain != 0, Drain, NoDrain))
		return append(all, either(c.flags&nonTemporal != 0, Temporal, NonTemporal))
	}
	if c.lines > 1 {
		all = append(all, NoFirstLine, NoLastLine)
	}
	return all
}

func either(first bool, a, b Mutation) Mutation {
	if first {
		return a
	}
	return b
}

// called notes a call from the caller of a method of memory, and returns its mutation.
func (p *Program) called(method string, b []byte, flags pmem2.MemFlags) Mutation {
	_, file, line, _ := runtime.Caller(2)
	at := Place{file, line}
	lines := 0
	if len(b) > 0 {
		first := uintptr(unsafe.Pointer(unsafe.SliceData(b))) / pmem.Line
		last := uintptr(unsafe.Pointer(&b[len(b)-1])) / pmem.Line
		lines = int(last-first) + 1
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.calls == nil {
		p.calls = map[Place]call{}
	}
	p.calls[at] = call{method, flags, max(lines, p.calls[at].lines)}
	if p.Mutant.Place != at || lines < 2 && (p.Mutant.Mutation == NoFirstLine || p.Mutant.Mutation == NoLastLine) {
		return ""
	}
	return p.Mutant.Mutation
}

// memory is a pmem.Memory whose methods must be called from the program itself.
type memory struct {
	pmem.Memory
	program *Program
}

func (m *memory) Persist(b []byte) error {
	switch mutation := m.program.called("Persist", b, 0); mutation {
	case LeftOut:
		return nil
	case FlushOnly:
		return m.Memory.Flush(b)
	case DrainOnly:
		return m.Memory.Drain()
	case Elsewhere:
		if err := m.Memory.Flush(b); err != nil {
			return err
		}
		return m.drainElsewhere()
	default:
		return m.Memory.Persist(cut(b, mutation))
	}
}

func (m *memory) Flush(b []byte) error {
	mutation := m.program.called("Flush", b, 0)
	if mutation == LeftOut {
		return nil
	}
	return m.Memory.Flush(cut(b, mutation))
}

func (m *memory) Drain() error {
	switch m.program.called("Drain", nil, 0) {
	case LeftOut:
		return nil
	case Elsewhere:
		return m.drainElsewhere()
	default:
		return m.Memory.Drain()
	}
}

// drainElsewhere drains, which is for a goroutine's own flushes, by another goroutine.
func (m *memory) drainElsewhere() error {
	done := make(chan error)
	go func() { done <- m.Memory.Drain() }()
	return <-done
}

func (m *memory) Memcpy(dst, src []byte, flags pmem2.MemFlags) error {
	return m.Memory.Memcpy(dst, src, change(flags, m.program.called("Memcpy", dst, flags)))
}

func (m *memory) Memmove(dst, src []byte, flags pmem2.MemFlags) error {
	return m.Memory.Memmove(dst, src, change(flags, m.program.called("Memmove", dst, flags)))
}

func (m *memory) Memset(dst []byte, c byte, flags pmem2.MemFlags) error {
	return m.Memory.Memset(dst, c, change(flags, m.program.called("Memset", dst, flags)))
}

// cut takes the first or the last line from b.
func cut(b []byte, m Mutation) []byte {
	if m != NoFirstLine && m != NoLastLine {
		return b
	}
	at := uintptr(unsafe.Pointer(unsafe.SliceData(b)))
	if m == NoFirstLine {
		return b[pmem.Line-at%pmem.Line:]
	}
	return b[:len(b)-1-int((at+uintptr(len(b))-1)%pmem.Line)]
}

func change(f pmem2.MemFlags, m Mutation) pmem2.MemFlags {
	switch m {
	case NoDrain:
		return f | pmem2.MemNoDrain
	case Drain:
		return f &^ pmem2.MemNoDrain
	case NoFlush: // doesn't go with non-temporal stores
		return f&^nonTemporal | pmem2.MemNoFlush
	case NonTemporal:
		return f&^(pmem2.MemTemporal|pmem2.MemWB) | pmem2.MemNonTemporal
	case Temporal:
		return f&^nonTemporal | pmem2.MemTemporal
	default:
		return f
	}
}
