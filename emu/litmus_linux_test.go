package emu_test

import (
	"encoding/binary"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"

	"pmemlab/emu"
	"pmemlab/pmem2/platform"
)

// litmusMachine is a machine that rows are run on.
type litmusMachine struct {
	name   string
	column func(litmus) string
	cfg    emu.Config
	// strong is a CPU that has CLFLUSH alone, bytes a program that leaves flushes out since
	// the caches are protected, pages a file in the page cache.
	strong, bytes, pages bool
	// again is a machine on which what passed on the one of the same column passes too, unless
	// what they have of their own is wrong: only programs that are quick run there.
	again bool
}

// quick: few interleavings, and not the states of two lines of words in any mix.
func (l litmus) quick() bool {
	return strings.Count(l.program, ";") < 6 && strings.Count(l.program, "NT") < 2
}

var litmusMachines = []litmusMachine{
	{"x86, CLWB", func(l litmus) string { return l.x86 }, emu.Config{}, false, false, false, false},
	{"x86, CLFLUSHOPT", func(l litmus) string { return l.x86 }, emu.Config{CPU: platform.Settings{NoCLWB: true}}, false, false, false, true},
	{"x86, CLFLUSH", func(l litmus) string { return l.x86 }, emu.Config{CPU: platform.Settings{NoCLWB: true, NoCLFLUSHOPT: true}}, true, false, false, true},
	{"x86, no PAGEMAP_SCAN", func(l litmus) string { return l.x86 }, emu.Config{NoPageScan: true}, false, false, false, true},
	{"eADR", func(l litmus) string { return l.eadr }, emu.Config{EADR: true}, false, false, false, false},
	{"eADR, no flushes", func(l litmus) string { return l.eadr }, emu.Config{EADR: true}, false, true, false, true},
	{"Arm64", func(l litmus) string { return l.arm }, emu.Config{Model: emu.Arm64}, false, false, false, false},
	{"page cache", func(l litmus) string { return l.page }, emu.Config{}, false, false, true, false},
}

// TestLitmus runs each program in every interleaving, lets the power fail at every moment,
// and compares all states there were with those of the table. -v prints the table.
func TestLitmus(t *testing.T) {
	type place struct {
		machine string
		on      backing
	}
	rigs := map[place]*rig{}
	names := map[string]bool{}
	for _, l := range litmusTests {
		if names[l.name] || l.source == "" {
			t.Errorf("%s: there twice, or without a source", l.name)
		}
		names[l.name] = true
	}
	for _, l := range litmusTests {
		// Not of t: the rigs live as long as all rows.
		rigOf := func(m litmusMachine) *rig {
			on := l.on
			if m.pages {
				on = onPages
			}
			at := place{m.name, on}
			if rigs[at] == nil {
				m.cfg.TraceEvents = -1
				r := newRig(t, m.cfg, on)
				if m.bytes {
					r.ops = r.m.CacheOps(platform.GranularityByte)
				}
				rigs[at] = r
			}
			return rigs[at]
		}
		for _, m := range litmusMachines {
			if m.column(l) != "" {
				rigOf(m)
			}
		}
		t.Run(l.name, func(t *testing.T) {
			first, want := "", ""
			for _, m := range litmusMachines {
				switch column := m.column(l); column {
				case "":
					continue
				case "same":
				default:
					want = column
				}
				if first == "" {
					first = m.name
				}
				l.check(t, m, rigOf(m), want, m.name == first)
			}
		})
	}
}

// check runs the row on m, whose states are to be want.
func (l litmus) check(t *testing.T, m litmusMachine, r *rig, want string, first bool) {
	if (m.again || testing.Short() && raceEnabled) && !l.quick() {
		return
	}
	// The ends of a non-temporal copy are flushed, too.
	if strings.Contains(l.program, "FO") || strings.Contains(l.program, "NT") && strings.Contains(l.program, "/") {
		if m.strong {
			return
		}
		if r.ops.Instruction == "CLFLUSH" {
			t.Logf("%s: the CPU has CLFLUSH only", m.name)
			return
		}
	}
	hows := []bool{false, true}
	switch {
	case l.copied:
		hows = hows[1:]
	case l.plain || strings.Contains(l.program, "look") || m.again || testing.Short() || raceEnabled || !l.storesWords():
		hows = hows[:1]
	}
	for _, copies := range hows {
		run := l.run(t, r, l.program, copies)
		where := m.name + ", plain stores"
		if copies {
			where = m.name + ", copies"
		}
		compareStates(t, where+": proven", run.proven, want, l.order)
		if l.possible != "" && first {
			compareStates(t, where+": possible", run.possible, l.possible, l.order)
		}
		for state := range run.proven {
			if !run.possible[state] {
				t.Errorf("%s: %s is proven, but not possible", where, state)
			}
		}
		switch {
		case l.published == "" || !first:
		case l.early != "":
			maps.Copy(run.proven, l.run(t, r, l.early, copies).proven)
			compareStates(t, where+": published", run.proven, l.published, l.order)
		default:
			for state := range statesOf(l.published, l.order) {
				if !run.proven[state] {
					t.Errorf("%s: %s is published, but not proven", where, state)
				}
			}
		}
		t.Logf("%-27s %s\n\t[%s] proven: %s; %d possible\n\t%s", where, l.program, l.order, sortedSet(run.proven), len(run.possible), l.source)
	}
}

