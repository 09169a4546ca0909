package fault

import (
	"fmt"
	"math/bits"
	"reflect"
	"strings"
	"testing"

	"pmemlab/pmem2/platform"
)

// TestOpsAreTheMethods proves that the kinds are the methods of a Platform that
// can fail, group by group and in their order in All.
func TestOpsAreTheMethods(t *testing.T) {
	methods := func(i reflect.Type) (names map[string]bool) {
		names = make(map[string]bool)
		for m := range i.Methods() {
			if n := m.Type.NumOut(); m.Type.Out(n-1) == reflect.TypeFor[error]() {
				names[strings.ToLower(m.Name)] = true
			}
		}
		return names
	}
	var seen Op
	for _, group := range []struct {
		name string
		ops  Op
		of   reflect.Type
	}{
		{"Files", Files, reflect.TypeFor[platform.Files]()},
		{"Memory", Memory, reflect.TypeFor[platform.Memory]()},
		{"Sysfs", Sysfs, reflect.TypeFor[platform.Sysfs]()},
		{"All", All, reflect.TypeFor[platform.Platform]()},
	} {
		want := methods(group.of)
		if got := bits.OnesCount32(uint32(group.ops)); got != len(want) {
			t.Errorf("%s has %d kinds, the interface %d methods that can fail", group.name, got, len(want))
		}
		for ops := group.ops; ops != 0; ops &= ops - 1 {
			if name := opNames[ops.bit()]; !want[strings.ReplaceAll(name, "-", "")] {
				t.Errorf("%s has the kind %s, the interface no such method that can fail", group.name, name)
			}
		}
		if group.ops != All && seen&group.ops != 0 {
			t.Errorf("%s and a group before it have %v in common", group.name, seen&group.ops)
		}
		seen |= group.ops
	}
	if want := Op(1<<len(opNames) - 1); seen != want || All != want {
		t.Errorf("the groups together are %#x, All is %#x, want %#x", seen, All, want)
	}
}

// TestNamesRoundTrip parses every name of the tables and prints it again.
func TestNamesRoundTrip(t *testing.T) {
	var texts []string
	for _, e := range errnos {
		if errnoName(e.errno) == e.name { // else a second name of one number
			texts = append(texts, "("+e.name+")")
		}
	}
	for _, name := range opNames {
		texts = append(texts, "(EIO (Op "+name+"))")
	}
	for _, set := range opSets {
		texts = append(texts, "(EIO (Op "+set.name+"))")
	}
	for _, f := range flags {
		texts = append(texts, "(EIO (Flags "+f.name+"))")
	}
	seen := make(map[string]bool)
	for _, text := range texts {
		plan, err := Parse(text)
		if err != nil {
			t.Errorf("Parse(%q): %v", text, err)
		} else if got := plan.String(); got != text {
			t.Errorf("Parse(%q) prints %q", text, got)
		}
		if seen[text] {
			t.Errorf("%q names two things", text)
		}
		seen[text] = true
	}
	for _, e := range errnos {
		if got, ok := errnoByName(e.name); !ok || got != e.errno {
			t.Errorf("errnoByName(%q) = %d, %v, want %d", e.name, got, ok, e.errno)
		}
	}
}

func TestFlagsHold(t *testing.T) {
	for _, f := range flags {
		p := flagsSet{flags: []flag{f}}
		if c := (Call{Op: f.op, Flags: f.value}); !p.holds(c, nil) {
			t.Errorf("%v doesn't hold for %v", p, c)
		}
		for name, c := range map[string]Call{
			"another kind of call":         {Op: All &^ f.op & -(All &^ f.op), Flags: f.value},
			"none of its bits as they are": {Op: f.op, Flags: ^f.value},
		} {
			if p.holds(c, nil) {
				t.Errorf("%v holds for %s: %v", p, name, c)
			}
		}
	}
}

// TestRandomly counts what one seed chooses: the probability is met, another
// seed chooses otherwise, and all is the same each time.
func TestRandomly(t *testing.T) {
	const calls = 10000
	chosen := func(text string) (seqs []int) {
		plan := MustParse(text)
		counts := make([]uint64, plan.rules[0].slots)
		for i := range calls {
			if plan.rules[0].when.holds(Call{Op: OpFsync, Seq: i}, counts) {
				seqs = append(seqs, i)
			}
		}
		return seqs
	}
	for p, about := range map[string]int{"0": 0, "0.01": 100, "0.5": 5000, "1": calls} {
		for seed := range 3 {
			text := fmt.Sprintf("(EIO (Randomly %s %d))", p, seed)
			got := chosen(text)
			if slack := about / 4; len(got) < about-slack || len(got) > about+slack || about == calls && len(got) != calls {
				t.Errorf("%s chooses %d of %d calls", text, len(got), calls)
			}
			if again := chosen(text); !reflect.DeepEqual(got, again) {
				t.Errorf("%s chooses other calls the second time", text)
			}
		}
	}
	if reflect.DeepEqual(chosen("(EIO (Randomly 0.5 1))"), chosen("(EIO (Randomly 0.5 2))")) {
		t.Error("two seeds choose the same calls")
	}
}
