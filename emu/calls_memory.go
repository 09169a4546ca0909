package emu

import (
	"strings"
	"syscall"

	"pmemlab/pmem2/platform"
)

// Calls on mappings that the libraries don't make and other programs do. They aren't part
// of platform.Platform; what Linux 6.1 answers to them was measured.

// vmFlags are what the kernel keeps of a mapping besides its protection.
type vmFlags uint16

const (
	vmSeq vmFlags = 1 << iota
	vmRand
	vmDontFork
	vmDontDump
	vmHuge
	vmNoHuge
	vmMergeable
	// vmReadOnly: shared, by a descriptor that can't write; it can never become writable.
	vmReadOnly
	// vmAccount: private, and writable at some time: memory is reserved for it.
	vmAccount
	// vmSync: with MAP_SYNC, whether that means anything or not.
	vmSync
)

// madeFlags are those of a mapping as mmap makes it.
func madeFlags(o *object, c mmapCall) vmFlags {
	var flags vmFlags
	if o.class == classDevDax || o.class == classRegular && o.fs.cfg.DAX {
		flags |= vmHuge
	}
	private := c.flags&platform.MapType == platform.MapPrivate
	switch {
	case !private && !canWrite(c.openFlags):
		flags |= vmReadOnly
	case private && c.prot&platform.ProtWrite != 0 && c.flags&platform.MapNoreserve == 0:
		flags |= vmAccount
	}
	if c.flags&platform.MapSync != 0 {
		flags |= vmSync
	}
	return flags
}

// part is what a call on [addr, end) concerns of one mapping.
type part struct {
	addr uintptr
	n    uint64
	mapping
	whole extent // addresses of the mapping
}

// parts are the mappings of the machine in [addr, addr+n), and what is between them with
// an end of 0. mu must be held.
func (m *Machine) parts(addr uintptr, n uint64) []part {
	var all []part
	at, end := addr, addr+uintptr(n)
	for e := range m.maps.Overlapping(addr, n) {
		if e.Addr > at {
			all = append(all, part{addr: at, n: uint64(e.Addr - at)})
		}
		whole, _ := m.maps.At(e.Addr)
		all = append(all, part{e.Addr, e.Len, e.Value, addresses(whole.Addr, whole.Len)})
		at = e.Addr + uintptr(e.Len)
	}
	if at < end {
		all = append(all, part{addr: at, n: uint64(end - at)})
	}
	return all
}

// splits says whether the part can be made a mapping of its own.
func (p part) splits() bool {
	if p.obj == nil || p.obj.class != classDevDax {
		return true
	}
	from, to, align := uint64(p.addr), uint64(p.addr)+p.n, p.obj.align
	return (from == p.whole.start || from%align == 0) && (to == p.whole.end || to%align == 0)
}

// change makes the part what mp says. mu must be held.
func (m *Machine) change(p part, mp mapping) {
	m.maps.Remove(p.addr, p.n)
	m.mem.hitValid = false
	m.insert(p.addr, p.n, mp)
}

// Mprotect is mprotect(2). EINVAL: it would cut a device DAX mapping elsewhere than at a
// multiple of the device's alignment. EACCES: what a descriptor was mapped by that can't
// write is to be written to. What comes before the part that fails is changed.
func (m *Machine) Mprotect(addr uintptr, length uint64, prot int) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	n := roundUp(length, pageSize)
	const known = platform.ProtRead | platform.ProtWrite | platform.ProtExec
	if addr%pageSize != 0 || n == 0 || prot&^known != 0 || uint64(addr)+n < uint64(addr) {
		return hostMprotect(addr, length, prot)
	}
	for _, p := range m.parts(addr, n) {
		switch {
		case p.whole.end == 0: // not the machine's, or nothing
		case prot == p.prot:
			continue
		case prot&platform.ProtWrite != 0 && p.flags&vmReadOnly != 0:
			return syscall.EACCES
		case !p.splits():
			return syscall.EINVAL
		}
		if err := hostMprotect(p.addr, p.n, prot); err != nil {
			return err
		}
		if p.whole.end == 0 {
			continue
		}
		mp := p.mapping
		mp.prot = prot
		if !mp.shared && prot&platform.ProtWrite != 0 && !mp.noreserve {
			mp.flags |= vmAccount
		}
		m.change(p, mp)
	}
	return nil
}

