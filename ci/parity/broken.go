package parity

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"syscall"

	"pmemlab/ci/survey"
	"pmemlab/ci/vm/plan"
	"pmemlab/pmem2/platform"
)

// deviation is a way in which an emulated machine could differ from a kernel.
type deviation struct {
	name   string
	family string    // of the questions that see it
	kind   plan.Kind // of the places that they are asked of
	wrap   func(survey.Kernel) survey.Kernel
}

// deviations are those that are planted, to see that none goes unseen.
var deviations = []deviation{
	{"MAP_SYNC is accepted on tmpfs", "mmap", plan.Tmpfs, mmapOf(func(b *broken, c mmapCall) (uintptr, error) {
		if b.kindOf(c.fd) == onTmpfs && c.flags&platform.MapSync != 0 {
			c.flags = c.flags&^(platform.MapType|platform.MapSync) | platform.MapShared
		}
		return c.on(b.Kernel)
	})},
	{"MAP_PRIVATE is accepted on device DAX", "mmap", plan.DevDax, mmapOf(func(b *broken, c mmapCall) (uintptr, error) {
		if b.kindOf(c.fd) == devDax && c.flags&platform.MapType == platform.MapPrivate {
			c.flags = c.flags&^platform.MapType | platform.MapShared
		}
		return c.on(b.Kernel)
	})},
	{"a length that is no multiple of the alignment is accepted on device DAX", "geometry", plan.DevDax, mmapOf(func(b *broken, c mmapCall) (uintptr, error) {
		at, err := c.on(b.Kernel)
		if err == syscall.EINVAL && b.kindOf(c.fd) == devDax && c.length > 0 && c.off%huge == 0 {
			c.length = (c.length + huge - 1) &^ (huge - 1)
			return c.on(b.Kernel)
		}
		return at, err
	})},
	{"an offset past the end of device DAX is refused", "geometry", plan.DevDax, mmapOf(func(b *broken, c mmapCall) (uintptr, error) {
		if b.kindOf(c.fd) == devDax && c.off >= 1<<40 {
			return 0, syscall.EINVAL
		}
		return c.on(b.Kernel)
	})},
	{"an undefined flag with MAP_SHARED_VALIDATE is ignored", "mmap", plan.DevDax, mmapOf(func(b *broken, c mmapCall) (uintptr, error) {
		c.flags &^= 0x800000
		return c.on(b.Kernel)
	})},
	{"a mmap with MAP_FIXED that fails leaves what was there", "hole", plan.DevDax, mmapOf(func(b *broken, c mmapCall) (uintptr, error) {
		if c.flags&platform.MapFixed != 0 && c.fd >= 0 {
			free := c
			free.addr, free.flags = 0, c.flags&^platform.MapFixed
			at, err := free.on(b.Kernel)
			if err != nil {
				return 0, err
			}
			if err := b.Munmap(at, free.length); err != nil {
				return 0, err
			}
		}
		return c.on(b.Kernel)
	})},
	{"msync of device DAX succeeds", "mapping", plan.DevDax, func(k survey.Kernel) survey.Kernel { return brokenMsync{k} }},
	{"munmap takes any part of device DAX", "mapping", plan.DevDax, func(k survey.Kernel) survey.Kernel { return brokenMunmap{k} }},
	{"lseek of device DAX tells the size", "descriptor", plan.DevDax, func(k survey.Kernel) survey.Kernel { return brokenSeek{newBroken(k)} }},
	{"deep_flush can be written to without flush hints", "deep_flush", plan.DevDax, func(k survey.Kernel) survey.Kernel { return brokenDeepFlush{k} }},
}

const huge = 2 << 20

// broken is a kernel that remembers what its descriptors are of.
type broken struct {
	survey.Kernel
	kinds map[int]int
	mmap  func(*broken, mmapCall) (uintptr, error)
}

// What a descriptor is of.
const (
	another = iota
	devDax
	onTmpfs
)

func newBroken(k survey.Kernel) *broken { return &broken{Kernel: k, kinds: map[int]int{}} }

// mmapCall are the arguments of mmap.
type mmapCall struct {
	addr            uintptr
	length          uint64
	prot, flags, fd int
	off             int64
}

func (c mmapCall) on(k survey.Kernel) (uintptr, error) {
	return k.Mmap(c.addr, c.length, c.prot, c.flags, c.fd, c.off)
}

func mmapOf(f func(*broken, mmapCall) (uintptr, error)) func(survey.Kernel) survey.Kernel {
	return func(k survey.Kernel) survey.Kernel {
		b := newBroken(k)
		b.mmap = f
		return b
	}
}

func (b *broken) Open(path string, flags int, mode uint32) (int, error) {
	fd, err := b.Kernel.Open(path, flags, mode)
	if err == nil {
		kind := another
		switch {
		case strings.HasPrefix(path, "/dev/dax"):
			kind = devDax
		case strings.HasPrefix(path, "/mnt/tmpfs"):
			kind = onTmpfs
		}
		b.kinds[fd] = kind
	}
	return fd, err
}

