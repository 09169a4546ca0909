package acpi

import "encoding/binary"

// Each function of this file writes one term of the ACPI machine language, as far as the
// SSDT needs it. Integers have 32 bits: that is what they have in a machine whose DSDT is of
// revision 1, as QEMU's is.

// term is an expression, a statement, or a row of statements.
type term []byte

// What a method works with.
var (
	arg0, arg2, arg3               = term{0x68}, term{0x6a}, term{0x6b}
	local0, local1, local2, local3 = term{0x60}, term{0x61}, term{0x62}, term{0x63}
	noTarget                       = term{0x00} // of an operation whose result is only used
)

// op is an operation with its operands, its target among them.
func op(code byte, operands ...term) term { return join(term{code}, operands...) }

func join(first term, rest ...term) term {
	t := append(term{}, first...)
	for _, r := range rest {
		t = append(t, r...)
	}
	return t
}

// extent is a term that says in front how long it is.
func extent(code term, content ...term) term {
	body := join(nil, content...)
	// The length counts its own bytes. One byte has 6 bits for it; the first of more has
	// 4, and in its two upper bits how many follow.
	length := term{byte(len(body) + 1)}
	if len(body)+1 >= 1<<6 {
		follow := 1
		for len(body)+1+follow >= 1<<(4+8*follow) {
			follow++
		}
		n := len(body) + 1 + follow
		length = term{byte(follow<<6 | n&0xf)}
		for n >>= 4; len(length) <= follow; n >>= 8 {
			length = append(length, byte(n))
		}
	}
	return join(code, length, body)
}

func integer(v uint32) term {
	switch {
	case v <= 1:
		return term{byte(v)}
	case v < 1<<8:
		return term{0x0a, byte(v)}
	case v < 1<<16:
		return binary.LittleEndian.AppendUint16(term{0x0b}, uint16(v))
	}
	return binary.LittleEndian.AppendUint32(term{0x0c}, v)
}

// text is a string.
func text(s string) term { return append(append(term{0x0d}, s...), 0) }

// buffer is a buffer that begins with the content.
func buffer(content []byte) term { return extent(term{0x11}, integer(uint32(len(content))), content) }

// named declares a name of four characters and gives it a value.
func named(name string, value term) term { return op(0x08, term(name), value) }

func scope(path string, content ...term) term {
	return extent(term{0x10}, append([]term{term(path)}, content...)...)
}

func device(name string, content ...term) term {
	return extent(term{0x5b, 0x82}, append([]term{term(name)}, content...)...)
}

// method is one that isn't entered twice at a time, since it declares names.
func method(name string, args byte, body ...term) term {
	const serialized = 1 << 3
	return extent(term{0x14}, append([]term{term(name), {args | serialized}}, body...)...)
}

func dwordField(of term, offset uint32, name string) term {
	return op(0x8a, of, integer(offset), term(name))
}

func byteField(of term, offset uint32, name string) term {
	return op(0x8c, of, integer(offset), term(name))
}

func ifThen(condition term, body ...term) term {
	return extent(term{0xa0}, append([]term{condition}, body...)...)
}

func while(condition term, body ...term) term {
	return extent(term{0xa2}, append([]term{condition}, body...)...)
}

func giveBack(value term) term      { return op(0xa4, value) }
func store(value, target term) term { return op(0x70, value, target) }
func add(a, b, target term) term    { return op(0x72, a, b, target) }
func increment(target term) term    { return op(0x75, target) }
func minus(a, b term) term          { return op(0x74, a, b, noTarget) }
func shiftLeft(a, n term) term      { return op(0x79, a, n, noTarget) }
func shiftRight(a, n term) term     { return op(0x7a, a, n, noTarget) }
func bitAnd(a, b, target term) term { return op(0x7b, a, b, target) }
func bitOr(a, b term) term          { return op(0x7d, a, b, noTarget) }
func bitNot(a term) term            { return op(0x80, a, noTarget) }
func concatenate(a, b term) term    { return op(0x73, a, b, noTarget) }
func middle(of term, offset, length uint32) term {
	return op(0x9e, of, integer(offset), integer(length), noTarget)
}
func element(of term, n uint32) term { return op(0x83, op(0x88, of, integer(n), noTarget)) }
func both(a, b term) term            { return op(0x90, a, b) }
func either(a, b term) term          { return op(0x91, a, b) }
func not(a term) term                { return op(0x92, a) }
func equal(a, b term) term           { return op(0x93, a, b) }
func greater(a, b term) term         { return op(0x94, a, b) }
func less(a, b term) term            { return op(0x95, a, b) }
