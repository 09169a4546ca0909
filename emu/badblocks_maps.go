package emu

import (
	"bufio"
	"encoding/binary"
	"errors"
	"os"
	"strconv"
	"strings"
	"syscall"

	"pmemlab/pmem2/platform"
	"pmemlab/pmem2/platform/vma"
)

// Bad pages in mappings. A bad page is a mapping of an empty memfd, in which every access
// is a SIGBUS, in the place of the object's: put there in one call, so that no access gets
// by. To the machine it is no mapping of its own. To the host's kernel it is, and so is
// what was mapped back when the page was cleared; where a call wants one mapping, such as
// mremap, the machine does it piece by piece: see movePieces.

// covering is a descriptor of an empty memfd, which the caller closes. The mappings made
// of it outlive it.
func covering() (fd int, err error) {
	if fd, err = newMemfd("bad block"); err != nil {
		return -1, errnoOf(err)
	}
	return fd, nil
}

// pieces cuts the pages [off, off+n) of o where they become bad or good.
func (o *object) pieces(off, n uint64, each func(x extent, bad bool) error) error {
	at := off
	for _, x := range overlapping(o.badPages, extent{off, off + n}) {
		if at < x.start {
			if err := each(extent{at, x.start}, false); err != nil {
				return err
			}
		}
		if err := each(x, true); err != nil {
			return err
		}
		at = x.end
	}
	if at < off+n {
		return each(extent{at, off + n}, false)
	}
	return nil
}

// hasBad says whether one of the pages [off, off+n) of o is bad.
func (o *object) hasBad(off, n uint64) bool {
	return off+n > off && len(overlapping(o.badPages, extent{off, off + n})) > 0
}

// mapAround maps the n bytes of o from off on, which fd has at hostOff, to addr, and the
// bad pages so that they fault. flags has MAP_FIXED. With an error some of it may be
// mapped. mu must be held.
func (m *Machine) mapAround(addr uintptr, n uint64, o *object, off uint64, prot, flags, fd int, hostOff int64) error {
	empty, err := covering()
	if err != nil {
		return err
	}
	defer func() { _ = m.host.Close(empty) }()
	o.patched = true
	return o.pieces(off, n, func(x extent, bad bool) error {
		from, at := fd, hostOff+int64(x.start-off)
		if bad {
			from, at = empty, 0
		}
		_, err := m.host.Mmap(addr+uintptr(x.start-off), x.end-x.start, prot, flags, from, at)
		return err
	})
}

// sharing are the flags that a mapping like mp is made with in its place.
func (mp mapping) sharing() int {
	flags := platform.MapPrivate | platform.MapFixed
	if mp.shared {
		flags = platform.MapShared | platform.MapFixed
	}
	if mp.noreserve {
		flags |= platform.MapNoreserve
	}
	return flags
}

