package conformance

import (
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
	"syscall"

	"pmemlab/emu"
	"pmemlab/emu/fault"
	"pmemlab/pmem2/platform"
)

// probeTarget compares what a target says of its capabilities with what is there,
// in every variant, and returns each contradiction.
func probeTarget(t Target) (wrong []string) {
	for _, n := range Needs() {
		if declared := slices.Contains(t.Capabilities(), n); declared != (t.Lacks(n) == "") {
			wrong = append(wrong, fmt.Sprintf("target %s: capability %s is declared (%t), what it lacks is %q", t.Name(), n, declared, t.Lacks(n)))
		}
	}
	if len(t.Variants()) == 0 {
		wrong = append(wrong, fmt.Sprintf("target %s has no variant", t.Name()))
	}
	for _, v := range t.Variants() {
		for _, n := range Needs() {
			why := lacks(t, v, n)
			err := probe(t, v, n)
			switch {
			case why == "" && err != nil:
				wrong = append(wrong, fmt.Sprintf("target %s, variant %s: capability %s is declared and isn't there: %v", t.Name(), v, n, err))
			case why != "" && err == nil:
				wrong = append(wrong, fmt.Sprintf("target %s, variant %s: capability %s is there, declared is that it isn't: %s", t.Name(), v, n, why))
			}
		}
	}
	return wrong
}

// probe returns nil if a need can be satisfied.
func probe(t Target, variant string, n Need) (err error) {
	env, err := t.NewEnv(variant)
	if err != nil {
		return err
	}
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("panic: %v", r)
		}
		err = errors.Join(err, env.Close())
	}()
	p := prober{env, env.Machine()}
	switch n {
	case NeedNothing:
		return nil
	case NeedFile:
		return p.opened(env.File(4096))(func(_ int, st platform.Stat) error {
			return expected("file type", st.Type(), platform.SIFREG)
		})
	case NeedReservation:
		return p.reservation()
	case NeedFaultInjection:
		return p.faultInjection()
	case NeedDevDax:
		return p.devDax()
	case NeedFSDax:
		return p.fsDax()
	case NeedEADR:
		return p.eADR()
	case NeedSysfsEdit:
		return p.sysfsEdit()
	case NeedAppendOnly:
		return p.opened(env.AppendOnlyFile(4096))(func(fd int, _ platform.Stat) error {
			stx, err := p.machine.Statx(fd)
			if err != nil {
				return err
			}
			return expected("append-only attribute", stx.Attributes&platform.StatxAttrAppend, platform.StatxAttrAppend)
		})
	case NeedDIMM:
		return p.dimm()
	case NeedBadBlock:
		return p.badBlock()
	case NeedCrash:
		return p.powerFailure()
	}
	return fmt.Errorf("nobody knows how to probe %q", n)
}

type prober struct {
	env     Env
	machine platform.Platform
}

// opened opens an object for reading and calls look on it.
func (p prober) opened(o Object, err error) func(look func(fd int, st platform.Stat) error) error {
	return func(look func(int, platform.Stat) error) error {
		if err != nil {
			return err
		}
		if o == nil {
			return errors.New("no object")
		}
		fd, err := o.Open(platform.ORdonly)
		if err != nil {
			return err
		}
		st, err := p.machine.Fstat(fd)
		if err == nil {
			err = look(fd, st)
		}
		return errors.Join(err, p.machine.Close(fd))
	}
}

func expected[V comparable](what string, got, want V) error {
	if got != want {
		return fmt.Errorf("%s is %v, want %v", what, got, want)
	}
	return nil
}

func (p prober) reservation() error {
	const size = 1 << 30
	addr, err := p.machine.Mmap(0, size, platform.ProtNone,
		platform.MapPrivate|platform.MapAnonymous|platform.MapNoreserve, -1, 0)
	if err != nil {
		return err
	}
	return p.machine.Munmap(addr, size)
}

func (p prober) faultInjection() error {
	plan, err := fault.Parse("(EIO (Op mmap))")
	if err != nil {
		return err
	}
	_, err = fault.Wrap(p.machine, plan).Mmap(0, 4096, platform.ProtNone, platform.MapPrivate|platform.MapAnonymous, -1, 0)
	if !errors.Is(err, syscall.EIO) {
		return fmt.Errorf("mmap returned %v, want the injected EIO", err)
	}
	return nil
}

func (p prober) devDax() error {
	return p.opened(p.env.DevDax(daxSize, daxAlign))(func(_ int, st platform.Stat) error {
		if err := expected("file type", st.Type(), platform.SIFCHR); err != nil {
			return err
		}
		target, err := p.machine.Readlink(fmt.Sprintf("dev/char/%d:%d/subsystem", st.Major(), st.Minor()))
		if err != nil {
			return err
		}
		return expected("subsystem", path.Base(target), "dax")
	})
}

func (p prober) fsDax() error {
	file := p.opened(p.env.DAXFile(2 << 20))(func(fd int, _ platform.Stat) error {
		e, err := daxOf(p.machine, fd)
		if why := e.lacks(); err == nil && why != "" {
			err = errors.New(why)
		}
		return err
	})
	if file != nil {
		return file
	}
	block := p.opened(p.env.BlockDevice())(func(_ int, st platform.Stat) error {
		return expected("file type", st.Type(), platform.SIFBLK)
	})
	if unavailable := new(UnavailableError); errors.As(block, &unavailable) {
		return nil // a process without privileges may not open it
	}
	return block
}

