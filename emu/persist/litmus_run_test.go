package persist

import (
	"encoding/binary"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// TestLitmus runs each program in every interleaving, lets the power fail at every moment,
// and compares all images there were with those that the table has. -v prints the table.
//
// Threads run in program order, with two exceptions. On x86 a CLWB isn't ordered with
// earlier stores and flushes of other lines, on Arm with earlier loads of them either,
// so that it can cover less than what is visible; and a non-temporal store isn't ordered with
// earlier ordinary ones. They run as early as they may: when they run later there are
// no images that aren't there when they're early. Store buffers only delay stores: what that adds are programs that load something after they store it,
// which none does, and moments that are those before the store. Likewise Arm's
// stores that have no barrier between them: no program has another thread look at both.
func TestLitmus(t *testing.T) {
	names := map[string]bool{}
	for _, l := range litmusTests {
		if names[l.name] || l.source == "" {
			t.Errorf("%s: there twice, or without a source", l.name)
		}
		names[l.name] = true
		t.Run(l.name, func(t *testing.T) {
			want, possible := "", l.possible
			for model, column := range []string{l.x86, l.eadr, l.arm, l.page} {
				if column == "" {
					continue
				}
				if column != "same" {
					want = column
				}
				model := []Model{X86, X86EADR, Arm64, PageCache}[model]
				r := newRun(t, model, l)
				r.visit(nil, make([]int, len(r.threads)), make([]byte, len(r.threads)), 0)
				if r.visits == 0 {
					t.Fatalf("%v: there's no moment to check", model)
				}
				compareImages(t, model, "proven", r.proven, want, l.order)
				if possible != "" {
					compareImages(t, model, "possible", r.possible, possible, l.order)
				}
				possible = ""
				for image := range r.proven {
					if !r.possible[image] {
						t.Errorf("%v: %s is proven, but not possible", model, image)
					}
				}
				t.Logf("%-10v %s\n\t[%s] proven: %s; %d possible\n\t%s", model, l.program, l.order,
					sorted(r.proven), len(r.possible), l.source)
			}
		})
	}
}

func sorted(set map[string]bool) string {
	return strings.Join(slices.Sorted(maps.Keys(set)), " ")
}

// compareImages reads want: "all" or "all but" images of zeroes and ones, "needs B>A" (no
// B without A), or a list.
func compareImages(t *testing.T, model Model, kind string, got map[string]bool, want, order string) {
	t.Helper()
	set := map[string]bool{}
	words := strings.Fields(want)
	locations := strings.Fields(order)
	if words[0] != "all" && words[0] != "needs" {
		for _, w := range words {
			set[w] = true
		}
	} else {
		for i := range 1 << len(locations) {
			image := fmt.Sprintf("%0*b", len(locations), i)
			ok := words[0] == "all" && !slices.Contains(words, image)
			if words[0] == "needs" {
				ok = true
				for _, rule := range words[1:] {
					b, a, _ := strings.Cut(rule, ">")
					ok = ok && (image[slices.Index(locations, b)] == '0' || image[slices.Index(locations, a)] == '1')
				}
			}
			if ok {
				set[image] = true
			}
		}
	}
	if !maps.Equal(got, set) {
		t.Errorf("%v: %s images [%s]:\n\tgot  %s\n\twant %s", model, kind, order, sorted(got), sorted(set))
	}
}

type instruction struct {
	text  string
	name  string // of what isn't an op alone
	ops   []op
	off   uint64 // of what it accesses
	at    bool   // it accesses something
	early bool   // it can pass what is before it
}

type litmusRun struct {
	model            Model
	threads          [][]instruction
	locations        []uint64
	checks           int // threads must have come past so many
	proven, possible map[string]bool
	visits           int
}

func newRun(t *testing.T, model Model, l litmus) *litmusRun {
	r := &litmusRun{model: model, proven: map[string]bool{}, possible: map[string]bool{}}
	for g, text := range strings.Split(l.program, "|") {
		var thread []instruction
		for s := range strings.SplitSeq(text, ";") {
			i := parse(t, strings.TrimSpace(s), int64(g))
			if i.name == "check" {
				r.checks++
			}
			thread = append(thread, i)
			for k := len(thread) - 1; k > 0 && i.early && passes(model, i, thread[k-1]); k-- {
				thread[k-1], thread[k] = thread[k], thread[k-1]
			}
		}
		r.threads = append(r.threads, thread)
	}
	for _, name := range strings.Fields(l.order) {
		off, _ := location(t, name)
		r.locations = append(r.locations, off)
	}
	return r
}

// passes says that a flush or a non-temporal store can run before an earlier instruction of
// its thread.
func passes(model Model, i, earlier instruction) bool {
	if !earlier.at {
		return false
	}
	if i.ops[0].kind == opNT {
		return model <= X86EADR && earlier.name == "" && earlier.ops[0].kind == opStore && i.off/8 != earlier.off/8
	}
	if i.off/64 == earlier.off/64 {
		return false
	}
	return earlier.name == "" || model == Arm64 && (earlier.name == "ld" || earlier.name == "?")
}

// location parses A, A2, A+4 and A/16, or several of them.
func location(t *testing.T, s string) (off uint64, size int) {
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
		size = int(number(width))
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
	return off + 512*uint64(s[0]-'A'), size
}

// store parses A=2.
func store(t *testing.T, s string) (uint64, []byte) {
	t.Helper()
	name, value, ok := strings.Cut(s, "=")
	v := byte(1)
	if ok {
		v = value[0] - '0'
	}
	off, size := location(t, name)
	if size == 0 {
		return off, []byte{v, 0, 0, 0, 0, 0, 0, 0}
	}
	return off, slices.Repeat([]byte{v}, size)
}

func parse(t *testing.T, s string, g int64) instruction {
	t.Helper()
	i := instruction{text: s}
	name, arg, hasArg := strings.Cut(s, " ")
	at := func() uint64 {
		i.off, _ = location(t, arg)
		i.at = true
		return i.off
	}
	fence := op{kind: opFence, g: g}
	switch {
	case name == "NT":
		off, data := store(t, arg)
		i.off, i.at = off, true
		i.ops = []op{{kind: opNT, g: g, off: off, data: data}}
		i.early = true
	case name == "look":
		o := op{kind: opObserve, g: g}
		for _, c := range strings.Fields(arg) {
			off, data := store(t, c)
			o.changes = append(o.changes, Change{off, data})
		}
		i.ops, i.name = []op{o}, "look"
	case name == "FL":
		i.ops = []op{{kind: opCLFlush, g: g, off: at(), n: 1}}
	case name == "FO" || name == "CVAP":
		i.ops = []op{{kind: opFlush, g: g, off: at(), n: 1}}
		i.early = true
	case name == "msync":
		i.ops, i.name = []op{{kind: opSync, g: g, off: at(), n: 1}}, "msync"
	case name == "RMW":
		off, data := store(t, arg)
		i.off, i.at = off, true
		i.ops, i.name = []op{fence, {kind: opStore, g: g, off: off, data: data}}, "RMW"
	case name == "ld":
		at()
		i.name = "ld"
	case hasArg:
		t.Fatalf("%q: no such instruction", s)
	case s == "SF" || s == "MF" || s == "DSB":
		i.ops, i.name = []op{fence}, s
	case s == "DMB" || s == "DSBST" || s == "check":
		i.name = s
	case s == "lock" || s == "unlock":
		v := byte(1)
		if s == "unlock" {
			v = 0
		}
		arg = "L"
		i.ops, i.name = []op{{kind: opStore, g: g, off: at(), data: []byte{v, 0, 0, 0, 0, 0, 0, 0}}}, s
	case strings.HasSuffix(s, "?"):
		arg = strings.TrimSuffix(s, "?")
		at()
		i.name = "?"
	case strings.HasPrefix(s, "r="):
		arg = s[2:]
		at()
		i.name = "r="
	case strings.HasSuffix(s, "=r"):
		arg = strings.TrimSuffix(s, "=r")
		i.ops, i.name = []op{{kind: opStore, g: g, off: at(), data: make([]byte, 8)}}, "=r"
	default:
		off, data := store(t, s)
		i.off, i.at = off, true
		i.ops = []op{{kind: opStore, g: g, off: off, data: data}}
	}
	return i
}

// visit lets the power fail now, and goes on with each of the threads.
func (r *litmusRun) visit(history []op, pc []int, registers []byte, checked int) {
	const size = 12 * 512
	m := New(r.model, nil)
	for _, o := range history {
		do(m, o)
	}
	visible := make([]byte, size)
	m.Visible(0, visible)
	if checked == r.checks {
		r.visits++
		image := slices.Clone(visible)
		for range m.Proven().All(Into(image, 0)) {
			r.proven[r.text(image)] = true
		}
		for range m.Possible().All(Into(image, 0)) {
			r.possible[r.text(image)] = true
		}
	}
	for g, thread := range r.threads {
		if pc[g] == len(thread) {
			continue
		}
		i := thread[pc[g]]
		nextPC, nextRegisters, nextChecked := slices.Clone(pc), slices.Clone(registers), checked
		nextPC[g]++
		ops := slices.Clone(i.ops)
		switch i.name {
		case "lock":
			if visible[i.off] != 0 {
				continue
			}
		case "?":
			if visible[i.off] == 0 {
				nextPC[g] = len(thread)
			}
		case "r=":
			nextRegisters[g] = visible[i.off]
		case "=r":
			ops[0].data = []byte{registers[g], 0, 0, 0, 0, 0, 0, 0}
		case "check":
			nextChecked++
		}
		r.visit(slices.Concat(history, ops), nextPC, nextRegisters, nextChecked)
	}
}

// text is the digits of an image: of each word its highest byte that isn't 0.
func (r *litmusRun) text(image []byte) string {
	var s []byte
	for _, off := range r.locations {
		w := binary.LittleEndian.Uint64(image[off:])
		for w > 0xff {
			w >>= 8
		}
		s = append(s, '0'+byte(w))
	}
	return string(s)
}
