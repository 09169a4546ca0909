package fuzz

import "encoding/binary"

// Codec reads the fields of an input from its bytes, or writes them: the Layout of an input
// says once which follow each other. What is behind the end reads as zero.
type Codec struct {
	bytes   []byte
	writing bool
}

// Layout is an input, or one operation of an input, of a fixed layout.
type Layout interface{ Layout(*Codec) }

// Decode fills in from the beginning of an input, and returns the rest.
func Decode(input []byte, in Layout) []byte {
	c := Codec{bytes: input}
	in.Layout(&c)
	return c.bytes
}

// Encode appends the bytes of in.
func Encode(to []byte, in Layout) []byte {
	c := Codec{bytes: to, writing: true}
	in.Layout(&c)
	return c.bytes
}

// DecodeAll fills operations from an input until it ends, or there are most of them.
func DecodeAll[T any, P interface {
	*T
	Layout
}](input []byte, ops []T, most int) []T {
	for len(input) > 0 && len(ops) < most {
		var op T
		input = Decode(input, P(&op))
		ops = append(ops, op)
	}
	return ops
}

// EncodeAll is the input of a sequence of operations.
func EncodeAll[T any, P interface {
	*T
	Layout
}](to []byte, ops []T) []byte {
	for i := range ops {
		to = Encode(to, P(&ops[i]))
	}
	return to
}

// Byte is a field of 8 bits.
func (c *Codec) Byte(p *byte) {
	switch {
	case c.writing:
		c.bytes = append(c.bytes, *p)
	case len(c.bytes) == 0:
		*p = 0
	default:
		*p, c.bytes = c.bytes[0], c.bytes[1:]
	}
}

// Uint64 is a field of 64 bits, little-endian.
func (c *Codec) Uint64(p *uint64) {
	switch {
	case c.writing:
		c.bytes = binary.LittleEndian.AppendUint64(c.bytes, *p)
	case len(c.bytes) >= 8:
		*p, c.bytes = binary.LittleEndian.Uint64(c.bytes), c.bytes[8:]
	default:
		var whole [8]byte
		copy(whole[:], c.bytes)
		*p, c.bytes = binary.LittleEndian.Uint64(whole[:]), nil
	}
}

// Number is a field of NumberBytes.
func (c *Codec) Number(p *Number) {
	c.Byte(&p.Anchor)
	c.Byte(&p.Delta)
	c.Uint64(&p.Raw)
}
