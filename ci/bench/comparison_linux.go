package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"golang.org/x/sys/unix"
)

// plan is how a row is measured: what the calibration found.
type plan struct {
	row        row
	iterations int    // of a batch, the same for all workers
	variant    int    // of the limit
	limitBy    string // its name; "" if there is no limit
}

// compare makes a run.
func compare(ctx context.Context, o options, rows []row, progress io.Writer) (rep report, err error) {
	temp, err := os.MkdirTemp("", "pmemlab-bench-")
	if err != nil {
		return rep, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(temp)) }()
	programs, err := buildC(ctx, temp)
	if err != nil {
		return rep, err
	}
	if o.cpu < 0 {
		if o.cpu, err = lastCPU(); err != nil {
			return rep, err
		}
	}
	dir, err := makeFiles(o.dir)
	if dir != "" {
		defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	}
	if err != nil {
		return rep, err
	}
	order := rand.New(rand.NewPCG(o.seed, 0))
	plans, err := calibrate(ctx, o, programs, dir, rows)
	if err != nil {
		return rep, err
	}
	all := make([]samples, len(rows))
	for i := range o.rounds {
		_, _ = fmt.Fprintf(progress, "bench: round %d of %d\n", i+1, o.rounds)
		if err := measureRound(ctx, o, programs, dir, plans, all, order); err != nil {
			return rep, err
		}
	}
	rep = report{Machine: machine(programs), Seed: o.seed, Rounds: o.rounds, Pairs: o.pairs, Settings: conditions(o)}
	for i, p := range plans {
		rep.Rows = append(rep.Rows, result(p.row, all[i], p.limitBy))
	}
	return rep, nil
}

// makeFiles makes the files of the workers, in a directory of their own.
func makeFiles(parent string) (string, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(parent, &st); err != nil {
		return "", fmt.Errorf("-dir %s: %w", parent, err)
	}
	if st.Type != unix.TMPFS_MAGIC {
		return "", fmt.Errorf("-dir %s is on a file system of type %#x, a tmpfs (%#x) is needed", parent, st.Type, unix.TMPFS_MAGIC)
	}
	const need = 2*dataFile + 8<<20
	if free := st.Bavail * uint64(st.Bsize); free < need {
		return "", fmt.Errorf("-dir %s has room for %d bytes, %d are needed", parent, free, need)
	}
	dir, err := os.MkdirTemp(parent, "pmemlab-bench-")
	if err != nil {
		return "", err
	}
	pattern := make([]byte, dataFile)
	noise := rand.NewChaCha8([32]byte{1})
	if _, err := noise.Read(pattern); err != nil {
		return dir, err
	}
	for _, name := range []string{"source", "data"} {
		if err := os.WriteFile(filepath.Join(dir, name), pattern, 0o600); err != nil {
			return dir, err
		}
		clear(pattern)
	}
	for _, size := range []int64{smallFile, largeFile} {
		path := filepath.Join(dir, fmt.Sprintf("map-%d", size))
		if err := errors.Join(os.WriteFile(path, nil, 0o600), os.Truncate(path, size)); err != nil {
			return dir, err
		}
	}
	return dir, nil
}

// calibrate chooses for each row how long a batch is and the fastest way of the limit:
// the one with the lowest median over some starts of the workers.
func calibrate(ctx context.Context, o options, p programs, dir string, rows []row) ([]plan, error) {
	const starts = 3
	plans := make([]plan, len(rows))
	names := make([][]string, len(rows))
	ns := make([][][]float64, len(rows)) // of each way, by start
	for i, r := range rows {
		plans[i].row = r
	}
	for range starts {
		if err := calibrateOnce(ctx, o, p, dir, plans, names, ns); err != nil {
			return nil, err
		}
	}
	for i := range plans {
		if len(names[i]) == 0 {
			continue
		}
		best := 0
		for v := range names[i] {
			if median(ns[i][v]) < median(ns[i][best]) {
				best = v
			}
		}
		plans[i].variant, plans[i].limitBy = best, names[i][best]
	}
	return plans, nil
}