// Advice that madvise knows.
const (
	adviseNormal = iota
	adviseRandom
	adviseSequential
	adviseWillNeed
	adviseDontNeed
	adviseFree = iota + 3
	adviseRemove
	adviseDontFork
	adviseDoFork
	adviseMergeable
	adviseUnmergeable
	adviseHugePage
	adviseNoHugePage
	adviseDontDump
	adviseDoDump
	adviseWipeOnFork
	adviseKeepOnFork
	adviseCold
	advisePageOut
	advisePopulateRead
	advisePopulateWrite
	adviseDontNeedLocked
)

// Madvise is madvise(2). Advice about the future is taken note of, and has no effect but
// on VMFlags; on a private mapping MADV_DONTNEED takes the process's own pages away, and
// MADV_REMOVE punches a hole as Fallocate does. EINVAL: advice that there isn't or that
// isn't for such a mapping, or it would cut a device DAX mapping elsewhere than at a multiple
// of the device's alignment. ENOMEM: not all of it is mapped; the rest was done.
func (m *Machine) Madvise(addr uintptr, length uint64, advice int) error {
	n := roundUp(length, pageSize)
	switch {
	case advice < 0, advice > adviseDontNeed && advice < adviseFree, advice > adviseDontNeedLocked,
		addr%pageSize != 0, length != 0 && n == 0, uint64(addr)+n < uint64(addr):
		return syscall.EINVAL
	case n == 0:
		return nil
	}
	m.mu.Lock()
	all := m.parts(addr, n)
	m.mu.Unlock()
	missing := false
	for _, p := range all {
		if p.whole.end == 0 {
			if err := hostMadvise(p.addr, p.n, advice); err == syscall.ENOMEM {
				missing = true
			} else if err != nil {
				return err
			}
			continue
		}
		if err := m.advise(p, advice); err != nil {
			return err
		}
	}
	if missing {
		return syscall.ENOMEM
	}
	return nil
}

