package emu_test

import (
	"bufio"
	"fmt"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"pmemlab/emu"
	"pmemlab/pmem2/platform"
)

// What mremap answered on Linux 6.1. At X the object is mapped, shared, as long as the
// second column says; behind it is memory without access or, where the column says so,
// a hole of A bytes. A is 2 MiB. The call is about old bytes from X+at on; its target is
// T+to, or X+onto. At T there is memory without access or, with "over 2A", the object.
// M is MREMAP_MAYMOVE, F MREMAP_FIXED, D MREMAP_DONTUNMAP.
//
// The answer is an errno, or where the mapping is: here, at T or elsewhere. X and T are
// what is there afterwards: map, hole, or ph for memory without access, which isn't
// told at the end. The bytes are the page of X that is read at the first page of the
// new range, and . for read or F for fault of the pages at its offset A-4K and at its
// end.
//
// The object "any" is each, "page" each but device DAX with an alignment of 2 MiB,
// "shared" each but anonymous memory, which is private. The last column is what Linux
// 6.18 answers otherwise, answer; X; T; bytes: it moves a source of several mappings.
const mremapCells = `
any    | A         | old A new A             | 0  | here   | map A          |          | 0.. |
any    | A         | old A-100 new A-1       | 0  | here   | map A          |          | 0.. |
any    | A         | old A-4K new A-4K       | 0  | here   | map A          |          | 0.. |
any    | A         | at 4K old 4K new 4K     | 0  | here   | map A          |          | 1.. |
any    | A         | at 4K old A-4K new A-4K | M  | here   | map A          |          | 1.. |
any    | A         | old 2A new 2A           | 0  | here   | map A          |          | 0.F |
any    | 2A        | old 2A new A            | 0  | here   | map A hole A   |          | 0.. |
any    | A         | old 2A new A            | 0  | here   | map A hole A   |          | 0.. |
any    | A hole    | old 2A new A            | 0  | here   | map A hole A   |          | 0.. |
any    | A         | old A new 2A            | 0  | ENOMEM | map A          |          |     |
any    | A hole    | old A new 2A            | 0  | here   | map 2A         |          | 0.. |
any    | A hole    | old A new 2A            | M  | here   | map 2A         |          | 0.. |
any    | A         | old A new 2A            | M  | elsewhere | hole A      |          | 0.. |
any    | A         | old A new A             | MF | T      | hole A         | map A    | 0.. |
any    | A         | old A new 2A            | MF | T      | hole A         | map 2A   | 0.. |
any    | 2A        | old 2A new A            | MF | T      | hole 2A        | map A    | 0.. |
any    | 2A        | at A old A new A        | MF | T      | map A hole A   | map A    | 512.. |
shared | A         | old 0 new A             | MF | T      | map A          | map A    | 0.. |
shared | A         | old 0 new A             | M  | elsewhere | map A       |          | 0.. |
any    | A         | old A new A             | MD | elsewhere | map A       |          | 0.. |
any    | A         | old A new A             | MFD | T     | map A          | map A    | 0.. |
any    | A         | old A new A over 2A to A | MF | T     | hole A         | map 2A   | 0.. |

any    | A         | old A new A onto 4K     | MF | EINVAL | map A          |          |     |
any    | A         | old A new A to 1        | MF | EINVAL | map A          |          |     |
any    | A         | at 1 old A new A        | MF | EINVAL | map A          |          |     |
any    | A         | old A new 2^50          | 0  | ENOMEM | map A          |          |     | EINVAL; map A; ;
any    | A         | old A new 2^50          | M  | ENOMEM | map A          |          |     | EINVAL; map A; ;
any    | A         | old A new 2^50          | MF | EINVAL | map A          |          |     |
any    | A         | old A new 0             | M  | EINVAL | map A          |          |     |
any    | A         | old A new A             | F  | EINVAL | map A          |          |     |
any    | A         | old A new 2A            | MFD | EINVAL | map A         |          |     |
any    | 0 hole    | old A new A             | MF | EFAULT | hole A         |          |     |
any    | 0 hole    | old A new A             | 0  | EFAULT | hole A         |          |     |

any    | A         | old 2A new 2A           | MF | EFAULT | map A          | hole 2A  |     | T; hole 2A; map A; 0.F
any    | A hole    | old 2A new 2A           | MF | EFAULT | map A hole A   | hole 2A  |     | T; hole 2A; map A; 0.F
any    | A         | at 4K old A new A       | MF | EFAULT | map A          | hole A   |     | T; map 4K hole A; map A-4K; 1FF
any    | A         | old 2A new 3A           | MF | EFAULT | map A          | hole 3A  |     | EFAULT; map A; ;
any    | A         | old 2A new 3A           | M  | EFAULT | map A          |          |     |
any    | A         | old 3A new 2A           | MF | EFAULT | map A ph A hole A | hole 2A |   | EFAULT; map A; ;
any    | A         | old 2A new A            | MF | T      | hole 2A        | map A    | 0.. |
anon   | A         | old 0 new A             | MF | EINVAL | map A          | hole A   |     | EINVAL; map A; ;

page   | A         | old A new A to 4K       | MF | T      | hole A         | ph 4K map A | 0.. |
page   | A         | old A new A-4K          | M  | here   | map A-4K hole 4K |        | 0.. |
page   | A hole    | old A new A+4K          | 0  | here   | map A+4K hole A-4K |      | 0.. |
page   | 2A        | old 2A new A+4K         | MF | T      | hole 2A        | map A+4K | 0.. |
page   | A         | at 4K old 4K new 4K     | MF | T      | map 4K hole 4K map A-8K | map 4K | 1.. |
page   | A         | at 4K old 4K new 8K     | M  | elsewhere | map 4K hole 4K map A-8K |   | 1.. |
page   | A         | old A new A over 2A to 4K | MF | T    | hole A         | map 2A   | 0.. |

dax2M  | A         | old A new A to 4K       | MF | T      | hole A         | ph 4K map A | FFF |
dax2M  | A         | old A new A to A/2      | MF | T      | hole A         | ph A/2 map A | FFF |
dax2M  | A         | old A new 2A to 4K      | MF | T      | hole A         | ph 4K map 2A | FFF |
dax2M  | 2A        | old 2A new A to 4K      | MF | T      | hole 2A        | ph 4K map A | FFF |
dax2M  | 3A        | at A old A new A to 4K  | MF | T      | map A hole A map A | ph 4K map A | FFF |
dax2M  | A         | old 0 new A to 4K       | MF | T      | map A          | ph 4K map A | FFF |
dax2M  | A         | old 0 new 4K            | MF | T      | map A          | map 4K   | FFF |

dax2M  | A         | old A new A+4K          | 0  | ENOMEM | map A          |          |     |
dax2M  | A hole    | old A new A+4K          | 0  | here   | map A+4K hole A-4K |      | FFF |
dax2M  | A hole    | old A new A+4K          | M  | here   | map A+4K hole A-4K |      | FFF |
dax2M  | A         | old A new A+4K          | M  | elsewhere | hole A      |          | FFF |
dax2M  | A         | old A new A+4K          | MF | T      | hole A         | map A+4K | FFF |
dax2M  | A hole    | at 4K old A-4K new A    | 0  | here   | map A+4K hole A-4K |      | FFF |
dax2M  | A hole    | at 4K old A-4K new A    | M  | here   | map A+4K hole A-4K |      | FFF |
dax2M  | A         | at 4K old A-4K new A    | M  | EINVAL | map A          |          |     |
dax2M  | A         | at 4K old 4K new 8K     | M  | EINVAL | map A          |          |     |

dax2M  | 2A        | old 2A new A+4K         | 0  | EINVAL | map 2A         |          |     |
dax2M  | 2A        | old 2A new A+4K         | M  | EINVAL | map 2A         |          |     |
dax2M  | A         | old A new 4K            | 0  | EINVAL | map A          |          |     |
dax2M  | A         | at 4K old 8K new 4K     | 0  | EINVAL | map A          |          |     |
dax2M  | A         | old A new A over 2A to 4K | MF | EINVAL | map A        | map 2A   |     |
dax2M  | A         | at 4K old 4K new 4K     | MF | EINVAL | map A          | hole 4K  |     |
dax2M  | 2A        | at 4K old A new A       | MF | EINVAL | map 2A         | hole A   |     |
dax2M  | A         | old 4K new 4K           | MF | EINVAL | map A          | hole 4K  |     |
dax2M  | A         | at 4K old 0 new A       | MF | EINVAL | map A          | hole A   |     |
dax2M  | 2A        | old 2A new A+4K         | MF | EINVAL | map 2A         | hole A+4K |    |
`

