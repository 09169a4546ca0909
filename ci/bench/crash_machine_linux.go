package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"pmemlab/emu"
	"pmemlab/pmem2"
)

// measureCrash makes the whole run.
func measureCrash(ctx context.Context, o crashOptions, progress io.Writer) (crashReport, error) {
	r := crashReport{Version: crashSchema, Machine: hostText(), Seed: o.seed, Rounds: o.rounds}
	_, _ = fmt.Fprintln(progress, "bench: persists")
	var err error
	if r.Persist, err = measurePersist(ctx, o); err != nil {
		return r, fmt.Errorf("persists: %w", err)
	}
	if r.Looks, err = measureLooks(ctx, o, progress); err != nil {
		return r, fmt.Errorf("looks: %w", err)
	}
	r.Images, err = measureImages(ctx, o, progress)
	return r, err
}

const (
	persistSize = lineBytes
	persistArea = 1 << 20 // the persists go round in it
	aimPersist  = 2
)

// measurePersist has persists on an emulated device and on a file of the host, whose memory
// both are, take turns.
func measurePersist(ctx context.Context, o crashOptions) (res persistResult, err error) {
	m, err := newDax(emu.Config{}, daxSize)
	defer func() { err = errors.Join(err, m.Shutdown()) }()
	if err != nil {
		return res, err
	}
	traced, closeFile, err := mapDax(m)
	if err != nil {
		return res, err
	}
	defer func() { err = errors.Join(err, traced.Delete(), closeFile()) }()
	real, err := mapHost(o.dir)
	if err != nil {
		return res, err
	}
	defer func() { err = errors.Join(err, real.Delete()) }()
	n := 1024
	for ; ; n *= 2 {
		took, err := persists(real, n)
		if err != nil {
			return res, err
		}
		if took >= o.batch/2 {
			break
		}
	}
	const pairs = 10
	tracedNs, realNs := make([][]float64, o.rounds), make([][]float64, o.rounds)
	for i := range o.rounds {
		for pair := range pairs {
			if err := ctx.Err(); err != nil {
				return res, err
			}
			for turn := range 2 {
				mp, ns := traced, &tracedNs[i]
				if (pair+turn)%2 == 1 {
					mp, ns = real, &realNs[i]
				}
				took, err := persists(mp, n)
				if err != nil {
					return res, err
				}
				*ns = append(*ns, float64(took.Nanoseconds())/float64(n))
			}
		}
	}
	e := ratio(tracedNs, realNs)
	ns := trimmedMean(medians(tracedNs)).value
	return persistResult{
		Size: persistSize, TracedNs: round(ns, 2), RealNs: round(ns/e.value, 2),
		Ratio: round(e.value, 3), RatioLow: round(e.low, 3), RatioHigh: round(e.high, 3), Aim: aimPersist,
	}, nil
}

// persists times n persists, each with a store before it.
func persists(mp *pmem2.Map, n int) (time.Duration, error) {
	b := mp.Bytes()[:persistArea]
	began := cpuTime()
	for i := range n {
		line := b[i*persistSize%persistArea:][:persistSize]
		line[0]++
		if err := mp.Persist(line); err != nil {
			return 0, err
		}
	}
	return cpuTime() - began, nil
}

// mapHost maps a file in dir as if it were on persistent memory.
func mapHost(dir string) (mp *pmem2.Map, err error) {
	path := filepath.Join(dir, fmt.Sprintf("pmemlab-bench-crash-%d", os.Getpid()))
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, f.Close(), os.Remove(path)) }()
	if err := f.Truncate(daxSize); err != nil {
		return nil, err
	}
	src, err := pmem2.SourceFromFile(f)
	if err != nil {
		return nil, err
	}
	cfg := pmem2.NewConfig()
	err = errors.Join(cfg.SetRequiredStoreGranularity(pmem2.GranularityCacheLine), cfg.ForceGranularity(pmem2.GranularityCacheLine))
	if err != nil {
		return nil, err
	}
	return pmem2.NewMap(cfg, src)
}

const pageBytes = 4096

var (
	lookSizes = [2]uint64{1 << 30, 1 << 40}
	lookPages = []int{1, 100, 10_000}
)

const (
	// nearApart is what lies between two pages that lie as they do in both devices.
	nearApart = 25 * pageBytes
	// lookTimes is how often a round looks.
	lookTimes = 4
	aimPages  = 100
)