// advise is Madvise of a part of one mapping.
func (m *Machine) advise(p part, advice int) error {
	flags := p.flags
	switch advice {
	case adviseNormal:
		flags &^= vmSeq | vmRand
	case adviseRandom:
		flags = flags&^vmSeq | vmRand
	case adviseSequential:
		flags = flags&^vmRand | vmSeq
	case adviseDontFork:
		flags |= vmDontFork
	case adviseDoFork:
		flags &^= vmDontFork
	case adviseDontDump:
		flags |= vmDontDump
	case adviseDoDump:
		flags &^= vmDontDump
	case adviseHugePage:
		flags = flags&^vmNoHuge | vmHuge
	case adviseNoHugePage:
		flags = flags&^vmHuge | vmNoHuge
	case adviseMergeable:
		if !p.shared && !p.dax() {
			flags |= vmMergeable
		}
	case adviseUnmergeable:
		flags &^= vmMergeable
	case adviseFree, adviseWipeOnFork:
		if p.obj != nil && p.obj.class != classZero || p.shared {
			return syscall.EINVAL
		}
		return hostMadvise(p.addr, p.n, advice)
	case adviseRemove:
		return m.remove(p)
	case advisePopulateRead, advisePopulateWrite:
		return p.populates(advice)
	case adviseDontNeed, adviseDontNeedLocked:
		if p.shared {
			return nil // the object keeps what it holds
		}
		return hostMadvise(p.addr, p.n, advice)
	default:
		return nil
	}
	if flags == p.flags {
		return nil
	}
	if !p.splits() {
		return syscall.EINVAL
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	mp := p.mapping
	mp.flags = flags
	m.change(p, mp)
	return nil
}

// dax says whether the mapping goes to media without a page cache.
func (mp mapping) dax() bool {
	return mp.obj != nil && (mp.obj.class == classDevDax || mp.obj.class == classRegular && mp.obj.fs.cfg.DAX)
}

// remove is MADV_REMOVE.
func (m *Machine) remove(p part) error {
	switch {
	case p.obj == nil:
		return hostMadvise(p.addr, p.n, adviseRemove)
	case !p.shared || p.flags&vmReadOnly != 0 || p.prot&platform.ProtWrite == 0:
		return syscall.EACCES
	case p.obj.class == classZero:
		return hostMadvise(p.addr, p.n, adviseRemove)
	}
	m.mu.Lock()
	fd, done, err := m.dataFD(p.obj, p.obj.keeper, platform.ORdwr)
	m.mu.Unlock()
	if err != nil {
		return err
	}
	defer done()
	return m.Fallocate(fd, platform.FallocPunchHole|platform.FallocKeepSize, int64(p.off), int64(p.n))
}

// populates is what MADV_POPULATE_READ and MADV_POPULATE_WRITE answer. Memory is taken
// only when it is touched.
func (p part) populates(advice int) error {
	need := platform.ProtRead
	if advice == advisePopulateWrite {
		need = platform.ProtWrite
	}
	if p.prot&need == 0 {
		return syscall.EINVAL
	}
	if p.obj == nil || p.obj.class == classZero {
		return hostMadvise(p.addr, p.n, advice)
	}
	if p.lost || p.off+p.n > roundUp(p.obj.lastSize(), pageSize) || p.obj.hasBad(p.off, p.n) {
		return syscall.EFAULT
	}
	return nil
}

// Mlock is mlock(2). Nothing is locked: the machine's memory doesn't go anywhere. ENOMEM:
// not all of it is mapped.
func (m *Machine) Mlock(addr uintptr, length uint64) error { return m.locks(addr, length) }

// Munlock is munlock(2).
func (m *Machine) Munlock(addr uintptr, length uint64) error { return m.locks(addr, length) }

func (m *Machine) locks(addr uintptr, length uint64) error {
	start := addr &^ (pageSize - 1)
	n := roundUp(length+uint64(addr-start), pageSize)
	switch {
	case uint64(start)+n < uint64(start):
		return syscall.EINVAL
	case n > 0 && !m.isMapped(start, n):
		return syscall.ENOMEM
	}
	return nil
}

// Mincore is mincore(2) without its answer, which is yes for all.
func (m *Machine) Mincore(addr uintptr, length uint64) error {
	n := roundUp(length, pageSize)
	switch {
	case addr%pageSize != 0:
		return syscall.EINVAL
	case n > m.taskSize() || uint64(addr) > m.taskSize()-n, n > 0 && !m.isMapped(addr, n):
		return syscall.ENOMEM
	}
	return nil
}

// VMFlags is the line VmFlags of /proc/self/smaps of the mapping at addr. ENOMEM: nothing
// was mapped there through the machine.
func (m *Machine) VMFlags(addr uintptr) (string, error) {
	m.mu.Lock()
	e, ok := m.maps.At(addr)
	m.mu.Unlock()
	if !ok {
		return "", syscall.ENOMEM
	}
	mp := e.Value
	mayShare, readOnly := mp.shared, mp.flags&vmReadOnly != 0
	var names []string
	for _, f := range []struct {
		name string
		set  bool
	}{
		{"rd", mp.prot&platform.ProtRead != 0}, {"wr", mp.prot&platform.ProtWrite != 0}, {"ex", mp.prot&platform.ProtExec != 0},
		{"sh", mayShare && !readOnly}, {"mr", true}, {"mw", !readOnly}, {"me", true}, {"ms", mayShare},
		{"sr", mp.flags&vmSeq != 0}, {"rr", mp.flags&vmRand != 0}, {"dc", mp.flags&vmDontFork != 0},
		{"ac", mp.flags&vmAccount != 0}, {"nr", mp.noreserve}, {"sf", mp.flags&vmSync != 0},
		{"dd", mp.flags&vmDontDump != 0}, {"sd", true}, {"hg", mp.flags&vmHuge != 0}, {"nh", mp.flags&vmNoHuge != 0},
		{"mg", mp.flags&vmMergeable != 0},
	} {
		if f.set {
			names = append(names, f.name)
		}
	}
	return strings.Join(names, " "), nil
}
