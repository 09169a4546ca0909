package survey

import (
	"errors"
	"fmt"
	"slices"
	"syscall"
	"time"

	"pmemlab/ci/vm/plan"
	"pmemlab/pmem2/platform"
)

// session is one survey under way.
type session struct {
	k       Kernel
	places  []plan.Place
	objects []object
	answers []Answer
	seen    map[Question]bool
	family  string
	object  string
	holder  string // of the namespace that sysfs is asked about: "dax0.0"
	node    string // the character device on it, while that is asked about: "dax0.0"
	errs    []error
}

// family is a kind of question.
type family struct {
	name, about string
	ask         func(*session)
}

// families are all kinds of questions, in the order in which they are asked.
var families = []family{
	{"open", "which flags of open each object takes", (*session).askOpen},
	{"mmap", "protection, flags and open mode against each other", (*session).askMatrix},
	{"geometry", "length and offset, and where accesses fault", (*session).askGeometry},
	{"fixed", "MAP_FIXED at addresses that are aligned and that aren't", (*session).askFixed},
	{"place", "hints and MAP_FIXED_NOREPLACE", (*session).askPlace},
	{"hole", "what is left where a mmap with MAP_FIXED failed", (*session).askHole},
	{"rounding", "which byte of device DAX is mapped at each file offset", (*session).askRounding},
	{"descriptor", "calls on descriptors", (*session).askDescriptors},
	{"mapping", "calls on mappings and on parts of them", (*session).askMappings},
	{"advice", "madvise of mappings and of parts of them", (*session).askAdvice},
	{"signal", "the signal of each access that faults", (*session).askSignals},
	{"vmflags", "the flags of mappings in smaps", (*session).askVMFlags},
	{"sysfs", "what is listed of devices, regions, NVDIMMs and buses", (*session).askSysfs},
	{"deep_flush", "what can be written to deep_flush", (*session).askDeepFlush},
	{"library", "what package pmem2 makes of it all", (*session).askLibrary},
	{"badblocks", "accesses to bad blocks and beside them", (*session).askBadBlocks},
}

// Families are the names of all kinds of questions, in the order in which they are asked.
func Families() []string {
	var names []string
	for _, f := range families {
		names = append(names, f.name)
	}
	return names
}

// About says what the questions of a family are about; "" if there is no such family.
func About(name string) string {
	for _, f := range families {
		if f.name == name {
			return f.about
		}
	}
	return ""
}

// Run asks the kernel k all questions of the families, or of all if there are none, that
// the places give rise to. It makes files of its own in the file systems, and overwrites
// what is on the device DAX instances. The error says what couldn't be asked; the answers
// are those that there are all the same.
func Run(k Kernel, places []plan.Place, only ...string) ([]Answer, error) {
	return run(k, places, only, func(string, int, time.Duration) {})
}

// run is Run; asked is called after each family.
func run(k Kernel, places []plan.Place, only []string, asked func(family string, n int, took time.Duration)) ([]Answer, error) {
	for _, name := range only {
		if About(name) == "" {
			return nil, fmt.Errorf("survey: there is no family %q, there are %q", name, Families())
		}
	}
	end, err := catchFaults()
	if err != nil {
		return nil, err
	}
	s := &session{k: k, places: places, seen: map[Question]bool{}}
	guard, err := s.makeGap()
	if err != nil {
		return nil, errors.Join(err, end())
	}
	s.furnish()
	for _, f := range families {
		if len(only) > 0 && !slices.Contains(only, f.name) {
			continue
		}
		s.family = f.name
		start, before := time.Now(), len(s.answers)
		f.ask(s)
		asked(f.name, len(s.answers)-before, time.Since(start))
	}
	s.clear()
	s.unmap(guard, page)
	return s.answers, errors.Join(append(s.errs, end())...)
}

// ask writes an answer down.
func (s *session) ask(call, rule, answer string) {
	q := Question{s.family, s.object, call, rule}
	if s.seen[q] {
		s.fail("%s is asked twice", q)
		return
	}
	s.seen[q] = true
	s.answers = append(s.answers, Answer{q, answer})
}

// fail notes that something couldn't be asked.
func (s *session) fail(format string, args ...any) {
	s.errs = append(s.errs, fmt.Errorf("survey: %s: %s: %w", s.family, s.object, fmt.Errorf(format, args...)))
}

// errnoText is the name of an errno, "ok" for none.
func errnoText(err error) string {
	if err == nil {
		return "ok"
	}
	var errno syscall.Errno
	if !errors.As(err, &errno) {
		return "error: " + err.Error()
	}
	return errnoName(errno)
}

