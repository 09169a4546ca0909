package main

// unsafe is sound here: it reaches into mappings that last as long as the process and that
// aren't Go's memory, within the lengths that obey has checked.

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"runtime/debug"
	"strconv"
	"sync/atomic"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"pmemlab/pmem2"
	"pmemlab/pmem2/platform"
)

// sourceGap is how far the mapping of the source lies above that of the data.
const sourceGap = 1 << 30

// goWorker is the Go side of the comparison: it obeys the commands that c/worker.h
// describes. args are the directory of the files, the address in hexadecimal and the
// CPU to measure on.
func goWorker(args []string, in io.Reader, out io.Writer) int {
	debug.SetMemoryLimit(math.MaxInt64)
	say := func(format string, a ...any) (status int) {
		if _, err := fmt.Fprintf(out, format+"\n", a...); err != nil {
			return 1 // nobody listens any more
		}
		return 0
	}
	w, err := newWorker(args)
	if err != nil {
		return max(1, say("error %v", err))
	}
	status := say("ready %#x %#x", w.data.Address(), uintptr(unsafe.Pointer(unsafe.SliceData(w.source))))
	for lines := bufio.NewScanner(in); status == 0 && lines.Scan(); {
		ns, err := w.obey(lines.Text())
		if err != nil {
			return max(1, say("error %v", err))
		}
		status = say("%d", ns)
	}
	return status
}

type worker struct {
	data   *pmem2.Map
	source []byte
	// small and large are sources that are only mapped.
	small, large                *pmem2.Source
	mapping, misplaced, tooFine *pmem2.Config
}

func newWorker(args []string) (*worker, error) {
	if len(args) != 3 {
		return nil, fmt.Errorf("the worker has arguments %q, wants a directory, an address and a CPU", args)
	}
	dir := args[0]
	at, err := strconv.ParseUint(args[1], 16, 64)
	if err != nil {
		return nil, err
	}
	cpu, err := strconv.Atoi(args[2])
	if err != nil {
		return nil, err
	}
	if err := pin(cpu); err != nil {
		return nil, err
	}
	w := new(worker)
	if err := w.mapData(filepath.Join(dir, "data"), uintptr(at)); err != nil {
		return nil, err
	}
	if err := w.mapSource(filepath.Join(dir, "source"), uintptr(at)+sourceGap); err != nil {
		return nil, err
	}
	w.small, err = openSource(filepath.Join(dir, fmt.Sprintf("map-%d", smallFile)))
	if err != nil {
		return nil, err
	}
	w.large, err = openSource(filepath.Join(dir, fmt.Sprintf("map-%d", largeFile)))
	if err != nil {
		return nil, err
	}
	w.mapping, w.misplaced, w.tooFine = pmem2.NewConfig(), pmem2.NewConfig(), pmem2.NewConfig()
	return w, errors.Join(
		w.mapping.SetRequiredStoreGranularity(pmem2.GranularityPage),
		w.misplaced.SetRequiredStoreGranularity(pmem2.GranularityPage),
		w.misplaced.SetOffset(1),
		w.tooFine.SetRequiredStoreGranularity(pmem2.GranularityByte))
}

func openSource(path string) (*pmem2.Source, error) {
	fd, err := unix.Open(path, unix.O_RDWR|unix.O_CLOEXEC, 0) // until the process ends
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: path, Err: err}
	}
	return pmem2.SourceFromFD(fd)
}

func (w *worker) mapData(path string, at uintptr) error {
	src, err := openSource(path)
	if err != nil {
		return err
	}
	size, err := src.Size()
	if err != nil {
		return err
	}
	reservation, err := pmem2.NewVMReservation(at, size)
	if err != nil {
		return err
	}
	cfg := pmem2.NewConfig()
	err = errors.Join(cfg.SetRequiredStoreGranularity(pmem2.GranularityCacheLine), cfg.SetVMReservation(reservation, 0))
	if err != nil {
		return err
	}
	if w.data, err = pmem2.NewMap(cfg, src); err != nil {
		return err
	}
	if g := w.data.StoreGranularity(); g != pmem2.GranularityCacheLine {
		return fmt.Errorf("the granularity is %v, want %v", g, pmem2.GranularityCacheLine)
	}
	touch(w.data.Bytes())
	return nil
}

