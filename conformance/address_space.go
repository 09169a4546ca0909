package conformance

import (
	"fmt"
	"slices"
	"strings"

	"pmemlab/pmem2/platform"
)

// MapsEntry is a line of /proc/self/maps.
type MapsEntry struct {
	Start, End uintptr
	Perms      string // "rw-s"
	Offset     uint64 // in bytes
	Path       string // of a file, "[heap]" and the like, or ""
}

// ProcMaps returns the line of /proc/self/maps that holds addr; ok is false if
// nothing is mapped there.
func (t *T) ProcMaps(addr uintptr) (entry MapsEntry, ok bool) {
	for _, e := range areas(t) {
		if e.Start <= addr && addr < e.End {
			return e, true
		}
	}
	return MapsEntry{}, false
}

// Faults reports whether reading the byte at addr is a memory fault, or with write
// whether writing there is. It doesn't change the byte.
func (t *T) Faults(addr uintptr, write bool) bool { return faults(addr, write) }

// testDirPrefix begins the name of every directory that the suite makes.
const testDirPrefix = "pmemlab-conformance-"

// ours returns the entries that only a case can have made: memfds, files of the
// suite, and anonymous memory that was given a name of the library's.
func ours(entries []MapsEntry) []MapsEntry {
	var found []MapsEntry
	for _, e := range entries {
		if strings.HasPrefix(e.Path, "/memfd:") || strings.Contains(e.Path, testDirPrefix) ||
			strings.HasPrefix(e.Path, "[anon:pmem") || strings.HasPrefix(e.Path, "[anon_shmem:pmem") {
			found = append(found, e)
		}
	}
	return found
}

// mapped returns what ours finds now; nothing where the address space can't be read.
func mapped() []MapsEntry {
	entries, err := addressSpace()
	if err != nil {
		return nil
	}
	return ours(entries)
}

// replaceLeft puts memory without access in the place of what mapped finds and before
// doesn't have, and names it. No later case is blamed for what is left, nor is one given
// its addresses, where the subject may believe that its map still is.
func replaceLeft(before []MapsEntry) (left []string) {
	for _, e := range mapped() {
		if slices.Contains(before, e) {
			continue
		}
		text := fmt.Sprintf("%s is mapped at %#x-%#x", e.Path, e.Start, e.End)
		if _, err := platform.Host().Mmap(e.Start, uint64(e.End-e.Start), platform.ProtNone, placeholderFlags|platform.MapFixed, -1, 0); err != nil {
			text += fmt.Sprintf(" (and can't be replaced: %v)", err)
		}
		left = append(left, text)
	}
	return left
}
