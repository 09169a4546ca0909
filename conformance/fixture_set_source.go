package conformance

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"syscall"

	"pmemlab/emu/fault"
	"pmemlab/pmem2/platform"
	"pmemlab/pmemset"
)

// What cases about the sources of libpmemset work with: files by their paths, and the
// descriptors that the library holds.

// The flags of a source, as the pages call them without their prefix.
const (
	createAlways   = pmemset.SourceFileCreateAlways
	createIfNeeded = pmemset.SourceFileCreateIfNeeded
	doNotGrow      = pmemset.SourceFileDoNotGrow
)

// openFiles is a machine that knows which descriptors were opened through it and are
// open still.
type openFiles struct {
	platform.Platform

	mu    sync.Mutex
	open  map[int]string // the path, by descriptor
	named []string       // paths that a file may have been made at
}

// Watch puts the library on a machine that knows what it has open. Calls fail as the
// plan says; with "" none does.
func (t *T) Watch(plan string) *openFiles {
	w := &openFiles{Platform: t.Machine(), open: map[int]string{}}
	parsed, err := fault.Parse(plan)
	t.suite(err, "parse the fault plan %s", plan)
	if plan != "" {
		t.Note("inject "+plan, "from here on")
	}
	t.Lib = t.subject.On(fault.Wrap(w, parsed))
	return w
}

// Open is platform.Files.Open.
func (w *openFiles) Open(path string, flags int, mode uint32) (int, error) {
	fd, err := w.Platform.Open(path, flags, mode)
	if err == nil {
		w.mu.Lock()
		w.open[fd] = path
		if flags&platform.OCreat != 0 {
			w.named = append(w.named, path)
		}
		w.mu.Unlock()
	}
	return fd, err
}

// Close is platform.Files.Close.
func (w *openFiles) Close(fd int) error {
	w.mu.Lock()
	delete(w.open, fd)
	w.mu.Unlock()
	return w.Platform.Close(fd)
}

// checkHeld expects the library to have descriptors of exactly these paths.
func (w *openFiles) checkHeld(t *T, when string, want ...string) {
	w.mu.Lock()
	var got []string
	for _, path := range w.open {
		got = append(got, path)
	}
	w.mu.Unlock()
	slices.Sort(got)
	slices.Sort(want)
	t.Note("descriptors "+when, "of %d files", len(got))
	t.Check(slices.Equal(got, want), "%s the library has descriptors of %q, want %q", when, got, want)
}

// only is the one descriptor that the library has.
func (w *openFiles) only(t *T) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	t.Check(len(w.open) == 1, "the library has descriptors of %v, want one", w.open)
	for fd := range w.open {
		return fd
	}
	return -1
}

// checkReadWrite expects a descriptor to be open for reading and writing.
func checkReadWrite(t *T, fd int) {
	flags, err := t.Machine().GetFL(fd)
	t.suite(err, "fcntl(F_GETFL)")
	t.Check(flags&platform.OAccmode == platform.ORdwr, "the descriptor has the flags %#x, want one for reading and writing", flags)
}

// Put makes a file of that mode, less the umask, with the content.
func (t *T) Put(path string, mode uint32, content []byte) {
	fd, err := t.Machine().Open(path, platform.ORdwr|platform.OCreat|platform.OExcl, mode)
	t.suite(err, "make %s", path)
	t.WriteFile(fd, 0, content)
	t.Close(fd)
}

// Unlink takes the name of a file away.
func (t *T) Unlink(path string) { t.suite(t.Machine().Unlink(path), "unlink %s", path) }

// NewDirectory is the path of a directory that is empty.
func (t *T) NewDirectory() string { return t.made(t.Env.Directory()).Path() }

// statAt is what fstat(2) tells of a path whatever its mode, and whether there is
// anything.
func statAt(t *T, path string) (st platform.Stat, there bool) {
	fd, err := t.Machine().Open(path, platform.OPath, 0)
	if errors.Is(err, syscall.ENOENT) {
		return platform.Stat{}, false
	}
	t.suite(err, "open %s", path)
	st, err = t.Machine().Fstat(fd)
	t.suite(errors.Join(err, t.Machine().Close(fd)), "fstat of %s", path)
	return st, true
}

