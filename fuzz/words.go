package fuzz

import (
	"fmt"
	"strings"

	"pmemlab/fuzz/model"
	"pmemlab/pmem2"
)

var accessNames = [...]string{
	model.ReadWrite: "O_RDWR", model.ReadOnly: "O_RDONLY", model.WriteOnly: "O_WRONLY", model.PathOnly: "O_PATH",
}

// describeRequest says a request in words; name is that of the source.
func describeRequest(q model.MapRequest, name string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s of %d bytes", name, q.Source.Size)
	if q.Source.Kind != model.Anonymous {
		fmt.Fprintf(&b, ", open %s", accessNames[q.Source.Access])
	}
	fmt.Fprintf(&b, "; offset %d (%#x), length %d (%#x)", q.Offset, q.Offset, q.Length, q.Length)
	if q.GranularitySet {
		fmt.Fprintf(&b, ", granularity %v", q.Granularity)
	}
	if q.IsForced {
		fmt.Fprintf(&b, " forced to %v", q.Forced)
	}
	if q.Sharing == pmem2.Private {
		b.WriteString(", private")
	}
	if q.Prot != pmem2.ProtRead|pmem2.ProtWrite {
		fmt.Fprintf(&b, ", protection %#x", uint32(q.Prot))
	}
	if r := q.Reservation; r != nil {
		fmt.Fprintf(&b, "; at offset %d (%#x) of a reservation of %d bytes at %#x", r.Offset, r.Offset, r.Size, r.Addr)
		if r.Deleted {
			b.WriteString(", deleted")
		}
		for _, e := range r.Taken {
			fmt.Fprintf(&b, ", %d bytes at %#x taken", e.Size, e.Start)
		}
	}
	m := q.Machine
	fmt.Fprintf(&b, "; on a machine with EADR %t, MAP_SYNC %t, MAP_SHARED_VALIDATE %t", m.EADR, m.Sync, !m.NoValidate)
	if m.AnswerSync != 0 || m.AnswerPlain != 0 || m.AnswerMove != 0 {
		fmt.Fprintf(&b, " that answers %d to mmap with MAP_SYNC, %d without, %d to mremap", int(m.AnswerSync), int(m.AnswerPlain), int(m.AnswerMove))
	}
	return b.String()
}