// numberText is what a call answered that gives a number or an error.
func numberText[T int | int64](n T, err error) string {
	if err != nil {
		return errnoText(err)
	}
	return fmt.Sprint(n)
}

// faultText is what load or store answered.
func faultText(fault uint64) string {
	if fault == 0 {
		return "ok"
	}
	name := map[syscall.Signal]string{syscall.SIGBUS: "SIGBUS", syscall.SIGSEGV: "SIGSEGV"}[syscall.Signal(fault>>32)]
	return fmt.Sprintf("%s code %d", name, int32(fault))
}

// openMode is a way to open an object.
type openMode struct {
	name  string
	flags int
}

var (
	readOnly    = openMode{"RDONLY", platform.ORdonly}
	readWrite   = openMode{"RDWR", platform.ORdwr}
	writeOnly   = openMode{"WRONLY", platform.OWronly}
	readAppend  = openMode{"RDWR+APPEND", platform.ORdwr | platform.OAppend}
	writeAppend = openMode{"WRONLY+APPEND", platform.OWronly | platform.OAppend}
	pathOnly    = openMode{"PATH", platform.OPath}
	openModes   = []openMode{readOnly, readWrite, writeOnly, readAppend, writeAppend, pathOnly}
)

// protection is one of mmap.
type protection struct {
	name string
	prot int
}

// protections are all there are.
var protections = []protection{
	{"NONE", platform.ProtNone}, {"R", platform.ProtRead}, {"W", platform.ProtWrite},
	{"RW", platform.ProtRead | platform.ProtWrite}, {"X", platform.ProtExec},
	{"RX", platform.ProtRead | platform.ProtExec}, {"WX", platform.ProtWrite | platform.ProtExec},
	{"RWX", platform.ProtRead | platform.ProtWrite | platform.ProtExec},
}

const (
	protRW    = platform.ProtRead | platform.ProtWrite
	mapSync   = platform.MapSharedValidate | platform.MapSync
	anonymous = platform.MapPrivate | platform.MapAnonymous | platform.MapNoreserve
	page      = 4096
)

// with opens the object, calls f with the descriptor and closes it. An object that can't
// be opened so isn't asked about: family open tells why.
func (s *session) with(o *object, mode openMode, f func(fd int)) {
	s.object = o.name
	fd, err := s.k.Open(o.path, mode.flags, 0)
	if err != nil {
		return
	}
	f(fd)
	if err := s.k.Close(fd); err != nil {
		s.fail("closing: %w", err)
	}
}

// unmap takes away what the survey mapped.
func (s *session) unmap(addr uintptr, length uint64) {
	if err := s.k.Munmap(addr, length); err != nil {
		s.fail("munmap of %#x bytes: %w", length, err)
	}
}

// gapSize is in bytes what is kept free above all arenas.
const gapSize = 32 << 20

// makeGap leaves free memory above all that the survey reserves later. Calls that fail
// leave holes, and Go's runtime must not have its own mmap land in one: the kernel gives
// it the highest room there is, which is here. The page under it is to be unmapped at last.
func (s *session) makeGap() (guard uintptr, err error) {
	guard, err = s.k.Mmap(0, gapSize+page, platform.ProtNone, anonymous, -1, 0)
	if err != nil {
		return 0, fmt.Errorf("survey: no room for %#x bytes: %w", gapSize+page, err)
	}
	return guard, s.k.Munmap(guard+page, gapSize)
}

// arena is a place for mappings: room bytes from an address that is a multiple of align,
// reserved so that nothing else comes there.
type arena struct {
	s           *session
	start, base uintptr
	length      uint64
	align       uint64
}

// reserve makes an arena. Behind room there is as much as align and a page more.
func (s *session) reserve(room, align uint64) (arena, bool) {
	align = max(align, page)
	length := max(room+2*align, 2*gapSize)
	start, err := s.k.Mmap(0, length, platform.ProtNone, anonymous, -1, 0)
	if err != nil {
		s.fail("no room for %#x bytes: %w", length, err)
		return arena{}, false
	}
	return arena{s, start, (start + uintptr(align) - 1) &^ uintptr(align-1), length, align}, true
}

// renew empties the arena: whatever is there becomes the reservation again.
func (a arena) renew() {
	_, err := a.s.k.Mmap(a.start, a.length, platform.ProtNone, anonymous|platform.MapFixed, -1, 0)
	if err != nil {
		a.s.fail("emptying the arena: %w", err)
	}
}

// vacate unmaps all from addr on.
func (a arena) vacate(addr uintptr) { a.s.unmap(addr, a.length-uint64(addr-a.start)) }

func (a arena) release() { a.s.unmap(a.start, a.length) }

func hexText(n uint64) string { return fmt.Sprintf("%#x", n) }
