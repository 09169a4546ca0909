package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"pmemlab/emu"
	"pmemlab/pmem2"
	"pmemlab/pmem2/platform"
)

const (
	fewLines  = 7
	manyLines = 20
	lineBytes = 64
	daxSize   = 2 << 20
	daxPath   = "/dev/dax0.0"
	// inPlaceTime is how long a round in place takes at least.
	inPlaceTime = 200 * time.Millisecond
	// explorations are how many of them a round has.
	explorations = 8
	// newMachines bounds the images for which a machine of their own is built.
	newMachines = 2000

	aimInPlace = 1_000_000
	aimMapped  = 30_000
)

// distinct marks which of the images of some lines were seen: of several goroutines' too.
type distinct struct {
	bits  [1 << manyLines / 32]atomic.Uint32
	count atomic.Uint64
}

// see notes the image in b, whose first byte of line i is 0 or 1.
func (d *distinct) see(b []byte, lines int) error {
	image := uint(0)
	for i := range lines {
		v := b[i*lineBytes]
		if v > 1 {
			return fmt.Errorf("line %d begins with %d, want 0 or 1", i, v)
		}
		image |= uint(v) << i
	}
	if bit := uint32(1) << (image % 32); d.bits[image/32].Or(bit)&bit == 0 {
		d.count.Add(1)
	}
	return nil
}

func (d *distinct) clear(lines int) {
	for i := range max(1, 1<<lines/32) {
		d.bits[i].Store(0)
	}
	d.count.Store(0)
}

// store stores to the lines of a device, which it maps, and flushes none.
func store(m *emu.Machine, lines int, then func() error) error {
	mp, closeFile, err := mapDax(m)
	if err != nil {
		return err
	}
	for i := range lines {
		mp.Bytes()[i*lineBytes] = 1
	}
	return errors.Join(then(), mp.Delete(), closeFile())
}

// mapDax maps the device of the machine.
func mapDax(m *emu.Machine) (mp *pmem2.Map, closeFile func() error, err error) {
	d, err := m.DevDax(daxPath)
	if err != nil {
		return nil, nil, err
	}
	f, err := d.Open(platform.ORdwr)
	if err != nil {
		return nil, nil, err
	}
	src, err := pmem2.SourceFromFD(f.FD(), pmem2.On(m))
	if err == nil {
		cfg := pmem2.NewConfig()
		if err = cfg.SetRequiredStoreGranularity(pmem2.GranularityCacheLine); err == nil {
			mp, err = pmem2.NewMap(cfg, src)
		}
	}
	if err != nil {
		return nil, nil, errors.Join(err, f.Close())
	}
	return mp, f.Close, nil
}

// newDax is a machine with a device.
func newDax(cfg emu.Config, size uint64) (*emu.Machine, error) {
	m := emu.NewMachine(cfg)
	m.AddDevDax(emu.DevDax{Size: size})
	return m, m.Err()
}

// passes are what a round was: how many images it went through in how many passes, and how
// many of a pass were distinct.
type passes struct{ images, passes, distinct uint64 }

// imagesWay is a way to go through images.
type imagesWay struct {
	check string
	aim   float64
	lines []int
	all   bool // on several cores too
	round func(o crashOptions, lines, cores int) (passes, error)
}

var imagesWays = []imagesWay{
	{"in place", aimInPlace, []int{fewLines, manyLines}, true, inPlace},
	{"in place, with the snapshot", 0, []int{fewLines}, false, snapshots},
	{"machine and mapping", aimMapped, []int{fewLines, manyLines}, true, func(o crashOptions, lines, cores int) (passes, error) {
		return explore(o, lines, cores, true)
	}},
	{"worker processes", 0, []int{fewLines, manyLines}, true, func(o crashOptions, lines, cores int) (passes, error) {
		return explore(o, lines, cores, false)
	}},
	{"new machine and mapping", 0, []int{fewLines, manyLines}, false, bootEach},
}

