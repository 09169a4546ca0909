package emu

import (
	"strconv"
	"syscall"

	"pmemlab/pmem2/platform"
	"pmemlab/pmem2/platform/vma"
)

// mapping is what the machine knows of a range that was mapped through it.
type mapping struct {
	obj    *object // nil: anonymous memory
	off    uint64  // of the object, where the range begins
	prot   int
	shared bool
	sync   bool // MAP_SYNC took effect
	// noreserve: with MAP_NORESERVE, which keeps neighbours apart.
	noreserve bool
	// lost: of device DAX, mapped past the end of the memfd. See settle.
	lost  bool
	flags vmFlags
}

// advance is the mapping of what begins n bytes into the range.
func (mp mapping) advance(n uint64) mapping {
	if mp.obj != nil {
		mp.off += n
	}
	return mp
}

// goesOn says whether next, n bytes behind where mp begins, is the same mapping to the
// kernel. Shared anonymous memory, /dev/zero too, is a new object each time.
func (mp mapping) goesOn(n uint64, next mapping) bool {
	if mp.shared && mp.obj == nil || mp.obj != nil && mp.obj.class == classZero {
		return false
	}
	mp = mp.advance(n)
	mp.lost = next.lost
	return mp == next
}

func (mp mapping) name() string {
	if mp.obj == nil {
		return "anonymous memory"
	}
	return mp.obj.name + " from " + strconv.FormatUint(mp.off, 10)
}

func procFD(fd int) string { return "/proc/self/fd/" + strconv.Itoa(fd) }

// pastEnd is a file offset behind the end of every device.
const pastEnd = 1 << 62

const hugePage = 2 << 20

// taskSize is how many bytes of address space a process of the machine has.
func (m *Machine) taskSize() uint64 {
	if m.cfg.Model == Arm64 {
		return 1 << 48
	}
	return 1<<47 - pageSize
}

