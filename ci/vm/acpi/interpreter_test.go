package acpi

import (
	"bytes"
	"encoding/binary"
	"fmt"
)

// What the tests run the AML with: as much of an interpreter as the SSDT needs, written from
// the specification, with integers of 32 bits. Whatever it doesn't know, or that doesn't end
// where its length says, is a panic, which call and load turn into errors.

// space is a device, or what a method declares while it runs.
type space struct {
	parent *space
	names  map[string]any // *object, *field, *routine or *space
}

type (
	object  struct{ value any } // uint32, string, []byte, or []any for a package
	field   struct{ bytes []byte }
	routine struct {
		args int
		body []byte
	}
)

// frame is a method that runs.
type frame struct {
	locals [8]object
	args   [7]object
	ended  bool
	result any
}

// reader is what's left to be read.
type reader struct{ rest []byte }

func newSpace(parent *space) *space { return &space{parent: parent, names: map[string]any{}} }

// load runs a definition block.
func load(code []byte) (root *space, err error) {
	defer caught(&err)
	root = newSpace(nil)
	run(&reader{code}, root, nil)
	return root, nil
}

// call calls a method of a device.
func (s *space) call(name string, args ...any) (result any, err error) {
	defer caught(&err)
	return s.names[name].(*routine).call(s, args), nil
}

func caught(err *error) {
	if r := recover(); r != nil {
		*err = fmt.Errorf("AML: %v", r)
	}
}

func (m *routine) call(in *space, args []any) any {
	if len(args) != m.args {
		panic(fmt.Sprintf("%d arguments, want %d", len(args), m.args))
	}
	var f frame
	for i, a := range args {
		f.args[i].value = a
	}
	run(&reader{m.body}, newSpace(in), &f)
	return f.result
}

func run(r *reader, s *space, f *frame) {
	for len(r.rest) > 0 && (f == nil || !f.ended) {
		evaluate(r, s, f)
	}
}

func (r *reader) take(n int) []byte {
	b := r.rest[:n:n]
	r.rest = r.rest[n:]
	return b
}

func (r *reader) byte() byte { return r.take(1)[0] }

// extent is the rest of a term that has its length in front.
func (r *reader) extent() *reader {
	whole := r.rest
	first := r.byte()
	n := int(first & 0x3f)
	if follow := int(first >> 6); follow > 0 {
		if first&0x30 != 0 {
			panic("a length with reserved bits")
		}
		n = int(first & 0xf)
		for i := range follow {
			n |= int(r.byte()) << (4 + 8*i)
		}
	}
	size := len(whole) - len(r.rest)
	return &reader{r.take(n - size)}
}

