package model

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

// crashTestLines: A and B, neighbours, and C.
var crashTestLines = []uint64{0, 64, 4096}

// crashText is what the first words of A, A's second word, B and C can be, in any mix.
func crashText(m *CrashMemory) string {
	contents := [3]map[string]bool{}
	for u := range m.Units() {
		to := map[CrashContent]int{}
		m.Contents(u, to)
		first, lines := m.LinesOf(u)
		contents[first] = map[string]bool{}
		for c := range to {
			text := fmt.Sprint(c[0])
			if first == 0 {
				text += fmt.Sprint(c[1])
			}
			if lines == 2 {
				text += fmt.Sprint(c[8])
			}
			contents[first][text] = true
		}
	}
	var all []string
	for _, c := range contents {
		if c != nil {
			all = append(all, strings.Join(slices.Sorted(maps.Keys(c)), " "))
		}
	}
	return strings.Join(all, ", ")
}

// TestCrashMemory: programs whose outcomes are known. "A A2, B, C" are listed; a word of an
// operation is 1.
func TestCrashMemory(t *testing.T) {
	one := []byte{1, 0, 0, 0, 0, 0, 0, 0}
	store := func(off uint64) CrashOp { return CrashOp{Kind: CrashStore, Off: off, Data: one} }
	copied := func(off uint64) CrashOp { return CrashOp{Kind: CrashCopy, Off: off, Data: one} }
	flush := func(by int, off uint64) CrashOp { return CrashOp{Kind: CrashFlush, By: by, Off: off, N: 1} }
	strong := CrashOp{Kind: CrashCLFlush, N: 1}
	fence := func(by int) CrashOp { return CrashOp{Kind: CrashFence, By: by} }
	msync := CrashOp{Kind: CrashMsync, Off: 0, N: 4096}
	both := copied(0)
	both.Data = append(slices.Clone(one), one...)
	nt := CrashOp{Kind: CrashCopyNT, Data: append(slices.Clone(one), make([]byte, 56)...)}
	for _, tc := range []struct {
		name     string
		rules    CrashRules
		possible bool
		ops      []CrashOp
		want     string
	}{
		{"lines are independent", CrashADR, false, []CrashOp{store(0), store(64)}, "00 10, 0 1, 0"},
		{"a fence without a flush", CrashADR, false, []CrashOp{store(0), fence(0)}, "00 10, 0, 0"},
		{"a flush without a fence", CrashADR, false, []CrashOp{store(0), flush(0, 63)}, "00 10, 0, 0"},
		{"a flush and a fence", CrashADR, false, []CrashOp{store(0), flush(0, 63), fence(0)}, "10, 0, 0"},
		{"another's fence", CrashADR, false, []CrashOp{store(0), flush(0, 0), fence(1)}, "00 10, 0, 0"},
		{"another's store", CrashADR, false, []CrashOp{{Kind: CrashCopy, By: 1, Data: one}, flush(0, 0), fence(0)}, "10, 0, 0"},
		{"a store after the flush", CrashADR, false, []CrashOp{copied(0), flush(0, 0), copied(8), fence(0)}, "10 11, 0, 0"},
		{"CLFLUSH needs no fence", CrashADR, false, []CrashOp{store(0), strong}, "10, 0, 0"},
		{"CLFLUSH is a flush on Arm", CrashArm64, false, []CrashOp{store(0), strong}, "00 10, 0, 0"},
		{"stores to a line in order", CrashADR, false, []CrashOp{copied(0), copied(8)}, "00 10 11, 0, 0"},
		{"or in none", CrashADR, true, []CrashOp{copied(0), copied(8)}, "00 01 10 11, 0, 0"},
		{"in none on Arm", CrashArm64, false, []CrashOp{copied(0), copied(8)}, "00 01 10 11, 0, 0"},
		{"a torn store", CrashADR, false, []CrashOp{both}, "00 01 10 11, 0, 0"},
		{"one look", CrashADR, false, []CrashOp{store(0), store(8)}, "00 11, 0, 0"},
		{"one look, any order", CrashADR, true, []CrashOp{store(0), store(8)}, "00 01 10 11, 0, 0"},
		{"two looks", CrashADR, false, []CrashOp{store(0), {Kind: CrashLook}, store(8)}, "00 10 11, 0, 0"},
		{"eADR keeps a look", CrashEADR, false, []CrashOp{store(0), store(64)}, "10, 1, 0"},
		{"or any mix", CrashEADR, true, []CrashOp{store(0), store(64)}, "00 10, 0 1, 0"},
		{"eADR keeps what is over", CrashEADR, true, []CrashOp{both, fence(1)}, "11, 0, 0"},
		{"non-temporal", CrashADR, false, []CrashOp{nt}, "00 10, 0, 0"},
		{"non-temporal, eADR", CrashEADR, false, []CrashOp{nt, fence(1)}, "00 10, 0, 0"},
		{"non-temporal, fenced", CrashEADR, true, []CrashOp{nt, fence(0)}, "10, 0, 0"},
		{"non-temporal, CLFLUSH", CrashADR, false, []CrashOp{nt, strong}, "10, 0, 0"},
		{"that isn't settled", CrashADR, true, []CrashOp{nt, strong}, "00 10, 0, 0"},
		{"sectors", CrashPages, false, []CrashOp{copied(0), copied(64), copied(4096)}, "000 100 101, 0 1"},
		{"flushes don't reach a disk", CrashPages, false, []CrashOp{copied(0), flush(0, 0), fence(0)}, "000 100, 0"},
		{"msync does", CrashPages, false, []CrashOp{copied(0), copied(4096), msync}, "100, 0 1"},
		{"msync of lines", CrashADR, false, []CrashOp{copied(0), copied(4096), msync}, "10, 0, 0 1"},
		{"pwrite", CrashADR, false, []CrashOp{{Kind: CrashWrite, Data: one}, fence(0)}, "00 10, 0, 0"},
	} {
		m := NewCrashMemory(CrashConfig{Rules: tc.rules, Possible: tc.possible, NonTemporal: true, Lines: crashTestLines, Limit: 1 << 10})
		for _, o := range append(tc.ops, CrashOp{Kind: CrashLook}) {
			if !m.Do(o) {
				t.Fatalf("%s: too many states", tc.name)
			}
		}
		if got := crashText(m); got != tc.want {
			t.Errorf("%s: got %s, want %s", tc.name, got, tc.want)
		}
	}
}