// measureLooks looks at pages of a small and of a large device in turns.
func measureLooks(ctx context.Context, o crashOptions, progress io.Writer) ([]looksRow, error) {
	var rows []looksRow
	for _, scan := range []bool{true, false} {
		for _, pages := range lookPages {
			for _, spread := range []bool{false, true} {
				if spread && pages == 1 {
					continue
				}
				row := looksRow{Pages: pages, Apart: [2]uint64{nearApart, nearApart}, Scan: scan, Sizes: lookSizes}
				if spread {
					for i, size := range lookSizes {
						row.Apart[i] = size / uint64(pages) / pageBytes * pageBytes
					}
				}
				row.Aim = scan && pages == aimPages && !spread
				_, _ = fmt.Fprintf(progress, "bench: looks at %d pages, %s apart\n", pages, bytesText(row.Apart[1]))
				if err := row.measure(ctx, o); err != nil {
					return rows, err
				}
				rows = append(rows, row)
			}
		}
	}
	return rows, nil
}

// measure fills in the times of the row.
func (r *looksRow) measure(ctx context.Context, o crashOptions) (err error) {
	var rigs [2]*lookRig
	for i, size := range r.Sizes {
		rig, err := newLookRig(size, r.Pages, r.Apart[i], r.Scan)
		if rig != nil {
			defer func() { err = errors.Join(err, rig.close()) }()
		}
		if err != nil {
			return err
		}
		rigs[i] = rig
		first, err := rig.look()
		if err != nil {
			return err
		}
		r.FirstUs[i] = round(first, 2)
	}
	var us [2][][]float64
	for range o.rounds {
		var round [2][]float64
		for range lookTimes {
			if err := ctx.Err(); err != nil {
				return err
			}
			for i, rig := range rigs {
				took, err := rig.look()
				if err != nil {
					return err
				}
				round[i] = append(round[i], took)
			}
		}
		for i := range us {
			us[i] = append(us[i], round[i])
		}
	}
	for i, rig := range rigs {
		r.LookUs[i] = round(median(medians(us[i])), 2)
		r.TableBytes[i] = rig.tables
	}
	e := ratio(us[1], us[0])
	r.Ratio, r.RatioLow, r.RatioHigh = round(e.value, 3), round(e.low, 3), round(e.high, 3)
	return nil
}

// lookRig is a machine whose device has some pages that are written to.
type lookRig struct {
	m         *emu.Machine
	mp        *pmem2.Map
	closeFile func() error
	pages     int
	apart     uint64
	tables    int64 // by how much the looks made page tables grow, in bytes
}

func newLookRig(size uint64, pages int, apart uint64, scan bool) (*lookRig, error) {
	m, err := newDax(emu.Config{NoPageScan: !scan}, size)
	r := &lookRig{m: m, pages: pages, apart: apart}
	if err == nil {
		r.mp, r.closeFile, err = mapDax(m)
	}
	return r, err
}

// look writes to each of the pages, and returns how long a look at them takes, in
// microseconds. Then it makes durable what was written.
func (r *lookRig) look() (float64, error) {
	b := r.mp.Bytes()
	for i := range r.pages {
		b[uint64(i)*r.apart]++
	}
	before, err := pageTables()
	if err != nil {
		return 0, err
	}
	began := cpuTime()
	r.m.Look()
	took := cpuTime() - began
	after, err := pageTables()
	r.tables += after - before
	for i := range r.pages {
		at := uint64(i) * r.apart
		err = errors.Join(err, r.mp.Persist(b[at:at+lineBytes]))
	}
	return float64(took.Nanoseconds()) / 1e3, err
}

func (r *lookRig) close() error {
	if r.mp == nil {
		return r.m.Shutdown()
	}
	return errors.Join(r.mp.Delete(), r.closeFile(), r.m.Shutdown())
}

// cpuTime is how long CPUs have worked for this process, and for those that it has waited
// for. It's what costs are told in: the load of the machine by others matters less there.
func cpuTime() time.Duration {
	var own unix.Timespec
	var others unix.Rusage
	_ = unix.ClockGettime(unix.CLOCK_PROCESS_CPUTIME_ID, &own) // neither call can fail
	_ = unix.Getrusage(unix.RUSAGE_CHILDREN, &others)
	return time.Duration(own.Nano() + others.Utime.Nano() + others.Stime.Nano())
}

// pageTables is how much memory the page tables of the process take, in bytes.
func pageTables() (int64, error) {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(status)) {
		if rest, ok := strings.CutPrefix(line, "VmPTE:"); ok {
			kib, err := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(rest), " kB"), 10, 64)
			return kib << 10, err
		}
	}
	return 0, errors.New("/proc/self/status has no VmPTE")
}
