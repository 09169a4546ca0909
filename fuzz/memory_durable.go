package fuzz

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"

	"pmemlab/emu"
	"pmemlab/fuzz/model"
	"pmemlab/pmem2"
	"pmemlab/pmem2/platform"
)

// durableMemory is a machine whose caches are asked what a copy or a set has made durable, in
// its destination and right beside it.
type durableMemory struct {
	m       *emu.Machine
	eadr    bool
	weak    bool // a flush without a fence settles nothing
	places  []durablePlace
	cpu     platform.Settings
	pattern []byte // what memory holds before an input, all of it durable
	before  []byte
	want    []byte
	runs    int
}

// durablePlace is a file that is mapped.
type durablePlace struct {
	fd int
	m  *pmem2.Map
}

// durableArena is how long the files are: longer than what the machine looks at line by line.
const durableArena = 24 << 10

func newDurableMemory(cpu platform.Settings, eadr bool) (*durableMemory, error) {
	e := emu.NewMachine(emu.Config{EADR: eadr, TraceEvents: -1, CPU: cpu})
	d := &durableMemory{
		m: e, eadr: eadr, cpu: cpu, weak: e.CacheOps(platform.GranularityCacheLine).Instruction != "CLFLUSH",
		pattern: randomBytes(rand.New(rand.NewPCG(5, 6)), durableArena), want: make([]byte, durableArena),
	}
	return d, d.fill()
}

func (d *durableMemory) fill() error {
	e := d.m
	dax, disk := e.AddFS(emu.FS{Size: mib, DAX: true}), e.AddFS(emu.FS{Size: mib})
	if err := e.Err(); err != nil {
		return err
	}
	for _, path := range []string{dax.Path("file"), disk.Path("file")} {
		fd, err := e.Open(path, os.O_RDWR|os.O_CREATE, 0o600)
		if err != nil {
			return err
		}
		d.places = append(d.places, durablePlace{fd: fd})
		if err := e.Ftruncate(fd, durableArena); err != nil {
			return err
		}
		src, err := pmem2.SourceFromFD(fd, pmem2.On(e))
		if err != nil {
			return err
		}
		cfg := pmem2.NewConfig()
		if err := cfg.SetRequiredStoreGranularity(pmem2.GranularityPage); err != nil {
			return err
		}
		p := &d.places[len(d.places)-1]
		if p.m, err = pmem2.NewMap(cfg, src); err != nil {
			return err
		}
		copy(p.m.Bytes(), d.pattern)
		if err := e.Msync(p.m.Address(), durableArena, platform.MsSync); err != nil {
			return err
		}
	}
	return nil
}

func (d *durableMemory) close() error {
	var errs []error
	for _, p := range d.places {
		if p.m != nil {
			errs = append(errs, p.m.Delete())
		}
		errs = append(errs, d.m.Close(p.fd))
	}
	return errors.Join(append(errs, d.m.Shutdown())...)
}

// run is Instance.Run.
func (d *durableMemory) run(in *memoryInput, t *memoryTry) (err error) {
	m := d.places[int(in.Op/3)%2].m
	t.decode(in, durableArena, d.cpu)
	t.elsewhere, t.q.SyncErrno, t.q.Granularity = false, 0, m.StoreGranularity()
	t.want = model.Memory(t.q)
	arena := m.Bytes()
	defer func() {
		copy(arena, d.pattern)
		err = errors.Join(err, m.Persist(arena))
		if d.runs++; d.runs%1024 == 0 {
			d.m.ClearFindings()
		}
	}()
	unit := uint64(cacheLine)
	if t.q.Granularity == pmem2.GranularityPage {
		unit = d.m.PageSize()
	}
	// Bytes that lie in the first and last unit of the destination, and right behind these.
	touched := model.Extent{Start: t.dst, Size: max(t.length, 1)}.Rounded(unit)
	for _, at := range [...]uint64{t.dst - 1, t.dst + t.length, touched.Start - 1, touched.Start + touched.Size} {
		if at < durableArena {
			arena[at]++
		}
	}
	d.before = append(d.before[:0], arena...)
	copy(d.want, d.before)
	result := t.call(m, arena, nil)
	t.apply(d.want, d.before, nil)
	switch {
	case model.Of(result) != t.want.Result:
		return fmt.Errorf("got %v (%v), want %v", model.Of(result), result, t.want.Result)
	case !bytes.Equal(arena, d.want):
		return differ(arena, d.want)
	case t.want.Result != model.OK:
		return nil
	}
	return d.check(t, m, touched)
}

// check asks for what is durable behind the operation, behind a drain and behind a persist.
func (d *durableMemory) check(t *memoryTry, m *pmem2.Map, touched model.Extent) error {
	arena, want := m.Bytes(), &t.want
	dst := arena[t.dst : t.dst+t.length]
	changed := !bytes.Equal(dst, d.before[t.dst:t.dst+t.length])
	bytewise := t.q.Granularity == pmem2.GranularityByte
	settled := want.Sync || want.Flush && want.Fence == model.Fenced || bytewise && (!want.NonTemporal || want.Fence == model.Fenced)
	waits := want.Flush || bytewise // for a fence alone
	for _, step := range []string{"the operation", "a drain", "a persist"} {
		switch step {
		case "a drain":
			if err := m.Drain(); err != nil {
				return err
			}
			settled = settled || waits
		case "a persist":
			if err := m.Persist(dst); err != nil {
				return err
			}
			settled = true
		}
		switch err := d.m.Durable(dst); {
		case settled && err != nil:
			return fmt.Errorf("behind %s it isn't durable: %w", step, err)
		case !settled && err == nil && changed && !bytewise && (d.weak || !want.Flush):
			return fmt.Errorf("behind %s it is durable, and nothing asks for that", step)
		}
		for _, at := range [...]uint64{touched.Start - 1, touched.Start + touched.Size} {
			if at >= durableArena || bytewise {
				continue
			}
			if d.m.Durable(arena[at:at+1]) == nil {
				return fmt.Errorf("behind %s the byte at %d is durable, and nothing asks for that", step, at)
			}
		}
		for _, at := range [...]uint64{t.dst - 1, t.dst + t.length} {
			if at-touched.Start < touched.Size && settled && t.length > 0 {
				if err := d.m.Durable(arena[at : at+1]); err != nil {
					return fmt.Errorf("behind %s the byte at %d isn't durable: %w", step, at, err)
				}
			}
		}
	}
	return nil
}
