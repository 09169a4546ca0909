package fuzz

import (
	"math/rand/v2"
	"testing"

	"pmemlab/fuzz/model"
	"pmemlab/pmem2/platform"
)

func FuzzReservation(f *testing.F) { native(f, Reservation) }

// kernelCalls are the calls that both address spaces have.
type kernelCalls interface {
	Mmap(addr uintptr, length uint64, prot, flags, fd int, off int64) (uintptr, error)
	Munmap(addr uintptr, length uint64) error
	Mremap(addr uintptr, length, newLength uint64, flags int, newAddr uintptr) (uintptr, error)
}

const (
	placeholderFlags = platform.MapPrivate | platform.MapAnonymous | platform.MapNoreserve
	moveFlags        = platform.MremapMaymove | platform.MremapFixed
)

// TestKernelSpace: what the address space of the targets answers, and what is mapped then.
func TestKernelSpace(t *testing.T) {
	const page = 4096
	i, err := Reservation.New()
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := i.Close(); err != nil {
			t.Error(err)
		}
	}()
	k := i.(*spaceInstance).kernel
	lo, mid, hi := k.lo, k.mid, k.hi
	fixed := placeholderFlags | platform.MapFixedNoreplace
	mmap := func(addr, n uint64, flags int) func(kernelCalls) error {
		return func(k kernelCalls) error {
			_, err := k.Mmap(uintptr(addr), n, platform.ProtNone, flags, -1, 0)
			return err
		}
	}
	munmap := func(addr, n uint64) func(kernelCalls) error {
		return func(k kernelCalls) error { return k.Munmap(uintptr(addr), n) }
	}
	move := func(from, to, n uint64) func(kernelCalls) error {
		return func(k kernelCalls) error {
			_, err := k.Mremap(uintptr(from), n, n, moveFlags, uintptr(to))
			return err
		}
	}
	type extents = []model.Extent
	for _, step := range []struct {
		name string
		do   func(kernelCalls) error
		want model.Result
		left extents
	}{
		{"8 pages", mmap(lo, 8*page, fixed), model.OK, extents{{Start: lo, Size: 8 * page}}},
		{"taken by a page", mmap(lo+7*page, 2*page, fixed), model.FailsWith(17), nil},
		{"one byte of a page", mmap(lo+8*page, 1, fixed), model.OK, extents{{Start: lo, Size: 9 * page}}},
		{"nothing", mmap(lo, 0, fixed), model.FailsWith(22), nil},
		{"unaligned", mmap(lo+1, page, fixed), model.FailsWith(22), nil},
		{"below", mmap(lo-page, page, fixed), model.FailsWith(1), nil},
		{"past the end", mmap(hi-page, 2*page, fixed), model.FailsWith(12), nil},
		{"wraps", mmap(lo, -lo, fixed), model.FailsWith(12), nil},
		{"longer than there are numbers", mmap(0, 1<<64-1, placeholderFlags), model.FailsWith(12), nil},
		{"more than there is room", mmap(0, hi-mid+page, placeholderFlags), model.FailsWith(12), nil},
		{"out of the middle", munmap(lo+3*page, page), model.OK, extents{{Start: lo, Size: 3 * page}, {Start: lo + 4*page, Size: 5 * page}}},
		{"what isn't there", munmap(lo+3*page, page), model.OK, extents{{Start: lo, Size: 3 * page}, {Start: lo + 4*page, Size: 5 * page}}},
		{"no bytes", munmap(lo, 0), model.FailsWith(22), nil},
		{"over the hole", move(lo, lo+3*page, 2*page), model.OK, extents{{Start: lo + 2*page, Size: 7 * page}}},
		{"from a hole", move(lo+page, lo+6*page, 2*page), model.FailsWith(14), nil},
		{"onto itself", move(lo+2*page, lo+3*page, 2*page), model.FailsWith(22), nil},
		{"anywhere", mmap(0, page, placeholderFlags), model.OK, extents{{Start: lo + 2*page, Size: 7 * page}, {Start: mid, Size: page}}},
		{"all", munmap(lo, hi-lo), model.OK, extents{}},
	} {
		before := len(k.areas)
		if got := model.Of(step.do(k)); got != step.want {
			t.Fatalf("%s: got %v, want %v", step.name, got, step.want)
		}
		if step.left == nil {
			if len(k.areas) != before {
				t.Errorf("%s: it has changed what is mapped", step.name)
			}
			continue
		}
		var got extents
		for _, a := range model.Join(append([]model.Area(nil), k.areas...)) {
			got = append(got, a.Extent)
		}
		if len(got) != len(step.left) {
			t.Fatalf("%s: mapped is %x, want %x", step.name, got, step.left)
		}
		for n, e := range got {
			if e != step.left[n] {
				t.Errorf("%s: mapped is %x, want %x", step.name, got, step.left)
			}
		}
	}
}

