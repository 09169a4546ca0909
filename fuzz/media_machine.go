package fuzz

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"unsafe"

	"pmemlab/emu"
	"pmemlab/fuzz/model"
	"pmemlab/pmem2"
	"pmemlab/pmem2/platform"
	"pmemlab/pmemset"
)

// How large things are.
const (
	mediaFilePages = 8 // of a file at most
	mediaDisk      = mib
	mediaDevice    = 4 * mib
	// mediaMost is how much is read or written at a time. Buffers have room for it, and go on
	// for mediaBuffers bytes, where nothing can be accessed.
	mediaMost    = 32 << 10
	mediaBuffers = 1 << 40
)

// mediaObject is something on the machine that sources are made of.
type mediaObject struct {
	name    string
	start   model.Media // as it is, but for what an input makes of it
	fs      *emu.FileSystem
	disk    int // descriptor of its block device; 0: there is none
	dev     *emu.DaxDevice
	bus     int    // descriptor of the bus of a device DAX
	address uint64 // physical, of a device DAX
	raw     int    // descriptor that is always open for reading and writing
	fds     [len(mediaAccesses)]int
	sources [len(mediaAccesses)]*pmem2.Source
	sets    [len(mediaAccesses)]*pmemset.Source
	byPath  *pmemset.Source
	dirty   []model.Extent // of a device DAX: what isn't as it was at first
}

// mediaMachine has one of each kind of source.
type mediaMachine struct {
	probe    mediaProbe
	emulated *emu.Machine
	host     platform.Platform
	objects  []*mediaObject
	set      *pmemset.Set
	event    func(e *pmemset.Event) error // what the set's callback does
	buffers  uintptr
	pattern  []byte // what sources hold at first: no zeroes
	stores   []byte // what is written
	before   []byte // what buffers hold before something is read into them
	contents []byte // room for what a source holds
	extents  []platform.FiemapExtent
}

// mediaProbe stands between the libraries and the machine, and gives the answers of an input.
type mediaProbe struct {
	probe
	kernel model.Kernel
	host   platform.Platform
	plain  bool // nothing is bad, and there is room: a write is one of the host's, too
	open   int  // descriptors opened and not closed
	ops    platform.CacheOps
}

// Open is open(2).
func (p *mediaProbe) Open(path string, flags int, mode uint32) (int, error) {
	fd, err := p.Platform.Open(path, flags, mode)
	if err == nil {
		p.open++
	}
	return fd, err
}

// Close is close(2).
func (p *mediaProbe) Close(fd int) error {
	err := p.Platform.Close(fd)
	if err == nil {
		p.open--
	}
	return err
}

// Pread is pread(2).
func (p *mediaProbe) Pread(fd int, b []byte, off int64) (int, error) {
	if p.kernel.Pread != 0 {
		return 0, p.kernel.Pread
	}
	return p.Platform.Pread(fd, p.some(b), off)
}

// Pwrite is pwrite(2).
func (p *mediaProbe) Pwrite(fd int, b []byte, off int64) (int, error) {
	if p.kernel.Pwrite != 0 {
		return 0, p.kernel.Pwrite
	}
	if p.plain { // the machine would remember what of it is durable, which takes long
		return p.host.Pwrite(fd, p.some(b), off)
	}
	return p.Platform.Pwrite(fd, p.some(b), off)
}

func (p *mediaProbe) some(b []byte) []byte {
	if most := p.kernel.Most; most != 0 && uint64(len(b)) > most {
		return b[:most]
	}
	return b
}

// ARSCapabilities is the ND_IOCTL_ARS_CAP ioctl.
func (p *mediaProbe) ARSCapabilities(fd int, addr, length uint64) (platform.ARSCap, error) {
	switch {
	case p.kernel.Capabilities != 0:
		return platform.ARSCap{}, p.kernel.Capabilities
	case p.kernel.NoScrub:
		return platform.ARSCap{Status: 2}, nil
	}
	return p.Platform.ARSCapabilities(fd, addr, length)
}

// ClearError is the ND_IOCTL_CLEAR_ERROR ioctl.
func (p *mediaProbe) ClearError(fd int, addr, length uint64) (uint64, error) {
	switch {
	case p.kernel.ClearError != 0:
		return 0, p.kernel.ClearError
	case p.kernel.Halves:
		if length = length / 2 &^ (model.ClearUnit - 1); length == 0 {
			return 0, nil
		}
	}
	return p.Platform.ClearError(fd, addr, length)
}

// CacheOps are the host's, but that nothing is flushed: it takes long.
func (p *mediaProbe) CacheOps(platform.Granularity) *platform.CacheOps { return &p.ops }

