package conformance

import (
	"bytes"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"

	"pmemlab/pmem2"
	"pmemlab/pmem2/platform"
)

// mapCases checks the pages about maps: pmem2_map_new(3), pmem2_map_delete(3),
// pmem2_map_from_existing(3), pmem2_map_get_address(3), pmem2_map_get_size(3) and
// pmem2_map_get_store_granularity(3).
func mapCases() []Case {
	return slices.Concat(
		mapNewCases(),
		mapNewRangeCases(),
		mapNewDeviceCases(),
		mapNewReservationCases(),
		mapNewErrnoCases(),
		mapDeleteCases(),
		mapFromExistingCases(),
		mapGetterCases(),
	)
}

// mapSpec is what a case asks of NewMap by a config. The zero value asks for the
// whole source at any granularity, anything else at its default.
type mapSpec struct {
	offset, length uint64
	require        *pmem2.Granularity // nil: PAGE
	prot           pmem2.Prot         // 0: the default
	sharing        pmem2.Sharing
	reservation    Reservation
	at             uint64 // offset in the reservation
}

// String is how reports show it.
func (s mapSpec) String() string {
	text := fmt.Sprintf("offset %#x", s.offset)
	if s.length != 0 {
		text += fmt.Sprintf(", length %#x", s.length)
	}
	if s.require != nil {
		text += fmt.Sprintf(", granularity %v", *s.require)
	}
	if s.prot != 0 {
		text += ", protection " + mapProtName(s.prot)
	}
	if s.sharing == pmem2.Private {
		text += ", PRIVATE"
	}
	if s.reservation != nil {
		text += fmt.Sprintf(", at %#x in the reservation", s.at)
	}
	return text
}

func mapProtName(p pmem2.Prot) string {
	var names []string
	for _, flag := range []struct {
		prot pmem2.Prot
		name string
	}{{pmem2.ProtRead, "READ"}, {pmem2.ProtWrite, "WRITE"}, {pmem2.ProtExec, "EXEC"}} {
		if p&flag.prot != 0 {
			names = append(names, flag.name)
		}
	}
	return strings.Join(names, "|")
}

// config makes a config that says what s says. The evidence shows it where the config
// is used.
func (s mapSpec) config(t *T) Config {
	c, err := t.Lib.NewConfig()
	mapUnlessOK(t, err, "NewConfig()")
	if s.require == nil {
		s.require = new(pmem2.GranularityPage)
	}
	s.set(t, c)
	return c
}

// set puts what s says into a config. The granularity is left as it is if s has none.
func (s mapSpec) set(t *T, c Config) {
	if s.require != nil {
		mapUnlessOK(t, c.SetRequiredStoreGranularity(*s.require), "SetRequiredStoreGranularity(%v)", *s.require)
	}
	mapUnlessOK(t, c.SetOffset(s.offset), "SetOffset(%#x)", s.offset)
	mapUnlessOK(t, c.SetLength(s.length), "SetLength(%#x)", s.length)
	mapUnlessOK(t, c.SetSharing(s.sharing), "SetSharing(%d)", s.sharing)
	if s.prot != 0 {
		mapUnlessOK(t, c.SetProtection(s.prot), "SetProtection(%s)", mapProtName(s.prot))
	}
	if s.reservation != nil {
		mapUnlessOK(t, c.SetVMReservation(s.reservation, s.at), "SetVMReservation(offset %#x)", s.at)
	}
}

// mapUnlessOK is Must for a call that belongs into the evidence only if it fails.
func mapUnlessOK(t *T, err error, call string, args ...any) {
	if err != nil {
		t.Must(err, call, args...)
	}
}

// mapMade expects a map of src and returns it.
func mapMade(t *T, s mapSpec, src Source) Map {
	m, err := t.Lib.NewMap(s.config(t), src)
	t.Must(err, "NewMap(%v)", s)
	t.Check(m != nil, "NewMap succeeds and returns no map")
	mapAtEnd(t, m)
	return m
}

// mapRefused expects NewMap to fail.
func mapRefused(t *T, want string, s mapSpec, src Source) {
	mapRefusedWith(t, want, s.config(t), src, "%v", s)
}