// checkMissing expects nothing to be at a path.
func checkMissing(t *T, path, when string) {
	_, there := statAt(t, path)
	t.Check(!there, "%s there is a file at %s", when, path)
}

// checkMode expects a regular file of that mode and size to be at a path.
func checkMode(t *T, path string, mode uint32, size uint64, what string) {
	st, there := statAt(t, path)
	t.Check(there, "%s: there is no file", what)
	t.Check(st.Type() == platform.SIFREG, "%s: the file's type is %#o", what, st.Type())
	t.Note("mode of the file, "+what, "%#o", st.Mode&^platform.SIFMT)
	t.Check(st.Mode&^platform.SIFMT == mode, "%s: the file has the mode %#o, want %#o", what, st.Mode&^platform.SIFMT, mode)
	t.Check(uint64(st.Size) == size, "%s: the file has %d bytes, want %d", what, st.Size, size)
}

// checkContent expects a file to hold exactly that.
func checkContent(t *T, path string, want []byte, what string) {
	t.CheckFileSize(path, uint64(len(want)), what)
	fd := t.Open(t.FileAt(path), platform.ORdonly)
	checkFile(t, fd, 0, want, "the file %s", what)
	t.Close(fd)
}

// onHost reports whether the paths of the case are those of this machine, where files
// of all types can be made.
func onHost(t *T) bool {
	switch target := t.target.(type) {
	case *files:
		return true
	case *hardware:
		return target.onHost()
	}
	return false
}

// disguised is a machine whose files are of another type.
type disguised struct {
	platform.Platform
	kind uint32 // SIFIFO, SIFSOCK
}

// Open is platform.Files.Open. A socket can't be opened.
func (d *disguised) Open(path string, flags int, mode uint32) (int, error) {
	fd, err := d.Platform.Open(path, flags, mode)
	if err == nil && d.kind == platform.SIFSOCK && flags&platform.OPath == 0 {
		_ = d.Close(fd)
		return -1, syscall.ENXIO
	}
	return fd, err
}

// Fstat is platform.Files.Fstat.
func (d *disguised) Fstat(fd int) (platform.Stat, error) {
	st, err := d.Platform.Fstat(fd)
	st.Mode = st.Mode&^platform.SIFMT | d.kind
	return st, err
}

// typeName names the type of a file.
func typeName(kind uint32) string {
	if kind == platform.SIFIFO {
		return "a FIFO"
	}
	return "a socket"
}

// sourceFlagNames are flags of a source as the pages spell them: "CREATE_ALWAYS|MODE(0600)".
func sourceFlagNames(flags pmemset.SourceFlags) string {
	var names []string
	for _, f := range []struct {
		flag pmemset.SourceFlags
		name string
	}{{createAlways, "CREATE_ALWAYS"}, {createIfNeeded, "CREATE_IF_NEEDED"}, {doNotGrow, "DO_NOT_GROW"}} {
		if flags&f.flag != 0 {
			names = append(names, f.name)
		}
		flags &^= f.flag
	}
	if mode := uint64(flags >> 32); mode != 0 {
		names = append(names, fmt.Sprintf("MODE(%#o)", mode))
	}
	if names == nil {
		return "no flags"
	}
	return strings.Join(names, "|")
}

// storeAndCheck stores into a part that is mapped, makes it durable and expects the
// source to give it back.
func storeAndCheck(t *T, set Set, src SetSource, d pmemset.PartDescriptor, offset uint64) {
	b := d.Bytes()[:200]
	copy(b, pattern(200, 77))
	t.Must(set.Persist(b), "Persist(200 bytes of the part)")
	got := make([]byte, len(b))
	t.Must(src.PreadMCSafe(got, offset), "PreadMCSafe(200 bytes at %d)", offset)
	checkBytes(t, got, b, "what was stored into the part")
}