func (r *reader) name() string {
	for _, c := range r.rest[:4] {
		if (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '_' {
			panic(fmt.Sprintf("name %q", r.rest[:4]))
		}
	}
	return string(r.take(4))
}

func (s *space) find(name string) any {
	for ; s != nil; s = s.parent {
		if n, ok := s.names[name]; ok {
			return n
		}
	}
	panic("there is no " + name)
}

func (s *space) declare(name string, what any) {
	if _, ok := s.names[name]; ok {
		panic(name + " is declared twice")
	}
	s.names[name] = what
}

// target is where something is stored.
func target(r *reader, s *space, f *frame) func(any) {
	if r.rest[0] == 0 {
		r.byte()
		return func(any) {}
	}
	switch c := r.rest[0]; {
	case c >= 0x60 && c <= 0x67:
		return f.locals[r.byte()-0x60].set
	case c >= 0x68 && c <= 0x6e:
		return f.args[r.byte()-0x68].set
	}
	switch n := s.find(r.name()).(type) {
	case *object:
		return n.set
	case *field:
		return n.set
	}
	panic("no target")
}

func (o *object) set(v any) {
	to, ok := o.value.([]byte)
	from, also := v.([]byte)
	switch {
	case ok && also && len(to) == len(from):
		copy(to, from) // fields stay fields of it
	case also:
		o.value = bytes.Clone(from)
	default:
		o.value = v
	}
}

func (f *field) set(v any) {
	for i := range f.bytes {
		f.bytes[i] = byte(v.(uint32) >> (8 * i))
	}
}

func (f *field) get() (v uint32) {
	for i, b := range f.bytes {
		v |= uint32(b) << (8 * i)
	}
	return v
}

func truth(v bool) uint32 {
	if v {
		return 0xffffffff
	}
	return 0
}

// evaluate takes one term.
func evaluate(r *reader, s *space, f *frame) any {
	value := func() any { return evaluate(r, s, f) }
	number := func() uint32 { return value().(uint32) }
	binaryOp := func(do func(a, b uint32) uint32) any {
		a, b := number(), number()
		v := do(a, b)
		target(r, s, f)(v)
		return v
	}
	compare := func(do func(order int) bool) any {
		switch a := value().(type) {
		case uint32:
			b := number()
			order := 0
			if a < b {
				order = -1
			} else if a > b {
				order = 1
			}
			return truth(do(order))
		case []byte:
			return truth(do(bytes.Compare(a, value().([]byte))))
		}
		panic("compares neither numbers nor buffers")
	}
	c := r.rest[0]
	if c == '_' || c >= 'A' && c <= 'Z' {
		switch n := s.find(r.name()).(type) {
		case *object:
			return n.value
		case *field:
			return n.get()
		case *routine:
			var args []any
			for range n.args {
				args = append(args, value())
			}
			return n.call(s, args)
		}
	}
	switch r.byte(); {
	case c >= 0x60 && c <= 0x67:
		return f.locals[c-0x60].value
	case c >= 0x68 && c <= 0x6e:
		return f.args[c-0x68].value
	}
	switch c {
	case 0x00, 0x01:
		return uint32(c)
	case 0x0a:
		return uint32(r.byte())
	case 0x0b:
		return uint32(binary.LittleEndian.Uint16(r.take(2)))
	case 0x0c:
		return binary.LittleEndian.Uint32(r.take(4))
	case 0x0d:
		text, _, ok := bytes.Cut(r.rest, []byte{0})
		if !ok {
			panic("a string without end")
		}
		r.take(len(text) + 1)
		return string(text)
	case 0x08:
		name := r.name()
		s.declare(name, &object{value()})
	case 0x10:
		p := r.extent()
		if p.byte() != '\\' {
			panic("scope isn't from the root")
		}
		in := newSpace(s)
		s.declare(p.name(), in)
		run(p, in, nil)
	case 0x11:
		p := r.extent()
		content := make([]byte, evaluate(p, s, f).(uint32))
		if len(p.rest) > len(content) {
			panic("a buffer larger than it says")
		}
		copy(content, p.rest)
		return content
	case 0x14:
		p := r.extent()
		name, flags := p.name(), p.byte()
		if flags&8 == 0 {
			panic(name + " isn't serialized")
		}
		s.declare(name, &routine{int(flags & 7), p.rest})
	case 0x5b:
		if r.byte() != 0x82 {
			panic("not a device")
		}
		p := r.extent()
		in := newSpace(s)
		s.declare(p.name(), in)
		run(p, in, nil)
	case 0x70:
		v := value()
		target(r, s, f)(v)
	case 0x72:
		return binaryOp(func(a, b uint32) uint32 { return a + b })
	case 0x73:
		a, b := value().([]byte), value().([]byte)
		v := append(bytes.Clone(a), b...)
		target(r, s, f)(v)
		return v
	case 0x74:
		return binaryOp(func(a, b uint32) uint32 { return a - b })
	case 0x75:
		again := reader{r.rest}
		v := number() + 1
		target(&again, s, f)(v)
	case 0x79:
		return binaryOp(func(a, b uint32) uint32 { return a << b })
	case 0x7a:
		return binaryOp(func(a, b uint32) uint32 { return a >> b })
	case 0x7b:
		return binaryOp(func(a, b uint32) uint32 { return a & b })
	case 0x7d:
		return binaryOp(func(a, b uint32) uint32 { return a | b })
	case 0x80:
		v := ^number()
		target(r, s, f)(v)
		return v
	case 0x83:
		return value() // of what an index refers to
	case 0x88:
		of := value().([]any)
		v := of[number()]
		target(r, s, f)(v)
		return v
	case 0x8a, 0x8c:
		of, at := value().([]byte), number()
		size := map[byte]uint32{0x8a: 4, 0x8c: 1}[c]
		s.declare(r.name(), &field{of[at : at+size]})
	case 0x90:
		a, b := number(), number()
		return truth(a != 0 && b != 0)
	case 0x91:
		a, b := number(), number()
		return truth(a != 0 || b != 0)
	case 0x92:
		return truth(number() == 0)
	case 0x93:
		return compare(func(order int) bool { return order == 0 })
	case 0x94:
		return compare(func(order int) bool { return order > 0 })
	case 0x95:
		return compare(func(order int) bool { return order < 0 })
	case 0x9e:
		of, at, n := value().([]byte), number(), number()
		v := bytes.Clone(of[at : at+n])
		target(r, s, f)(v)
		return v
	case 0xa0:
		p := r.extent()
		if evaluate(p, s, f).(uint32) != 0 {
			run(p, s, f)
		}
	case 0xa2:
		body := r.extent().rest
		for turns := 0; !f.ended; turns++ {
			p := &reader{body}
			if evaluate(p, s, f).(uint32) == 0 {
				break
			}
			if turns > 1000 {
				panic("a loop without end")
			}
			run(p, s, f)
		}
	case 0xa4:
		f.result, f.ended = value(), true
	default:
		panic(fmt.Sprintf("operation %#x", c))
	}
	return nil
}
