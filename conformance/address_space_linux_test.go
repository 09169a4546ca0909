package conformance

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"pmemlab/conformance/report"
	"pmemlab/pmem2/platform"
)

func TestFaultsAndProcMaps(t *testing.T) {
	host := platform.Host()
	page := host.PageSize()
	addr, err := host.Mmap(0, 3*page, platform.ProtNone, platform.MapPrivate|platform.MapAnonymous, -1, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer host.Munmap(addr, 3*page)
	at := func(i uint64) uintptr { return addr + uintptr(i*page) }
	for i, prot := range []int{platform.ProtNone, platform.ProtRead, platform.ProtRead | platform.ProtWrite} {
		if _, err := host.Mmap(at(uint64(i)), page, prot, platform.MapPrivate|platform.MapAnonymous|platform.MapFixed, -1, 0); err != nil {
			t.Fatal(err)
		}
	}
	c := &T{}
	for i, want := range []struct {
		perms       string
		read, write bool
	}{{"---p", true, true}, {"r--p", false, true}, {"rw-p", false, false}} {
		if got := c.Faults(at(uint64(i)), false); got != want.read {
			t.Errorf("%s: a read faults: %t, want %t", want.perms, got, want.read)
		}
		if got := c.Faults(at(uint64(i)), true); got != want.write {
			t.Errorf("%s: a write faults: %t, want %t", want.perms, got, want.write)
		}
		e, ok := c.ProcMaps(at(uint64(i)))
		if !ok || e.Perms != want.perms || e.Start > at(uint64(i)) || e.End < at(uint64(i)+1) {
			t.Errorf("ProcMaps: %+v, %t, want permissions %s", e, ok, want.perms)
		}
	}
	if e, ok := c.ProcMaps(0); ok {
		t.Errorf("ProcMaps(0) is %+v, want none", e)
	}
}

// mapFile maps a page of a new file behind the back of every machine.
func mapFile(t *testing.T, name string) (path string, unmap func()) {
	t.Helper()
	path = filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, make([]byte, 4096), 0o600); err != nil {
		t.Fatal(err)
	}
	host := platform.Host()
	fd, err := host.Open(path, platform.ORdonly, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer host.Close(fd)
	addr, err := host.Mmap(0, 4096, platform.ProtRead, platform.MapShared, fd, 0)
	if err != nil {
		t.Fatal(err)
	}
	return path, func() { host.Munmap(addr, 4096) }
}

func TestProcMapsKnowsPathsWithSpaces(t *testing.T) {
	path, unmap := mapFile(t, "a b  c")
	defer unmap()
	entries, err := addressSpace()
	if err != nil {
		t.Fatal(err)
	}
	if !slices.ContainsFunc(entries, func(e MapsEntry) bool { return e.Path == path }) {
		t.Errorf("no entry for %q", path)
	}
}

func TestWhatCountsAsOurs(t *testing.T) {
	for path, want := range map[string]bool{
		"":                              false,
		"[heap]":                        false,
		"/usr/lib/libc.so.6":            false,
		"[anon: Go: heap]":              false,
		"/memfd:pmemlab:/dev/dax0.0":    true,
		"/memfd:x (deleted)":            true,
		"/tmp/" + testDirPrefix + "1/f": true,
		"[anon:pmem2 reservation]":      true,
		"[anon_shmem:pmem2]":            true,
	} {
		if got := ours([]MapsEntry{{Path: path}}) != nil; got != want {
			t.Errorf("%q is ours: %t, want %t", path, got, want)
		}
	}
}

func TestLeftoversOfACaseAreFound(t *testing.T) {
	run := runCases(t, Go, Emulated(),
		Case{Name: "x/leaves a mapping", Rows: []string{fileRow}, Run: func(*T) { mapFile(t, testDirPrefix+"left") }},
		passing("x/innocent", anyRow))
	wantRow(t, run, fileRow, report.Fail, testDirPrefix+"left is mapped")
	wantRow(t, run, anyRow, report.Pass, "")
	if got := suiteErrors(run); got != nil {
		t.Errorf("suite errors %q, want none: it has been replaced", got)
	}
}

// TestAddressesOfLeftoversAreTaken: a map that the subject hasn't deleted is registered
// still; a later case whose map were put there would fail for it.
func TestAddressesOfLeftoversAreTaken(t *testing.T) {
	var addr uintptr
	run := runCases(t, Go, Emulated(), Case{Name: "x/leaves a map", Rows: []string{fileRow}, Run: func(c *T) {
		m, err := c.Lib.NewMap(c.Config(), c.FileSource(65536))
		c.Must(err, "NewMap()")
		addr = m.Address()
	}})
	wantRow(t, run, fileRow, report.Fail, "left behind: mapping of 65536 bytes")
	host := platform.Host()
	for at := addr; at < addr+65536; at += uintptr(host.PageSize()) {
		if got, err := host.Mmap(at, host.PageSize(), platform.ProtNone, placeholderFlags|platform.MapFixedNoreplace, -1, 0); err == nil {
			t.Errorf("%#x, of the map at %#x that was left, can be mapped again", at, addr)
			host.Munmap(got, host.PageSize())
		}
	}
	if !faults(addr, false) {
		t.Errorf("%#x, of a map that was left, can be read", addr)
	}
}

func TestLeftoversOfTheRunAreFound(t *testing.T) {
	row, _ := RowByID(anyRow)
	r := newRunner(Go, Emulated(), []Row{row}, []Case{passing("x/c", anyRow)})
	r.runAll(nil)
	_, unmap := mapFile(t, testDirPrefix+"left")
	defer unmap()
	got := suiteErrors(r.Finish())
	if len(got) != 1 || !strings.Contains(got[0], testDirPrefix+"left is mapped") {
		t.Errorf("suite errors %q, want one that names the file", got)
	}
}

// TestMemoryFaultIsTheSubjects has a case read what the subject says is mapped.
func TestMemoryFaultIsTheSubjects(t *testing.T) {
	run := runCases(t, Go, Emulated(), Case{Name: "x/faults", Rows: []string{anyRow}, Run: func(c *T) {
		r := c.Reservation(0, 1<<20)
		load(r.Address())
	}})
	wantRow(t, run, anyRow, report.Fail, "memory fault at 0x")
}