func (w *worker) mapSource(path string, at uintptr) error {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	size := uint64(dataFile)
	got, err := platform.Host().Mmap(at, size, platform.ProtRead|platform.ProtWrite, platform.MapShared, int(f.Fd()), 0)
	if err := errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("mmap of %s: %w", path, err)
	}
	all := platform.Bytes(got, size)
	touch(all)
	w.source = all[sourceAt:]
	return nil
}

// touch stores to each page what it holds. The compiler would leave out an assignment.
func touch(b []byte) {
	for i := 0; i < len(b); i += 4096 {
		atomic.OrUint32((*uint32)(unsafe.Pointer(&b[i])), 0)
	}
}

func (w *worker) obey(line string) (ns int64, err error) {
	var verb string
	var size, shift uint64
	var variant, warm, count int
	if _, err := fmt.Sscanf(line, "run %s %d %d %d %d %d", &verb, &size, &shift, &variant, &warm, &count); err != nil {
		return 0, fmt.Errorf("%q is no command: %w", line, err)
	}
	all := w.data.Bytes()
	if size > uint64(len(all)) || shift > uint64(len(all))-size || warm < 0 || count < 1 {
		return 0, fmt.Errorf("command %q is out of range: %d bytes are mapped", line, len(all))
	}
	do, err := w.loop(verb, all[shift:shift+size])
	if err != nil {
		return 0, err
	}
	if err := do(warm); err != nil {
		return 0, err
	}
	start := time.Now()
	err = do(count)
	return time.Since(start).Nanoseconds(), err
}

// loop is the inner loop of an operation. For those that map only the length of dst
// counts; they allocate, and the collector that this takes runs. In the others nothing
// allocates, and it doesn't.
func (w *worker) loop(verb string, dst []byte) (func(n int) error, error) {
	debug.SetGCPercent(-1)
	switch verb {
	case "persist":
		return func(n int) error { return w.persist(dst, n) }, nil
	case "memcpy":
		return func(n int) error { return w.memcpy(dst, n) }, nil
	case "memset":
		return func(n int) error { return w.memset(dst, n) }, nil
	}
	debug.SetGCPercent(100)
	switch verb {
	case "map":
		src := w.large
		if len(dst) == smallFile {
			src = w.small
		}
		return func(n int) error { return mapAndDelete(w.mapping, src, n) }, nil
	case "map-offset":
		return func(n int) error { return refused(w.misplaced, w.large, pmem2.ErrOffsetUnaligned, n) }, nil
	case "map-granularity":
		return func(n int) error { return refused(w.tooFine, w.large, pmem2.ErrGranularityNotSupported, n) }, nil
	}
	return nil, fmt.Errorf("operation %q is unknown", verb)
}

func (w *worker) persist(dst []byte, n int) error {
	m, p, size := w.data, unsafe.Pointer(unsafe.SliceData(dst)), uintptr(len(dst))
	for ; n > 0; n-- {
		// A word in each line; the last line of the mapping is whole.
		for i := uintptr(0); i < size; i += 64 {
			*(*uint64)(unsafe.Add(p, i)) = uint64(n)
		}
		if err := m.Persist(dst); err != nil {
			return err
		}
	}
	return nil
}

func (w *worker) memcpy(dst []byte, n int) error {
	m, src := w.data, w.source[:len(dst)]
	for ; n > 0; n-- {
		if err := m.Memcpy(dst, src, 0); err != nil {
			return err
		}
	}
	return nil
}

func (w *worker) memset(dst []byte, n int) error {
	m := w.data
	for ; n > 0; n-- {
		if err := m.Memset(dst, fill, 0); err != nil {
			return err
		}
	}
	return nil
}

func mapAndDelete(cfg *pmem2.Config, src *pmem2.Source, n int) error {
	for ; n > 0; n-- {
		m, err := pmem2.NewMap(cfg, src)
		if err != nil {
			return err
		}
		if err := m.Delete(); err != nil {
			return err
		}
	}
	return nil
}

func refused(cfg *pmem2.Config, src *pmem2.Source, want error, n int) error {
	var err error
	for ; n > 0; n-- {
		if _, err = pmem2.NewMap(cfg, src); err == nil {
			break
		}
	}
	if n >= 0 && err == nil {
		return fmt.Errorf("NewMap succeeded, want %w", want)
	}
	if err != nil && !errors.Is(err, want) {
		return fmt.Errorf("NewMap: %w, want %w", err, want)
	}
	return nil
}
