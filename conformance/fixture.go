package conformance

import (
	"os"
	"runtime"

	"pmemlab/emu"
	"pmemlab/emu/fault"
	"pmemlab/pmem2"
	"pmemlab/pmem2/platform"
)

// What cases work with. What a method of T makes is gone when the case has ended;
// making it is expected to succeed, or with "No" in the name to fail.

const (
	mib = 1 << 20
	gib = 1 << 30
)

// protections are the eight that there are, with their permissions in
// /proc/self/maps.
var protections = []struct {
	prot pmem2.Prot
	name string
	perm string
}{
	{pmem2.ProtNone, "NONE", "---"},
	{pmem2.ProtRead, "READ", "r--"},
	{pmem2.ProtWrite, "WRITE", "-w-"},
	{pmem2.ProtExec, "EXEC", "--x"},
	{pmem2.ProtRead | pmem2.ProtWrite, "READ|WRITE", "rw-"},
	{pmem2.ProtRead | pmem2.ProtExec, "READ|EXEC", "r-x"},
	{pmem2.ProtWrite | pmem2.ProtExec, "WRITE|EXEC", "-wx"},
	{pmem2.ProtRead | pmem2.ProtWrite | pmem2.ProtExec, "READ|WRITE|EXEC", "rwx"},
}

// sharings are both, with their letter in /proc/self/maps.
var sharings = []struct {
	sharing pmem2.Sharing
	name    string
	letter  string
}{{pmem2.Shared, "SHARED", "s"}, {pmem2.Private, "PRIVATE", "p"}}

// granularities are the three that there are.
var granularities = []pmem2.Granularity{pmem2.GranularityByte, pmem2.GranularityCacheLine, pmem2.GranularityPage}

// Page is the page size of the machine.
func (t *T) Page() uint64 { return t.Machine().PageSize() }

// forceGranularity is the environment variable that all libraries read.
const forceGranularity = "PMEM2_FORCE_GRANULARITY"

// Force sets PMEM2_FORCE_GRANULARITY; "" unsets it, as it is when a case begins.
func (t *T) Force(value string) {
	t.Cleanup(keepForced())
	var err error
	if value == "" {
		err = os.Unsetenv(forceGranularity)
	} else {
		err = os.Setenv(forceGranularity, value)
	}
	t.suite(err, "setting %s", forceGranularity)
	t.Note("environment", "%s=%s", forceGranularity, value)
}

// keepForced returns what puts PMEM2_FORCE_GRANULARITY back to what it is now.
func keepForced() (restore func()) {
	before, was := os.LookupEnv(forceGranularity)
	return func() {
		if was {
			_ = os.Setenv(forceGranularity, before)
		} else {
			_ = os.Unsetenv(forceGranularity)
		}
	}
}

// pattern is n bytes, none of which is 0. They repeat only after a prime number of
// them, and differ from those of another seed below 255 everywhere.
func pattern(n uint64, seed byte) []byte {
	const period = 251
	b := make([]byte, n)
	for i := range b[:min(n, period)] {
		b[i] = byte((i+int(seed))%255 + 1)
	}
	for done := uint64(period); done < n; done *= 2 {
		copy(b[done:], b[:done])
	}
	return b
}

// made takes the result of a method of Env that makes an object.
func (t *T) made(o Object, err error) Object {
	t.suite(err, "make a file or a device")
	return o
}

// Open opens an object and closes the descriptor when the case has ended, unless
// it's closed by then.
func (t *T) Open(o Object, flags int) int {
	fd, err := o.Open(flags)
	t.suite(err, "open %s with flags %#x", o.Path(), flags)
	t.Cleanup(func() {
		// If it has been closed, the number may belong to somebody else by now.
		held, ok := t.Machine().(interface{ Holds(fd int) bool })
		if !ok || held.Holds(fd) {
			_ = t.Machine().Close(fd)
		}
	})
	return fd
}