// FFF where device DAX grew by 4K was measured on memory that nobody had accessed before.
// What had been, the real machine could still read; the emulated one can't.

// mremapLater is the kernel of the last column of mremapCells.
var mremapLater = kernelVersion{6, 18}

var mremapObjects = map[string][]string{
	"any":    {"dax2M", "dax4K", "ext4-dax", "xfs-dax", "ext4", "tmpfs", "anon"},
	"page":   {"dax4K", "ext4-dax", "xfs-dax", "ext4", "tmpfs", "anon"},
	"shared": {"dax2M", "dax4K", "ext4-dax", "xfs-dax", "ext4", "tmpfs"},
	"dax2M":  {"dax2M"},
	"anon":   {"anon"},
}

// TestMremap asks every row of mremapCells of the emulated machine and, where it has
// such an object, of the kernel of this host.
func TestMremap(t *testing.T) {
	emulated, host := emulatedSubject(t, newMachine(t, emu.Config{})), hostSubject(t)
	for _, s := range []*subject{emulated, host} {
		if s.unmeasured == "" {
			s.objects["anon"] = cellObject{}
		}
		t.Run(s.name, func(t *testing.T) {
			for _, row := range rows(mremapCells) {
				for _, name := range mremapObjects[row[0]] {
					o, ok := s.objects[name]
					if !ok {
						s.miss(name, 1)
						continue
					}
					want := mremapOutcome{row[4], row[5], row[6], row[7]}
					if later := strings.Split(row[8], ";"); s == host && len(later) > 1 && !hostKernel(t).before(mremapLater) {
						for i, field := range []*string{&want.answer, &want.x, &want.t, &want.bytes} {
							*field = strings.TrimSpace(later[i])
						}
					}
					s.compared++
					if got := s.mremap(t, name, o, row); got != want {
						t.Fatalf("%s: %s, %s:\n got %+v\nwant %+v", s.name, name, strings.Join(row[1:4], ", "), got, want)
					}
				}
			}
			s.report(t)
		})
	}
	sameTotal(t, emulated, host)
}

