package conformance

import (
	"fmt"

	"pmemlab/pmem2"
)

// mapSpec is what a case asks of NewMap by a config. The zero value asks for the
// whole source at any granularity, anything else at its default.
type mapSpec struct {
	offset, length uint64
	require        *pmem2.Granularity // nil: PAGE
	prot           pmem2.Prot         // 0: the default
	sharing        pmem2.Sharing
	in             Reservation
	at             uint64 // offset in the reservation
}

// String is how reports show it.
func (s mapSpec) String() string {
	text := fmt.Sprintf("offset %#x", s.offset)
	if s.length != 0 {
		text += fmt.Sprintf(", length %#x", s.length)
	}
	if s.require != nil {
		text += fmt.Sprintf(", granularity %v", *s.require)
	}
	if s.prot != 0 {
		text += ", protection " + protName(s.prot)
	}
	if s.sharing == pmem2.Private {
		text += ", PRIVATE"
	}
	if s.in != nil {
		text += fmt.Sprintf(", at %#x in the reservation", s.at)
	}
	return text
}

func protName(prot pmem2.Prot) string {
	for _, p := range protections {
		if p.prot == prot {
			return p.name
		}
	}
	return fmt.Sprintf("%#x", uint32(prot))
}

// config makes a config that says what s says. The evidence shows it where the
// config is used.
func (s mapSpec) config(t *T) PMem2Config {
	c, err := t.Lib.NewConfig()
	t.mustQuietly(err, "NewConfig()")
	if s.require == nil {
		s.require = new(pmem2.GranularityPage)
	}
	s.set(t, c)
	return c
}

// set puts what s says into a config. The granularity is left as it is if s has none.
func (s mapSpec) set(t *T, c PMem2Config) {
	if s.require != nil {
		t.mustQuietly(c.SetRequiredStoreGranularity(*s.require), "SetRequiredStoreGranularity(%v)", *s.require)
	}
	t.mustQuietly(c.SetOffset(s.offset), "SetOffset(%#x)", s.offset)
	t.mustQuietly(c.SetLength(s.length), "SetLength(%#x)", s.length)
	t.mustQuietly(c.SetSharing(s.sharing), "SetSharing(%d)", s.sharing)
	if s.prot != 0 {
		t.mustQuietly(c.SetProtection(s.prot), "SetProtection(%s)", protName(s.prot))
	}
	if s.in != nil {
		t.mustQuietly(c.SetVMReservation(s.in, s.at), "SetVMReservation(offset %#x)", s.at)
	}
}
