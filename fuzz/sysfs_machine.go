package fuzz

import (
	"math/bits"
	"sync/atomic"
	"syscall"
	"unsafe"

	"pmemlab/fuzz/model"
	"pmemlab/pmem2/platform"
)

// textMachine is a machine that has nothing but a device DAX, a file, and the texts that
// its kernel says of them. Nothing real is behind it. It is for one goroutine.
type textMachine struct {
	platform.Platform // nil: what isn't answered here is never asked
	attrs             [attrCount]model.Attr
	bus               []model.Entry // of bus/nd/devices
	names             []string      // theirs
	listing           syscall.Errno // of listing it
	root              []string      // what sysfs has
	page              uint64
	layout            *fileLayout
	unsynced          bool // MAP_SYNC is refused
	writeAnswer       syscall.Errno
	written           int // how often deep_flush was
	wrong             string
	addr              uintptr
	ops               platform.CacheOps
}

// The attributes.
const (
	attrSize = iota
	attrAlign
	attrSubsystem
	attrDevice // the link to the device DAX
	attrBlock  // the link to the block device
	attrNode
	attrMappings
	attrMapping0
	attrMapping1
	attrMapping2
	attrMapping3
	attrDIMM0
	attrDIMM1
	attrDIMM2
	attrDIMM3
	attrRegionStart
	attrStart
	attrNamespaceSize
	attrRegionBad
	attrDiskBad
	attrPartition
	attrFirst
	attrDeepFlush
	attrCount
)

// Where things are in sysfs.
const (
	deviceNode  = "dev/char/252:0"
	blockNode   = "dev/block/259:1"
	busList     = "bus/nd/devices"
	regionNode  = busList + "/region0"
	regionPlace = "devices/ndbus0/region0"
	daxPlace    = regionPlace + "/dax0.0"
	diskPlace   = regionPlace + "/namespace0.0/block/pmem0"
	partPlace   = diskPlace + "/pmem0p1"
)

// defaultAttrs are what the kernel says if an input doesn't tell.
var defaultAttrs = [attrCount]model.Attr{
	attrSize: {Text: "16777216\n"}, attrAlign: {Text: "2097152\n"},
	attrSubsystem: {Text: "../../../../bus/dax"},
	attrDevice:    {Text: "../../" + daxPlace + "/dax0.0"}, attrBlock: {Text: "../../" + diskPlace},
	attrNode: {Text: "0\n"}, attrMappings: {Text: "1\n"},
	attrMapping0: {Text: "nmem0,0,17179869184,0\n"}, attrMapping1: {Text: "nmem1,0,17179869184,1\n"},
	attrMapping2: {Text: "nmem2,0,17179869184,2\n"}, attrMapping3: {Text: "nmem3,0,17179869184,3\n"},
	attrDIMM0: {Text: "5\n"}, attrDIMM1: {Text: "7\n"}, attrDIMM2: {Text: "-1\n"}, attrDIMM3: {Text: "0\n"},
	attrRegionStart: {Text: "0x180000000\n"}, attrStart: {Text: "0x180200000\n"}, attrNamespaceSize: {Text: "16777216\n"},
	attrRegionBad: {Text: ""}, attrDiskBad: {Text: ""},
	attrPartition: {Errno: syscall.ENOENT}, attrFirst: {Text: "2048\n"},
	attrDeepFlush: {Text: "1\n"},
}

// fileLayout is where a file lies on its disk.
type fileLayout struct {
	block   int64
	extents []platform.FiemapExtent
}

// fileLayouts have extents in any order of the disk, holes, parts that lie nowhere yet, ends
// that are no multiple of a block, and places as far as a disk can reach.
var fileLayouts = [...]fileLayout{
	{4096, []platform.FiemapExtent{{Length: mib, Flags: last}}},
	{4096, []platform.FiemapExtent{{Physical: mib, Length: 65536}, {Logical: 65536, Physical: 524288, Length: 65536, Flags: last}}},
	{512, []platform.FiemapExtent{{Physical: 4096, Length: 4096, Flags: last}}},
	{4096, []platform.FiemapExtent{
		{Length: 4096}, {Logical: 8192, Physical: 4096, Length: 4096, Flags: platform.FiemapExtentDelalloc},
		{Logical: 16384, Physical: 8192, Length: 8192, Flags: last},
	}},
	{4096, []platform.FiemapExtent{{Logical: 4096, Physical: 1 << 62, Length: 1 << 61, Flags: last}}},
	{4096, []platform.FiemapExtent{{Length: 5120}, {Logical: 8192, Physical: 5632, Length: 1024}}}, // it has grown since
	{2 * mib, []platform.FiemapExtent{{Logical: 2 * mib, Length: 4 * mib}, {Logical: 8 * mib, Physical: 4*mib + 512, Length: 4096, Flags: last}}},
	{0, []platform.FiemapExtent{{Physical: 1024, Length: 1536, Flags: last}}},
	{4096, nil},
}

const last = platform.FiemapExtentLast

// textMachines counts the machines that were made, so that the mappings of each have an
// address of their own.
var textMachines atomic.Uintptr

func newTextMachine() *textMachine {
	m := &textMachine{attrs: defaultAttrs, page: 4096, layout: &fileLayouts[0], root: []string{"bus"}}
	// Where no other target registers anything, and the kernel maps nothing unasked.
	m.addr = 1<<(bits.UintSize-21) + textMachines.Add(1)<<26
	m.ops.Persist = func(unsafe.Pointer, uintptr) {}
	m.defaultBus()
	return m
}

