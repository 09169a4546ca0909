package examples

import (
	"errors"
	"flag"
	"fmt"
	"testing"

	"pmemlab/emu"
	"pmemlab/emu/examples/mutate"
	"pmemlab/emu/examples/pmem"
	"pmemlab/emu/trace"
)

var exploreSeeds = flag.Uint64("seeds", 20, "how many lives of each correct example are explored on a machine")

// exploreMachine explores a life of e on an emulated machine, until something is found.
func exploreMachine(e Example, seed uint64, ops int, p *mutate.Program, images uint64, cfg emu.Config) (*emu.Exploration, error) {
	c := e.NewCase(seed, ops)
	on := func(m *emu.Machine, do func(files []pmem.Memory) error) error {
		files, done, err := mapFiles(m, e.Files, p, anyGranularity())
		if err != nil {
			return err
		}
		return errors.Join(do(files), done())
	}
	return emu.Explore(
		func(run *emu.Run) error {
			return on(run.Machine, func(files []pmem.Memory) error { return c.Workload(files, run.Ack) })
		},
		func(x *emu.Crashed) error { return on(x.Machine, c.Recover) },
		func(x *emu.Crashed) error {
			return on(x.Machine, func(files []pmem.Memory) error { return c.Check(files, x.Acks) })
		},
		emu.ExploreOptions{
			Machine:   cfg,
			Setup:     func(m *emu.Machine) error { return addFiles(m, e.Files) },
			InProcess: true, Seed: seed, MaxImages: images, MaxFindings: 1,
		})
}

// TestExploreCorrect looks for findings in the programs as they are, on the machine.
func TestExploreCorrect(t *testing.T) {
	const ops, images = 3, 16
	for _, e := range All() {
		n := uint64(0)
		for seed := range *exploreSeeds {
			x, err := exploreMachine(e, seed, ops, &mutate.Program{}, images, emu.Config{NoPageScan: seed%2 == 1})
			if err != nil || len(x.Findings) > 0 {
				t.Fatalf("%s, seed %d: %v, findings %v", e.Name, seed, err, x.Findings)
			}
			n += x.Images
		}
		t.Logf("%s: %d seeds, %d images", e.Name, *exploreSeeds, n)
	}
}

// guilty is what the exploration of a mutant on a machine has found.
type guilty struct{ emu.CrashFinding }

// exploreMutant tells the kernel's scan of pages to be used in every other life, or not to be.
func exploreMutant(t *testing.T, e Example, m mutate.Mutant, noScan uint64) (f *guilty, seed uint64) {
	t.Helper()
	for seed := range uint64(machineSeeds) {
		x, err := exploreMachine(e, seed, machineOps, &mutate.Program{Mutant: m}, machineImages, emu.Config{NoPageScan: seed%2 == noScan})
		if err != nil {
			t.Errorf("%s, %v, seed %d: %v", e.Name, m, seed, err)
		}
		if len(x.Findings) > 0 {
			return &guilty{x.Findings[0]}, seed
		}
	}
	return nil, 0
}

// text says what went wrong, when, and what the machine holds to be missing.
func (g *guilty) text(source map[mutate.Place]mutate.Site) string {
	text := kind(g.Err)
	if g.Point.What == "end" {
		text += ", at the end"
	} else {
		text += ", before " + siteOf(g.Point.Callers, source)
	}
	if len(g.Lost) == 0 {
		return text
	}
	l := g.Lost[0]
	text += "; missing " + l.Missing + " for what "
	switch {
	case len(l.Store) > 0:
		return text + siteOf(l.Store, source) + " stored"
	case len(l.Seen) > 0:
		return text + "was stored before " + siteOf(l.Seen, source)
	default:
		return text + "was stored"
	}
}

// names says whether the finding names the line of a mutant. A call that isn't made any more,
// or by a goroutine of the mutator's, can't be named: then it's one near it.
func (g *guilty) names(m mutate.Mutant, at mutate.Site) bool {
	gone := m.Mutation == mutate.LeftOut || m.Mutation == mutate.Elsewhere && at.Method == "Drain"
	lists := [][]trace.Frame{g.Point.Callers, g.Point.Before}
	for _, l := range g.Lost {
		lists = append(lists, l.Store, l.Seen, l.Flush, l.Fence)
	}
	for _, frames := range lists {
		for _, f := range frames {
			if f.File == at.File && (gone || f.Line == at.Line) {
				return true
			}
		}
	}
	return false
}

// siteOf is the innermost call of persistent memory among frames.
func siteOf(frames []trace.Frame, source map[mutate.Place]mutate.Site) string {
	for _, f := range frames {
		if s, ok := source[mutate.Place{File: f.File, Line: f.Line}]; ok {
			return fmt.Sprint(s.Func, " ", s.N)
		}
	}
	return "the acknowledgement" // Run.Ack looks at memory, and is none of the calls
}