// TestCrashMemoryTotal: whatever is done, there is a state, what is visible is one, what is
// certain is one, and all that is proven is possible.
func TestCrashMemoryTotal(t *testing.T) {
	programs := 3000
	if testing.Short() {
		programs = 300
	}
	r := rand.New(rand.NewPCG(1, 2))
	for rules := CrashADR; rules <= CrashPages; rules++ {
		var m [2]*CrashMemory
		for possible := range m {
			m[possible] = NewCrashMemory(CrashConfig{
				Rules: rules, Possible: possible == 1, NonTemporal: true, Lines: crashTestLines, Limit: 1 << 10,
			})
		}
		for range programs {
			m[0].Clear()
			m[1].Clear()
			few := true
			var program []CrashOp
			for range r.IntN(12) {
				o := CrashOp{Kind: CrashKind(r.IntN(int(CrashCheck) + 1)), By: r.IntN(2), Off: crashTestLines[r.IntN(3)], N: r.Uint64N(200)}
				if o.Kind <= CrashCopyNT || o.Kind == CrashWrite {
					o.Data = make([]byte, []int{1, 8, 9, 64}[r.IntN(4)])
					o.Data[0] = byte(r.IntN(3))
				}
				program = append(program, o)
			}
			for _, o := range append(program, CrashOp{Kind: CrashLook}) {
				proven := m[0].Do(o)
				few = m[1].Do(o) && proven && few
			}
			if !few {
				continue
			}
			for i := range m[1].Units() {
				all := map[CrashContent]int{}
				m[1].Contents(i, all)
				certain, durable := m[1].Durable(i)
				_, visible := all[m[1].Visible(i)]
				_, possible := all[certain]
				if !visible || !possible || durable && m[1].Loses(i) || m[1].Loses(i) != (len(all) > 1) {
					t.Fatalf("rules %d, unit %d of %v: visible %t, durable possible %t, all durable %t, %d contents", rules, i, program, visible, possible, durable, len(all))
				}
			}
			if rules != CrashPages && !crashSubset(m[0], m[1]) {
				t.Fatalf("rules %d: after %v something is proven and not possible", rules, program)
			}
		}
	}
}

func crashSubset(a, b *CrashMemory) bool {
	for i := range a.Units() {
		of, all := map[CrashContent]int{}, map[CrashContent]int{}
		a.Contents(i, of)
		b.Contents(i, all)
		for c := range of {
			if _, ok := all[c]; !ok {
				return false
			}
		}
	}
	return true
}
