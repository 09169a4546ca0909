package model

import (
	"math/rand/v2"
	"slices"
	"syscall"
	"testing"

	"pmemlab/pmem2/platform"
)

// TestPlanFails: which of some calls a plan fails, as its language is described.
func TestPlanFails(t *testing.T) {
	leaf := func(name, number string, words ...string) *Predicate {
		return &Predicate{Name: name, Number: number, Words: words}
	}
	list := func(name string, operands ...*Predicate) *Predicate {
		return &Predicate{Name: name, Operands: operands}
	}
	calls := []PlanCall{
		{Kind: "open", Path: "/mnt/a", Flags: 2}, {Kind: "mmap", Flags: platform.MapAnonymous | platform.MapPrivate},
		{Kind: "mmap", Flags: platform.MapSharedValidate | platform.MapSync}, {Kind: "munmap"}, {Kind: "read-attr", Path: "bus/nd/size"},
	}
	for _, tc := range []struct {
		when *Predicate
		text string
		want []int
	}{
		{nil, "(EIO)", []int{0, 1, 2, 3, 4}},
		{leaf("Op", "", "munmap", "mmap", "mremap", "msync"), "(EIO (Op memory))", []int{1, 2, 3}},
		{leaf("Call", "03"), "(EIO (Call 3))", []int{3}},
		{leaf("Anonymous", ""), "(EIO (Anonymous))", []int{1}},
		{leaf("FileBacked", ""), "(EIO (FileBacked))", []int{2}},
		{leaf("Flags", "", "O_RDWR"), "(EIO (Flags O_RDWR))", []int{0}},
		{&Predicate{Name: "PathMatch", Glob: "*/[m-o]?*/s*"}, `(EIO (PathMatch "*/[m-o]?*/s*"))`, []int{4}},
		{list("And", leaf("OnIndex", "1"), leaf("Op", "", "memory")), "(EIO (And (OnIndex 1) (Op memory)))", []int{2}},
		{list("And", leaf("FromIndex", "1"), leaf("OnIndex", "1")), "(EIO (And (FromIndex 1) (OnIndex 1)))", []int{2}},
		{list("Or", leaf("OnIndex", "0"), leaf("OnIndex", "4")), "(EIO (Or (OnIndex 0) (OnIndex 4)))", []int{0, 4}},
		{list("Not", &Predicate{Name: "Randomly", Number: "7", Always: true}), "(EIO (Not (Randomly 1 7)))", nil},
	} {
		r := PlanRule{Errno: "EIO", Of: syscall.EIO, When: tc.when}
		if got := string(r.Text(nil, " ", true)); got != tc.text {
			t.Errorf("prints as %s, want %s", got, tc.text)
		}
		var got []int
		for seq, c := range calls {
			c.Seq = uint64(seq)
			if FailsBy([]PlanRule{r}, c) != 0 {
				got = append(got, seq)
			}
		}
		if !slices.Equal(got, tc.want) {
			t.Errorf("%s: fails %v, want %v", tc.text, got, tc.want)
		}
	}
}

// TestPlanValid: how deep, and with which numbers and flags.
func TestPlanValid(t *testing.T) {
	deep := &Predicate{Name: "Anonymous"}
	for range deepest - 1 {
		deep = &Predicate{Name: "Not", Operands: []*Predicate{deep}}
	}
	for _, tc := range []struct {
		p    *Predicate
		want bool
	}{
		{deep, true}, {&Predicate{Name: "Not", Operands: []*Predicate{deep}}, false},
		{&Predicate{Name: "Call", Number: "18446744073709551615"}, true}, {&Predicate{Name: "Call", Number: "18446744073709551616"}, false},
		{&Predicate{Name: "Call", Number: "+1"}, false}, {&Predicate{Name: "Flags", Words: []string{"MAP_SYNC", "MAP_PRIVATE"}}, true},
		{&Predicate{Name: "Flags", Words: []string{"MAP_SYNC", "O_CREAT"}}, false},
		{&Predicate{Name: "Flags", Words: []string{"MAP_PRIVATE", "MAP_SHARED_VALIDATE"}}, false},
	} {
		if got := tc.p.Valid(1); got != tc.want {
			t.Errorf("%s: valid %t, want %t", tc.p.Text(nil, " ", true)[:10], got, tc.want)
		}
	}
}

// TestPlanIsTotal: any plan has a text, and decides about any call.
func TestPlanIsTotal(t *testing.T) {
	r := rand.New(rand.NewPCG(8, 9))
	names := []string{"Op", "Call", "PathMatch", "Anonymous", "FileBacked", "Flags", "OnIndex", "FromIndex", "Randomly", "And", "Or", "Not"}
	var some func(depth int) *Predicate
	some = func(depth int) *Predicate {
		p := &Predicate{Name: names[r.IntN(len(names)-3)], Number: []string{"0", "1", "x", ""}[r.IntN(4)], Always: r.IntN(2) == 0, Glob: []string{"", "*", "?a*[b-c]"}[r.IntN(3)]}
		switch p.Name {
		case "Op":
			p.Words = []string{PlanCalls()[r.IntN(len(PlanCalls()))]}
		case "Flags":
			p.Words = []string{PlanFlags[r.IntN(len(PlanFlags))].Name}
		}
		if depth < 4 && r.IntN(2) == 0 {
			p = &Predicate{Name: names[len(names)-1-r.IntN(3)]}
			for range 1 + r.IntN(3) {
				p.Operands = append(p.Operands, some(depth+1))
			}
		}
		return p
	}
	for range 5000 {
		rules := []PlanRule{{Errno: "EIO", Of: syscall.EIO, When: some(0)}, {Errno: "EACCES", Of: syscall.EACCES}}
		rules[0].Text(nil, "\n", r.IntN(2) == 0)
		rules[0].When.Valid(1)
		for seq := range 5 {
			c := PlanCall{PlanCalls()[r.IntN(22)], "/a/b", r.IntN(1 << 16), uint64(seq)}
			if e := FailsBy(rules, c); e != syscall.EIO && e != syscall.EACCES {
				t.Fatalf("got %v", e)
			}
		}
	}
}
