package fuzz

// Number is how an input holds a number of 64 bits: as one of the values that matter, and a
// distance from it that does. Bugs live where numbers meet each other or the end of their
// range, where uniform numbers never are.
type Number struct {
	Anchor byte   // picks a value; 0 is Raw itself
	Delta  byte   // picks a distance; 0 is none
	Raw    uint64 // the value, or which multiple of a unit
}

// Around is what a number may lie beside: all in bytes. A zero field is left out of account.
type Around struct {
	Page  uint64 // never 0
	Align uint64 // of the source; 0: Page
	Size  uint64 // of the source, or of whatever is indexed
	Other uint64 // a number to be added to this one: an offset if this is a length
	Room  uint64 // of a reservation, behind Other if both matter
}

// NumberBytes is the size of a Number in an input.
const NumberBytes = 10

// Exactly is the number v, wherever it stands.
func Exactly(v uint64) Number { return Number{Raw: v} }

// anchors are the values that matter. The multiples that pass checks of alignment stand
// more than once, since else hardly anything would be accepted.
var anchors = [...]func(a Around, raw uint64) uint64{
	func(_ Around, raw uint64) uint64 { return raw },
	func(Around, uint64) uint64 { return 0 },
	func(Around, uint64) uint64 { return 1 },
	func(a Around, _ uint64) uint64 { return a.Page },
	func(a Around, _ uint64) uint64 { return a.Align },
	func(a Around, _ uint64) uint64 { return a.Size },
	func(a Around, _ uint64) uint64 { return a.Size - a.Other },
	func(a Around, _ uint64) uint64 { return -a.Other },
	func(a Around, _ uint64) uint64 { return -a.Align },
	func(a Around, _ uint64) uint64 { return a.Size + a.Align },
	func(a Around, _ uint64) uint64 { return a.Size - a.Align },
	func(Around, uint64) uint64 { return 1 << 31 },
	func(Around, uint64) uint64 { return 1 << 32 },
	func(Around, uint64) uint64 { return 1 << 47 },
	func(Around, uint64) uint64 { return 1 << 63 },
	func(Around, uint64) uint64 { return 1<<64 - 1 },
	func(a Around, _ uint64) uint64 { return a.Room },
	func(a Around, _ uint64) uint64 { return a.Room - a.Other },
	func(Around, uint64) uint64 { return 0 },
	func(Around, uint64) uint64 { return 0 },
	func(Around, uint64) uint64 { return 0 },
	multiple, multiple, multiple, multiple,
	inside, inside, inside, inside, inside, inside, inside, inside, inside, inside, inside, inside,
	inside, inside, inside, inside, inside, inside, inside, inside, inside, inside, inside, inside,
	func(a Around, raw uint64) uint64 { return raw % 9 * a.Page },
	func(a Around, raw uint64) uint64 {
		if a.Size == 0 {
			return raw % 64
		}
		return raw % a.Size
	},
	func(_ Around, raw uint64) uint64 { return 1 << (raw % 64) },
}

// anchorRoom is the place of Room among them.
const anchorRoom = 16

// multiple is one of the first multiples of the alignment.
func multiple(a Around, raw uint64) uint64 { return raw % 9 * a.Align }

// inside is a multiple of the alignment in what is left of the size.
func inside(a Around, raw uint64) uint64 {
	left := (a.Size - a.Other) / a.Align
	if a.Size < a.Other || left == 0 {
		return a.Align
	}
	return raw % (left + 1) * a.Align
}

// delta is a distance that matters. Most of 64 are none.
func delta(a Around, d byte) uint64 {
	switch d % 64 {
	case 1:
		return 1
	case 2:
		return ^uint64(0)
	case 3:
		return a.Page
	case 4:
		return -a.Page
	case 5:
		return a.Align
	case 6:
		return -a.Align
	case 7:
		return a.Align / 2
	}
	return 0
}

// In is the number that n stands for beside others. Sums wrap.
func (n Number) In(a Around) uint64 {
	if a.Align == 0 {
		a.Align = a.Page
	}
	return anchors[int(n.Anchor)%len(anchors)](a, n.Raw) + delta(a, n.Delta)
}
