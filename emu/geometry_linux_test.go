package emu_test

import (
	"fmt"
	"math/big"
	"runtime/debug"
	"strings"
	"sync/atomic"
	"testing"

	"pmemlab/pmem2/platform"
)

// eval computes an expression of the geometry tables: "S-4K", "A/2", "2^46", "-A".
func eval(t *testing.T, expr string, o cellObject) uint64 {
	t.Helper()
	sum, sign := new(big.Int), int64(1)
	term := ""
	add := func() {
		if term == "" {
			return
		}
		v := new(big.Int)
		switch {
		case strings.HasPrefix(term, "2^"):
			var n uint
			fmt.Sscanf(term, "2^%d", &n)
			v.Lsh(big.NewInt(1), n)
		case term == "A/2":
			v.SetUint64(o.align / 2)
		default:
			count, unit := uint64(1), uint64(1)
			fmt.Sscanf(term, "%d", &count)
			switch term[len(term)-1] {
			case 'A':
				unit = o.align
			case 'S':
				unit = o.size
			case 'K':
				unit = 1024
			}
			v.SetUint64(count * unit)
		}
		sum.Add(sum, v.Mul(v, big.NewInt(sign)))
		term = ""
	}
	for _, c := range expr {
		switch c {
		case '+', '-':
			add()
			if sign = 1; c == '-' {
				sign = -1
			}
		default:
			term += string(c)
		}
	}
	add()
	return new(big.Int).And(sum, new(big.Int).SetUint64(^uint64(0))).Uint64()
}

func TestEval(t *testing.T) {
	o := cellObject{align: 2 << 20, size: 0x801000}
	for expr, want := range map[string]uint64{
		"0": 0, "1": 1, "4K": 4096, "4K-1": 4095, "A/2": 1 << 20, "A+4K": 2<<20 + 4096, "4S": 4 * 0x801000,
		"2^46": 1 << 46, "-A": 1<<64 - 2<<20, "S-4K": 0x800000,
	} {
		if got := eval(t, expr, o); got != want {
			t.Errorf("eval(%q) = %#x, want %#x", expr, got, want)
		}
	}
}

// args reads "len A off 4K" into a map of numbers.
func args(t *testing.T, text string, o cellObject) map[string]uint64 {
	t.Helper()
	values := map[string]uint64{}
	words := strings.Fields(text)
	for i := 0; i+1 < len(words); i += 2 {
		values[words[i]] = eval(t, words[i+1], o)
	}
	return values
}

// outcome is what the mapping [addr, addr+n) does: "ok" and, for its first and its last
// byte, "." or "B".
func outcome(addr uintptr, n uint64) string {
	last := addr + uintptr(n) - 1
	result := "ok" + touch(addr, false) + touch(last, false)
	if w := touch(last, true); w != result[3:] {
		return result + " but writing the last: " + w
	}
	return result
}

// touch reads or writes a byte and says whether that is a fault.
func touch(addr uintptr, write bool) string {
	result := make(chan string)
	go func() {
		defer func() {
			if recover() != nil {
				result <- "B"
				return
			}
			result <- "."
		}()
		debug.SetPanicOnFault(true)
		p := (*byte)(platform.Pointer(addr))
		if write {
			*p = 1
		} else {
			sink = *p
		}
	}()
	return <-result
}

var sink byte

// geometryObjects are the names that a column of the geometry tables stands for.
func geometryObjects(column string) []string {
	switch column {
	case "file":
		return []string{"ext4-dax", "xfs-dax", "ext4", "tmpfs"}
	case "empty":
		return []string{"ext4-dax-empty", "xfs-dax-empty", "ext4-empty", "tmpfs-empty"}
	}
	return strings.Fields(column)
}

// eachGeometry calls check for each cell of a geometry table that s has the object of.
func (s *subject) eachGeometry(t *testing.T, table string, check func(o cellObject, name, text, want string, fd int)) {
	lines := rows(table)
	for i, column := range lines[0][1:] {
		for _, name := range geometryObjects(column) {
			o, ok := s.objects[name]
			if !ok {
				s.miss(name, len(lines)-1)
				continue
			}
			fd, err := s.p.Open(o.path, platform.ORdwr, 0)
			if err != nil {
				t.Fatalf("%s: open %s: %v", s.name, name, err)
			}
			for _, line := range lines[1:] {
				want := line[i+1]
				if want == "luck" {
					if want = s.luck(); want == "" {
						s.uncompared[gap{name, "answered by luck"}]++
						continue
					}
				}
				want = s.answer(cellID{object: name, column: line[0]}, want)
				s.compared++
				check(o, name, line[0], want, fd)
			}
			s.p.Close(fd)
		}
	}
}