// eachMapped calls f for each range of pages of o that is mapped: addr is where. Pages of
// a private mapping that are the process's own are left out. mu must be held.
func (m *Machine) eachMapped(o *object, pages []extent, f func(addr uintptr, x extent, prot int, mp mapping) error) error {
	if len(pages) == 0 {
		return nil
	}
	var hits []vma.Entry[mapping]
	for e := range m.maps.All() {
		if e.Value.obj != o || e.Value.lost {
			continue
		}
		for _, x := range overlapping(pages, extent{e.Value.off, e.Value.off + e.Len}) {
			mp := e.Value
			mp.off = x.start
			hits = append(hits, vma.Entry[mapping]{Addr: e.Addr + uintptr(x.start-e.Value.off), Len: x.end - x.start, Value: mp})
		}
	}
	if len(hits) == 0 {
		return nil
	}
	host, err := hostMaps()
	if err != nil {
		return err
	}
	for _, h := range hits {
		ranges := []extent{addresses(h.Addr, h.Len)}
		if !h.Value.shared {
			own, err := ownPages(h.Addr, h.Len)
			if err != nil {
				return err
			}
			ranges = cutExtents(ranges, own)
		}
		for _, r := range ranges {
			// The program may have changed the protection of parts.
			for _, p := range within(host, r) {
				if p.off >= pastEnd { // of device DAX, where every access faults anyway
					continue
				}
				x := extent{h.Value.off + p.start - uint64(h.Addr), h.Value.off + p.end - uint64(h.Addr)}
				if err := f(uintptr(p.start), x, p.prot, h.Value); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// cover lets the pages of o fault in every mapping that there is. mu must be held.
func (m *Machine) cover(o *object, pages []extent) error {
	fd := -1
	defer func() {
		if fd >= 0 {
			_ = m.host.Close(fd)
		}
	}()
	return m.eachMapped(o, pages, func(addr uintptr, x extent, prot int, mp mapping) error {
		if fd < 0 {
			var err error
			if fd, err = covering(); err != nil {
				return err
			}
		}
		o.patched = true
		m.unwatch(addr, x.end-x.start)
		_, err := m.host.Mmap(addr, x.end-x.start, prot, mp.sharing(), fd, 0)
		return err
	})
}

// uncover maps the pages of o, which aren't bad any more, in every mapping where they
// faulted. fd is a descriptor of o for the time after Shutdown, or -1. mu must be held.
func (m *Machine) uncover(o *object, fd int, pages []extent) error {
	if len(pages) == 0 || !o.patched {
		return nil
	}
	data, done, err := m.dataFD(o, fd, platform.ORdwr)
	if err != nil {
		return err
	}
	defer done()
	return m.eachMapped(o, pages, func(addr uintptr, x extent, prot int, mp mapping) error {
		m.unwatch(addr, x.end-x.start)
		_, err := m.host.Mmap(addr, x.end-x.start, prot, mp.sharing(), data, int64(x.start))
		return err
	})
}

// dataFD is a descriptor of the memfd of o: the machine's own or, where it has none any
// more, another one of what fd refers to. mu must be held.
func (m *Machine) dataFD(o *object, fd, flags int) (data int, done func(), err error) {
	if o.keeper >= 0 {
		return o.keeper, func() {}, nil
	}
	if fd < 0 {
		return -1, nil, syscall.ENOMEM
	}
	data, err = m.host.Open(procFD(fd), flags, 0)
	return data, func() { _ = m.host.Close(data) }, err
}

// hostMap is a mapping as the host's kernel has it.
type hostMap struct {
	extent     // addresses
	prot   int // PROT_…
	perms  string
	off    uint64 // of what is mapped, where the whole mapping begins
}

// hostMaps is the mappings of the process, ascending.
func hostMaps() ([]hostMap, error) {
	f, err := os.Open("/proc/self/maps")
	if err != nil {
		return nil, errnoOf(err)
	}
	defer func() { _ = f.Close() }()
	var maps []hostMap
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		h, ok := parseHostMap(lines.Text())
		if !ok {
			continue
		}
		for i, bit := range [3]int{platform.ProtRead, platform.ProtWrite, platform.ProtExec} {
			if h.perms[i] != '-' {
				h.prot |= bit
			}
		}
		maps = append(maps, h)
	}
	if err := lines.Err(); err != nil {
		return nil, errnoOf(err)
	}
	return maps, nil
}

// parseHostMap reads all of "7f00-7f01 rw-s 00001000 …" but the protection, without
// fmt.Sscanf, which takes longer than the kernel takes to write it.
func parseHostMap(line string) (h hostMap, ok bool) {
	addresses, rest, _ := strings.Cut(line, " ")
	start, end, _ := strings.Cut(addresses, "-")
	perms, rest, _ := strings.Cut(rest, " ")
	off, _, _ := strings.Cut(rest, " ")
	h.perms = perms
	var errs [3]error
	for i, field := range [3]struct {
		text string
		to   *uint64
	}{{start, &h.start}, {end, &h.end}, {off, &h.off}} {
		*field.to, errs[i] = strconv.ParseUint(field.text, 16, 64)
	}
	return h, errors.Join(errs[:]...) == nil && len(perms) >= 4
}

// within is the parts of the mappings that are in the addresses x.
func within(maps []hostMap, x extent) []hostMap {
	var in []hostMap
	for _, h := range maps {
		if h.start < x.end && h.end > x.start {
			h.start, h.end = max(h.start, x.start), min(h.end, x.end)
			in = append(in, h)
		}
	}
	return in
}

// ownPages is the pages in [addr, addr+n) of a private mapping that were written to, so
// that they are no longer those of the file.
func ownPages(addr uintptr, n uint64) ([]extent, error) {
	f, err := os.Open("/proc/self/pagemap")
	if err != nil {
		return nil, errnoOf(err)
	}
	defer func() { _ = f.Close() }()
	const (
		filePage     = 1 << 61
		swapped      = 1 << 62
		present      = 1 << 63
		entry, batch = 8, 4096
	)
	var own []extent
	buf := make([]byte, batch*entry)
	for at, end := uint64(addr), uint64(addr)+n; at < end; {
		count := min((end-at)/pageSize, batch)
		if _, err := f.ReadAt(buf[:count*entry], int64(at/pageSize*entry)); err != nil {
			return nil, errnoOf(err)
		}
		for i := range count {
			e := binary.NativeEndian.Uint64(buf[i*entry:])
			if e&(present|swapped) != 0 && e&filePage == 0 {
				own = append(own, extent{at + i*pageSize, at + (i+1)*pageSize})
			}
		}
		at += count * pageSize
	}
	return addExtents(own, nil), nil
}

// hasPieces says whether the host's kernel may have several mappings where the machine
// has mp, or will when it grows.
func (mp mapping) hasPieces() bool {
	return mp.obj != nil && !mp.lost && (mp.obj.patched || len(mp.obj.badPages) > 0)
}

// movePieces is mremap of memory of an object with bad pages, or that had some, so that
// the host's kernel may have several mappings where the machine has one. c is what the
// rules have let through. Each piece is moved in one call, bad pages as what they are: none
// of them can be accessed on the way, and what others store to good ones isn't lost. What
// mremap adds is mapped from the object. mu must be held.
func (m *Machine) movePieces(c mremapCall, mp mapping) (uintptr, error) {
	n, newN := c.lengths()
	dontunmap := c.flags&mremapDontunmap != 0
	if n > newN && !c.fixed() {
		return c.addr, m.host.Munmap(c.addr+uintptr(newN), n-newN)
	}
	var moving []hostMap
	prot := mp.prot
	maps, err := hostMaps()
	if err != nil {
		return 0, err
	}
	if first := within(maps, addresses(c.addr, pageSize)); len(first) > 0 {
		prot = first[0].prot
	}
	if n > 0 {
		moving = within(maps, addresses(c.addr, min(n, newN)))
		end := uint64(c.addr)
		for _, p := range moving {
			if p.start != end || p.perms != moving[0].perms {
				return 0, syscall.EFAULT // the program has unmapped or changed a part itself
			}
			end = p.end
		}
		if end != uint64(c.addr)+min(n, newN) {
			return 0, syscall.EFAULT
		}
	}
	if 0 < n && n < newN && !c.fixed() {
		if n == c.sourceRoom() {
			if err := m.extend(c.addr+uintptr(n), newN-n, mp.advance(n), prot); err != syscall.EEXIST {
				return c.addr, err
			}
		}
		c.room = false
		if errno := mremapRules(c).errno; errno != 0 {
			return 0, errno
		}
	}
	place := placement{m: m, addr: c.newAddr, n: newN}
	defer place.giveBack()
	if !c.fixed() {
		if err := place.choose(mp.obj, mp.off, dontunmap); err != nil {
			return 0, err
		}
	} else if n > newN {
		if err := m.host.Munmap(c.addr+uintptr(newN), n-newN); err != nil {
			return 0, err
		}
	}
	if n < newN {
		err = m.mapMore(place.addr+uintptr(n), newN-n, mp.advance(n), prot)
	}
	if err == nil {
		err = m.moveAll(moving, place.addr-c.addr, c.flags&mremapDontunmap)
	}
	if err != nil {
		if c.fixed() {
			_ = m.host.Munmap(place.addr, newN)
		}
		return 0, err
	}
	place.reserved = false
	return place.addr, nil
}

// moveAll moves the pieces by as many bytes, or none of them.
func (m *Machine) moveAll(pieces []hostMap, by uintptr, flags int) error {
	const fixed = platform.MremapMaymove | platform.MremapFixed
	for i, p := range pieces {
		from, n := uintptr(p.start), p.end-p.start
		if _, err := m.host.Mremap(from, n, n, flags|fixed, from+by); err != nil {
			for _, p := range pieces[:i] {
				from, n := uintptr(p.start), p.end-p.start
				_, _ = m.host.Mremap(from+by, n, n, fixed, from)
			}
			return err
		}
	}
	return nil
}

// choose reserves the room for a mapping of o from off on where the kernel has the choice.
func (p *placement) choose(o *object, off uint64, hint bool) error {
	if hint && p.addr != 0 && p.reserve(0) && p.reserved {
		return nil
	}
	if o.class == classDevDax && o.align > pageSize {
		p.find(o.align, off)
	}
	if !p.reserved {
		at, err := p.m.host.Mmap(0, p.n, platform.ProtNone, reservation, -1, 0)
		if err != nil {
			return err
		}
		p.addr, p.reserved = at, true
	}
	return nil
}

// extend maps n bytes of mp to addr if there is room, else it answers EEXIST.
func (m *Machine) extend(addr uintptr, n uint64, mp mapping, prot int) error {
	place := placement{m: m, addr: addr, n: n}
	defer place.giveBack()
	if uint64(addr) > m.taskSize()-n || !place.reserve(platform.MapFixedNoreplace) || !place.reserved {
		return syscall.EEXIST
	}
	if err := m.mapMore(addr, n, mp, prot); err != nil {
		return err
	}
	place.reserved = false
	return nil
}

// mapMore maps n bytes of mp to addr, in the place of what is there.
func (m *Machine) mapMore(addr uintptr, n uint64, mp mapping, prot int) error {
	o := mp.obj
	if o.keeper < 0 {
		return syscall.ENOMEM // after Shutdown
	}
	off, hostOff := mp.off, int64(mp.off)
	if o.class == classDevDax {
		off, hostOff = o.daxOffset(mp.off)
	}
	return m.mapAround(addr, n, o, off, prot, mp.sharing(), o.keeper, hostOff)
}