func newMediaMachine() (*mediaMachine, error) {
	// With eADR the machine has least to remember of what is durable, which nobody asks here.
	e := emu.NewMachine(emu.Config{EADR: true, TraceEvents: -1})
	m := &mediaMachine{
		emulated: e, host: platform.Host(), contents: make([]byte, mediaDevice), pattern: make([]byte, mediaDevice),
		stores: make([]byte, mediaMost+256), extents: make([]platform.FiemapExtent, 64),
		before: bytes.Repeat([]byte{untouched}, mediaMost),
	}
	m.probe.Platform, m.probe.host = e, m.host
	m.probe.ops = *m.host.CacheOps(platform.GranularityCacheLine)
	m.probe.ops.Flush, m.probe.ops.Persist = func(unsafe.Pointer, uintptr) {}, func(unsafe.Pointer, uintptr) {}
	for i := range m.pattern {
		m.pattern[i] = byte(i*7+i>>9) | 1
	}
	for i := range m.stores {
		m.stores[i] = byte(i*11 + i>>8)
	}
	var err error
	m.buffers, err = m.host.Mmap(0, mediaBuffers, platform.ProtNone, platform.MapPrivate|platform.MapAnonymous|platform.MapNoreserve, -1, 0)
	if err != nil {
		return m, err
	}
	const here = platform.MapPrivate | platform.MapAnonymous | platform.MapFixed
	if _, err = m.host.Mmap(m.buffers, mediaMost, platform.ProtRead|platform.ProtWrite, here, -1, 0); err != nil {
		return m, err
	}
	if err := m.makeObjects(); err != nil {
		return m, err
	}
	cfg := pmemset.NewConfig()
	if err := errors.Join(cfg.SetRequiredStoreGranularity(pmem2.GranularityPage), cfg.SetEventCallback(func(_ *pmemset.Set, e *pmemset.Event) error {
		return m.event(e)
	})); err != nil {
		return m, err
	}
	m.set, err = pmemset.New(cfg)
	m.probe.open, m.probe.held = 0, 0
	return m, err
}

func (m *mediaMachine) makeObjects() error {
	e, page := m.emulated, m.emulated.PageSize()
	file := model.Media{Kind: model.File, Page: page, Room: mediaDisk, Largest: maxFile}
	onFS := func(name string, fs emu.FS) {
		o := &mediaObject{name: name, start: file, fs: e.AddFS(fs)}
		o.start.DAX, o.start.NoDisk, o.start.Merges = fs.DAX, fs.Type == emu.Tmpfs, fs.Type == emu.XFS
		if fs.Type != emu.Ext4 {
			o.start.Largest = 1<<63 - 1
		}
		m.objects = append(m.objects, o)
	}
	onFS("a file of the page cache", emu.FS{Size: mediaDisk})
	onFS("a DAX file", emu.FS{Size: mediaDisk, DAX: true})
	onFS("a DAX file of virtio-pmem", emu.FS{Size: mediaDisk, DAX: true, VirtioPmem: true})
	onFS("a file of a tmpfs", emu.FS{Size: mediaDisk, Type: emu.Tmpfs})
	for _, d := range []struct {
		name        string
		size, align uint64
	}{{"a device DAX, alignment 4 KiB,", mediaFilePages * page, page}, {"a device DAX, alignment 2 MiB,", mediaDevice, 2 * mib}} {
		o := &mediaObject{name: d.name, dev: e.AddDevDax(emu.DevDax{Size: d.size, Align: d.align})}
		o.start = model.Media{Kind: model.DeviceDAX, Page: page, Size: d.size, Bytes: slices.Clone(m.pattern[:d.size])}
		o.dirty = []model.Extent{{Size: d.size}}
		m.objects = append(m.objects, o)
	}
	anon := &mediaObject{name: "anonymous memory", start: model.Media{Kind: model.Anonymous, Page: page, Size: page}}
	m.objects = append(m.objects, anon)
	onFS("a DAX file of an XFS", emu.FS{Size: mediaDisk, DAX: true, Type: emu.XFS})
	if err := e.Err(); err != nil {
		return err
	}
	for _, o := range m.objects {
		if o == anon {
			continue
		}
		if err := m.open(o); err != nil {
			return fmt.Errorf("%s: %w", o.name, err)
		}
		if err := m.reset(o); err != nil {
			return fmt.Errorf("%s: %w", o.name, err)
		}
	}
	src, err := pmem2.SourceFromAnon(page, pmem2.On(&m.probe))
	for a := range anon.sources {
		anon.sources[a] = src
	}
	return err
}

