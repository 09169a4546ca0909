package conformance

import (
	"fmt"
	"os"
	"path"
	"path/filepath"
	"strings"
	"sync"
	"syscall"

	"pmemlab/pmem2/platform"
)

// deviceGuard is a machine on which nothing is stored to devices, but to those whose
// data may be destroyed. It stands between a case and a real machine, below all else.
//
// A device that is guarded (every device DAX but those, and every block device) is never
// open for writing: who asks for that gets a descriptor for reading, of which the guard
// says that it is one for both. So the kernel stands guard as well, also over a subject
// that doesn't go through this machine. What would store answers EACCES and is
// remembered: refused says what it was.
//
// A device is known by its number, whatever path or descriptor it is reached by. In sysfs
// only deep_flush is written, which changes no data, and files are made, written and unlinked
// only in the directories of the case.
type deviceGuard struct {
	platform.Platform
	destroy []*daxDevice      // whose data may be destroyed
	spelled map[uint64]string // the path of a device as it was given, by number

	mu         sync.Mutex
	dirs       []string // of the case
	why        string   // what was refused
	downgraded string   // what was opened for writing and got a descriptor for reading
	asked      bool     // for the mode of such a descriptor: the subject goes through this machine
}

func newDeviceGuard(m platform.Platform, devices []*daxDevice, destroy []*daxDevice) *deviceGuard {
	g := &deviceGuard{Platform: m, destroy: destroy, spelled: map[uint64]string{}}
	for _, d := range devices {
		g.spelled[d.rdev] = d.path
	}
	return g
}

// own adds a directory in which files may be written and unlinked.
func (g *deviceGuard) own(dir string) error {
	where, err := g.resolved(dir)
	if err != nil {
		return err
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.dirs = append(g.dirs, where)
	return nil
}

// resolved is where a path leads to. An emulated machine has no links.
func (g *deviceGuard) resolved(name string) (string, error) {
	if g.Platform != platform.Host() {
		return path.Clean(name), nil
	}
	return filepath.EvalSymlinks(name)
}

// inOwn reports whether a path, which is resolved, is in a directory of the case.
func (g *deviceGuard) inOwn(where string) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, dir := range g.dirs {
		if strings.HasPrefix(where, dir+"/") {
			return true
		}
	}
	return false
}

// entryInOwn reports whether what a path names, a link too, is in a directory of the case,
// or in none that there is.
func (g *deviceGuard) entryInOwn(name string) bool {
	dir, entry := path.Split(name) // which leaves ".." behind a link to the kernel
	if entry == ".." {
		return false
	}
	where, err := g.resolved(dir)
	if err != nil {
		// The machine tells what is wrong with the directory, if it too thinks so.
		fd, err := g.Platform.Open(dir, platform.OPath|platform.ODirectory, 0)
		if err == nil {
			_ = g.Close(fd)
		}
		return err != nil
	}
	return g.inOwn(where + "/" + entry)
}

// refused says what was refused and why, or "".
func (g *deviceGuard) refused() string {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.why == "" && !g.asked {
		return g.downgraded
	}
	return g.why
}

// refuse remembers the first thing that was refused.
func (g *deviceGuard) refuse(format string, args ...any) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.why == "" {
		g.why = fmt.Sprintf(format, args...)
	}
	return syscall.EACCES
}

// guarded names the device that a descriptor refers to if nothing may be stored there,
// with the reason.
func (g *deviceGuard) guarded(fd int) (name, reason string) {
	st, err := g.Fstat(fd)
	if err != nil {
		return "", "" // the call that follows fails as well
	}
	switch st.Type() {
	case platform.SIFBLK:
		return fmt.Sprintf("the block device %d:%d", st.Major(), st.Minor()), "which is nothing that a case stores to"
	case platform.SIFCHR:
		for _, d := range g.destroy {
			if d.rdev == st.Rdev {
				return "", ""
			}
		}
		spelled, given := g.spelled[st.Rdev]
		if given {
			return spelled, "whose data may be destroyed only with -pmem.destroy=" + spelled
		}
		if isDaxDevice(g.Platform, fmt.Sprintf("dev/char/%d:%d", st.Major(), st.Minor())) {
			return fmt.Sprintf("the device DAX %d:%d", st.Major(), st.Minor()), "which isn't one of those that were given"
		}
	}
	return "", ""
}

// refuseStore is an error if something would store to a guarded device.
func (g *deviceGuard) refuseStore(fd int) error {
	name, reason := g.guarded(fd)
	if name == "" {
		return nil
	}
	return g.refuse("the case stores to %s, %s", name, reason)
}

// forReading marks a descriptor that was asked to be for writing as well: it is O_NONBLOCK
// of Linux, which these devices ignore, and which duplicates of the descriptor have too.
const forReading = 0x800

