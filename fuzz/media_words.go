package fuzz

import (
	"fmt"
	"strings"

	"pmemlab/fuzz/model"
)

var mediaStepNames = [...]string{
	mediaRead: "read", mediaWrite: "write", mediaList: "list", mediaNext: "next", mediaClear: "clear", mediaClearBad: "clear",
	mediaDetect: "map with detection", mediaSpoil: "make bad", mediaTouch: "access", mediaOverwrite: "write",
}

// words say what was done.
func (t *mediaTry) words() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s of %d bytes", t.o.name, t.media.Size)
	if t.media.Kind != model.Anonymous {
		fmt.Fprintf(&b, ", open %s", accessNames[t.media.Access])
		if t.media.AppendOnly {
			b.WriteString("|O_APPEND")
		}
	}
	for _, s := range t.steps {
		b.WriteString("; ")
		if s.set {
			b.WriteString("pmemset: ")
		}
		fmt.Fprintf(&b, "%s %d (%#x) bytes at %d (%#x)", mediaStepNames[s.kind], s.n, s.n, s.off, s.off)
		if s.answer != (model.Kernel{}) {
			fmt.Fprintf(&b, ", the kernel answering %+v", s.answer)
		}
	}
	return b.String()
}