// defaultBus has one region, and the list of what is on the bus can be read.
func (m *textMachine) defaultBus() {
	m.bus = append(m.bus[:0], model.Entry{Name: "nmem0"}, model.Entry{Name: "region0"})
	m.listing = 0
}

// The descriptors of the machine.
const (
	deviceFD = 3
	fileFD   = 4
)

// GetFL is fcntl(F_GETFL).
func (m *textMachine) GetFL(int) (int, error) { return platform.ORdwr, nil }

// Fstat is fstat(2).
func (m *textMachine) Fstat(fd int) (platform.Stat, error) {
	if fd == deviceFD {
		return platform.Stat{Mode: platform.SIFCHR | 0o600, Rdev: 252 << 8}, nil
	}
	return platform.Stat{Mode: platform.SIFREG | 0o600, Dev: 259<<8 | 1, Size: 16 * mib, BlockSize: m.layout.block}, nil
}

// PageSize is the page size of the input.
func (m *textMachine) PageSize() uint64 { return m.page }

// CacheOps are operations that do nothing: there is no memory.
func (m *textMachine) CacheOps(platform.Granularity) *platform.CacheOps { return &m.ops }

// Mmap is mmap(2). Nothing is mapped.
func (m *textMachine) Mmap(_ uintptr, _ uint64, _, flags, _ int, _ int64) (uintptr, error) {
	if m.unsynced && flags&platform.MapSync != 0 {
		return 0, syscall.EOPNOTSUPP
	}
	return m.addr, nil
}

// Munmap is munmap(2).
func (m *textMachine) Munmap(uintptr, uint64) error { return nil }

// Fiemap is the FS_IOC_FIEMAP ioctl.
func (m *textMachine) Fiemap(_ int, start, length uint64, _ uint32, extents []platform.FiemapExtent) (int, error) {
	n := 0
	for _, e := range m.layout.extents {
		if e.Logical < start+length && e.Logical+e.Length > start && n < len(extents) {
			extents[n] = e
			n++
		}
	}
	return n, nil
}

// ReadAttr answers what the input says.
func (m *textMachine) ReadAttr(path string) (string, error) {
	var a int
	switch path {
	case deviceNode + "/size":
		a = attrSize
	case deviceNode + "/align":
		a = attrAlign
	case regionNode + "/numa_node":
		a = attrNode
	case regionNode + "/mappings":
		a = attrMappings
	case regionNode + "/mapping0":
		a = attrMapping0
	case regionNode + "/mapping1":
		a = attrMapping1
	case regionNode + "/mapping2":
		a = attrMapping2
	case regionNode + "/mapping3":
		a = attrMapping3
	case busList + "/nmem0/nfit/id", busList + "/nmem0/nfit/dirty_shutdown":
		a = attrDIMM0
	case busList + "/nmem1/nfit/id", busList + "/nmem1/nfit/dirty_shutdown":
		a = attrDIMM1
	case busList + "/nmem2/nfit/id", busList + "/nmem2/nfit/dirty_shutdown":
		a = attrDIMM2
	case busList + "/nmem3/nfit/id", busList + "/nmem3/nfit/dirty_shutdown":
		a = attrDIMM3
	case regionNode + "/resource":
		a = attrRegionStart
	case daxPlace + "/resource":
		a = attrStart
	case daxPlace + "/size":
		a = attrNamespaceSize
	case regionNode + "/badblocks":
		a = attrRegionBad
	case diskPlace + "/badblocks":
		a = attrDiskBad
	case partPlace + "/partition":
		a = attrPartition
	case partPlace + "/start":
		a = attrFirst
	case regionNode + "/deep_flush":
		a = attrDeepFlush
	default:
		return m.readOther(path)
	}
	return answer(m.attrs[a])
}

// readOther reads the persistence domain of a region.
func (m *textMachine) readOther(path string) (string, error) {
	const domain = "/persistence_domain"
	from, to := len(busList)+1, len(path)-len(domain)
	if from < to && path[:from] == busList+"/" && path[to:] == domain {
		for i := range m.bus {
			if m.bus[i].Name == path[from:to] {
				return answer(m.bus[i].Attr)
			}
		}
	}
	return "", syscall.ENOENT
}

// answer is how a call returns an attribute.
func answer(a model.Attr) (string, error) {
	if a.Errno != 0 {
		return "", a.Errno
	}
	return a.Text, nil
}

// WriteAttr notes that a deep flush is asked for.
func (m *textMachine) WriteAttr(path, text string) error {
	if path != regionNode+"/deep_flush" || text != "1" {
		m.wrong = path
	}
	m.written++
	if m.writeAnswer != 0 {
		return m.writeAnswer
	}
	return nil
}

// Readlink answers what the input says.
func (m *textMachine) Readlink(path string) (string, error) {
	switch path {
	case deviceNode + "/subsystem":
		return answer(m.attrs[attrSubsystem])
	case deviceNode:
		return answer(m.attrs[attrDevice])
	case blockNode:
		return answer(m.attrs[attrBlock])
	}
	return "", syscall.ENOENT
}

// List answers what the input says.
func (m *textMachine) List(path string) ([]string, error) {
	switch {
	case path == "":
		return m.root, nil
	case path != busList:
		return nil, syscall.ENOENT
	case m.listing != 0:
		return nil, m.listing
	}
	m.names = m.names[:0]
	for i := range m.bus {
		m.names = append(m.names, m.bus[i].Name)
	}
	return m.names, nil
}