type mremapOutcome struct{ answer, x, t, bytes string }

const (
	mremapAlign = 2 << 20
	mremapRoom  = 4 * mremapAlign // that is looked at from X and T on
)

// mremap makes the call of one row. What is mapped afterwards it unmaps.
func (s *subject) mremap(t *testing.T, name string, o cellObject, row []string) mremapOutcome {
	t.Helper()
	o.align = mremapAlign
	v := args(t, row[2], o)
	fd, share := -1, platform.MapShared
	if name == "anon" {
		share = platform.MapPrivate | platform.MapAnonymous
	} else {
		var err error
		if fd, err = s.p.Open(o.path, platform.ORdwr, 0); err != nil {
			t.Fatal(err)
		}
		defer s.p.Close(fd)
	}
	mapAt := func(addr uintptr, n uint64) {
		if n == 0 {
			return
		}
		if _, err := s.p.Mmap(addr, n, readWrite, share|platform.MapFixed, fd, 0); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
	}
	x, target := s.arena(t), s.arena(t)
	length, behind, _ := strings.Cut(row[1], " ")
	mapped := eval(t, length, o)
	mapAt(x, mapped)
	mapAt(target, v["over"])
	for page := uint64(0); page < mapped; page += 4096 {
		*(*uint64)(platform.Pointer(x + uintptr(page))) = page/4096 + 1
	}
	if behind == "hole" {
		if err := s.p.Munmap(x+uintptr(mapped), mremapAlign); err != nil {
			t.Fatal(err)
		}
	}
	flags := 0
	for letter, flag := range map[string]int{"M": platform.MremapMaymove, "F": platform.MremapFixed, "D": 4} {
		if strings.Contains(row[3], letter) {
			flags |= flag
		}
	}
	from, to := x+uintptr(v["at"]), target+uintptr(v["to"])
	if onto := v["onto"]; onto != 0 {
		to = x + uintptr(onto)
	} else if flags&platform.MremapFixed == 0 {
		to = 0 // would be a hint with D
	}
	addr, err := s.p.Mremap(from, v["old"], v["new"], flags, to)
	got := mremapOutcome{answer: errnoName(err), x: layout(t, x), t: layout(t, target)}
	n := (v["new"] + 4095) &^ 4095
	if err == nil {
		switch {
		case flags&platform.MremapFixed != 0 && addr == to:
			got.answer = "T"
		case addr == from:
			got.answer = "here"
		default:
			got.answer = "elsewhere"
		}
		got.bytes = firstPage(addr) + fault(addr+uintptr(min(n, mremapAlign)-4096)) + fault(addr+uintptr(n-4096))
		if got.answer == "elsewhere" {
			if err := s.p.Munmap(addr, n); err != nil {
				t.Errorf("%s: munmap of [%#x, +%#x): %v", name, addr, n, err)
			}
		}
	}
	s.clear(t, x, got.x, o)
	s.clear(t, target, got.t, o)
	return got
}

