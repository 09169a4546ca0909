package conformance

import (
	"errors"
	"iter"
	"slices"
	"syscall"

	"pmemlab/emu"
	"pmemlab/pmem2/platform"
)

// PowerFails is PowerFailure.PowerFails: all states if there are at most 65,536.
func (e *emulatedEnv) PowerFails(f Failure, objects ...Object) (states iter.Seq2[[][]byte, error], all bool, err error) {
	if f.Unsafe || f.Again {
		states, err = e.boots(f, objects)
		return states, false, err
	}
	const most = 1 << 16
	crash, err := e.m.CrashStates(emu.CrashOptions{Possible: f.Possible, Max: most, Seed: 1})
	if err != nil {
		return nil, false, err
	}
	states = func(yield func([][]byte, error) bool) {
		more := showImages(crash, objects, yield)
		if err := crash.Close(); err != nil && more {
			yield(nil, err)
		}
	}
	return states, crash.Complete() && crash.Count() <= most, nil
}

// showImages yields what the images have of the objects, until that returns false.
func showImages(crash *emu.CrashStates, objects []Object, yield func([][]byte, error) bool) (more bool) {
	left := make([][]byte, len(objects))
	for img, err := range crash.All() {
		for i, o := range objects {
			if err == nil {
				left[i], err = img.Bytes(o.Path())
			}
			if errors.Is(err, syscall.ENOENT) {
				left[i], err = nil, nil
			}
		}
		if !yield(left, err) || err != nil {
			return false
		}
	}
	return true
}

// boots is PowerFails of some states, each of a machine that boots from it.
func (e *emulatedEnv) boots(f Failure, objects []Object) (iter.Seq2[[][]byte, error], error) {
	const boots = 4 // the first of what was durable for certain
	cfg := emu.CrashConfig{Possible: f.Possible}
	if f.Unsafe {
		for _, o := range objects {
			s, err := e.Storage(o)
			if err != nil {
				return nil, err
			}
			for _, d := range s.DIMMs {
				if !slices.Contains(cfg.UnsafeShutdown, d) {
					cfg.UnsafeShutdown = append(cfg.UnsafeShutdown, d)
				}
			}
		}
	}
	return func(yield func([][]byte, error) bool) {
		for cfg.Seed = range uint64(boots) {
			m, err := e.m.Crash(cfg)
			if err == nil && f.Again {
				first := m
				m, err = first.Crash(emu.CrashConfig{Seed: cfg.Seed})
				err = errors.Join(err, first.Shutdown())
			}
			if err != nil {
				yield(nil, err)
				return
			}
			more := true
			err = e.contents(m, objects, func(left [][]byte) { more = yield(left, nil) })
			if err = errors.Join(err, m.Shutdown()); err != nil && more {
				yield(nil, err)
				return
			}
			if !more {
				return
			}
		}
	}, nil
}

// contents shows what the objects hold on m, a machine that has booted.
func (e *emulatedEnv) contents(m *emu.Machine, objects []Object, show func(left [][]byte)) (err error) {
	left := make([][]byte, len(objects))
	for i, o := range objects {
		fd, openErr := m.Open(o.Path(), platform.ORdonly, 0)
		if errors.Is(openErr, syscall.ENOENT) {
			continue
		}
		if openErr != nil {
			return openErr
		}
		defer func() { err = errors.Join(err, m.Close(fd)) }()
		st, statErr := m.Fstat(fd)
		if statErr != nil {
			return statErr
		}
		size := uint64(st.Size)
		if d, ok := e.devices[o.Path()]; ok {
			size = d.Size()
		}
		if size == 0 {
			left[i] = []byte{}
			continue
		}
		addr, mapErr := m.Mmap(0, size, platform.ProtRead, platform.MapShared, fd, 0)
		if mapErr != nil {
			return mapErr
		}
		defer func() { err = errors.Join(err, m.Munmap(addr, size)) }()
		left[i] = platform.Bytes(addr, size)
	}
	show(left)
	return nil
}
