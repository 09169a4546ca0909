package seeds

import (
	"slices"
	"syscall"

	"pmemlab/conformance"
	"pmemlab/fuzz"
	"pmemlab/fuzz/model"
	"pmemlab/pmem2"
	"pmemlab/pmem2/platform"
	"pmemlab/pmemset"
)

// MediaAccess is a call that accesses media, and the source as it was before.
type MediaAccess struct {
	FD     int // of the source; -1: anonymous
	Source model.Source
	DAX    bool
	Append bool
	Bad    []pmem2.BadBlock
	Step   fuzz.MediaStep
}

// mediaSeeds are the inputs of the target Media: calls on one source that follow each other are
// one, and each call is one.
func mediaSeeds(t Trace) (seeds []seed, err error) {
	for i := 0; i < len(t.Media); {
		a := t.Media[i]
		s := fuzz.MediaSeed{Source: a.Source, DAX: a.DAX, Append: a.Append, Bad: a.Bad}
		for ; i < len(t.Media) && len(s.Calls) < maxMediaCalls; i++ {
			b := t.Media[i]
			if b.FD != a.FD || b.Source != a.Source || b.Append != a.Append || len(b.Bad) > len(a.Bad) {
				break // something else has happened between
			}
			s.Calls = append(s.Calls, b.Step)
			a.Bad = b.Bad
		}
		seeds = append(seeds, seed{"Media", s.Input()})
	}
	return seeds, nil
}

// maxMediaCalls is how many calls an input has at most.
const maxMediaCalls = 10

// media notes a call on a descriptor, made by do; fd is -1 for anonymous memory of a size.
func (l *library) media(fd int, size uint64, step fuzz.MediaStep, do func() error) error {
	r := l.r
	a := MediaAccess{FD: fd, Step: step, Source: model.Source{Kind: model.Anonymous, Size: size}}
	if fd >= 0 {
		flags, err := r.base.GetFL(fd)
		if err != nil {
			return do() // it is closed
		}
		a.Source, a.DAX = r.describe(fd)
		a.Append, a.Source.AppendOnly = flags&platform.OAppend != 0, false
		a.Bad = r.badBlocks(fd)
	}
	l.w.begin()
	err := do()
	if l.w.fails {
		a.Step.Answer = l.w.end().media
	}
	r.mu.Lock()
	r.trace.Media = append(r.trace.Media, a)
	r.mu.Unlock()
	return err
}

// badBlocks are those of a descriptor, asked on the machine that nothing fails on.
func (r *recorder) badBlocks(fd int) (all []pmem2.BadBlock) {
	src, err := pmem2.SourceFromFD(fd, pmem2.On(r.base))
	if err != nil {
		return nil
	}
	c, err := pmem2.NewBadBlockContext(src)
	for err == nil {
		var b pmem2.BadBlock
		if b, err = c.Next(); err == nil {
			all = append(all, b)
		}
	}
	_, _ = c.Delete(), src.Delete()
	return all
}

// PreadMCSafe is conformance.Source.PreadMCSafe.
func (s *fdSource) PreadMCSafe(p []byte, off uint64) error {
	step := fuzz.MediaStep{Call: fuzz.MediaRead, Offset: off, Length: uint64(len(p))}
	return s.l.media(s.fd, 0, step, func() error { return s.Source.PreadMCSafe(p, off) })
}

// PwriteMCSafe is conformance.Source.PwriteMCSafe.
func (s *fdSource) PwriteMCSafe(p []byte, off uint64) error {
	step := fuzz.MediaStep{Call: fuzz.MediaWrite, Offset: off, Length: uint64(len(p))}
	return s.l.media(s.fd, 0, step, func() error { return s.Source.PwriteMCSafe(p, off) })
}

// anonSource is a source of anonymous memory.
type anonSource struct {
	conformance.Source
	l    *library
	size uint64
}

func (s *anonSource) bare() conformance.Source { return s.Source }

// PreadMCSafe is conformance.Source.PreadMCSafe.
func (s *anonSource) PreadMCSafe(p []byte, off uint64) error {
	step := fuzz.MediaStep{Call: fuzz.MediaRead, Offset: off, Length: uint64(len(p))}
	return s.l.media(-1, s.size, step, func() error { return s.Source.PreadMCSafe(p, off) })
}

// PwriteMCSafe is conformance.Source.PwriteMCSafe.
func (s *anonSource) PwriteMCSafe(p []byte, off uint64) error {
	step := fuzz.MediaStep{Call: fuzz.MediaWrite, Offset: off, Length: uint64(len(p))}
	return s.l.media(-1, s.size, step, func() error { return s.Source.PwriteMCSafe(p, off) })
}

// NewBadBlockContext is conformance.Library.NewBadBlockContext.
func (l *library) NewBadBlockContext(src conformance.Source) (c conformance.BadBlocks, err error) {
	create := func() error {
		c, err = l.Library.NewBadBlockContext(bare(src))
		return err
	}
	step := fuzz.MediaStep{Call: fuzz.MediaList}
	fd := -1
	switch s := src.(type) {
	case *fdSource:
		fd = s.fd
		_ = l.media(fd, 0, step, create)
	case *anonSource:
		_ = l.media(fd, s.size, step, create)
	default:
		_ = create()
	}
	if c == nil || fd < 0 {
		return c, err
	}
	return &badBlocks{BadBlocks: c, l: l, fd: fd, fresh: true}, err
}

