package fuzz

import (
	"fmt"
	"strings"

	"pmemlab/pmem2"
	"pmemlab/pmemset"
)

// What a step is besides an operation.
const (
	setBegins = 100 + iota
	setStarts
	setEnds
)

// setStep is something that has been done: enough to say it in words.
type setStep struct {
	what, set, source int
	at, n, how        uint64
	answer            byte
}

// said takes note of a step.
func (t *setTry) said(s setStep) { t.steps = append(t.steps, s) }

// words say what has been done.
func (t *setTry) words() string {
	var b strings.Builder
	for i, s := range t.steps {
		if i > 0 {
			b.WriteString("; ")
		}
		b.WriteString(t.word(s))
	}
	return b.String()
}

func (t *setTry) word(s setStep) string {
	name := t.m.sources[s.source].name
	switch s.what {
	case setBegins:
		return fmt.Sprintf("%d sets, granularity %v, reservation of %d bytes at %#x, %d bytes free behind others",
			s.set, pmem2.Granularity(s.how), s.n, s.at, t.m.behind)
	case setStarts:
		return fmt.Sprintf("%s has %d bytes", name, s.n)
	case setEnds:
		return "the end"
	case setMap:
		way := [...]string{"Part.Map", "Map", "Set.Map"}[s.how%3]
		answer := [16]string{12: ", no fallocate", 13: ", disk full", 14: ", mmap fails", 15: ", mremap fails"}[s.answer]
		return fmt.Sprintf("set %d: %s of %s, offset %d (%#x), length %d (%#x)%s", s.set, way, name, s.at, s.at, s.n, s.n, answer)
	case setCoalescing:
		return fmt.Sprintf("set %d: coalescing %d", s.set, pmemset.Coalescing(s.n))
	case setRemoveRange:
		return fmt.Sprintf("set %d: remove %d (%#x) bytes at %#x", s.set, s.n, s.n, s.at)
	case setRemovePart:
		by := "a fresh reference"
		if s.how == 1 {
			by = "one that is held"
		}
		return fmt.Sprintf("set %d: remove the part map at %#x by %s", s.set, s.at, by)
	case setHold:
		return fmt.Sprintf("set %d: hold the part map at %#x", s.set, s.at)
	case setDrop:
		return fmt.Sprintf("drop the reference to the part map at %#x of set %d", s.at, s.set)
	case setLookUp:
		return fmt.Sprintf("set %d: look %#x up", s.set, s.at)
	case setForeign:
		if s.n == 0 {
			return fmt.Sprintf("the program deletes its mapping at %#x", s.at)
		}
		return fmt.Sprintf("the program maps %d bytes at %#x", s.n, s.at)
	case setResize:
		return fmt.Sprintf("another program gives %s %d bytes", name, s.n)
	case setDelete:
		if s.how == 1 {
			return "delete the source of " + name
		}
		return fmt.Sprintf("set %d: delete, and make a new one", s.set)
	}
	return ""
}
