package sequences

import (
	"fmt"

	"pmemlab/pmem2"
	"pmemlab/pmem2/platform"
)

func (e *execution) create(o *object, size uint64, allocate bool) string {
	fd, err := e.machine.Open(filePath(o), platform.ORdwr|platform.OCreat|platform.OTrunc|platform.OCloexec, 0o600)
	if err != nil {
		return answer(err)
	}
	if allocate {
		err = e.machine.Fallocate(fd, 0, 0, int64(size))
	} else {
		err = e.machine.Ftruncate(fd, int64(size))
	}
	if closed := e.machine.Close(fd); err == nil {
		err = closed
	}
	return answer(err)
}

func (e *execution) open(o *object, mode int) string {
	name := filePath(o)
	if o.device {
		name = o.place.Device
	}
	fd, err := e.machine.Open(name, mode|platform.OCloexec, 0)
	if err == nil {
		e.fds[o] = fd
	}
	return answer(err)
}

// fd is the descriptor of an object, -1 if it couldn't be opened.
func (e *execution) fd(o *object) int {
	if fd, open := e.fds[o]; open {
		return fd
	}
	return -1
}

func (e *execution) sourceFromFD(slot int, o *object) string {
	s, err := pmem2.SourceFromFD(e.fd(o), pmem2.On(e.machine))
	return e.setSource(slot, s, err)
}

func (e *execution) sourceFromAnon(slot int, size uint64) string {
	s, err := pmem2.SourceFromAnon(size, pmem2.On(e.machine))
	return e.setSource(slot, s, err)
}

func (e *execution) setSource(slot int, s *pmem2.Source, err error) string {
	e.sources[slot] = s
	if err != nil {
		return answer(err)
	}
	size, err1 := s.Size()
	alignment, err2 := s.Alignment()
	return fmt.Sprintf("ok size %d %s, alignment %d %s", size, answer(err1), alignment, answer(err2))
}

// newMap is NewMap with a config of its own; what a setter refuses is told and left.
func (e *execution) newMap(slot int, p mapPlan) string {
	refused := ""
	set := func(what string, err error) {
		if err != nil {
			refused += ", " + what + " " + answer(err)
		}
	}
	c := pmem2.NewConfig()
	set("offset", c.SetOffset(p.offset))
	set("length", c.SetLength(p.length))
	set("protection", c.SetProtection(p.prot))
	set("sharing", c.SetSharing(p.sharing))
	if p.required != unset {
		set("granularity", c.SetRequiredStoreGranularity(p.required))
	}
	if p.forced != unset {
		set("forced", c.ForceGranularity(p.forced))
	}
	if p.reservation != unset {
		set("reservation", c.SetVMReservation(e.reservations[p.reservation], p.at))
	}
	m, err := pmem2.NewMap(c, e.sources[p.source])
	if err != nil {
		return answer(err) + refused
	}
	e.setMap(slot, m)
	return fmt.Sprintf("ok %d bytes %v%s", m.Size(), m.StoreGranularity(), refused)
}

func (e *execution) setMap(slot int, m *pmem2.Map) {
	if old := e.maps[slot]; old != nil && old.Address() != 0 {
		e.olderMaps = append(e.olderMaps, old)
	}
	e.maps[slot] = m
}

func (e *execution) deleteMap(slot int) string {
	m := e.maps[slot]
	outcome := answer(m.Delete())
	if m != nil && (m.Bytes() != nil || m.Size() != 0) {
		outcome += ", still there"
	}
	return outcome
}

func (e *execution) adopt(slot, from int, o *object, length uint64, g pmem2.Granularity) string {
	addr, err := e.machine.Mmap(0, length, platform.ProtRead|platform.ProtWrite, platform.MapShared, e.fd(o), 0)
	if err != nil {
		return answer(err) + ", mmap"
	}
	m, err := pmem2.MapFromExisting(e.sources[from], addr, length, g)
	if err != nil {
		return answer(err) + ", munmap " + answer(e.machine.Munmap(addr, length))
	}
	e.adopted = append(e.adopted, adopted{addr, length})
	e.setMap(slot, m)
	return fmt.Sprintf("ok %d bytes %v", m.Size(), m.StoreGranularity())
}

// existing is MapFromExisting of the memory of another map, which is refused.
func (e *execution) existing(from, over int, offset, length uint64, g pmem2.Granularity) string {
	m := e.maps[over]
	addr := m.Address()
	if offset < m.Size() {
		addr += uintptr(offset)
	}
	made, err := pmem2.MapFromExisting(e.sources[from], addr, length, g)
	if err != nil {
		return answer(err)
	}
	return "ok, delete " + answer(made.Delete())
}

func (e *execution) compareMaps(a, b int) string {
	m, n := e.maps[a], e.maps[b]
	return fmt.Sprintf("ok shared operations %t, %v %v", m.SharesOps(n), m.StoreGranularity(), n.StoreGranularity())
}

// ownPlaces is where reservations lie that want a place of their own, a TiB each: far from
// what the kernel gives out, and from what Go's runtime and race detector take.
const ownPlaces = 0x1000_0000_0000

func (e *execution) reserve(slot, at, over int, size uint64) string {
	var addr uintptr
	switch at {
	case ownPlace:
		addr = ownPlaces + uintptr(slot)<<40
	case unalignedPlace:
		addr = ownPlaces + uintptr(slot)<<40 + 1
	case overMap:
		addr = e.maps[over].Address()
	case noAddress:
		addr = 1 << 62
	}
	r, err := pmem2.NewVMReservation(addr, size, pmem2.On(e.machine))
	if err != nil {
		return answer(err)
	}
	if old := e.reservations[slot]; old != nil && old.Size() != 0 {
		e.olderReservations = append(e.olderReservations, old)
	}
	e.reservations[slot] = r
	where := "elsewhere"
	switch {
	case addr != 0 && r.Address() == addr:
		where = "there"
	case addr == 0 && r.Address()%(2<<20) == 0:
		where = "aligned"
	}
	return fmt.Sprintf("ok %d bytes %s", r.Size(), where)
}

func (e *execution) extend(slot int, size uint64) string {
	r := e.reservations[slot]
	return fmt.Sprintf("%s, %d bytes", answer(r.Extend(size)), r.Size())
}

func (e *execution) shrink(slot int, offset, size uint64) string {
	r := e.reservations[slot]
	before := r.Address()
	outcome := answer(r.Shrink(offset, size))
	return fmt.Sprintf("%s, %d bytes, moved up by %d", outcome, r.Size(), r.Address()-before)
}

func (e *execution) deleteReservation(slot int) string {
	return answer(e.reservations[slot].Delete())
}

func (e *execution) find(slot int, offset, length uint64) string {
	m, err := e.reservations[slot].MapFind(offset, length)
	return e.found(slot, m, err)
}

func (e *execution) findEnd(slot int, first bool) string {
	look := e.reservations[slot].MapFindLast
	if first {
		look = e.reservations[slot].MapFindFirst
	}
	m, err := look()
	return e.found(slot, m, err)
}

func (e *execution) findBeside(slot, beside int, next bool) string {
	look := e.reservations[slot].MapFindPrev
	if next {
		look = e.reservations[slot].MapFindNext
	}
	m, err := look(e.maps[beside])
	return e.found(slot, m, err)
}

func (e *execution) found(slot int, m *pmem2.Map, err error) string {
	if err != nil {
		return answer(err)
	}
	return fmt.Sprintf("ok %d bytes at %d", m.Size(), m.Address()-e.reservations[slot].Address())
}