// Close closes a descriptor before the case has ended.
func (t *T) Close(fd int) { t.suite(t.Machine().Close(fd), "close descriptor %d", fd) }

// FileFD is a fresh file of size bytes, open for reading and writing.
func (t *T) FileFD(size uint64) int { return t.Open(t.made(t.Env.File(size)), platform.ORdwr) }

// PatternFile is FileFD with the pattern of seed in it.
func (t *T) PatternFile(size uint64, seed byte) (fd int, content []byte) {
	fd, content = t.FileFD(size), pattern(size, seed)
	t.WriteFile(fd, 0, content)
	return fd, content
}

// Truncate gives a file another size.
func (t *T) Truncate(fd int, size uint64) {
	t.suite(t.Machine().Ftruncate(fd, int64(size)), "ftruncate to %d", size)
}

// ReadFile reads n bytes of a file through the descriptor, as another program would
// see them.
func (t *T) ReadFile(fd int, offset, n uint64) []byte {
	b := make([]byte, n)
	got, err := t.Machine().Pread(fd, b, int64(offset))
	t.suite(err, "pread of %d bytes at %d", n, offset)
	if uint64(got) != n {
		t.Brokenf("pread of %d bytes at %d gives %d", n, offset, got)
	}
	return b
}

// WriteFile writes all of b into a file, as another program would.
func (t *T) WriteFile(fd int, offset uint64, b []byte) {
	got, err := t.Machine().Pwrite(fd, b, int64(offset))
	t.suite(err, "pwrite of %d bytes at %d", len(b), offset)
	if got != len(b) {
		t.Brokenf("pwrite of %d bytes at %d writes %d", len(b), offset, got)
	}
}

// Replace makes fd, a descriptor of o, one of what the descriptor by refers to. The
// function that it returns puts the object back.
func (t *T) Replace(fd int, o Object, by int) (back func()) {
	own := t.Open(o, platform.ORdwr)
	t.suite(dup2(by, fd), "dup2 over descriptor %d", fd)
	t.Cleanup(func() { _ = dup2(own, fd) })
	return func() { t.suite(dup2(own, fd), "dup2 back to descriptor %d", fd) }
}

const (
	daxSize  = 14 * mib
	daxAlign = 2 * mib
)

// Device is a device DAX of daxSize bytes at least, with an alignment of daxAlign.
// Nothing forces its granularity: at PAGE it couldn't be persisted.
func (t *T) Device() (o Object, fd int, src Source) {
	t.Force("")
	o = t.made(t.Env.DevDax(daxSize, daxAlign))
	fd = t.Open(o, platform.ORdwr)
	return o, fd, t.Source(fd)
}

// DeviceOn is Device on a region of that kind, and DAXFileOn a file of size bytes.
func (t *T) DeviceOn(r emu.Region) (o Object, fd int, src Source) {
	t.Force("")
	o = t.made(t.Env.DevDaxOn(daxSize, r))
	fd = t.Open(o, platform.ORdwr)
	return o, fd, t.Source(fd)
}

// DAXFileOn is described at DeviceOn.
func (t *T) DAXFileOn(size uint64, r emu.Region) (o Object, fd int, src Source) {
	o = t.made(t.Env.DAXFileOn(size, r))
	fd = t.Open(o, platform.ORdwr)
	return o, fd, t.Source(fd)
}

// Storage is where a DAX file or a device DAX lies.
func (t *T) Storage(o Object) Storage {
	s, err := t.Env.Storage(o)
	t.suite(err, "storage of %s", o.Path())
	return s
}

// OrdinaryFD is FileFD on storage that is no persistent memory.
func (t *T) OrdinaryFD(size uint64) int {
	return t.Open(t.made(t.Env.OrdinaryFile(size)), platform.ORdwr)
}

// Recorded puts the library on a machine that records what is asked of it.
func (t *T) Recorded() *fault.Platform {
	p := fault.Wrap(t.Machine())
	p.StartRecording(0)
	t.Lib = t.subject.On(p)
	return p
}