// mapRefusedWith expects NewMap to fail and to return no map. One that is returned
// all the same doesn't outlive the case.
func mapRefusedWith(t *T, want string, cfg Config, src Source, call string, args ...any) {
	m, err := t.Lib.NewMap(cfg, src)
	mapAtEnd(t, m)
	t.Expect(want, err, "NewMap("+call+")", args...)
	t.Check(m == nil, "NewMap fails and returns a map all the same")
}

// mapAtEnd deletes a map, if it is one, when the case has ended.
func mapAtEnd(t *T, m Map) {
	if m != nil {
		t.Cleanup(func() { _ = m.Delete() })
	}
}

// mapWrapped expects a map of memory of the case's own and returns it.
func mapWrapped(t *T, src Source, addr uintptr, n uint64, g pmem2.Granularity) Map {
	m, err := t.Lib.MapFromExisting(src, addr, n, g)
	t.Must(err, "MapFromExisting(%#x, %#x, %v)", addr, n, g)
	t.Check(m != nil, "MapFromExisting succeeds and returns no map")
	mapAtEnd(t, m)
	return m
}

// mapNotWrapped expects MapFromExisting to fail and to return no map.
func mapNotWrapped(t *T, want string, src Source, addr uintptr, n uint64, g pmem2.Granularity) {
	m, err := t.Lib.MapFromExisting(src, addr, n, g)
	mapAtEnd(t, m)
	t.Expect(want, err, "MapFromExisting(%#x, %#x, %d)", addr, n, int(g))
	t.Check(m == nil, "MapFromExisting fails and returns a map all the same")
}

// mapDeleted deletes a map that can be deleted.
func mapDeleted(t *T, m Map) { t.Must(m.Delete(), "Delete()") }

// mapAnon is an anonymous source.
func mapAnon(t *T, size uint64) Source {
	src, err := t.Lib.SourceFromAnon(size)
	t.Must(err, "SourceFromAnon(%#x)", size)
	return src
}

// mapPage is the page size of the machine.
func mapPage(t *T) uint64 { return t.Machine().PageSize() }

// mapPattern is n bytes that repeat only after a prime number of them, and differ
// from those of another seed everywhere.
func mapPattern(n uint64, seed byte) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i%251) ^ seed
	}
	return b
}

// mapPatternFile is a fresh file that holds the pattern of seed.
func mapPatternFile(t *T, size uint64, seed byte) (fd int, content []byte) {
	fd, content = t.FileFD(size), mapPattern(size, seed)
	mapWrite(t, fd, content, 0)
	return fd, content
}

// mapWrite is pwrite of all of b.
func mapWrite(t *T, fd int, b []byte, offset int64) {
	n, err := t.Machine().Pwrite(fd, b, offset)
	t.suite(err, "pwrite of %d bytes", len(b))
	if n != len(b) {
		t.Brokenf("pwrite of %d bytes wrote %d", len(b), n)
	}
}

// mapFileHolds expects a file to hold b at offset, as pread sees it.
func mapFileHolds(t *T, fd int, b []byte, offset int64, what string) {
	got := make([]byte, len(b))
	n, err := t.Machine().Pread(fd, got, offset)
	t.suite(err, "pread of %d bytes", len(b))
	t.Note("pread: "+what, "%d bytes", n)
	mapSame(t, got[:n], b, what)
}

// mapSame expects two pieces of memory to hold the same.
func mapSame(t *T, got, want []byte, what string) {
	t.Check(len(got) == len(want), "%s: %d bytes, want %d", what, len(got), len(want))
	if bytes.Equal(got, want) {
		return
	}
	for i, b := range want {
		if got[i] != b {
			t.Failf("%s: byte %d is %#x, want %#x", what, i, got[i], b)
		}
	}
}

// mapMmap is a mapping of the case's own. It is unmapped when the case has ended.
func mapMmap(t *T, n uint64, prot, flags, fd int) uintptr {
	addr, err := t.Machine().Mmap(0, n, prot, flags, fd, 0)
	t.suite(err, "mmap of %d bytes", n)
	t.Cleanup(func() { _ = t.Machine().Munmap(addr, n) })
	return addr
}

