package exact

import (
	"runtime"
	"strings"
)

// site is what is known of a return address.
type site struct {
	pc    uintptr
	fn    string // the innermost function, inlined or not
	line  int
	outer string // the function whose code it is
	// put: it's a statement of PutUint64 or the like; runtime: it's the runtime's code.
	put, runtime bool
}

// sites remembers them, under records.draining; recent is found faster.
var (
	sites  = map[uintptr]*site{}
	recent [256]*site
)

//go:norace
func siteOf(pc uintptr) *site {
	quick := &recent[(pc^pc>>8)%uintptr(len(recent))]
	if *quick != nil && (*quick).pc == pc {
		return *quick
	}
	s := sites[pc]
	if s == nil {
		s = newSite(pc)
		sites[pc] = s
	}
	*quick = s
	return s
}

func newSite(pc uintptr) *site {
	s := &site{pc: pc}
	frames := runtime.CallersFrames([]uintptr{pc})
	for first, more := true, true; more; first = false {
		var f runtime.Frame
		f, more = frames.Next()
		if first {
			s.fn, s.line = f.Function, f.Line
		}
		s.outer = f.Function
	}
	s.put = (strings.HasPrefix(s.fn, "encoding/binary.") || strings.HasPrefix(s.fn, "internal/byteorder.")) &&
		strings.Contains(s.fn, "PutUint")
	s.runtime = strings.HasPrefix(s.outer, "runtime.") || strings.HasPrefix(s.outer, "internal/race.")
	return s
}

// userPCs leaves out the callers in the runtime that a store was recorded in.
//
//go:norace
func userPCs(pcs [4]uintptr) [4]uintptr {
	skip := 0
	for skip < len(pcs) && pcs[skip] != 0 {
		if !siteOf(pcs[skip]).runtime {
			break
		}
		skip++
	}
	if skip == 0 || skip == len(pcs) || pcs[skip] == 0 {
		return pcs
	}
	var out [4]uintptr
	copy(out[:], pcs[skip:])
	return out
}

// coalesce joins the one-byte stores of binary.LittleEndian.PutUint64 and its like, which
// a build that isn't instrumented does in one instruction. The last one stands for all.
//
//go:norace
func coalesce(all []entry) {
	runs := map[uint64][]*entry{} // by goroutine
	end := func(run []*entry) {
		if n := len(run); n == 2 || n == 4 || n == 8 {
			join(run)
		}
	}
	for i := range all {
		e := &all[i]
		put := e.kind == Scalar && e.flags == 0 && siteOf(e.pcs[0]).put && e.extent() == 1
		if !put && len(runs) == 0 {
			continue
		}
		run := runs[e.goid]
		if !put {
			if run != nil {
				end(run)
				delete(runs, e.goid)
			}
			continue
		}
		if len(run) == 8 || len(run) > 0 && !follows(run, e) {
			end(run)
			run = run[:0:0]
		}
		runs[e.goid] = append(run, e)
	}
	for _, run := range runs {
		end(run)
	}
}

// follows reports whether e is the next statement of the function that run is from, called
// from the same place, and stores the next byte.
func follows(run []*entry, e *entry) bool {
	last := run[len(run)-1]
	a, b := siteOf(last.pcs[0]), siteOf(e.pcs[0])
	step := e.addr - last.addr
	if len(run) > 1 && step != last.addr-run[len(run)-2].addr {
		return false
	}
	return (step == 1 || step == ^uintptr(0)) &&
		a.fn == b.fn && a.outer == b.outer && b.line == a.line+1 && e.pcs[1] == last.pcs[1]
}

func join(run []*entry) {
	last := run[len(run)-1]
	low := min(run[0].addr, last.addr)
	last.joined = make([]byte, len(run))
	for _, e := range run {
		last.joined[e.addr-low] = e.new[0]
		e.dropped = e != last
	}
	last.addr = low
}
