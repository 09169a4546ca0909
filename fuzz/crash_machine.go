package fuzz

import (
	"errors"
	"os"
	"unsafe"

	"pmemlab/emu"
	"pmemlab/emu/check"
	"pmemlab/fuzz/model"
	"pmemlab/pmem2"
	"pmemlab/pmem2/platform"
)

// crashMachine is a machine with a small file mapped, and a second goroutine to run what is
// that one's.
type crashMachine struct {
	m      *emu.Machine
	cfg    model.CrashConfig
	path   string
	fd     int
	mapped *pmem2.Map
	memory []byte
	ops    *platform.CacheOps

	other chan *model.CrashOp // to the second goroutine
	done  chan error
	zero  [cacheLine]byte
	image [crashSize]byte
}

func onCrashMachine(cfg emu.Config, on crashPlace, rules model.CrashRules) func() (crashSubject, error) {
	return func() (crashSubject, error) {
		cfg.TraceEvents = -1
		m := emu.NewMachine(cfg)
		c := &crashMachine{m: m, fd: -1, other: make(chan *model.CrashOp), done: make(chan error)}
		if err := c.fill(on, rules); err != nil {
			return nil, errors.Join(err, c.close())
		}
		go func() {
			for o := range c.other {
				c.done <- c.mine(o)
			}
		}()
		return c, nil
	}
}

// fill maps a file whose name and size are durable.
func (c *crashMachine) fill(on crashPlace, rules model.CrashRules) (err error) {
	fs := c.m.AddFS(emu.FS{Size: mib, DAX: on != crashCache, VirtioPmem: on == crashDAX})
	if err := c.m.Err(); err != nil {
		return err
	}
	c.path = fs.Path("file")
	if c.fd, err = c.m.Open(c.path, os.O_RDWR|os.O_CREATE, 0o600); err != nil {
		return err
	}
	if err := errors.Join(c.m.Ftruncate(c.fd, crashSize), c.m.Fsync(c.fd)); err != nil {
		return err
	}
	src, err := pmem2.SourceFromFD(c.fd, pmem2.On(c.m))
	if err != nil {
		return err
	}
	cfg := pmem2.NewConfig()
	if err := cfg.SetRequiredStoreGranularity(pmem2.GranularityPage); err != nil {
		return err
	}
	if c.mapped, err = pmem2.NewMap(cfg, src); err != nil {
		return err
	}
	c.memory = c.mapped.Bytes()
	g := platform.GranularityCacheLine
	if on == crashCache {
		g = platform.GranularityPage
	}
	c.ops = c.m.CacheOps(g)
	x86 := rules == model.CrashADR || rules == model.CrashEADR
	c.cfg = model.CrashConfig{Rules: rules, NonTemporal: x86 && c.ops.NonTemporal, Strong: x86 && c.ops.Instruction == "CLFLUSH"}
	return nil
}

func (c *crashMachine) config() model.CrashConfig { return c.cfg }
func (c *crashMachine) machine() bool             { return true }
func (c *crashMachine) clflush() bool             { return c.cfg.Strong }

func (c *crashMachine) close() error {
	close(c.other)
	var errs []error
	if c.mapped != nil {
		errs = append(errs, c.mapped.Delete())
	}
	if c.fd >= 0 {
		errs = append(errs, c.m.Close(c.fd))
	}
	return errors.Join(append(errs, c.m.Shutdown())...)
}

func (c *crashMachine) do(o *model.CrashOp) error {
	if o.By == 0 {
		return c.mine(o)
	}
	c.other <- o
	return <-c.done
}

func (c *crashMachine) at(off uint64) unsafe.Pointer { return unsafe.Pointer(&c.memory[off]) }