// TestReservationStepsAreOnes: any bytes are steps that the model has an outcome for, and that
// name what there is.
func TestReservationStepsAreOnes(t *testing.T) {
	for _, layout := range []struct {
		name string
		size int
		next func(*model.Space, []byte) (model.Step, []byte)
	}{{"Reservation", reservationOpSize, nextReservationStep}, {"Existing", existingOpSize, nextExistingStep}} {
		r := rand.New(rand.NewPCG(5, 6))
		for range 1000 {
			s := &model.Space{
				Page: 4096, Lo: 1 << 40, Mid: 2 << 40, Hi: 3 << 40,
				Device: model.Source{Kind: model.DeviceDAX, Size: deviceSize, Align: deviceAlign},
			}
			picked := s.Mid
			for input := randomBytes(r, 16*layout.size); len(input) > 0; {
				var st model.Step
				st, input = layout.next(s, input)
				if st.Reservation >= max(1, len(s.Reservations)) || st.Map >= max(1, len(s.Maps)) {
					t.Fatalf("%s: %+v with %d reservations and %d maps", layout.name, st, len(s.Reservations), len(s.Maps))
				}
				o := s.Outcome(st)
				if o.Result == model.OK && o.Addr == 0 {
					picked = (picked + 1<<31) &^ (1<<30 - 1)
					o.Addr = picked
				}
				s.Apply(st, o)
			}
		}
	}
}

// TestArenasDontMatter: an input does the same wherever its arena is, so that what was found
// in one process is found again in another.
func TestArenasDontMatter(t *testing.T) {
	for _, target := range []Target{Reservation, Existing} {
		var two [2]*spaceInstance
		for n := range two {
			i, err := target.New()
			if err != nil {
				t.Fatal(err)
			}
			if e, ok := i.(existingInstance); ok {
				i = e.spaceInstance
			}
			two[n] = i.(*spaceInstance)
			defer func() {
				if err := i.Close(); err != nil {
					t.Error(err)
				}
			}()
		}
		a, b := two[0], two[1]
		if a.arena == b.arena {
			t.Fatalf("both are at %#x", a.arena)
		}
		inB := func(addr uint64) uint64 {
			if addr-a.arena < arenaSize {
				return addr - a.arena + b.arena
			}
			return addr
		}
		for k := range 1000 {
			input := target.Generate(rand.New(rand.NewPCG(3, uint64(k))))
			for _, i := range two {
				if _, err := i.Run(input); err != nil {
					t.Fatal(err)
				}
			}
			same := len(a.space.Reservations) == len(b.space.Reservations) && len(a.space.Maps) == len(b.space.Maps)
			for n := 0; same && n < len(a.space.Maps); n++ {
				m := a.space.Maps[n]
				m.Start = inB(m.Start)
				same = m == b.space.Maps[n]
			}
			if !same || a.mapped != b.mapped {
				t.Fatalf("%q is\n%s\nin one arena and\n%s\nin another", input, a.words(), b.words())
			}
		}
	}
}
