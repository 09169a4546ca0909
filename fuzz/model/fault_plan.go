package model

import (
	"math"
	"slices"
	"strconv"
	"syscall"

	"pmemlab/pmem2/platform"
)

// The kinds of calls that a plan of faults can name, in their order.
var planCalls = []string{
	"open", "close", "unlink", "ftruncate", "fstat", "statx", "get-fl", "pread", "pwrite", "fallocate", "fiemap",
	"fsync", "ars-capabilities", "clear-error",
	"mmap", "munmap", "mremap", "msync",
	"read-attr", "write-attr", "readlink", "list",
}

// planSets are those of them that have a name in common.
var planSets = []struct {
	name  string
	calls []string
}{{"files", planCalls[:14]}, {"memory", planCalls[14:18]}, {"sysfs", planCalls[18:]}}

// PlanFlag is a flag that a plan can name: calls have it whose flags are Value in Mask.
type PlanFlag struct {
	Name, Call  string
	Mask, Value int
}

// PlanFlags are some of each kind of call.
var PlanFlags = []PlanFlag{
	{"O_RDONLY", "open", platform.OAccmode, 0}, {"O_RDWR", "open", platform.OAccmode, 2},
	{"O_CREAT", "open", platform.OCreat, platform.OCreat}, {"O_TMPFILE", "open", platform.OTmpfile, platform.OTmpfile},
	{"MAP_PRIVATE", "mmap", platform.MapType, platform.MapPrivate}, {"MAP_SHARED_VALIDATE", "mmap", platform.MapType, platform.MapSharedValidate},
	{"MAP_SYNC", "mmap", platform.MapSync, platform.MapSync}, {"MAP_ANONYMOUS", "mmap", platform.MapAnonymous, platform.MapAnonymous},
	{"MS_SYNC", "msync", platform.MsSync, platform.MsSync}, {"FALLOC_FL_PUNCH_HOLE", "fallocate", platform.FallocPunchHole, platform.FallocPunchHole},
}

// PlanCalls are the kinds of calls, and behind them the sets that have a name.
func PlanCalls() []string { return planNames }

var planNames = append(slices.Clone(planCalls), planSets[0].name, planSets[1].name, planSets[2].name)

// PlanRule fails the calls that its predicate chooses.
type PlanRule struct {
	Errno string // as it is written
	Of    syscall.Errno
	When  *Predicate // nil: every call
}

// Predicate is one of a plan of faults. Which fields count depends on its name.
type Predicate struct {
	Name     string
	Number   string // as it is written
	Always   bool   // of Randomly: with probability 1, else 0
	Glob     string
	Words    []string // of Op and Flags
	Operands []*Predicate
	reached  uint64
}

// PlanCall is a call that a plan is asked about.
type PlanCall struct {
	Kind, Path string
	Flags      int
	Seq        uint64
}

// Text is a rule as a plan has it.
func (r PlanRule) Text(to []byte, blank string, printed bool) []byte {
	to = append(append(to, '('), r.Errno...)
	if r.When != nil {
		to = r.When.Text(append(to, blank...), blank, printed)
	}
	return append(to, ')')
}

// Text is a predicate as a plan has it, with blanks between its words. The kinds of calls
// are as written, or in their order where a plan is printed.
func (p *Predicate) Text(to []byte, blank string, printed bool) []byte {
	to = append(append(append(to, '('), p.Name...), blank[:min(len(blank), 1)]...)
	words := p.Words
	if printed && p.Name == "Op" {
		words = inTheirOrder(words)
	}
	for i, w := range words {
		if i > 0 {
			to = append(to, blank...)
		}
		to = append(to, w...)
	}
	switch p.Name {
	case "Call", "OnIndex", "FromIndex":
		to = p.appendNumber(to, printed)
	case "Randomly":
		digit := byte('0')
		if p.Always {
			digit = '1'
		}
		to = p.appendNumber(append(append(to, digit), blank...), printed)
	case "PathMatch":
		to = strconv.AppendQuote(to, p.Glob)
	case "Anonymous", "FileBacked":
		if printed {
			to = to[:len(to)-1]
		}
	}
	for i, o := range p.Operands {
		if i > 0 {
			to = append(to, blank...)
		}
		to = o.Text(to, blank, printed)
	}
	return append(to, ')')
}

func (p *Predicate) appendNumber(to []byte, printed bool) []byte {
	if n, reading := decimal(p.Number); printed && reading == number {
		return strconv.AppendUint(to, n, 10)
	}
	return append(to, p.Number...)
}