// storesWords says whether a store of the program is one of a word.
func (l litmus) storesWords() bool {
	for i := range strings.FieldsFuncSeq(l.program, func(c rune) bool { return c == ';' || c == '|' }) {
		if i = strings.TrimSpace(i); !strings.Contains(i, " ") && 'A' <= i[0] && i[0] <= 'L' && !strings.HasSuffix(i, "?") && len(i) < 4 &&
			i != "SF" && i != "DMB" || strings.HasPrefix(i, "RMW") || i == "lock" {
			return true
		}
	}
	return false
}

// statesOf reads a column: "all" or "all but" states of zeroes and ones, "needs B>A" (no
// B without A), or a list.
func statesOf(want, order string) map[string]bool {
	set := map[string]bool{}
	words := strings.Fields(want)
	locations := strings.Fields(order)
	if words[0] != "all" && words[0] != "needs" {
		for _, w := range words {
			set[w] = true
		}
		return set
	}
	for i := range 1 << len(locations) {
		state := fmt.Sprintf("%0*b", len(locations), i)
		ok := words[0] == "all" && !slices.Contains(words, state)
		if words[0] == "needs" {
			ok = true
			for _, rule := range words[1:] {
				b, a, _ := strings.Cut(rule, ">")
				ok = ok && (state[slices.Index(locations, b)] == '0' || state[slices.Index(locations, a)] == '1')
			}
		}
		if ok {
			set[state] = true
		}
	}
	return set
}

func compareStates(t *testing.T, what string, got map[string]bool, want, order string) {
	t.Helper()
	if set := statesOf(want, order); !maps.Equal(got, set) {
		t.Errorf("%s states [%s]:\n\tgot  %s\n\twant %s", what, order, sortedSet(got), sortedSet(set))
	}
}

// litmusInstruction is one or several operations, or something that no machine is told of.
type litmusInstruction struct {
	name string // "": the ops alone
	ops  []litmusOp
	off  uint64 // of what it accesses
}

type litmusRun struct {
	t                *testing.T
	r                *rig
	copies           bool // words are stored by the machine's copy
	threads          [2][]litmusInstruction
	locations        []uint64
	checks           int // goroutines must have come past so many
	proven, possible map[string]bool
}

func (l litmus) run(t *testing.T, r *rig, program string, copies bool) *litmusRun {
	run := &litmusRun{t: t, r: r, copies: copies, proven: map[string]bool{}, possible: map[string]bool{}}
	r.reset(t)
	r.used = nil
	for g, text := range strings.Split(program, "|") {
		for s := range strings.SplitSeq(text, ";") {
			i := run.parse(strings.TrimSpace(s), g)
			if i.name == "check" {
				run.checks++
			}
			run.threads[g] = append(run.threads[g], i)
		}
	}
	for _, name := range strings.Fields(l.order) {
		off, _ := location(t, name)
		run.locations = append(run.locations, off)
	}
	run.explore(nil)
	if len(run.proven) == 0 {
		t.Errorf("%s: there's no moment to check", program)
	}
	return run
}

// location parses A, A2, A+4 and A/16, or several of them.
func location(t *testing.T, s string) (off, size uint64) {
	t.Helper()
	number := func(s string) uint64 {
		n, err := strconv.ParseUint(s, 10, 32)
		if err != nil {
			t.Fatalf("%q: %v", s, err)
		}
		return n
	}
	s, width, ok := strings.Cut(s, "/")
	if ok {
		size = number(width)
	}
	s, plus, ok := strings.Cut(s, "+")
	if ok {
		off = number(plus)
	}
	if len(s) > 1 {
		off += 8 * (number(s[1:]) - 1)
	}
	if s[0] < 'A' || s[0] > 'L' {
		t.Fatalf("%q: no such location", s)
	}
	return off + 4096*uint64(s[0]-'A'), size
}

// use notes that a program uses the lines of [off, off+n).
func (run *litmusRun) use(off, n uint64) {
	for at := off &^ 63; at < off+n; at += 64 {
		if !slices.Contains(run.r.used, at) {
			run.r.used = append(run.r.used, at)
		}
	}
}