// arena is memory without access, from a multiple of 2 MiB on.
func (s *subject) arena(t *testing.T) uintptr {
	t.Helper()
	const n = mremapRoom + mremapAlign
	addr, err := s.p.Mmap(lowRoom(), n, platform.ProtNone, platform.MapPrivate|platform.MapAnonymous|platform.MapNoreserve, -1, 0)
	if err != nil {
		t.Fatal(err)
	}
	base := (addr + mremapAlign - 1) &^ (mremapAlign - 1)
	for _, x := range []extent{{uint64(addr), uint64(base)}, {uint64(base) + mremapRoom, uint64(addr) + n}} {
		if x.start < x.end {
			if err := s.p.Munmap(uintptr(x.start), x.end-x.start); err != nil {
				t.Fatal(err)
			}
		}
	}
	return base
}

// clear unmaps what a layout tells, and nothing in its holes: they aren't ours.
func (s *subject) clear(t *testing.T, base uintptr, layout string, o cellObject) {
	t.Helper()
	words := strings.Fields(layout)
	off := uint64(0)
	unmap := func(n uint64) {
		if n == 0 {
			return
		}
		if err := s.p.Munmap(base+uintptr(off), n); err != nil {
			t.Errorf("munmap of [%#x, +%#x) of %q: %v", off, n, layout, err)
		}
	}
	for i := 0; i < len(words); i += 2 {
		n := eval(t, words[i+1], o)
		if words[i] != "hole" {
			unmap(n)
		}
		off += n
	}
	unmap(mremapRoom - off)
}

// layout says what is mapped from base on: "map A hole 4K", without the memory without
// access that is last.
func layout(t *testing.T, base uintptr) string {
	t.Helper()
	file, err := os.Open("/proc/self/maps")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	kinds := make([]string, mremapRoom/4096)
	for lines := bufio.NewScanner(file); lines.Scan(); {
		var lo, hi uintptr
		var perms string
		fmt.Sscanf(lines.Text(), "%x-%x %s", &lo, &hi, &perms)
		kind := "map"
		if perms == "---p" {
			kind = "ph"
		}
		for at := max(lo, base); at < min(hi, base+mremapRoom); at += 4096 {
			kinds[(at-base)/4096] = kind
		}
	}
	var text []string
	for i := 0; i < len(kinds); {
		run := i
		for run < len(kinds) && kinds[run] == kinds[i] {
			run++
		}
		if kinds[i] == "" {
			kinds[i] = "hole"
		}
		if kinds[i] != "ph" || run < len(kinds) {
			text = append(text, kinds[i], sizeText(uint64(run-i)*4096))
		}
		i = run
	}
	return strings.Join(text, " ")
}

// sizeText is a number of bytes as in the tables: "A+4K".
func sizeText(n uint64) string {
	count, rest := n/mremapAlign, n%mremapAlign
	switch {
	case n == mremapAlign/2:
		return "A/2"
	case rest > mremapAlign/2:
		return sizeText(n-rest+mremapAlign) + fmt.Sprintf("-%dK", (mremapAlign-rest)/1024)
	case count == 0:
		return fmt.Sprintf("%dK", rest/1024)
	}
	text := "A"
	if count > 1 {
		text = fmt.Sprintf("%dA", count)
	}
	if rest > 0 {
		text += fmt.Sprintf("+%dK", rest/1024)
	}
	return text
}

// firstPage reads the number that the test stored in a page, "F" if that faults.
func firstPage(addr uintptr) (page string) {
	if fault(addr) == "F" {
		return "F"
	}
	return fmt.Sprint(*(*uint64)(platform.Pointer(addr)) - 1)
}

// fault is "F" if reading the byte at addr, which may be mapped without access, faults.
func fault(addr uintptr) string {
	if touch(addr, false) == "." {
		return "."
	}
	return "F"
}