// inTheirOrder are kinds of calls, each once, those that make up a set by its name.
func inTheirOrder(words []string) []string {
	var all []string
	for _, set := range planSets {
		var some []string
		for _, c := range set.calls {
			if slices.Contains(words, c) || slices.Contains(words, set.name) {
				some = append(some, c)
			}
		}
		if len(some) == len(set.calls) {
			some = []string{set.name}
		}
		all = append(all, some...)
	}
	return all
}

// deepest is how many predicates may stand inside each other.
const deepest = 100

// Valid says whether a plan may have this predicate at a depth, from 1.
func (p *Predicate) Valid(depth int) bool {
	if depth > deepest {
		return false
	}
	switch p.Name {
	case "Call", "OnIndex", "FromIndex", "Randomly":
		if _, reading := decimal(p.Number); reading != number {
			return false
		}
	case "Flags":
		for i, w := range p.Words {
			for _, v := range p.Words[:i] {
				f, g := planFlag(w), planFlag(v)
				if f.Call != g.Call || f.Value&f.Mask&g.Mask != g.Value&f.Mask&g.Mask {
					return false
				}
			}
		}
	}
	for _, o := range p.Operands {
		if !o.Valid(depth + 1) {
			return false
		}
	}
	return true
}

func planFlag(name string) PlanFlag {
	for _, f := range PlanFlags {
		if f.Name == name {
			return f
		}
	}
	return PlanFlag{}
}

// FailsBy is what a call fails with by the rules of a plan, which have seen those before it;
// 0 if it doesn't. The first rule that chooses it counts, and every rule sees it.
func FailsBy(rules []PlanRule, c PlanCall) syscall.Errno {
	var errno syscall.Errno
	for _, r := range rules {
		if (r.When == nil || r.When.chooses(c)) && errno == 0 {
			errno = r.Of
		}
	}
	return errno
}

func (p *Predicate) chooses(c PlanCall) bool {
	n, _ := decimal(p.Number)
	switch p.Name {
	case "Op":
		return slices.Contains(p.Words, c.Kind) || slices.ContainsFunc(planSets, func(s struct {
			name  string
			calls []string
		}) bool {
			return slices.Contains(p.Words, s.name) && slices.Contains(s.calls, c.Kind)
		})
	case "Call":
		return n == c.Seq
	case "PathMatch":
		switch c.Kind {
		case "open", "unlink", "read-attr", "write-attr", "readlink", "list":
			return globMatches(p.Glob, c.Path)
		}
		return false
	case "Anonymous":
		return c.Kind == "mmap" && c.Flags&platform.MapAnonymous != 0
	case "FileBacked":
		return c.Kind == "mmap" && c.Flags&platform.MapAnonymous == 0
	case "Flags":
		for _, w := range p.Words {
			if f := planFlag(w); f.Call != c.Kind || c.Flags&f.Mask != f.Value {
				return false
			}
		}
		return true
	case "OnIndex", "FromIndex", "Randomly":
		before := p.reached
		if p.reached < math.MaxUint64 {
			p.reached++
		}
		switch p.Name {
		case "OnIndex":
			return before == n
		case "FromIndex":
			return before >= n
		}
		return p.Always
	case "Not":
		return !p.Operands[0].chooses(c)
	case "Or":
		one := false
		for _, o := range p.Operands {
			if o.chooses(c) {
				one = true
			}
		}
		return one
	}
	// And: what looks at the call alone comes first, and what counts sees only what all
	// before it have chosen.
	for _, o := range p.Operands {
		if !o.counts() && !o.chooses(c) {
			return false
		}
	}
	for _, o := range p.Operands {
		if o.counts() && !o.chooses(c) {
			return false
		}
	}
	return true
}

// counts says whether a predicate counts the calls that reach it.
func (p *Predicate) counts() bool {
	switch p.Name {
	case "OnIndex", "FromIndex", "Randomly":
		return true
	}
	return slices.ContainsFunc(p.Operands, (*Predicate).counts)
}

// globMatches is whether a path is like a glob of letters, "*", "?" and "[a-z]": a star is
// anything, slashes too.
func globMatches(glob, path string) bool {
	for glob != "" {
		switch glob[0] {
		case '*':
			for from := range len(path) + 1 {
				if globMatches(glob[1:], path[from:]) {
					return true
				}
			}
			return false
		case '[': // of two letters
			if path == "" || path[0] < glob[1] || path[0] > glob[3] {
				return false
			}
			glob, path = glob[5:], path[1:]
		case '?':
			if path == "" {
				return false
			}
			glob, path = glob[1:], path[1:]
		default:
			if path == "" || path[0] != glob[0] {
				return false
			}
			glob, path = glob[1:], path[1:]
		}
	}
	return path == ""
}