// badBlocks stands before a context.
type badBlocks struct {
	conformance.BadBlocks
	l     *library
	fd    int
	fresh bool // nothing was taken from it yet
}

// Next is conformance.BadBlocks.Next.
func (c *badBlocks) Next() (b pmem2.BadBlock, err error) {
	step := fuzz.MediaStep{Call: fuzz.MediaNext, Set: c.fresh} // the target makes a context then
	c.fresh = false
	_ = c.l.media(c.fd, 0, step, func() error {
		b, err = c.BadBlocks.Next()
		return err
	})
	return b, err
}

// Clear is conformance.BadBlocks.Clear.
func (c *badBlocks) Clear(b pmem2.BadBlock) error {
	step := fuzz.MediaStep{Call: fuzz.MediaClear, Offset: b.Offset, Length: b.Length}
	return c.l.media(c.fd, 0, step, func() error { return c.BadBlocks.Clear(b) })
}

// media notes a call on a source of libpmemset.
func (s *setSource) media(call fuzz.MediaCall, off, n uint64, do func() error) error {
	step := fuzz.MediaStep{Call: call, Set: true, Offset: off, Length: n}
	if s.fd < 0 {
		return do()
	}
	return s.l.l.media(s.fd, 0, step, do)
}

// PreadMCSafe is conformance.SetSource.PreadMCSafe.
func (s *setSource) PreadMCSafe(p []byte, off uint64) error {
	return s.media(fuzz.MediaRead, off, uint64(len(p)), func() error { return s.SetSource.PreadMCSafe(p, off) })
}

// PwriteMCSafe is conformance.SetSource.PwriteMCSafe.
func (s *setSource) PwriteMCSafe(p []byte, off uint64) error {
	return s.media(fuzz.MediaWrite, off, uint64(len(p)), func() error { return s.SetSource.PwriteMCSafe(p, off) })
}

// ClearBadBlock is conformance.SetSource.ClearBadBlock.
func (s *setSource) ClearBadBlock(b pmem2.BadBlock) error {
	return s.media(fuzz.MediaClear, b.Offset, b.Length, func() error { return s.SetSource.ClearBadBlock(b) })
}

// SetBadBlockDetection is conformance.SetSource.SetBadBlockDetection.
func (s *setSource) SetBadBlockDetection(on bool) error {
	err := s.SetSource.SetBadBlockDetection(on)
	s.detects = on && err == nil
	return err
}

// detecting notes a map call that looks for bad blocks. What its callback clears is part of it.
func (s *setSource) detecting(do func() (pmemset.PartDescriptor, error)) (d pmemset.PartDescriptor, err error) {
	if !s.detects {
		return do()
	}
	r := s.l.l.r
	r.mu.Lock()
	before := len(r.trace.Media)
	r.mu.Unlock()
	_ = s.media(fuzz.MediaDetect, 0, 0, func() error {
		d, err = do()
		return err
	})
	r.mu.Lock()
	defer r.mu.Unlock()
	if last := len(r.trace.Media) - 1; last >= before && r.trace.Media[last].Step.Call == fuzz.MediaDetect {
		own := r.trace.Media[last]
		own.Step.Clears = slices.ContainsFunc(r.trace.Media[before:last], func(a MediaAccess) bool { return a.Step.Call == fuzz.MediaClear })
		r.trace.Media = append(r.trace.Media[:before], own)
	}
	return d, err
}

// Pread is pread(2).
func (w *watch) Pread(fd int, p []byte, off int64) (int, error) {
	n, err := w.Platform.Pread(fd, p, off)
	w.answered(&w.last.media.Pread, err)
	return n, err
}

// Pwrite is pwrite(2).
func (w *watch) Pwrite(fd int, p []byte, off int64) (int, error) {
	n, err := w.Platform.Pwrite(fd, p, off)
	w.answered(&w.last.media.Pwrite, err)
	return n, err
}

// ARSCapabilities is the ND_IOCTL_ARS_CAP ioctl.
func (w *watch) ARSCapabilities(fd int, addr, length uint64) (platform.ARSCap, error) {
	c, err := w.Platform.ARSCapabilities(fd, addr, length)
	w.answered(&w.last.media.Capabilities, err)
	return c, err
}

// ClearError is the ND_IOCTL_CLEAR_ERROR ioctl.
func (w *watch) ClearError(fd int, addr, length uint64) (uint64, error) {
	n, err := w.Platform.ClearError(fd, addr, length)
	w.answered(&w.last.media.ClearError, err)
	return n, err
}

// answered remembers what a call was answered.
func (w *watch) answered(to *syscall.Errno, err error) {
	w.r.mu.Lock()
	*to = errno(err)
	w.r.mu.Unlock()
}