// Open is platform.Files.Open.
func (g *deviceGuard) Open(name string, flags int, mode uint32) (int, error) {
	if flags&platform.OPath != 0 || flags&platform.OAccmode == platform.ORdonly && flags&platform.OTrunc == 0 {
		return g.Platform.Open(name, flags, mode)
	}
	looked, err := g.Platform.Open(name, platform.OPath, 0)
	if err != nil {
		// It isn't there, or can't be reached.
		if flags&platform.OCreat != 0 && !g.madeInOwn(name) {
			return -1, g.refuse("the case makes %s, which isn't in a directory of its own", name)
		}
		return g.openedForWriting(name, flags, mode)
	}
	device, reason := g.guarded(looked)
	isDax := device != "" && !g.hasType(looked, platform.SIFBLK)
	isFile := g.hasType(looked, platform.SIFREG)
	if err := g.Close(looked); err != nil {
		return -1, err
	}
	switch {
	case isFile && !g.fileInOwn(name):
		return -1, g.refuse("the case opens %s for writing, which isn't in a directory of its own", name)
	case device == "":
		return g.openedForWriting(name, flags, mode)
	case flags&platform.OAccmode == platform.OWronly:
		return -1, g.refuse("the case opens %s for writing only, %s", device, reason)
	}
	if isDax {
		g.mu.Lock()
		g.downgraded = fmt.Sprintf("the case opens %s for writing, %s", device, reason)
		g.mu.Unlock()
	}
	return g.Platform.Open(name, flags&^(platform.OAccmode|platform.OTrunc)|platform.ORdonly|forReading, mode)
}

// madeInOwn reports whether a file that isn't there is made in a directory of the case: a
// link to nowhere makes one there.
func (g *deviceGuard) madeInOwn(name string) bool {
	const most = 40 // links that Linux follows
	for range most + 1 {
		if !g.entryInOwn(name) {
			return false
		}
		if g.Platform != platform.Host() {
			return true
		}
		to, err := os.Readlink(name)
		if err != nil {
			return true // no link
		}
		if dir, _ := path.Split(name); !path.IsAbs(to) {
			to = dir + to
		}
		name = to
	}
	return true // where Linux doesn't follow them
}

// fileInOwn reports whether a path leads into a directory of the case.
func (g *deviceGuard) fileInOwn(name string) bool {
	where, err := g.resolved(name)
	return err == nil && g.inOwn(where)
}

func (g *deviceGuard) hasType(fd int, t uint32) bool {
	st, err := g.Fstat(fd)
	return err == nil && st.Type() == t
}

// openedForWriting opens what was no guarded device when it was looked at.
func (g *deviceGuard) openedForWriting(name string, flags int, mode uint32) (int, error) {
	fd, err := g.Platform.Open(name, flags, mode)
	if err != nil {
		return fd, err
	}
	if device, reason := g.guarded(fd); device != "" {
		_ = g.Close(fd)
		return -1, g.refuse("the case opens %s for writing, %s", device, reason)
	}
	return fd, nil
}

// GetFL is platform.Files.GetFL.
func (g *deviceGuard) GetFL(fd int) (int, error) {
	flags, err := g.Platform.GetFL(fd)
	if err != nil || flags&forReading == 0 || flags&platform.OAccmode != platform.ORdonly {
		return flags, err
	}
	if name, _ := g.guarded(fd); name == "" {
		return flags, nil
	}
	g.mu.Lock()
	g.asked = true
	g.mu.Unlock()
	return flags&^forReading | platform.ORdwr, nil
}

// Pwrite is platform.Files.Pwrite.
func (g *deviceGuard) Pwrite(fd int, p []byte, off int64) (int, error) {
	if err := g.refuseStore(fd); err != nil {
		return 0, err
	}
	return g.Platform.Pwrite(fd, p, off)
}

// Fallocate is platform.Files.Fallocate.
func (g *deviceGuard) Fallocate(fd int, mode uint32, off, length int64) error {
	if err := g.refuseStore(fd); err != nil {
		return err
	}
	return g.Platform.Fallocate(fd, mode, off, length)
}

// Ftruncate is platform.Files.Ftruncate.
func (g *deviceGuard) Ftruncate(fd int, size int64) error {
	if err := g.refuseStore(fd); err != nil {
		return err
	}
	return g.Platform.Ftruncate(fd, size)
}

// Unlink is platform.Files.Unlink.
func (g *deviceGuard) Unlink(name string) error {
	if !g.entryInOwn(name) {
		return g.refuse("the case unlinks %s, which isn't in a directory of its own", name)
	}
	return g.Platform.Unlink(name)
}

// Mmap is platform.Memory.Mmap.
func (g *deviceGuard) Mmap(addr uintptr, length uint64, prot, flags, fd int, off int64) (uintptr, error) {
	if flags&platform.MapAnonymous == 0 && flags&platform.MapType != platform.MapPrivate && prot&platform.ProtWrite != 0 {
		if err := g.refuseStore(fd); err != nil {
			return 0, err
		}
	}
	return g.Platform.Mmap(addr, length, prot, flags, fd, off)
}

// ClearError is platform.Files.ClearError: it zeroes what it clears, by its physical
// address.
func (g *deviceGuard) ClearError(fd int, addr, length uint64) (uint64, error) {
	for _, d := range g.destroy {
		start, err := attrNumber(g.Platform, d.sysfs+"/resource")
		if err == nil && addr >= start && length <= d.size && addr-start <= d.size-length {
			return g.Platform.ClearError(fd, addr, length)
		}
	}
	return 0, g.refuse("the case clears errors at the physical address %#x, which is on no device whose data may be destroyed", addr)
}

// WriteAttr is platform.Sysfs.WriteAttr.
func (g *deviceGuard) WriteAttr(name, text string) error {
	if path.Base(name) != "deep_flush" {
		return g.refuse("the case writes to /sys/%s, where only deep_flush is written", name)
	}
	return g.Platform.WriteAttr(name, text)
}
