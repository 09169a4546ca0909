package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// TestMain makes this test program the Go worker if it is started as such, or a process for
// recoveries.
func TestMain(m *testing.M) {
	if os.Getenv(explorerVariable) != "" || len(os.Args) > 1 && os.Args[1] == workerArg {
		status, _ := special(os.Args[1:], os.Stdout, os.Stderr)
		os.Exit(status)
	}
	os.Exit(m.Run())
}

// tmpfs is an empty directory on a tmpfs. The test is skipped, with the reason, if
// there is none or the C side can't be built.
func tmpfs(t *testing.T) string {
	t.Helper()
	if _, _, err := findC(); err != nil {
		t.Skip(err)
	}
	var st unix.Statfs_t
	if err := unix.Statfs("/dev/shm", &st); err != nil || st.Type != unix.TMPFS_MAGIC || st.Bavail*uint64(st.Bsize) < 3*dataFile {
		t.Skipf("needs a tmpfs at /dev/shm with %d bytes free", 3*dataFile)
	}
	dir, err := os.MkdirTemp("/dev/shm", "pmemlab-bench-test-")
	if err != nil {
		t.Skip(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// starter makes the files and the programs; what it returns starts workers on them.
func starter(t *testing.T) (dir string, begin func() workers) {
	t.Helper()
	parent := tmpfs(t)
	p, err := buildC(t.Context(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	dir, err = makeFiles(parent)
	if err != nil {
		t.Fatal(err)
	}
	cpu, err := lastCPU()
	if err != nil {
		t.Fatal(err)
	}
	return dir, func() workers {
		t.Helper()
		w, err := start(t.Context(), p, dir, cpu)
		if err != nil {
			t.Fatal(err)
		}
		return w
	}
}

// TestWorkersStore: each worker, with each way of storing that it has, does what the row
// says and touches nothing else in the file.
func TestWorkersStore(t *testing.T) {
	dir, begin := starter(t)
	w := begin()
	defer func() {
		if err := w.stop(); err != nil {
			t.Error(err)
		}
	}()
	source, err := os.ReadFile(filepath.Join(dir, "source"))
	if err != nil {
		t.Fatal(err)
	}
	data, err := os.OpenFile(filepath.Join(dir, "data"), os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer data.Close()
	const before = 0xa5
	var stores int
	for _, r := range allRows() {
		if r.size > 64<<10 || !r.copies() && r.verb != "persist" {
			continue
		}
		blank := bytes.Repeat([]byte{before}, int(r.size)+256)
		want := bytes.Clone(blank)
		dst := want[r.shift : r.shift+r.size]
		switch r.verb {
		case "memcpy":
			copy(dst, source[sourceAt:])
		case "memset":
			copy(dst, bytes.Repeat([]byte{fill}, int(r.size)))
		case "persist":
			for i := uint64(0); i < r.size; i += 64 { // the last iteration has the number 1
				copy(dst[i:], []byte{1, 0, 0, 0, 0, 0, 0, 0})
			}
		}
		for _, p := range w {
			ways := []string{"Go"}
			if p != w[goKind] {
				if ways, err = p.variants(r); err != nil {
					t.Fatal(err)
				}
			}
			for v, way := range ways {
				if _, err := data.WriteAt(blank, 0); err != nil {
					t.Fatal(err)
				}
				if _, err := p.ask("run %s %d %d %d 0 3", r.verb, r.size, r.shift, v); err != nil {
					t.Fatal(err)
				}
				got := make([]byte, len(blank))
				if _, err := data.ReadAt(got, 0); err != nil {
					t.Fatal(err)
				}
				for i := range got {
					if got[i] != want[i] {
						t.Errorf("%v by %s, %s: byte %d is %#x, want %#x", r, p.name, way, i, got[i], want[i])
						break
					}
				}
				stores++
			}
		}
	}
	t.Logf("%d ways of storing", stores)
}

// TestWorkersRefuse: what isn't a command, or leaves the mapping, ends a worker with an
// error that says so.
func TestWorkersRefuse(t *testing.T) {
	_, begin := starter(t)
	for _, command := range []string{
		"nothing",
		"run persist",
		"run unknown 8 0 0 0 1",
		fmt.Sprintf("run memset %d 1 0 0 1", dataFile),
		"run memset 64 18446744073709551615 0 0 1",
		"run memset 64 0 0 0 0",
	} {
		w := begin()
		for _, p := range w {
			if answer, err := p.ask("%s", command); err == nil || !strings.Contains(err.Error(), p.name+" worker") || strings.Contains(err.Error(), "ended early") {
				t.Errorf("%q: the %s worker answers %q, error %v, want an error of the worker's own", command, p.name, answer, err)
			}
		}
		if err := w.stop(); err == nil {
			t.Errorf("%q: the workers ended without an error", command)
		}
	}
}

// TestSmallComparison makes a whole run of few rows, and looks at what it writes and
// what it leaves behind.
func TestSmallComparison(t *testing.T) {
	dir, reports := tmpfs(t), t.TempDir()
	var stdout, stderr bytes.Buffer
	text, file := filepath.Join(reports, "new", "bench.txt"), filepath.Join(reports, "new", "bench.json")
	status := run(t.Context(), []string{"-rounds", "3", "-pairs", "2", "-batch", "200us", "-seed", "1", "-dir", dir,
		"-run", `persist/8B|mem...(\+1)?/4KiB|NewMap`, "-text", text, "-json", file}, &stdout, &stderr)
	if status != 0 {
		t.Fatalf("status %d: %s", status, &stderr)
	}
	t.Logf("\n%s", &stdout)
	if b, err := os.ReadFile(text); err != nil || !bytes.Equal(b, stdout.Bytes()) {
		t.Errorf("%s isn't what was printed (%v)", text, err)
	}
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var got report
	if err := json.Unmarshal(b, &got); err != nil {
		t.Fatal(err)
	}
	if got.Seed != 1 || got.Rounds != 3 || got.Pairs != 2 || len(got.Rows) != 9 {
		t.Errorf("seed %d, %d rounds of %d pairs, %d rows, want 1, 3, 2, 9", got.Seed, got.Rounds, got.Pairs, len(got.Rows))
	}
	for _, r := range got.Rows {
		if r.GoNs <= 0 || r.CNs <= 0 || r.RatioLow <= 0 || r.Ratio < r.RatioLow || r.RatioHigh < r.Ratio {
			t.Errorf("%s/%s: Go %v ns, C %v ns, ratio %v in %v..%v", r.Op, bytesText(r.Size), r.GoNs, r.CNs, r.Ratio, r.RatioLow, r.RatioHigh)
		}
		refused := strings.Contains(r.Op, "refused")
		if noLimit := r.LimitNs == nil; runtime.GOARCH == "amd64" && refused != noLimit || noLimit != (r.LimitBy == "") {
			t.Errorf("%s/%s: limit by %q, limit_ns is null: %v", r.Op, bytesText(r.Size), r.LimitBy, noLimit)
		}
	}
	left(t, dir)
}

// left fails if anything is in dir.
func left(t *testing.T, dir string) {
	t.Helper()
	if e, err := os.ReadDir(dir); err != nil || len(e) > 0 {
		t.Errorf("%s holds %v after the run (%v)", dir, e, err)
	}
}

// TestInterrupted: a run that is interrupted has no result and leaves nothing behind.
func TestInterrupted(t *testing.T) {
	dir := tmpfs(t)
	ctx, cancel := context.WithCancel(t.Context())
	var stdout bytes.Buffer
	// The first line of progress comes once the calibration is done.
	status := run(ctx, []string{"-rounds", "1000", "-batch", "1ms", "-dir", dir, "-run", "persist/8B"}, &stdout, writerFunc(cancel))
	if status != 2 || stdout.Len() > 0 {
		t.Errorf("status %d, output %q, want 2 and none", status, &stdout)
	}
	left(t, dir)
}

// writerFunc is called on each write.
type writerFunc func()

func (f writerFunc) Write(p []byte) (int, error) { f(); return len(p), nil }

// TestNotTmpfs: files on a disk are no measurement.
func TestNotTmpfs(t *testing.T) {
	if _, err := makeFiles("/proc"); err == nil || !strings.Contains(err.Error(), "a tmpfs (0x1021994) is needed") {
		t.Errorf("makeFiles(/proc): %v, want an error that asks for a tmpfs", err)
	}
}

// TestNoCompiler: the error says what to install.
func TestNoCompiler(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	t.Setenv("CC", "")
	var out, stderr bytes.Buffer
	if status := run(t.Context(), []string{"-run", "persist/8B"}, &out, &stderr); status != 2 || !strings.Contains(stderr.String(), "apt-get install gcc pkg-config libpmem2-dev") {
		t.Errorf("status %d, error %q, want 2 and how to install", status, &stderr)
	}
}
