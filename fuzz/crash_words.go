package fuzz

import (
	"fmt"
	"strings"

	"pmemlab/fuzz/model"
)

var crashKindNames = [...]string{
	model.CrashStore: "store", model.CrashCopy: "copy", model.CrashCopyNT: "non-temporal copy", model.CrashFlush: "flush",
	model.CrashCLFlush: "CLFLUSH", model.CrashFence: "fence", model.CrashPersist: "persist", model.CrashMsync: "msync",
	model.CrashWrite: "pwrite", model.CrashLook: "look", model.CrashCheck: "check",
}

// words says the program.
func (t *crashTry) words() string {
	var s []string
	for i := range t.ops {
		s = append(s, crashOpWords(&t.ops[i]))
	}
	return "{" + strings.Join(s, "; ") + "}"
}

func crashOpWords(o *model.CrashOp) string {
	what := fmt.Sprintf("%d: %s", o.By, crashKindNames[o.Kind])
	switch {
	case o.Data != nil:
		return fmt.Sprintf("%s %#x=%x", what, o.Off, o.Data)
	case o.Kind == model.CrashFence || o.Kind == model.CrashLook:
		return what
	}
	return fmt.Sprintf("%s [%#x, +%d)", what, o.Off, o.N)
}

// crashContentWords says what the lines of unit i hold: the words that aren't zero.
func crashContentWords(ref *model.CrashMemory, i int, c model.CrashContent) string {
	first, lines := ref.LinesOf(i)
	var b strings.Builder
	fmt.Fprintf(&b, "line %#x:", ref.Lines[first])
	if lines > 1 {
		b.Reset()
		fmt.Fprintf(&b, "lines %#x and %#x:", ref.Lines[first], ref.Lines[first+1])
	}
	for w, v := range c {
		if v != 0 {
			fmt.Fprintf(&b, " word %d=%#x", w, v)
		}
	}
	return b.String()
}