// onCores runs f on each core at once, each for itself.
func onCores(cores int, f func() (passes, error)) (sum passes, err error) {
	results, errs := make([]passes, cores), make([]error, cores)
	var wg sync.WaitGroup
	for i := range cores {
		wg.Go(func() { results[i], errs[i] = f() })
	}
	wg.Wait()
	for _, p := range results {
		sum.images, sum.passes = sum.images+p.images, sum.passes+p.passes
		sum.distinct += p.distinct
	}
	sum.distinct /= uint64(cores)
	return sum, errors.Join(errs...)
}

// inPlace looks at the images of one failure again and again; each core has its own.
func inPlace(o crashOptions, lines, cores int) (passes, error) {
	return onCores(cores, func() (p passes, err error) {
		err = withStates(o, lines, func(states func() (*emu.CrashStates, error)) error {
			s, err := states()
			if err != nil {
				return err
			}
			seen := new(distinct)
			for began := time.Now(); time.Since(began) < inPlaceTime && err == nil; {
				err = pass(s, lines, seen, &p)
			}
			return errors.Join(err, s.Close())
		})
		return p, err
	})
}

// snapshots takes the states of a failure anew for each pass.
func snapshots(o crashOptions, lines, _ int) (p passes, err error) {
	err = withStates(o, lines, func(states func() (*emu.CrashStates, error)) error {
		seen := new(distinct)
		for began := time.Now(); time.Since(began) < inPlaceTime; {
			s, err := states()
			if err == nil {
				err = errors.Join(pass(s, lines, seen, &p), s.Close())
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
	return p, err
}

// withStates runs the program, and do while the machine is as a failure would find it.
func withStates(o crashOptions, lines int, do func(states func() (*emu.CrashStates, error)) error) error {
	m, err := newDax(emu.Config{}, daxSize)
	if err == nil {
		err = store(m, lines, func() error {
			return do(func() (*emu.CrashStates, error) {
				return m.CrashStates(emu.CrashOptions{Max: o.sample, Seed: o.seed})
			})
		})
	}
	return errors.Join(err, m.Shutdown())
}

// pass goes through the states once.
func pass(s *emu.CrashStates, lines int, seen *distinct, p *passes) error {
	seen.clear(lines)
	for image, err := range s.All() {
		if err != nil {
			return err
		}
		b, err := image.Bytes(daxPath)
		if err == nil {
			err = seen.see(b, lines)
		}
		if err != nil {
			return err
		}
		p.images++
	}
	p.passes++
	p.distinct = seen.count.Load()
	return nil
}

// bootEach builds a machine for each image.
func bootEach(o crashOptions, lines, _ int) (p passes, err error) {
	o.sample = min(o.sample, newMachines)
	err = withStates(o, lines, func(states func() (*emu.CrashStates, error)) error {
		s, err := states()
		if err != nil {
			return err
		}
		seen := new(distinct)
		for image, err := range s.All() {
			if err == nil {
				err = boot(image, lines, seen)
			}
			if err != nil {
				return errors.Join(err, s.Close())
			}
			p.images++
		}
		p.passes, p.distinct = 1, seen.count.Load()
		return s.Close()
	})
	return p, err
}

func boot(image *emu.Image, lines int, seen *distinct) error {
	m, err := image.Machine()
	if err != nil {
		return err
	}
	return errors.Join(checkMapped(m, lines, seen), m.Shutdown())
}

// checkMapped maps the device of a machine that has booted, and reads the lines.
func checkMapped(m *emu.Machine, lines int, seen *distinct) error {
	mp, closeFile, err := mapDax(m)
	if err != nil {
		return err
	}
	return errors.Join(seen.see(mp.Bytes(), lines), mp.Delete(), closeFile())
}

// explore lets emu.Explore go through the images, from building the machine to its end.
// What the processes have seen isn't known here: that the images differ is Explore's word then.
func explore(o crashOptions, lines, cores int, inProcess bool) (p passes, err error) {
	times := explorations
	if lines == manyLines {
		times = 1
	}
	seen := new(distinct)
	for range times {
		seen.clear(lines)
		x, err := exploreOnce(o, lines, cores, inProcess, seen)
		if err != nil {
			return p, err
		}
		p.images += x.Images
		p.passes++
		p.distinct = x.Images
		if inProcess {
			p.distinct = seen.count.Load()
		}
	}
	return p, nil
}

// exploreOnce is a call of Explore, the same in a process for recoveries.
func exploreOnce(o crashOptions, lines, cores int, inProcess bool, seen *distinct) (*emu.Exploration, error) {
	x, err := emu.Explore(func(r *emu.Run) error {
		return store(r.Machine, lines, func() error { return nil })
	}, nil, func(c *emu.Crashed) error {
		return checkMapped(c.Machine, lines, seen)
	}, emu.ExploreOptions{
		Setup: func(m *emu.Machine) error {
			m.AddDevDax(emu.DevDax{Size: daxSize})
			return m.Err()
		},
		InProcess: inProcess, Test: fmt.Sprint(lines), Workers: cores, MaxImages: o.sample, Seed: o.seed,
	})
	if err == nil && len(x.Findings) > 0 {
		err = fmt.Errorf("a finding of Explore: %w", x.Findings[0].Err)
	}
	return x, err
}

// exploreInProcess is the process for the recoveries of an exploration of so many lines. It
// makes the calls of Explore that the other one has made, and doesn't come back from the last.
func exploreInProcess(pattern string, stderr io.Writer) int {
	for _, lines := range []int{fewLines, manyLines} {
		for pattern == fmt.Sprintf("^%d$", lines) {
			if _, err := exploreOnce(crashOptions{}, lines, 1, false, new(distinct)); err != nil {
				_, _ = fmt.Fprintln(stderr, "bench:", err)
				return 2
			}
		}
	}
	_, _ = fmt.Fprintf(stderr, "bench: %s%s is none of this program's\n", explorerArg, pattern)
	return 2
}

// measureImages goes through the images in each way, in rounds.
func measureImages(ctx context.Context, o crashOptions, progress io.Writer) ([]imagesRow, error) {
	var rows []imagesRow
	for _, w := range imagesWays {
		for _, lines := range w.lines {
			for _, cores := range slices.Compact([]int{1, runtime.GOMAXPROCS(0)}) {
				if cores > 1 && !w.all {
					continue
				}
				_, _ = fmt.Fprintf(progress, "bench: images of %d lines, %s, on %d\n", lines, w.check, cores)
				row, err := measureWay(ctx, o, w, lines, cores)
				if err != nil {
					return rows, fmt.Errorf("images of %d lines, %s: %w", lines, w.check, err)
				}
				rows = append(rows, row)
			}
		}
	}
	return rows, nil
}

func measureWay(ctx context.Context, o crashOptions, w imagesWay, lines, cores int) (imagesRow, error) {
	row := imagesRow{Lines: lines, Check: w.check, Cores: cores, Of: 1 << lines}
	var rates, cpu []float64
	for range o.rounds {
		if err := ctx.Err(); err != nil {
			return row, err
		}
		began, used := time.Now(), cpuTime()
		p, err := w.round(o, lines, cores)
		if err != nil {
			return row, err
		}
		rates = append(rates, float64(p.images)/time.Since(began).Seconds())
		cpu = append(cpu, float64((cpuTime()-used).Nanoseconds())/1e3/float64(p.images))
		row.Images, row.Distinct = p.images/p.passes, p.distinct
		if row.Distinct != row.Images {
			return row, fmt.Errorf("%d images were gone through, %d of them distinct", row.Images, row.Distinct)
		}
		if lines == fewLines && row.Images != row.Of {
			return row, fmt.Errorf("%d images were gone through, want all %d", row.Images, row.Of)
		}
	}
	row.PerSecond, row.CPUMicros = round(slices.Max(rates), 0), round(slices.Min(cpu), 3)
	if cores == 1 {
		row.Aim = w.aim
	}
	return row, nil
}
