package emu

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"syscall"
)

// fail does to the image what a failed flush on power failure does: the counts of the DIMMs
// rise, and what lies on them and was written since the last deep flush is as before, or
// bad.
func (i *Image) fail(cfg CrashConfig) error {
	boot := i.version.boot
	failed := map[int]bool{}
	for _, path := range cfg.UnsafeShutdown {
		n, ok := numberIn("bus/nd/devices/nmem%d", path)
		if !ok || n >= boot.DIMMs {
			return fmt.Errorf("emu: CrashConfig.UnsafeShutdown has %q, allowed are those of the machine's %d DIMMs, as DIMMPaths gives them: %w",
				path, boot.DIMMs, syscall.EINVAL)
		}
		failed[n] = true
	}
	i.unsafe = slices.Clone(cfg.UnsafeShutdown)
	pages := i.fixed
	if pages == nil {
		pages = i.version.merged(i.choices)
	}
	on := boot.onDIMMs(failed)
	i.fixed = map[int]map[uint64]*mediaPage{}
	for number, of := range pages {
		mine := map[uint64]*mediaPage{}
		for p, page := range of {
			mine[p] = page
			// What was chosen is newer than what was durable: the history is the latter's.
			history := i.version.pages[number][p]
			if history == nil || history.deepLines == 0 || !on(number, p*pageSize) {
				continue
			}
			lost := *page
			for line := range uint64(pageSize / lineSize) {
				if history.deepLines>>line&1 == 0 {
					continue
				}
				at := line * lineSize
				if cfg.Poison {
					i.bad = append(i.bad, badRange{number, extent{p*pageSize + at, p*pageSize + at + lineSize}})
				} else {
					copy(lost.data[at:at+lineSize], history.deep[at:])
				}
			}
			mine[p] = &lost
		}
		i.fixed[number] = mine
	}
	return nil
}

// onDIMMs tells which pages of objects lie on one of the DIMMs.
func (b *blueprint) onDIMMs(failed map[int]bool) func(number int, off uint64) bool {
	regions := map[int]int{} // by object: the region
	for _, n := range b.Nodes {
		if n.Region >= 0 {
			regions[n.Number] = n.Region
		}
	}
	type file struct {
		region int
		blocks []runBlueprint
	}
	files := map[int]file{}
	for _, fs := range b.FileSystems {
		if r, ok := regions[fs.Device]; ok {
			for _, n := range fs.Inodes {
				files[n.Number] = file{r, n.Blocks}
			}
		}
	}
	return func(number int, off uint64) bool {
		r, ok := regions[number]
		if f, is := files[number]; is {
			r, ok = f.region, true
			for _, run := range f.blocks {
				if off-run.Logical < run.Length { // below it the difference wraps
					off = run.Physical + off - run.Logical
					break
				}
			}
		}
		if !ok || len(b.Regions[r].DIMMs) == 0 {
			return false
		}
		set := b.Regions[r].DIMMs
		return failed[set[(b.Regions[r].InfoBlock+off)/interleaveLine%uint64(len(set))]]
	}
}

// raise adds one to the count of dirty shutdowns of a DIMM, as far as its firmware counts.
func (s *Sysfs) raise(dimm string) error {
	path := dimm + "/nfit/dirty_shutdown"
	text, err := s.read(path)
	if err == syscall.ENOENT {
		return nil
	}
	if err != nil {
		return fmt.Errorf("emu: %s: %w", path, err)
	}
	count, err := strconv.ParseInt(strings.TrimSpace(text), 10, 64)
	if err != nil {
		return fmt.Errorf("emu: %s is %q, which is no number that could rise", path, text)
	}
	return s.Set(path, strconv.Itoa(int(int32(uint32(count)+1)))+"\n") // the kernel prints 32 bits, signed
}

// poisonBytes makes bytes of a device or file bad. mu must be held.
func (m *Machine) poisonBytes(o *object, x extent) error {
	x = extent{x.start &^ (sectorSize - 1), roundUp(x.end, sectorSize)}
	if o.class != classRegular {
		return m.poison(o, []extent{x})
	}
	if err := o.fs.placeFile(o); err != nil {
		return err
	}
	var physical []extent
	for _, b := range o.blocksAt(x) {
		lo, hi := max(x.start, b.logical), min(x.end, b.logical+b.length)
		if lo < hi {
			physical = append(physical, extent{b.physical + lo - b.logical, b.physical + hi - b.logical})
		}
	}
	return m.poison(o.fs.node, slices.Clip(physical))
}
