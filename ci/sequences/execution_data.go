package sequences

import (
	"fmt"

	"pmemlab/pmem2"
	"pmemlab/pmem2/platform"
)

// on does something with a part of a map that is there, or with nothing of one that isn't.
func (e *execution) on(slot int, offset, length uint64, do func(m *pmem2.Map, b []byte) error) string {
	b := e.part(slot, offset, length)
	outcome := answer(do(e.maps[slot], b))
	if b == nil && e.maps[slot].Address() != 0 {
		outcome = outside
	}
	return outcome
}

func (e *execution) flush(slot int, offset, length uint64) string {
	return e.on(slot, offset, length, (*pmem2.Map).Flush)
}

func (e *execution) persist(slot int, offset, length uint64) string {
	return e.on(slot, offset, length, (*pmem2.Map).Persist)
}

func (e *execution) drain(slot int) string { return answer(e.maps[slot].Drain()) }

func (e *execution) deepFlush(slot int, offset, length uint64) string {
	m := e.maps[slot]
	return answer(m.DeepFlushRange(m.Address()+uintptr(offset), length))
}

func (e *execution) memset(slot int, offset, length uint64, c byte, flags pmem2.MemFlags) string {
	return e.on(slot, offset, length, func(m *pmem2.Map, b []byte) error { return m.Memset(b, c, flags) })
}

func (e *execution) memcpy(slot int, offset, length, value uint64, flags pmem2.MemFlags) string {
	return e.on(slot, offset, length, func(m *pmem2.Map, b []byte) error { return m.Memcpy(b, data(value, uint64(len(b))), flags) })
}

func (e *execution) memmove(slot int, offset, from, length uint64, flags pmem2.MemFlags) string {
	src := e.part(slot, from, length)
	return e.on(slot, offset, length, func(m *pmem2.Map, b []byte) error { return m.Memmove(b, src, flags) })
}

func (e *execution) store(slot int, offset, length, value uint64) string {
	b := e.part(slot, offset, length)
	if b == nil {
		return outside
	}
	copy(b, data(value, length))
	return "ok"
}

func (e *execution) read(slot int, offset, length uint64) string {
	b := e.part(slot, offset, length)
	if b == nil {
		return outside
	}
	return "ok " + sum(b)
}

func (e *execution) pokeStore(slot int, offset uint64, value byte) string {
	b := e.part(slot, offset, 1)
	if b == nil {
		return outside
	}
	b[0] = value
	return "ok"
}

func (e *execution) pokeLoad(slot int, offset uint64) string {
	b := e.part(slot, offset, 1)
	if b == nil {
		return outside
	}
	return fmt.Sprintf("ok %d", b[0])
}

func (e *execution) fsync(o *object) string { return answer(e.machine.Fsync(e.fd(o))) }

func (e *execution) pread(o *object, offset, length uint64) string {
	b := make([]byte, length)
	n, err := e.machine.Pread(e.fd(o), b, int64(offset))
	if err != nil {
		return answer(err)
	}
	return fmt.Sprintf("ok %d bytes %s", n, sum(b[:n]))
}

func (e *execution) pwrite(o *object, offset, length, value uint64) string {
	n, err := e.machine.Pwrite(e.fd(o), data(value, length), int64(offset))
	if err != nil {
		return answer(err)
	}
	return fmt.Sprintf("ok %d bytes", n)
}

func (e *execution) safeRead(from int, offset, length uint64) string {
	b := make([]byte, length)
	if err := e.sources[from].PreadMCSafe(b, offset); err != nil {
		return answer(err)
	}
	return "ok " + sum(b)
}

func (e *execution) safeWrite(from int, offset, length, value uint64) string {
	return answer(e.sources[from].PwriteMCSafe(data(value, length), offset))
}

func (e *execution) fallocate(o *object, mode uint32, offset, length uint64) string {
	return e.sized(o, e.machine.Fallocate(e.fd(o), mode, int64(offset), int64(length)))
}

func (e *execution) truncate(o *object, size uint64) string {
	return e.sized(o, e.machine.Ftruncate(e.fd(o), int64(size)))
}

// sized is the outcome of what may change a file's size.
func (e *execution) sized(o *object, err error) string {
	st, statErr := e.machine.Fstat(e.fd(o))
	if statErr != nil {
		return answer(err) + ", fstat " + answer(statErr)
	}
	return fmt.Sprintf("%s, %d bytes", answer(err), st.Size)
}

// zero says where a device isn't zero where sequences may touch it, which it is between
// them, and makes it so.
func zero(b []byte) string {
	outcome := "ok zero"
	for at := 0; at < len(b); at += page {
		if part := b[at:][:page]; sum(part) != "0" {
			outcome = fmt.Sprintf("stray bytes in the page at %d", at)
			clear(part)
		}
	}
	return outcome
}

// mapWindow maps what of a device sequences touch, and clears it.
func mapWindow(machine platform.Platform, device string, size, align uint64) (b []byte, unmap func() error, err error) {
	fd, err := machine.Open(device, platform.ORdwr|platform.OCloexec, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("open %s: %w", device, err)
	}
	size = min(size, window)
	length := (size + align - 1) / align * align
	addr, err := machine.Mmap(0, length, platform.ProtRead|platform.ProtWrite, platform.MapShared, fd, 0)
	if closed := machine.Close(fd); err == nil {
		err = closed
	}
	if err != nil {
		return nil, nil, fmt.Errorf("mmap of %d bytes of %s: %w", length, device, err)
	}
	b = platform.Bytes(addr, size)
	clear(b)
	return b, func() error { return machine.Munmap(addr, length) }, nil
}