func (p prober) eADR() error {
	if _, err := p.env.DevDax(4<<20, 2<<20); err != nil {
		return err
	}
	for _, on := range []bool{true, false} {
		if err := p.env.SetEADR(on); err != nil {
			return err
		}
		const dir = "bus/nd/devices"
		names, err := p.machine.List(dir)
		if err != nil {
			return err
		}
		regions := 0
		for _, name := range names {
			if !strings.HasPrefix(name, "region") {
				continue
			}
			regions++
			domain, err := p.machine.ReadAttr(path.Join(dir, name, "persistence_domain"))
			if err != nil {
				return err
			}
			if err := expected(name+" has the caches in its persistence domain", strings.TrimSpace(domain) == "cpu_cache", on); err != nil {
				return err
			}
		}
		if regions == 0 {
			return errors.New("there is no region")
		}
	}
	return nil
}

func (p prober) sysfsEdit() error {
	sysfs := p.env.Sysfs()
	if sysfs == nil {
		return errors.New("sysfs can't be edited")
	}
	dev, err := p.env.DevDax(4<<20, 2<<20)
	if err != nil {
		return err
	}
	attr := path.Join(dev.SysfsDir(), "size")
	if err := sysfs.Set(attr, "8192\n"); err != nil {
		return err
	}
	text, err := p.machine.ReadAttr(attr)
	if err != nil {
		return err
	}
	return expected("attribute", text, "8192\n")
}

// onRegion makes a DAX file and a device DAX, each on a region of that kind, and calls
// look on them.
func (p prober) onRegion(r emu.Region, look func(o Object, fd int, s Storage) error) error {
	for _, made := range []func() (Object, error){
		func() (Object, error) { return p.env.DAXFileOn(4<<20, r) },
		func() (Object, error) { return p.env.DevDaxOn(4<<20, r) },
	} {
		o, err := made()
		if err == nil && o == nil {
			err = errors.New("no object")
		}
		if err != nil {
			return err
		}
		s, err := p.env.Storage(o)
		if err != nil {
			return err
		}
		fd, err := o.Open(platform.ORdwr)
		if err != nil {
			return err
		}
		if err := errors.Join(look(o, fd, s), p.machine.Close(fd)); err != nil {
			return err
		}
	}
	return nil
}

func (p prober) dimm() error {
	dimms := []emu.DIMM{{ID: "8680-00000002", DirtyShutdowns: 5}, {ID: "8680-00000001", DirtyShutdowns: 7}}
	return p.onRegion(emu.Region{DIMMs: dimms, NUMANode: 3}, func(_ Object, _ int, s Storage) error {
		if err := expected("number of DIMMs", len(s.DIMMs), len(dimms)); err != nil {
			return err
		}
		attributes := []struct{ path, want string }{{s.Region + "/numa_node", "3"}, {s.Region + "/mappings", "2"}}
		for i, d := range dimms {
			attributes = append(attributes, []struct{ path, want string }{
				{s.DIMMs[i] + "/nfit/id", d.ID},
				{s.DIMMs[i] + "/nfit/dirty_shutdown", fmt.Sprint(d.DirtyShutdowns)},
			}...)
		}
		for _, a := range attributes {
			text, err := p.machine.ReadAttr(a.path)
			if err != nil {
				return fmt.Errorf("read %s: %w", a.path, err)
			}
			if err := expected(a.path, strings.TrimSuffix(text, "\n"), a.want); err != nil {
				return err
			}
		}
		return nil
	})
}

func (p prober) badBlock() error {
	return p.onRegion(emu.Region{}, func(o Object, fd int, _ Storage) error {
		const page, n = 4096, 2 << 20
		st, err := p.machine.Fstat(fd)
		if err == nil && st.Type() == platform.SIFREG {
			err = p.machine.Fallocate(fd, 0, 0, n)
		}
		if err != nil {
			return err
		}
		if err := p.env.AddBadBlock(o, page, 512); err != nil {
			return err
		}
		addr, err := p.machine.Mmap(0, n, platform.ProtRead, platform.MapShared, fd, 0)
		if err != nil {
			return err
		}
		for i, want := range []bool{false, true, false} {
			at := addr + uintptr(i*page)
			err = errors.Join(err, expected(fmt.Sprintf("a load from page %d faults", i), faults(at, false), want))
		}
		return errors.Join(err, p.machine.Munmap(addr, n))
	})
}

// powerFailure looks for what was synced in a file after a failure, and for what wasn't
// beside it.
func (p prober) powerFailure() error {
	power, ok := p.env.(PowerFailure)
	if !ok {
		return errors.New("the power can't be cut")
	}
	o, err := p.env.File(4096)
	if err != nil {
		return err
	}
	fd, err := o.Open(platform.ORdwr)
	if err != nil {
		return err
	}
	write := func(text string) error {
		_, err := p.machine.Pwrite(fd, []byte(text), 0)
		return err
	}
	err = errors.Join(write("old"), p.machine.Fsync(fd), write("new"), p.machine.Close(fd))
	if err != nil {
		return err
	}
	states, all, err := power.PowerFails(Failure{}, o)
	if err != nil {
		return err
	}
	found := map[string]bool{}
	for left, err := range states {
		if err != nil {
			return err
		}
		if len(left) != 1 || len(left[0]) != 4096 {
			return errors.New("after a power failure a file that was synced isn't there")
		}
		found[string(left[0][:3])] = true
	}
	switch {
	case len(found) == 0:
		return errors.New("the power fails and nothing is left")
	case all && len(found) != 2:
		return fmt.Errorf("a power failure leaves one of %v, want the old and the new", found)
	}
	for text := range found {
		if text != "old" && text != "new" {
			return fmt.Errorf("a power failure leaves %q", text)
		}
	}
	return nil
}