func (s *subject) checkGeometry(t *testing.T) {
	const prot = platform.ProtRead | platform.ProtWrite
	s.eachGeometry(t, geometryCells, func(o cellObject, name, text, want string, fd int) {
		v := args(t, text, o)
		kinds := []string{"SHARED"}
		if strings.Contains(name, "dax") {
			kinds = append(kinds, "V+S")
		}
		for _, kind := range kinds {
			n := (v["len"] + 4095) &^ 4095
			done := roomAbove(t, s.p, n)
			addr, err := s.p.Mmap(0, v["len"], prot, columnFlags[kind], fd, int64(v["off"]))
			got := errnoName(err)
			if err == nil {
				got = outcome(addr, n)
			}
			if got != want {
				t.Errorf("%s: %s, %s, %s: got %s, want %s", s.name, name, text, kind, got, want)
			}
			if err != nil {
				done()
				continue
			}
			mod := uint64(4096)
			if strings.HasPrefix(name, "dax") {
				mod = o.align
			} else if o.thp && v["off"]%(2<<20) == 0 && n >= 2<<20 {
				mod = 2 << 20
			}
			if uint64(addr)%mod != v["off"]%mod {
				t.Errorf("%s: %s, %s, %s: address %#x and offset %#x differ modulo %#x", s.name, name, text, kind, addr, v["off"], mod)
			}
			if err := s.p.Munmap(addr, n); err != nil {
				t.Errorf("%s: %s, %s: munmap: %v", s.name, name, text, err)
			}
			done()
		}
	})
	s.eachGeometry(t, fixedCells, func(o cellObject, name, text, want string, fd int) {
		v := args(t, text, o)
		n := (v["len"] + 4095) &^ 4095
		room, base := reserve(t, s.p, n+3*o.align, o.align)
		defer room()
		at := base + uintptr(v["delta"])
		addr, err := s.p.Mmap(at, v["len"], prot, platform.MapShared|platform.MapFixed, fd, int64(v["off"]))
		got := errnoName(err)
		if err == nil {
			got = outcome(addr, n)
			if addr != at {
				t.Errorf("%s: %s, %s: mapped at %#x, not at %#x", s.name, name, text, addr, at)
			}
		}
		if got != want {
			t.Errorf("%s: %s, %s: got %s, want %s", s.name, name, text, got, want)
		}
	})
}

// roomAbove keeps a hole of 1 GiB above a mapping of n bytes that takes half of the
// address space, until done is called: Linux gives out the highest room there is, and
// what the Go runtime maps meanwhile would else lie below the mapping for ever after,
// where it parts the address space into halves too small for the next one.
func roomAbove(t *testing.T, p platform.Platform, n uint64) (done func()) {
	t.Helper()
	if n < 1<<45 {
		return func() {}
	}
	const hole, floor = 1 << 30, 4096
	mmap := func(n uint64) uintptr {
		addr, err := p.Mmap(0, n, platform.ProtNone, platform.MapPrivate|platform.MapAnonymous|platform.MapNoreserve, -1, 0)
		if err != nil {
			t.Fatal(err)
		}
		return addr
	}
	munmap := func(addr uintptr, n uint64) {
		if err := p.Munmap(addr, n); err != nil {
			t.Fatal(err)
		}
	}
	room := mmap(hole + floor)
	munmap(room+floor, hole)
	return func() { munmap(room, floor) }
}

// lowRoom is a hint for mmap, another one each time, with 64 GiB behind it. Linux gives
// out the highest room there is: what a test unmaps so low nobody else is given.
func lowRoom() uintptr { return 16<<40 + uintptr(lowRooms.Add(1)%64)<<36 }

var lowRooms atomic.Uint64

// reserve takes n bytes of address space without access, and gives an address in the
// first align bytes that is a multiple of align. The function gives all back.
func reserve(t *testing.T, p platform.Platform, n, align uint64) (free func(), base uintptr) {
	t.Helper()
	addr, err := p.Mmap(lowRoom(), n+align, platform.ProtNone,
		platform.MapPrivate|platform.MapAnonymous|platform.MapNoreserve, -1, 0)
	if err != nil {
		t.Fatal(err)
	}
	base = (addr + uintptr(align) - 1) &^ (uintptr(align) - 1)
	return func() {
		if err := p.Munmap(addr, n+align); err != nil {
			t.Errorf("munmap of the reservation: %v", err)
		}
	}, base
}

func (s *subject) checkHints(t *testing.T) {
	const prot = platform.ProtRead | platform.ProtWrite
	s.eachGeometry(t, hintCells, func(o cellObject, name, text, want string, fd int) {
		occupied := strings.Contains(text, "occupied")
		free, base := reserve(t, s.p, 4*o.align, o.align)
		if occupied {
			defer free()
		} else {
			free()
		}
		hint := base
		if _, expr, ok := strings.Cut(text, "A*k+"); ok {
			hint += uintptr(eval(t, expr, o))
		}
		flags := platform.MapShared
		if strings.HasSuffix(text, " V") {
			flags = platform.MapSharedValidate
		}
		if strings.HasPrefix(text, "noreplace") {
			flags |= platform.MapFixedNoreplace
		}
		addr, err := s.p.Mmap(hint, o.align, prot, flags, fd, 0)
		got := errnoName(err)
		if err == nil {
			if addr == hint&^4095 {
				got = "there"
			}
			if err := s.p.Munmap(addr, o.align); err != nil {
				t.Errorf("%s: %s, %s: munmap: %v", s.name, name, text, err)
			}
		}
		if got != want {
			t.Errorf("%s: %s, %s: got %s (%#x for %#x), want %s", s.name, name, text, got, addr, hint, want)
		}
	})
}
