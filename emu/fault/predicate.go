package fault

import (
	"fmt"
	"math/rand/v2"
	"path"
	"slices"
	"strconv"
	"strings"

	"pmemlab/pmem2/platform"
)

// predicate chooses calls. The state that it needs, how many calls have
// reached it, stands in counts, at its slot: one predicate serves any number
// of Platforms.
type predicate interface {
	fmt.Stringer
	holds(c Call, counts []uint64) bool
	// counting reports whether it, or one inside it, has a slot.
	counting() bool
}

// stateless is embedded in predicates that look at nothing but the call.
type stateless struct{}

func (stateless) counting() bool { return false }

// slot is embedded in predicates that count: the index of their counter.
type slot int

func (slot) counting() bool { return true }

// next counts a call and returns how many came before it.
func (s slot) next(counts []uint64) uint64 {
	counts[s]++
	return counts[s] - 1
}

type opIn struct {
	stateless
	ops Op
}

func (p opIn) String() string                { return fmt.Sprintf("(Op %v)", p.ops) }
func (p opIn) holds(c Call, _ []uint64) bool { return c.Op&p.ops != 0 }

type callIs struct {
	stateless
	n uint64
}

func (p callIs) String() string                { return fmt.Sprintf("(Call %d)", p.n) }
func (p callIs) holds(c Call, _ []uint64) bool { return uint64(c.Seq) == p.n }

type pathMatch struct {
	stateless
	glob string
}

func (p pathMatch) String() string { return fmt.Sprintf("(PathMatch %q)", p.glob) }
func (p pathMatch) holds(c Call, _ []uint64) bool {
	if c.Op&withPath == 0 {
		return false
	}
	ok, _ := path.Match(flat(p.glob), flat(c.Path)) // the parser has seen the glob
	return ok
}

const withPath = OpOpen | OpUnlink | Sysfs

// flat makes path.Match forget that a slash is special.
func flat(s string) string { return strings.ReplaceAll(s, "/", "\x00") }

type anonymous struct{ stateless }

func (anonymous) String() string { return "(Anonymous)" }
func (anonymous) holds(c Call, _ []uint64) bool {
	return c.Op == OpMmap && c.Flags&platform.MapAnonymous != 0
}

type fileBacked struct{ stateless }

func (fileBacked) String() string { return "(FileBacked)" }
func (fileBacked) holds(c Call, _ []uint64) bool {
	return c.Op == OpMmap && c.Flags&platform.MapAnonymous == 0
}

type flagsSet struct {
	stateless
	flags []flag // of one kind of call
}

func (p flagsSet) String() string {
	var s strings.Builder
	for _, f := range p.flags {
		s.WriteString(" " + f.name)
	}
	return "(Flags" + s.String() + ")"
}

func (p flagsSet) holds(c Call, _ []uint64) bool {
	return !slices.ContainsFunc(p.flags, func(f flag) bool { return c.Op != f.op || c.Flags&f.mask != f.value })
}

type onIndex struct {
	slot
	n uint64
}

func (p onIndex) String() string                     { return fmt.Sprintf("(OnIndex %d)", p.n) }
func (p onIndex) holds(_ Call, counts []uint64) bool { return p.next(counts) == p.n }

type fromIndex struct {
	slot
	n uint64
}

func (p fromIndex) String() string                     { return fmt.Sprintf("(FromIndex %d)", p.n) }
func (p fromIndex) holds(_ Call, counts []uint64) bool { return p.next(counts) >= p.n }

type randomly struct {
	slot
	p    float64
	seed uint64
}

func (p randomly) String() string {
	return fmt.Sprintf("(Randomly %s %d)", strconv.FormatFloat(p.p, 'g', -1, 64), p.seed)
}

func (p randomly) holds(_ Call, counts []uint64) bool {
	return rand.New(rand.NewPCG(p.seed, p.next(counts))).Float64() < p.p
}

// and asks those that count last, so that they count what the others let pass.
type and struct {
	operands []predicate // as written
	ordered  []predicate // as asked
}

func newAnd(operands []predicate) and {
	ordered := slices.Clone(operands)
	slices.SortStableFunc(ordered, func(a, b predicate) int {
		switch {
		case a.counting() == b.counting():
			return 0
		case b.counting():
			return -1
		}
		return 1
	})
	return and{operands, ordered}
}

func (p and) String() string { return list("And", p.operands) }
func (p and) counting() bool { return slices.ContainsFunc(p.operands, predicate.counting) }
func (p and) holds(c Call, counts []uint64) bool {
	for _, q := range p.ordered {
		if !q.holds(c, counts) {
			return false
		}
	}
	return true
}

type or struct{ operands []predicate }

func (p or) String() string { return list("Or", p.operands) }
func (p or) counting() bool { return slices.ContainsFunc(p.operands, predicate.counting) }
func (p or) holds(c Call, counts []uint64) bool {
	one := false
	for _, q := range p.operands {
		one = q.holds(c, counts) || one // every operand counts every call
	}
	return one
}

type not struct{ operand predicate }

func (p not) String() string                     { return list("Not", []predicate{p.operand}) }
func (p not) counting() bool                     { return p.operand.counting() }
func (p not) holds(c Call, counts []uint64) bool { return !p.operand.holds(c, counts) }

func list(name string, operands []predicate) string {
	s := "(" + name
	for _, p := range operands {
		s += " " + p.String()
	}
	return s + ")"
}