// open makes the sources of an object.
func (m *mediaMachine) open(o *mediaObject) (err error) {
	e, path := m.emulated, ""
	if o.fs != nil {
		path = o.fs.Path("file")
		if o.raw, err = e.Open(path, os.O_RDWR|os.O_CREATE, 0o600); err != nil {
			return err
		}
		if !o.start.NoDisk {
			if o.disk, err = e.Open(o.fs.BlockDevice().Path(), os.O_RDWR, 0); err != nil {
				return err
			}
		}
	} else {
		path = o.dev.Path()
		if o.raw, err = e.Open(path, os.O_RDWR, 0); err != nil {
			return err
		}
		if o.bus, err = e.Open("/dev/ndctl0", os.O_RDWR, 0); err != nil {
			return err
		}
		text, err := e.ReadAttr(o.dev.SysfsPath() + "/resource")
		if err != nil {
			return err
		}
		if o.address, err = strconv.ParseUint(strings.TrimSpace(text), 0, 64); err != nil {
			return err
		}
	}
	for a, how := range mediaAccesses {
		flags := accesses[how.access]
		if how.append {
			flags |= os.O_APPEND
		}
		if o.fds[a], err = e.Open(path, flags, 0); err != nil {
			return err
		}
		if how.access == model.WriteOnly {
			continue
		}
		if o.sources[a], err = pmem2.SourceFromFD(o.fds[a], pmem2.On(&m.probe)); err != nil {
			return err
		}
		if o.sets[a], err = pmemset.SourceFromPMem2(o.sources[a]); err != nil {
			return err
		}
		if err := o.sets[a].SetBadBlockDetection(true); err != nil {
			return err
		}
	}
	if o.byPath, err = pmemset.SourceFromFile(path, pmemset.On(&m.probe)); err != nil {
		return err
	}
	return o.byPath.SetBadBlockDetection(true)
}

// reset gives an object back what it was at first.
func (m *mediaMachine) reset(o *mediaObject) error {
	switch {
	case o.fs != nil:
		if err := m.emulated.Ftruncate(o.raw, 0); err != nil || o.start.NoDisk {
			return err
		}
		zeroes := m.contents[:o.start.Page]
		for _, b := range o.fs.BlockDevice().BadBlocks() {
			clear(zeroes)
			for at := b.Offset - b.Offset%o.start.Page; at < b.Offset+b.Length; at += o.start.Page {
				if _, err := m.emulated.Pwrite(o.disk, zeroes, int64(at)); err != nil {
					return fmt.Errorf("writing over the disk's page at %d: %w", at, err)
				}
			}
		}
		if left := o.fs.BlockDevice().BadBlocks(); len(left) > 0 {
			return fmt.Errorf("written over, the disk still has the bad blocks %v", left)
		}
	case o.dev != nil:
		for _, b := range o.dev.BadBlocks() {
			if _, err := m.emulated.ClearError(o.bus, o.address+b.Offset, b.Length); err != nil {
				return fmt.Errorf("clearing %d bytes at %d: %w", b.Length, b.Offset, err)
			}
		}
		if left := o.dev.BadBlocks(); len(left) > 0 {
			return fmt.Errorf("cleared, the device still has the bad blocks %v", left)
		}
		for _, x := range o.dirty {
			if _, err := m.host.Pwrite(o.raw, m.pattern[x.Start:x.Start+x.Size], int64(x.Start)); err != nil {
				return err
			}
			copy(o.start.Bytes[x.Start:x.Start+x.Size], m.pattern[x.Start:])
		}
		o.dirty = o.dirty[:0]
	}
	return nil
}

func (m *mediaMachine) close() error {
	var errs []error
	for _, o := range m.objects {
		if o.byPath != nil {
			errs = append(errs, o.byPath.Delete())
		}
		for _, fd := range append(slices.Clone(o.fds[:]), o.raw, o.disk, o.bus) {
			if fd != 0 {
				errs = append(errs, m.emulated.Close(fd))
			}
		}
	}
	if m.set != nil {
		errs = append(errs, m.set.Delete())
	}
	if m.buffers != 0 {
		errs = append(errs, m.host.Munmap(m.buffers, mediaBuffers))
	}
	return errors.Join(append(errs, m.emulated.Shutdown())...)
}

const fiemapUnwritten = 0x800 // of an extent: it has no data

// locate asks the kernel where a file lies.
func (m *mediaMachine) locate(o *mediaObject, to []model.MediaRun) ([]model.MediaRun, error) {
	n, err := m.emulated.Fiemap(o.raw, 0, 1<<63-1, 0, m.extents)
	if err == nil && n == len(m.extents) {
		err = syscall.E2BIG
	}
	to = to[:0]
	for _, e := range m.extents[:n] {
		to = append(to, model.MediaRun{Logical: e.Logical, Physical: e.Physical, Length: e.Length, Blank: e.Flags&fiemapUnwritten != 0})
	}
	return to, err
}