// mapOwn is memory of a file that the case has mapped itself, to read and write.
func mapOwn(t *T, fd int, n uint64) uintptr {
	return mapMmap(t, n, platform.ProtRead|platform.ProtWrite, platform.MapShared, fd)
}

// mapForce sets PMEM2_FORCE_GRANULARITY until the case has ended; "" unsets it.
func mapForce(t *T, value string) {
	const name = "PMEM2_FORCE_GRANULARITY"
	before, was := os.LookupEnv(name)
	t.Cleanup(func() {
		if was {
			_ = os.Setenv(name, before)
		} else {
			_ = os.Unsetenv(name)
		}
	})
	var err error
	if value == "" {
		err = os.Unsetenv(name)
	} else {
		err = os.Setenv(name, value)
	}
	t.suite(err, "setting %s", name)
	t.Note("environment", "%s=%s", name, value)
}

// mapAreas is the process's memory map, by address.
func mapAreas(t *T) []MapsEntry {
	areas, err := addressSpace()
	t.suite(err, "read the address space")
	return areas
}

// mapAreasOf are the areas of the file behind a descriptor.
func mapAreasOf(t *T, fd int) []MapsEntry {
	path, err := os.Readlink("/proc/self/fd/" + strconv.Itoa(fd))
	t.suite(err, "name of descriptor %d", fd)
	return slices.DeleteFunc(mapAreas(t), func(a MapsEntry) bool { return a.Path != path })
}

// mapAreasIn are the areas that hold a byte of [addr, addr+n), cut to that range.
func mapAreasIn(t *T, addr uintptr, n uint64) []MapsEntry {
	var in []MapsEntry
	for _, a := range mapAreas(t) {
		cut := a
		cut.Start, cut.End = max(a.Start, addr), min(a.End, addr+uintptr(n))
		if cut.Start >= cut.End {
			continue
		}
		cut.Offset += uint64(cut.Start - a.Start)
		in = append(in, cut)
	}
	return in
}

// mapCovers expects every byte of [addr, addr+n) to be mapped with the given
// permissions, those of "rw-s" or their first letters.
func mapCovers(t *T, addr uintptr, n uint64, perms, what string) {
	at := addr
	for _, a := range mapAreasIn(t, addr, n) {
		t.Check(a.Start == at, "%s: nothing is mapped at %#x", what, at)
		t.Check(strings.HasPrefix(a.Perms, perms), "%s: mapped as %s at %#x, want %s", what, a.Perms, a.Start, perms)
		at = a.End
	}
	t.Check(at == addr+uintptr(n), "%s: nothing is mapped at %#x", what, at)
	t.Note("process's memory map: "+what, "%d bytes at %#x are %s", n, addr, perms)
}

// mapGone expects no byte of [addr, addr+n) to belong to the file behind fd. The
// kernel may have given the range to somebody else by now.
func mapGone(t *T, fd int, addr uintptr, n uint64, what string) {
	for _, a := range mapAreasOf(t, fd) {
		t.Check(a.End <= addr || a.Start >= addr+uintptr(n), "%s: still mapped: %v", what, a)
	}
	t.Note("process's memory map: "+what, "nothing of the file at %#x", addr)
}

// mapHeld expects [addr, addr+n) to be the placeholder of a reservation: mapped, so
// that the kernel gives it to nobody, but without access.
func mapHeld(t *T, addr uintptr, n uint64, what string) {
	mapCovers(t, addr, n, "---", what)
	last := addr + uintptr(n-1)
	for _, at := range []uintptr{addr, last} {
		t.Check(t.Faults(at, false), "%s: %#x can be read", what, at)
		t.Check(t.Faults(at, true), "%s: %#x can be written", what, at)
	}
}

// mapUnreserved expects a reservation to hold no map and to be whole.
func mapUnreserved(t *T, r Reservation, what string) {
	mapHeld(t, r.Address(), r.Size(), what)
	m, err := r.MapFindFirst()
	t.Expect("PMEM2_E_MAPPING_NOT_FOUND", err, "MapFindFirst()")
	t.Check(m == nil, "%s: a map is found in the empty reservation", what)
}