// A device DAX mapping away from its alignment, step by step: every access faults, it
// can be cut at multiples of the alignment only, and its bytes are back as soon as it
// begins and ends at such again.
func TestMisalignedDevDax(t *testing.T) {
	t.Parallel()
	const (
		align, page = 2 << 20, 4096
		fixed       = platform.MremapMaymove | platform.MremapFixed
	)
	for _, flags := range []int{platform.MapShared, platform.MapSharedValidate | platform.MapSync} {
		m := newMachine(t, emu.Config{})
		f := open(t, m.AddDevDax(emu.DevDax{Size: 4 * align}))
		free, base := reserve(t, m, 8*align, align)
		defer free()
		x, away := base+2*align, base+5*align+page
		state := func(step string, addr uintptr, n uint64, faults bool) {
			t.Helper()
			want := "."
			if faults {
				want = "B"
			}
			for off := uint64(0); off < n; off += 64 * page {
				for _, at := range []uintptr{addr + uintptr(off), addr + uintptr(n-off) - 1} {
					if r := touch(at, false); r != want {
						t.Fatalf("%s: reading %#x+%#x is %q, want %q", step, addr, at-addr, r, want)
					}
				}
				if w := touch(addr+uintptr(off), true); w != want {
					t.Fatalf("%s: writing %#x+%#x is %q, want %q", step, addr, off, w, want)
				}
			}
			if !faults && *at(addr, 2*align-1) != 77 {
				t.Fatalf("%s: the last byte is %d, want 77", step, *at(addr, 2*align-1))
			}
		}
		step := func(step string, err error, want error) {
			t.Helper()
			if err != want {
				t.Fatalf("%s: got %v, want %v", step, err, want)
			}
		}
		move := func(from uintptr, n, newN uint64, flags int, to uintptr) error {
			got, err := m.Mremap(from, n, newN, flags, to)
			if err == nil && flags&platform.MremapFixed != 0 && got != to {
				t.Fatalf("Mremap to %#x: %#x", to, got)
			}
			return err
		}
		_, err := m.Mmap(x, 2*align, readWrite, flags|platform.MapFixed, f.FD(), align)
		step("mmap", err, nil)
		*at(x, 2*align-1) = 77
		state("mapped", x, 2*align, false)

		step("move away", move(x, 2*align, 2*align, fixed, away), nil)
		state("away", away, 2*align, true)
		step("munmap from the second page on", m.Munmap(away+page, 2*align-page), unix.EINVAL)
		step("move back", move(away, 2*align, 2*align, fixed, x), nil)
		state("moved back", x, 2*align, false)

		_, err = m.Mmap(x+2*align, align, platform.ProtNone, platform.MapPrivate|platform.MapAnonymous|platform.MapFixed, -1, 0)
		step("the placeholder behind", err, nil)
		step("grow by a page against it", move(x, 2*align, 2*align+page, 0, 0), unix.ENOMEM)
		step("munmap of the placeholder", m.Munmap(x+2*align, align), nil)
		step("grow by a page", move(x, 2*align, 2*align+page, 0, 0), nil)
		state("grown", x, 2*align+page, true)
		step("shrink by it", move(x, 2*align+page, 2*align, 0, 0), nil)
		state("shrunk", x, 2*align, false)
		step("grow by a page again", move(x, 2*align, 2*align+page, 0, 0), nil)
		step("munmap of that page", m.Munmap(x+2*align, page), nil)
		state("cut off", x, 2*align, false)
		step("grow by a page, the third time", move(x, 2*align, 2*align+page, 0, 0), nil)
		step("grow by the rest, from the middle on", move(x+align, align+page, 2*align, 0, 0), nil)
		state("aligned again", x, 2*align, false)

		step("a second mapping away", move(x, 0, 2*align, fixed, away), nil)
		state("the first", x, 2*align, false)
		state("the second", away, 2*align, true)
		step("munmap to the first multiple", m.Munmap(away, align-page), nil)
		state("the rest", away+align-page, align+page, true)
		step("munmap of the last page", m.Munmap(away+2*align-page, page), nil)
		*at(x, 0), *at(x, align-1) = 78, 79
		// Its offset is no multiple now, and no huge page begins there.
		if got, want := [2]byte{*at(away, align-page), *at(away, 2*align-page-1)}, [2]byte{78, 79}; got != want {
			t.Fatalf("what is left reads %d, want %d: the first huge page", got, want)
		}
		step("munmap of what is left", m.Munmap(away+align-page, align), nil)
	}
}