func (b *broken) kindOf(fd int) int { return b.kinds[fd] }

func (b *broken) Mmap(addr uintptr, length uint64, prot, flags, fd int, off int64) (uintptr, error) {
	c := mmapCall{addr, length, prot, flags, fd, off}
	if b.mmap == nil || flags&platform.MapAnonymous != 0 {
		return c.on(b.Kernel)
	}
	return b.mmap(b, c)
}

type brokenMsync struct{ survey.Kernel }

func (b brokenMsync) Msync(addr uintptr, length uint64, flags int) error {
	err := b.Kernel.Msync(addr, length, flags)
	if err == syscall.EINVAL && addr%huge == 0 {
		return nil
	}
	return err
}

type brokenMunmap struct{ survey.Kernel }

func (b brokenMunmap) Munmap(addr uintptr, length uint64) error {
	err := b.Kernel.Munmap(addr, length)
	if err == syscall.EINVAL && addr%4096 == 0 && 0 < length && length < 1<<46 {
		return nil
	}
	return err
}

type brokenSeek struct{ *broken }

func (b brokenSeek) Lseek(fd int, off int64, whence int) (int64, error) {
	at, err := b.Kernel.Lseek(fd, off, whence)
	if err == nil && b.kindOf(fd) == devDax && whence == 2 {
		return 62<<20 + off, nil
	}
	return at, err
}

type brokenDeepFlush struct{ survey.Kernel }

func (b brokenDeepFlush) WriteAttr(path, text string) error {
	err := b.Kernel.WriteAttr(path, text)
	if err == syscall.EACCES && strings.HasSuffix(path, "/deep_flush") {
		return nil
	}
	return err
}

// CompareBroken breaks the emulated machine in each way, or in the one of that name, and
// says of each how many answers differ then. The error names those that nothing saw.
func CompareBroken(w io.Writer, reports []*survey.Report, which string) error {
	tried, caught := 0, 0
	var unseen []string
	for _, d := range deviations {
		if which != "all" && which != d.name {
			continue
		}
		tried++
		control, err := d.compare(reports, nil)
		if err != nil {
			return err
		}
		if control.different > 0 {
			return fmt.Errorf("parity: %d of these answers differ without %q", control.different, d.name)
		}
		c, err := d.compare(reports, d.wrap)
		if err != nil {
			return err
		}
		example := ""
		for _, diff := range c.differences {
			if diff.reason == "" {
				example = ", the first " + diff.String()
				break
			}
		}
		if c.different > 0 {
			caught++
		} else {
			unseen = append(unseen, d.name)
		}
		if _, err := fmt.Fprintf(w, "planted: %s: %d of %d answers differ%s\n", d.name, c.different, c.questions, example); err != nil {
			return err
		}
	}
	if tried == 0 {
		return fmt.Errorf("parity: there is no deviation %q", which)
	}
	if _, err := fmt.Fprintf(w, "parity: %s deviations, %s caught\n", numeral(tried), numeral(caught)); err != nil {
		return err
	}
	if caught < tried {
		return fmt.Errorf("parity: unseen: %s", strings.Join(unseen, "; "))
	}
	return nil
}

// compare compares the answers that the deviation concerns, with the emulated machine
// wrapped so.
func (d deviation) compare(reports []*survey.Report, wrap func(survey.Kernel) survey.Kernel) (*Comparison, error) {
	c, err := newComparison(excusedText)
	if err != nil {
		return nil, err
	}
	for _, r := range reports {
		if len(r.Only) > 0 && !slices.Contains(r.Only, d.family) {
			continue // its kernel wasn't asked
		}
		var places []plan.Place
		for _, p := range r.Places {
			if p.Kind == d.kind {
				places = append(places, p)
			}
		}
		// What a broken machine can't be asked any more is told by the answers that lack.
		answers, err := surveyEmulated(survey.Header{Machine: r.Machine, Places: places}, wrap, d.family)
		if err != nil && wrap == nil {
			return nil, err
		}
		c.add(r.Machine, d.concerns(answers, places), d.concerns(r.Answers, places))
	}
	return c, nil
}

// concerns keeps the answers of the deviation's family that objects of the places gave.
func (d deviation) concerns(answers []survey.Answer, places []plan.Place) []survey.Answer {
	return slices.DeleteFunc(slices.Clone(answers), func(a survey.Answer) bool {
		return a.Family != d.family || !slices.ContainsFunc(places, func(p plan.Place) bool {
			return a.Object == p.Name || strings.HasPrefix(a.Object, p.Name+"-")
		})
	})
}

func numeral(n int) string {
	words := []string{"no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"}
	if n < len(words) {
		return words[n]
	}
	return fmt.Sprint(n)
}