// Source is a source of the descriptor.
func (t *T) Source(fd int) Source {
	s, err := t.Lib.SourceFromFD(fd)
	t.Must(err, "SourceFromFD(%d)", fd)
	t.Check(s != nil, "SourceFromFD succeeds and returns no source")
	return s
}

// NoSource expects SourceFromFD to fail and to return no source.
func (t *T) NoSource(want string, fd int, what string) {
	src, err := t.Lib.SourceFromFD(fd)
	ok := t.Expect(want, err, "SourceFromFD(%d: %s)", fd, what)
	t.Check(!ok || src == nil, "SourceFromFD fails and returns a source all the same")
}

// FileSource is a source of a fresh file of size bytes.
func (t *T) FileSource(size uint64) Source { return t.Source(t.FileFD(size)) }

// AnonSource is a source of size bytes of anonymous memory.
func (t *T) AnonSource(size uint64) Source {
	src, err := t.Lib.SourceFromAnon(size)
	t.Must(err, "SourceFromAnon(%#x)", size)
	t.Check(src != nil, "SourceFromAnon succeeds and returns no source")
	return src
}

// NewConfig is a config as it is made: without a granularity.
func (t *T) NewConfig() PMem2Config {
	c, err := t.Lib.NewConfig()
	t.Must(err, "NewConfig()")
	return c
}

// Config is a config that takes any granularity.
func (t *T) Config() PMem2Config {
	c := t.NewConfig()
	t.Must(c.SetRequiredStoreGranularity(pmem2.GranularityPage), "SetRequiredStoreGranularity(PAGE)")
	return c
}

// Map maps by a config that the case has made. Where the setters aren't what the
// case is about MapAs does.
func (t *T) Map(cfg PMem2Config, src Source) Map {
	m, err := t.Lib.NewMap(cfg, src)
	return t.gotMap(m, err, "NewMap()")
}

// NoMap expects NewMap to fail and to return no map.
func (t *T) NoMap(want string, cfg PMem2Config, src Source, call string, args ...any) {
	m, err := t.Lib.NewMap(cfg, src)
	t.gotNoMap(want, m, err, "NewMap("+call+")", args...)
}

// MapAs is Map by a config that says what s says. In a reservation the map lies
// where s wants it.
func (t *T) MapAs(s mapSpec, src Source) Map {
	m, err := t.Lib.NewMap(s.config(t), src)
	t.gotMap(m, err, "NewMap(%v)", s)
	if s.in != nil {
		want := s.in.Address() + uintptr(s.at)
		t.Check(m.Address() == want, "the map is at %#x, want %#x in the reservation", m.Address(), want)
	}
	return m
}

// NoMapAs is NoMap by a config that says what s says.
func (t *T) NoMapAs(want string, s mapSpec, src Source) { t.NoMap(want, s.config(t), src, "%v", s) }

// Wrap makes a map of memory of the case's own.
func (t *T) Wrap(src Source, addr uintptr, n uint64, g pmem2.Granularity) Map {
	m, err := t.Lib.MapFromExisting(src, addr, n, g)
	return t.gotMap(m, err, "MapFromExisting(%#x, %#x, %v)", addr, n, g)
}

// NoWrap expects MapFromExisting to fail and to return no map.
func (t *T) NoWrap(want string, src Source, addr uintptr, n uint64, g pmem2.Granularity) {
	m, err := t.Lib.MapFromExisting(src, addr, n, g)
	t.gotNoMap(want, m, err, "MapFromExisting(%#x, %#x, %d)", addr, n, int(g))
}

// gotMap expects a call to have succeeded and to have returned a map.
func (t *T) gotMap(m Map, err error, call string, args ...any) Map {
	if !t.Must(err, call, args...) {
		runtime.Goexit() // it is known, and there is nothing to go on with
	}
	t.Check(m != nil, call+" succeeds and returns no map", args...)
	t.deleteAtEnd(m)
	return m
}