// mine does an operation by the running goroutine.
func (c *crashMachine) mine(o *model.CrashOp) (err error) {
	switch o.Kind {
	case model.CrashStore:
		copy(c.memory[o.Off:], o.Data)
	case model.CrashCopy:
		c.ops.Copy(c.at(o.Off), unsafe.Pointer(&o.Data[0]), uintptr(len(o.Data)))
	case model.CrashCopyNT:
		c.ops.CopyNT(c.at(o.Off), unsafe.Pointer(&o.Data[0]), uintptr(len(o.Data)))
	case model.CrashFlush, model.CrashCLFlush:
		c.ops.Flush(c.at(o.Off), uintptr(o.N))
	case model.CrashFence:
		c.ops.Fence()
	case model.CrashPersist:
		c.ops.Persist(c.at(o.Off), uintptr(o.N))
	case model.CrashMsync:
		err = c.m.Msync(uintptr(c.at(o.Off)), o.N, platform.MsSync)
	case model.CrashWrite:
		_, err = c.m.Pwrite(c.fd, o.Data, int64(o.Off))
	case model.CrashLook:
		c.m.Look()
	}
	return err
}

func (c *crashMachine) durable(off, n uint64) (why, err error) {
	why = c.m.Durable(c.memory[off : off+n])
	if lost, ok := why.(*emu.NotDurable); ok {
		return lost, nil
	}
	return nil, why
}

func (c *crashMachine) atRisk() (string, error) {
	for _, f := range c.m.Findings() {
		switch f.Rule {
		case check.StoreNeverFlushed, check.FlushedNeverFenced, check.FencedByAnother:
			if f.Proven {
				return f.String(), nil
			}
		}
	}
	return "", nil
}

func (c *crashMachine) crash(seed uint64, possible bool) ([]byte, error) {
	m, err := c.m.Crash(emu.CrashConfig{Seed: seed, Possible: possible})
	if err != nil {
		return nil, err
	}
	return c.booted(m)
}

// booted is what the file has on a machine that booted, which it ends.
func (c *crashMachine) booted(m *emu.Machine) ([]byte, error) {
	fd, err := m.Open(c.path, os.O_RDONLY, 0)
	if err != nil {
		return nil, errors.Join(err, m.Shutdown())
	}
	n, err := m.Pread(fd, c.image[:], 0)
	if n != crashSize && err == nil {
		err = errors.New("the file is shorter than it was")
	}
	return c.image[:], errors.Join(err, m.Close(fd), m.Shutdown())
}

// reset makes all zero and durable. What the other goroutine has flushed or stored
// non-temporally is durable too then, and of no interest.
func (c *crashMachine) reset() error {
	err := c.do(&model.CrashOp{Kind: model.CrashFence, By: 1})
	for _, line := range crashLines {
		c.ops.Copy(c.at(line), unsafe.Pointer(&c.zero), cacheLine)
		c.ops.Flush(c.at(line), cacheLine)
	}
	c.ops.Fence()
	if c.cfg.Rules == model.CrashPages {
		err = errors.Join(err, c.m.Msync(uintptr(c.at(0)), crashSize, platform.MsSync))
	}
	if err == nil {
		err = c.m.Durable(c.memory)
	}
	return err
}

func (c *crashMachine) states(possible bool) (crashList, error) {
	s, err := c.m.CrashStates(emu.CrashOptions{Possible: possible})
	if err != nil {
		return nil, err
	}
	return &crashMachineStates{c: c, s: s, possible: possible}, nil
}

// crashMachineStates are the states of a machine.
type crashMachineStates struct {
	c        *crashMachine
	s        *emu.CrashStates
	possible bool
	shown    *emu.Image
}

func (l *crashMachineStates) count() uint64  { return l.s.Count() }
func (l *crashMachineStates) complete() bool { return l.s.Complete() }
func (l *crashMachineStates) close()         { _ = l.s.Close() }

func (l *crashMachineStates) all(limit, seed uint64, show func(image []byte) bool) error {
	s := l.s
	if limit > 0 {
		sample, err := l.c.m.CrashStates(emu.CrashOptions{Possible: l.possible, Max: limit, Seed: seed})
		if err != nil {
			return err
		}
		defer func() { _ = sample.Close() }()
		s = sample
	}
	for image, err := range s.All() {
		if err != nil {
			return err
		}
		b, err := image.Bytes(l.c.path)
		if err != nil {
			return err
		}
		l.shown = image
		if !show(b) {
			break
		}
	}
	return nil
}

func (l *crashMachineStates) boot() ([]byte, error) {
	m, err := l.shown.Machine()
	if err != nil {
		return nil, err
	}
	return l.c.booted(m)
}