// store parses A=2 with size bytes by default, 0 being a word with the value in its first byte.
func (run *litmusRun) store(s string, g int, size uint64, kind opKind) litmusOp {
	name, value, ok := strings.Cut(s, "=")
	v := byte(1)
	if ok && value != "r" {
		v = value[0] - '0'
	}
	off, n := location(run.t, name)
	if n == 0 {
		n = size
	} else if kind == opStore {
		kind = opCopy
	}
	data := []byte{v, 0, 0, 0, 0, 0, 0, 0}
	if n > 0 {
		data = slices.Repeat([]byte{v}, int(n))
	}
	if kind == opStore && run.copies {
		kind = opCopy
	}
	run.use(off, uint64(len(data)))
	return litmusOp{kind: kind, g: g, off: off, data: data}
}

func (run *litmusRun) parse(s string, g int) litmusInstruction {
	t := run.t
	t.Helper()
	name, arg, hasArg := strings.Cut(s, " ")
	at := func(arg string) uint64 {
		off, _ := location(t, arg)
		run.use(off, 1)
		return off
	}
	flush := func(kind opKind) litmusInstruction {
		return litmusInstruction{ops: []litmusOp{{kind: kind, g: g, off: at(arg), n: 1}}}
	}
	stored := func(name, s string) litmusInstruction {
		o := run.store(s, g, 0, opStore)
		return litmusInstruction{name: name, ops: []litmusOp{o}, off: o.off}
	}
	switch {
	case name == "NT":
		return litmusInstruction{ops: []litmusOp{run.store(arg, g, 64, opCopyNT)}}
	case name == "look":
		var i litmusInstruction
		for _, c := range strings.Fields(arg) {
			i.ops = append(i.ops, run.store(c, g, 0, opStore))
		}
		i.ops = append(i.ops, litmusOp{kind: opLook, g: g})
		return i
	case name == "FL":
		return flush(opCLFlush)
	case name == "FO":
		return flush(opFlush)
	case name == "msync":
		return flush(opMsync)
	case name == "RMW":
		return stored("RMW", arg)
	case name == "ld":
		return litmusInstruction{name: "ld", off: at(arg)}
	case hasArg:
		t.Fatalf("%q: no such instruction", s)
	case s == "SF":
		return litmusInstruction{ops: []litmusOp{{kind: opFence, g: g}}}
	case s == "DMB" || s == "check":
		return litmusInstruction{name: s}
	case s == "lock":
		return stored(s, "L")
	case s == "unlock":
		return stored(s, "L=0")
	case strings.HasSuffix(s, "?"):
		return litmusInstruction{name: "?", off: at(strings.TrimSuffix(s, "?"))}
	case strings.HasPrefix(s, "r="):
		return litmusInstruction{name: "r=", off: at(s[2:])}
	case strings.HasSuffix(s, "=r"):
		return stored("=r", s)
	}
	return stored("", s)
}

// explore runs the goroutines in the order of schedule, lets the power fail then, and goes on
// with each of the goroutines.
func (run *litmusRun) explore(schedule []int) {
	r := run.r
	r.reset(run.t)
	var pc [2]int
	var register [2]byte
	checked := 0
	for _, g := range schedule {
		i := run.threads[g][pc[g]]
		pc[g]++
		var loaded byte
		switch i.name {
		case "?", "r=", "ld":
			r.on(g, func() { loaded = r.mem[i.off] })
		case "check":
			checked++
		}
		switch i.name {
		case "?":
			if loaded == 0 {
				pc[g] = len(run.threads[g])
			}
		case "r=":
			register[g] = loaded
		case "RMW":
			if v := i.ops[0].data; !run.copies {
				r.on(g, func() { atomic.SwapUint64((*uint64)(r.at(i.off)), binary.LittleEndian.Uint64(v)) })
				break
			}
			fallthrough
		default:
			for _, o := range i.ops {
				if i.name == "=r" {
					o.data = []byte{register[g], 0, 0, 0, 0, 0, 0, 0}
				}
				r.do(run.t, o)
			}
		}
		if !run.copies {
			r.m.Look()
		}
	}
	if checked == run.checks {
		// In this order: what is proven ends the last operation.
		r.states(run.t, true, func(mem []byte) { run.possible[run.text(mem)] = true })
		r.states(run.t, false, func(mem []byte) { run.proven[run.text(mem)] = true })
		if state := run.text(r.mem); !run.proven[state] {
			run.t.Errorf("%s: what is visible isn't among the states", state)
		}
	}
	var next []int
	for g, thread := range run.threads {
		if pc[g] < len(thread) && (thread[pc[g]].name != "lock" || r.mem[thread[pc[g]].off] == 0) {
			next = append(next, g)
		}
	}
	for _, g := range next {
		run.explore(append(slices.Clone(schedule), g))
	}
}

// text is the digits of a state: of each word its highest byte that isn't 0.
func (run *litmusRun) text(mem []byte) string {
	var s []byte
	for _, off := range run.locations {
		w := binary.LittleEndian.Uint64(mem[off:])
		for w > 0xff {
			w >>= 8
		}
		s = append(s, '0'+byte(w))
	}
	return string(s)
}