// gotNoMap expects a call to have failed and to have returned no map. One that is
// returned all the same doesn't outlive the case.
func (t *T) gotNoMap(want string, m Map, err error, call string, args ...any) {
	if m != nil {
		t.deleteAtEnd(m)
	}
	if t.Expect(want, err, call, args...) {
		t.Check(m == nil, call+" fails and returns a map all the same", args...)
	} else if m != nil {
		_ = m.Delete() // it is in nobody's way
	}
}

// deleter is any object of the library's.
type deleter interface{ Delete() error }

// Delete deletes an object before the case has ended.
func (t *T) Delete(o deleter) { t.Must(o.Delete(), "Delete()") }

func (t *T) deleteAtEnd(o deleter) { t.Cleanup(func() { _ = o.Delete() }) }

// Reservation reserves at an address, or with 0 anywhere.
func (t *T) Reservation(addr uintptr, size uint64) Reservation {
	r, err := t.Lib.NewVMReservation(addr, size)
	if !t.Must(err, "NewVMReservation(%#x, %d)", addr, size) {
		runtime.Goexit()
	}
	t.Check(r != nil, "NewVMReservation succeeds and returns no reservation")
	t.deleteAtEnd(r)
	return r
}

// NoReservation expects NewVMReservation to fail and to return no reservation.
func (t *T) NoReservation(want string, addr uintptr, size uint64) {
	r, err := t.Lib.NewVMReservation(addr, size)
	if !t.Expect(want, err, "NewVMReservation(%#x, %#x)", addr, size) {
		if r != nil {
			_ = r.Delete()
		}
		return
	}
	t.Check(r == nil, "NewVMReservation fails and returns a reservation all the same")
}

// Mmap is a mapping of the case's own, without the library.
func (t *T) Mmap(addr uintptr, n uint64, prot, flags, fd int) uintptr {
	got, err := t.Machine().Mmap(addr, n, prot, flags, fd, 0)
	t.suite(err, "mmap of %d bytes at %#x", n, addr)
	t.Cleanup(func() { _ = t.Machine().Munmap(got, n) })
	return got
}

// Munmap removes a mapping of the case's own before the case has ended.
func (t *T) Munmap(addr uintptr, n uint64) {
	t.suite(t.Machine().Munmap(addr, n), "munmap of %d bytes at %#x", n, addr)
}

const readWrite = platform.ProtRead | platform.ProtWrite

// OwnMapping is memory of a file that the case has mapped itself, to read and write.
func (t *T) OwnMapping(fd int, n uint64) uintptr {
	return t.Mmap(0, n, readWrite, platform.MapShared, fd)
}

const placeholderFlags = platform.MapPrivate | platform.MapAnonymous | platform.MapNoreserve

// freeSpace finds an address, a multiple of 2 MiB, with nothing in the size bytes
// from there on nor in 1 GiB before and behind. It stays free: Linux hands out
// addresses from the top down, and there is more above.
func freeSpace(t *T, size uint64) uintptr {
	const around = gib
	all := size + 2*around
	addr, err := t.Machine().Mmap(0, all, platform.ProtNone, placeholderFlags, -1, 0)
	t.suite(err, "mmap of %d bytes in search of free space", all)
	t.Munmap(addr, all)
	return (addr + around) &^ (2*mib - 1)
}

// occupy maps n bytes at addr, where nothing may be, and fills them. The function
// that it returns says whether they are untouched.
func occupy(t *T, addr uintptr, n uint64) (untouched func() bool) {
	got := t.Mmap(addr, n, readWrite, placeholderFlags|platform.MapFixedNoreplace, -1)
	if got != addr {
		t.Brokenf("mmap of %d bytes at %#x lands at %#x", n, addr, got)
	}
	want := pattern(n, 13)
	copy(platform.Bytes(addr, n), want)
	return func() bool { return string(platform.Bytes(addr, n)) == string(want) }
}