// Mmap is mmap(2), by the rules that are measured for the object. What it maps is a
// mapping of the object's memfd.
func (m *Machine) Mmap(addr uintptr, length uint64, prot, flags, fd int, off int64) (uintptr, error) {
	if flags&platform.MapAnonymous != 0 {
		return m.mmapAnonymous(addr, length, prot, flags, fd, off)
	}
	if off%pageSize != 0 { // before the kernel looks at the descriptor
		return 0, syscall.EINVAL
	}
	o, through, err := m.lookup(fd)
	if err != nil {
		return 0, err
	}
	if through {
		return m.host.Mmap(addr, length, prot, flags, fd, off)
	}
	openFlags, err := m.host.GetFL(fd)
	if err != nil {
		return 0, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.cfg.NoSharedValidate {
		flags &^= platform.MapFixedNoreplace | platform.MapSync
	}
	noreplace := flags&platform.MapFixedNoreplace != 0
	replace := flags&platform.MapFixed != 0 && !noreplace
	call := mmapCall{
		openFlags: openFlags, addr: addr, length: length, prot: prot, flags: flags, off: off,
		oldKernel: m.cfg.NoSharedValidate, taskSize: m.taskSize(),
	}
	place := placement{m: m, addr: addr, n: roundUp(length, pageSize)}
	defer place.giveBack()
	// Whether a place is taken only the host knows: ask it by reserving the place.
	switch {
	case noreplace:
		call.occupied = !place.reserve(platform.MapFixedNoreplace)
	case !replace && addr >= pageSize && o.align > pageSize:
		call.occupied = !place.reserve(0)
	}
	errno, late := mmapRules(o.mmapObject(), call)
	if errno != 0 && !late {
		return 0, errno
	}
	if replace {
		if !m.cutsAligned(addr, place.n) {
			return 0, syscall.ENOMEM
		}
		if late { // the hole: the kernel unmaps before it asks the object
			if err := m.unmap(addr, place.n); err != nil {
				return 0, err
			}
		}
		m.leaving(addr, place.n)
	}
	if late {
		return 0, errno
	}
	return m.mapObject(&place, o, call, fd)
}

// mmapObject is what mmapRules needs to know of o. mu must be held.
func (o *object) mmapObject() mmapObject {
	mo := mmapObject{class: o.class, align: o.align, appendOnly: o.appendOnly}
	switch o.class {
	case classDevDax:
		mo.knowsSync, mo.syncs = true, true
	case classRegular:
		mo.knowsSync = o.fs.onBlocks()
		mo.syncs = o.fs.cfg.DAX && !o.fs.cfg.VirtioPmem
	}
	return mo
}

// mapObject does what the rules allow. mu must be held.
func (m *Machine) mapObject(place *placement, o *object, c mmapCall, fd int) (uintptr, error) {
	mp := mapping{
		obj: o, off: uint64(c.off), prot: c.prot, noreserve: c.flags&platform.MapNoreserve != 0,
		flags: madeFlags(o, c),
	}
	hostFlags := platform.MapShared
	if c.flags&platform.MapType == platform.MapPrivate {
		hostFlags = platform.MapPrivate
	}
	mp.shared = hostFlags == platform.MapShared
	mp.sync = c.flags&platform.MapSync != 0 && o.mmapObject().syncs && mp.shared
	// MAP_POPULATE would take memory for all of a sparse object.
	hostFlags |= c.flags &^ (platform.MapType | platform.MapFixed | platform.MapFixedNoreplace |
		platform.MapSync | platform.MapPopulate)
	hostOff := c.off
	switch o.class {
	case classZero:
		hostFlags |= platform.MapAnonymous
		fd, hostOff = -1, 0
	case classDevDax:
		mp.off, hostOff = o.daxOffset(mp.off)
	}
	asked := c.flags & (platform.MapFixed | platform.MapFixedNoreplace)
	if c.addr < pageSize && asked == 0 { // no hint, or one that rounds to none
		if m.mem.off && place.vacant(o.congruence(), uint64(c.off), hostFlags) && !o.hasBad(mp.off, place.n) {
			want := uintptr(m.vacated.start)
			at, err := m.host.Mmap(want, c.length, c.prot, hostFlags|platform.MapFixedNoreplace, fd, hostOff)
			if err == nil && at == want {
				place.addr = at
				return m.mapped(place, o, c, hostFlags, fd, mp)
			}
			if err == nil { // the host takes the address for a hint
				_ = m.host.Munmap(at, place.n)
			}
		}
		place.find(o.congruence(), uint64(c.off))
	}
	if place.reserved {
		asked = platform.MapFixed
	}
	hostFlags |= asked
	if o.hasBad(mp.off, place.n) {
		if err := m.mapBad(place, o, mp.off, c.prot, hostFlags, fd, hostOff); err != nil {
			return 0, err
		}
		hostFlags |= platform.MapFixed
		return m.mapped(place, o, c, hostFlags, fd, mp)
	}
	at, err := m.host.Mmap(place.addr, c.length, c.prot, hostFlags, fd, hostOff)
	if err != nil {
		if asked == platform.MapFixed {
			m.resync(addresses(place.addr, place.n))
		}
		return 0, err
	}
	place.addr = at
	return m.mapped(place, o, c, hostFlags, fd, mp)
}

// mapBad is the host's mmap of memory with bad pages: at its place none of them is mapped
// but as one that faults. mu must be held.
func (m *Machine) mapBad(place *placement, o *object, off uint64, prot, flags, fd int, hostOff int64) error {
	if flags&(platform.MapFixed|platform.MapFixedNoreplace) == 0 {
		at, err := m.host.Mmap(place.addr, place.n, platform.ProtNone, reservation|flags&(map32Bit|mapAbove4G), -1, 0)
		if err != nil {
			return err
		}
		place.addr, place.reserved = at, true
	}
	err := m.mapAround(place.addr, place.n, o, off, prot, flags|platform.MapFixed, fd, hostOff)
	if err != nil && !place.reserved && flags&platform.MapFixedNoreplace == 0 {
		_ = m.unmap(place.addr, place.n)
	}
	return err
}

// mapped finishes what mapObject has mapped to its place. mu must be held.
func (m *Machine) mapped(place *placement, o *object, c mmapCall, hostFlags, fd int, mp mapping) (uintptr, error) {
	at := place.addr
	if o.class == classDevDax && uint64(c.off) != mp.off && uint64(c.off) < o.size {
		// The driver looks whether a whole huge page from the offset as it was given
		// is inside the device; what was rounded down isn't asked.
		broken := (o.size - uint64(c.off)) / o.align * o.align
		if broken < place.n {
			_, err := m.host.Mmap(at+uintptr(broken), min(o.align, place.n-broken), c.prot,
				hostFlags|platform.MapFixed, fd, pastEnd)
			if err != nil {
				place.reserved = false // what is there is the mapping
				_ = m.unmap(at, place.n)
				return 0, err
			}
		}
	}
	place.reserved = false // it is the mapping now
	m.forget(at, place.n)
	m.insert(at, place.n, mp)
	m.mem.mapped(at, place.n, mp)
	return at, nil
}

// daxOffset is where in a device DAX mapping that is to begin at off begins: the page
// tables of a huge page hold no smaller offset. hostOff is that in the memfd.
func (o *object) daxOffset(off uint64) (rounded uint64, hostOff int64) {
	off &^= o.align - 1
	if off >= o.size {
		return off, pastEnd // all of it is, and some offsets no file can have
	}
	return off, int64(off)
}

// congruence is the number of bytes that the kernel likes addresses and offsets of
// mappings of o to agree in; 0 if it doesn't care.
func (o *object) congruence() uint64 {
	switch {
	case o.class == classDevDax && o.align > pageSize:
		return o.align
	case o.class == classRegular && o.fs.onBlocks():
		return hugePage
	}
	return 0
}

// placement is the search for the address of a mapping of n bytes.
type placement struct {
	m        *Machine
	addr     uintptr
	n        uint64
	reserved bool // [addr, addr+n) is ours and empty
}

const reservation = platform.MapPrivate | platform.MapAnonymous | platform.MapNoreserve

// reserve takes the range at addr and says whether it was free. Where the range makes
// no sense it takes nothing and says that it is free: the rules say what is wrong.
func (p *placement) reserve(flags int) bool {
	if p.n == 0 || p.n > p.m.taskSize() || uint64(p.addr) > p.m.taskSize()-p.n ||
		flags != 0 && p.addr%pageSize != 0 {
		return flags != 0
	}
	want := p.addr &^ (pageSize - 1)
	at, err := p.m.host.Mmap(want, p.n, platform.ProtNone, reservation|flags, -1, 0)
	if err != nil {
		return err != syscall.EEXIST && flags != 0
	}
	if at != want {
		_ = p.m.host.Munmap(at, p.n)
		return false
	}
	p.addr, p.reserved = at, true
	return true
}

// find takes a range whose address agrees with off modulo align, if the mapping is so
// large that the kernel cares. Without one the host chooses.
func (p *placement) find(align, off uint64) {
	if align == 0 || p.n > p.m.taskSize()-align || roundUp(off, align) < off {
		return
	}
	if end := off + p.n; end < off || end < roundUp(off, align)+align {
		return
	}
	at, err := p.m.host.Mmap(0, p.n+align, platform.ProtNone, reservation, -1, 0)
	if err != nil {
		return
	}
	skip := (off - uint64(at)) & (align - 1)
	if skip > 0 {
		_ = p.m.host.Munmap(at, skip)
	}
	p.addr, p.reserved = at+uintptr(skip), true
	_ = p.m.host.Munmap(p.addr+uintptr(p.n), align-skip)
}

// vacant says whether what find looks for was there a moment ago. To map it there at once
// are two calls of the host less.
func (p *placement) vacant(align, off uint64, flags int) bool {
	v := p.m.vacated
	return align != 0 && v.end-v.start == p.n && (off-v.start)&(align-1) == 0 && flags&(map32Bit|mapAbove4G) == 0
}

// giveBack frees a reservation that nothing was mapped over.
func (p *placement) giveBack() {
	if p.reserved {
		_ = p.m.host.Munmap(p.addr, p.n)
	}
}

func (m *Machine) mmapAnonymous(addr uintptr, length uint64, prot, flags, fd int, off int64) (uintptr, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	n := roundUp(length, pageSize)
	if m.cfg.NoSharedValidate {
		flags &^= platform.MapFixedNoreplace
	}
	replaces := flags&platform.MapFixed != 0 && flags&platform.MapFixedNoreplace == 0
	if replaces && !m.cutsAligned(addr, n) {
		return 0, syscall.ENOMEM
	}
	if replaces {
		m.leaving(addr, n)
	}
	at, err := m.host.Mmap(addr, length, prot, flags, fd, off)
	if err != nil {
		if replaces {
			m.resync(addresses(addr, n))
		}
		return 0, err
	}
	m.forget(at, n)
	m.insert(at, n, mapping{
		prot: prot, shared: flags&platform.MapType == platform.MapShared,
		noreserve: flags&platform.MapNoreserve != 0,
	})
	return at, nil
}

// cutsAligned says whether cutting [addr, addr+n) out cuts device DAX mappings at
// multiples of their alignment only. mu must be held.
func (m *Machine) cutsAligned(addr uintptr, n uint64) bool {
	for _, cut := range [2]uintptr{addr, addr + uintptr(n)} {
		e, ok := m.maps.At(cut)
		if ok && e.Addr < cut && e.Value.obj != nil && e.Value.obj.class == classDevDax &&
			uint64(cut)%e.Value.obj.align != 0 {
			return false
		}
	}
	return true
}

// insert records that mp is mapped to [addr, addr+n), of which the machine knows
// nothing yet. Like the kernel it makes one mapping of neighbours that go on in each
// other. mu must be held.
func (m *Machine) insert(addr uintptr, n uint64, mp mapping) {
	mixed := false
	if e, ok := m.maps.At(addr - 1); ok && e.Value.goesOn(uint64(addr-e.Addr), mp) {
		mixed = e.Value.lost != mp.lost
		addr, n, mp = e.Addr, e.Len+n, e.Value
	}
	if e, ok := m.maps.At(addr + uintptr(n)); ok && mp.goesOn(n, e.Value) {
		mixed = mixed || e.Value.lost != mp.lost
		n += e.Len
	}
	m.maps.Insert(addr, n, mp)
	m.settle(vma.Entry[mapping]{Addr: addr, Len: n, Value: mp}, mixed)
}

// settle maps the pages of a device DAX mapping where accesses must find them: past the
// end of the memfd, so that each is SIGBUS, while the mapping begins or ends at no
// multiple of the device's alignment. mixed says that only some of them are there now.
// mu must be held.
func (m *Machine) settle(e vma.Entry[mapping], mixed bool) {
	o := e.Value.obj
	if o == nil || o.class != classDevDax || o.align <= pageSize {
		return
	}
	lost := (uint64(e.Addr)|e.Len)%o.align != 0
	if lost == e.Value.lost && !mixed {
		return
	}
	hostOff := int64(pastEnd)
	if !lost {
		e.Value.off, hostOff = o.daxOffset(e.Value.off)
	}
	m.mem.hitValid = false
	m.unwatch(e.Addr, e.Len)
	o.suspectAll = true
	var err error
	if flags := platform.MapShared | platform.MapFixed; !lost && o.hasBad(e.Value.off, e.Len) {
		err = m.mapAround(e.Addr, e.Len, o, e.Value.off, e.Value.prot, flags, o.keeper, hostOff)
	} else {
		_, err = m.host.Mmap(e.Addr, e.Len, e.Value.prot, flags, o.keeper, hostOff)
	}
	if err != nil { // after Shutdown, without a descriptor: accesses stay as they were
		m.resync(addresses(e.Addr, e.Len))
		return
	}
	e.Value.lost = lost
	m.maps.Insert(e.Addr, e.Len, e.Value)
}

// settleBeside settles what is left of the mappings from which [addr, addr+n) was cut:
// it may be aligned now. What the host has unmapped the machine must not know any more.
// mu must be held.
func (m *Machine) settleBeside(addr uintptr, n uint64) {
	for _, beside := range [2]uintptr{addr - 1, addr + uintptr(n)} {
		if e, ok := m.maps.At(beside); ok && e.Value.lost {
			m.settle(e, false)
		}
	}
}

// forget strikes out what was mapped in [addr, addr+n). mu must be held.
func (m *Machine) forget(addr uintptr, n uint64) {
	gone := m.maps.Remove(addr, n)
	m.mem.unmapped(gone)
	m.settleBeside(addr, n)
	for _, e := range gone {
		m.release(e.Value.obj)
	}
}

// resync forgets what a call that failed on the host has nevertheless unmapped in the
// ranges of addresses. mu must be held.
func (m *Machine) resync(ranges ...extent) {
	var gone []vma.Entry[mapping]
	for _, x := range ranges {
		for e := range m.maps.Overlapping(uintptr(x.start), x.end-x.start) {
			if !m.isMapped(e.Addr, e.Len) {
				gone = append(gone, e)
			}
		}
	}
	for _, e := range gone {
		m.maps.Remove(e.Addr, e.Len)
	}
	m.mem.unmapped(gone)
	for _, e := range gone {
		m.settleBeside(e.Addr, e.Len)
		m.release(e.Value.obj)
	}
}

// addresses is [addr, addr+n) for resync.
func addresses(addr uintptr, n uint64) extent { return extent{uint64(addr), uint64(addr) + n} }

// isMapped asks the host whether something is mapped to each page of [addr, addr+n).
func (m *Machine) isMapped(addr uintptr, n uint64) bool {
	return m.host.Msync(addr, n, platform.MsAsync) != syscall.ENOMEM
}

// unmap unmaps [addr, addr+n). mu must be held.
func (m *Machine) unmap(addr uintptr, n uint64) error {
	m.leaving(addr, n)
	if err := m.host.Munmap(addr, n); err != nil {
		return err
	}
	m.forget(addr, n)
	return nil
}

// Munmap is munmap(2). EINVAL: it would cut a device DAX mapping elsewhere than at a
// multiple of the device's alignment.
func (m *Machine) Munmap(addr uintptr, length uint64) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	n := roundUp(length, pageSize)
	if n != 0 && !m.cutsAligned(addr, n) {
		return syscall.EINVAL
	}
	err := m.unmap(addr, n)
	if err == nil && m.mem.off {
		m.vacated = addresses(addr, n)
	}
	return err
}

// Msync is msync(2). EINVAL: MS_SYNC on device DAX, which has no fsync.
func (m *Machine) Msync(addr uintptr, length uint64, flags int) error {
	if flags&platform.MsSync != 0 {
		m.mu.Lock()
		for e := range m.maps.Overlapping(addr, roundUp(length, pageSize)) {
			// What can't be written to the kernel has nothing to sync of.
			if e.Value.obj != nil && e.Value.obj.class == classDevDax && e.Value.flags&vmReadOnly == 0 {
				m.mu.Unlock()
				return syscall.EINVAL
			}
		}
		m.mu.Unlock()
	}
	m.rec.calling("msync", addr, length)
	err := m.host.Msync(addr, length, flags)
	if err == nil && flags&platform.MsSync != 0 {
		m.mu.Lock()
		m.mem.synced(addr, roundUp(length, pageSize))
		m.mu.Unlock()
	}
	return err
}