// calibrateOnce adds what one start of the workers gives.
func calibrateOnce(ctx context.Context, o options, p programs, dir string, plans []plan, names [][]string, ns [][][]float64) (err error) {
	w, err := start(ctx, p, dir, o.cpu)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, w.stop()) }()
	for i := range plans {
		if err := ctx.Err(); err != nil {
			return err
		}
		pl := &plans[i]
		if pl.iterations == 0 {
			if pl.iterations, err = iterations(w[cKind], pl.row, float64(o.batch.Nanoseconds())); err != nil {
				return err
			}
			if names[i], err = w[limitKind].variants(pl.row); err != nil {
				return err
			}
			ns[i] = make([][]float64, len(names[i]))
		}
		if err := timeWays(w[limitKind], pl.row, pl.iterations, ns[i]); err != nil {
			return err
		}
	}
	return nil
}

// iterations is how many of the row take about ns nanoseconds, 1 at least.
func iterations(p *process, r row, ns float64) (int, error) {
	for n := 1; ; n *= 4 {
		each, err := p.batch(r, 0, n)
		if err != nil {
			return 0, err
		}
		if each*float64(n) >= ns/4 {
			return max(1, int(ns/each)), nil
		}
	}
}

// timeWays adds the median of some batches to each way of storing. They take turns, so
// that a disturbance doesn't choose. A single way needs no timing.
func timeWays(p *process, r row, n int, ns [][]float64) error {
	if len(ns) == 1 {
		ns[0] = append(ns[0], 0)
		return nil
	}
	const batches = 5
	each := make([][]float64, len(ns))
	for range batches {
		for v := range ns {
			t, err := p.batch(r, v, max(1, n/4))
			if err != nil {
				return err
			}
			each[v] = append(each[v], t)
		}
	}
	for v := range ns {
		ns[v] = append(ns[v], median(each[v]))
	}
	return nil
}

// measureRound starts the workers and measures all rows, in random order.
func measureRound(ctx context.Context, o options, p programs, dir string, plans []plan, all []samples, order *rand.Rand) (err error) {
	w, err := start(ctx, p, dir, o.cpu)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, w.stop()) }()
	for _, i := range order.Perm(len(plans)) {
		if err := ctx.Err(); err != nil {
			return err
		}
		got, err := measureRow(w, plans[i], o.pairs, order)
		if err != nil {
			return err
		}
		s := &all[i]
		s.goNs, s.cNs = append(s.goNs, got[goKind]), append(s.cNs, got[cKind])
		if plans[i].limitBy != "" {
			s.limitNs = append(s.limitNs, got[limitKind])
		}
	}
	return nil
}

// measureRow makes the batches of a row in a round: each order is followed by its
// reverse.
func measureRow(w workers, p plan, pairs int, order *rand.Rand) (got [kinds][]float64, err error) {
	turn := []kind{goKind, cKind, limitKind}
	if p.limitBy == "" {
		turn = turn[:limitKind]
	}
	for i := range pairs {
		if i%2 == 0 {
			order.Shuffle(len(turn), func(a, b int) { turn[a], turn[b] = turn[b], turn[a] })
		} else {
			for a, b := 0, len(turn)-1; a < b; a, b = a+1, b-1 {
				turn[a], turn[b] = turn[b], turn[a]
			}
		}
		for _, k := range turn {
			variant := 0
			if k == limitKind {
				variant = p.variant
			}
			ns, err := w[k].batch(p.row, variant, p.iterations)
			if err != nil {
				return got, err
			}
			got[k] = append(got[k], ns)
		}
	}
	return got, nil
}

// machine says what was measured on.
func machine(p programs) string { return hostText() + ", libpmem2 " + p.version }

// hostText is the CPU, the kernel and the version of Go.
func hostText() string {
	model := runtime.GOARCH
	if info, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		for line := range strings.Lines(string(info)) {
			if name, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == "model name" {
				model = strings.TrimSpace(value)
				break
			}
		}
	}
	var uts unix.Utsname
	kernel := "unknown"
	if unix.Uname(&uts) == nil {
		kernel = unix.ByteSliceToString(uts.Release[:])
	}
	return fmt.Sprintf("%s, %d CPUs, Linux %s, %s", model, runtime.NumCPU(), kernel, runtime.Version())
}

// conditions are the place of the measurement, and the settings of the environment that
// change what both libraries do.
func conditions(o options) string {
	s := []string{
		fmt.Sprintf("CPU %d, %s, data at %#x, source at %#x in all workers, batches of %v, PMEM2_FORCE_GRANULARITY=CACHE_LINE",
			o.cpu, o.dir, dataAt, dataAt+sourceGap+sourceAt, o.batch),
	}
	for _, v := range os.Environ() {
		if strings.HasPrefix(v, "PMEM_") {
			s = append(s, v)
		}
	}
	return strings.Join(s, ", ")
}
