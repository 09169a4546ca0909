package fuzz

import (
	"errors"

	"pmemlab/emu/persist"
	"pmemlab/fuzz/model"
)

// crashMemory is the part of a machine that knows what is durable, told of what was done as the
// machine tells it.
type crashMemory struct {
	rules    persist.Model
	cfg      model.CrashConfig
	m        *persist.Memory
	memory   [crashSize]byte // what loads see
	image    [crashSize]byte
	known    [crashSize]byte
	programs int
}

func onCrashMemory(rules persist.Model, as model.CrashRules) func() (crashSubject, error) {
	return func() (crashSubject, error) {
		nt := as == model.CrashADR || as == model.CrashEADR
		c := &crashMemory{rules: rules, cfg: model.CrashConfig{Rules: as, NonTemporal: nt}}
		c.m = persist.New(rules, nil)
		return c, nil
	}
}

func (c *crashMemory) config() model.CrashConfig { return c.cfg }
func (c *crashMemory) machine() bool             { return false }
func (c *crashMemory) clflush() bool             { return true }
func (c *crashMemory) close() error              { return nil }
func (c *crashMemory) atRisk() (string, error)   { return "", nil }

// look tells of what has changed in the lines of [off, off+n), as one look.
func (c *crashMemory) look(off, n uint64) {
	unit := uint64(cacheLine)
	if c.rules == persist.PageCache {
		unit = 512
	}
	end := (off + n + unit - 1) &^ (unit - 1)
	var changes []persist.Change
	for _, line := range crashLines {
		at := line &^ (unit - 1)
		if at+unit <= off || at >= end || len(changes) > 0 && changes[len(changes)-1].Off == at {
			continue
		}
		known := c.known[:unit]
		c.m.Visible(at, known)
		if now := c.memory[at : at+unit]; string(now) != string(known) {
			changes = append(changes, persist.Change{Off: at, Data: now})
		}
	}
	if len(changes) > 0 {
		c.m.Observe(changes...)
	}
}

// line tells of what has changed in a line, as an operation on it finds.
func (c *crashMemory) line(at uint64) {
	known := c.known[:cacheLine]
	c.m.Visible(at, known)
	if now := c.memory[at : at+cacheLine]; string(now) != string(known) {
		c.m.Observe(persist.Change{Off: at, Data: now})
	}
}

func (c *crashMemory) do(o *model.CrashOp) error {
	g := int64(o.By)
	n := max(o.N, uint64(len(o.Data)))
	first, end := o.Off&^(cacheLine-1), o.Off+n
	if n == 0 {
		end = first
	}
	switch o.Kind {
	case model.CrashStore:
		copy(c.memory[o.Off:], o.Data)
	case model.CrashLook:
		c.look(0, crashSize)
	case model.CrashCopy, model.CrashCopyNT:
		for at := first; at < end; at += cacheLine {
			c.line(at)
		}
		copy(c.memory[o.Off:], o.Data)
		for at := first; at < end; at += cacheLine {
			from, to := max(at, o.Off), min(at+cacheLine, end)
			c.copied(g, from, c.memory[from:to], o.Kind == model.CrashCopyNT)
		}
	case model.CrashWrite:
		c.look(o.Off&^4095, 4096)
		copy(c.memory[o.Off:], o.Data)
		c.m.Store(o.Off, o.Data)
	case model.CrashFlush, model.CrashCLFlush, model.CrashPersist:
		for at := first; at < end; at += cacheLine {
			c.line(at)
			if o.Kind == model.CrashCLFlush {
				c.m.CLFlush(g, at, cacheLine)
			} else {
				c.m.Flush(g, at, cacheLine)
			}
		}
		if o.Kind == model.CrashPersist {
			c.m.Fence(g)
		}
	case model.CrashFence:
		c.m.Fence(g)
	case model.CrashMsync:
		c.look(o.Off, o.N)
		c.m.Sync(g, o.Off, o.N)
	}
	return nil
}

// copied tells of what a copy has stored in a line.
func (c *crashMemory) copied(g int64, off uint64, data []byte, nonTemporal bool) {
	if nonTemporal && len(data) == cacheLine && c.cfg.NonTemporal {
		c.m.StoreNT(g, off, data)
		return
	}
	c.m.Store(off, data)
	if nonTemporal {
		c.m.Flush(g, off, uint64(len(data)))
	}
}

var errCrashPending = errors.New("there are writes that a power failure can lose")

func (c *crashMemory) durable(off, n uint64) (why, err error) {
	c.look(off&^4095, (off+n+4095)&^4095-off&^4095)
	if c.m.Pending(off, n) {
		return errCrashPending, nil
	}
	return nil, nil
}

// crash is what is durable for certain.
func (c *crashMemory) crash(seed uint64, _ bool) ([]byte, error) {
	if seed != 0 {
		return nil, nil
	}
	c.m.Durable(0, c.image[:])
	return c.image[:], nil
}

func (c *crashMemory) states(possible bool) (crashList, error) {
	c.look(0, crashSize)
	l := crashImages{c: c}
	if possible {
		l.images = c.m.Possible()
	} else {
		c.m.Settle() // no operation is under way
		l.images = c.m.Proven()
	}
	return l, nil
}

// reset makes all zero and durable.
func (c *crashMemory) reset() error {
	c.m.Fence(0)
	c.m.Fence(1)
	for _, line := range crashLines {
		at := c.memory[line : line+cacheLine]
		clear(at)
		c.m.Store(line, at)
		c.m.Flush(0, line, cacheLine)
	}
	c.m.Sync(0, 0, crashSize)
	if c.programs++; c.programs%4096 == 0 {
		c.m = persist.New(c.rules, nil)
	}
	c.m.Durable(0, c.image[:])
	if c.image != [crashSize]byte{} || c.m.Pending(0, crashSize) {
		return errors.New("zeroes that are flushed and fenced aren't durable")
	}
	return nil
}

// crashImages are the states of such memory.
type crashImages struct {
	c      *crashMemory
	images *persist.Images
}

func (l crashImages) count() uint64         { return l.images.Count() }
func (l crashImages) complete() bool        { return l.images.Complete() }
func (l crashImages) boot() ([]byte, error) { return nil, nil }
func (l crashImages) close()                {}

func (l crashImages) all(limit, seed uint64, show func(image []byte) bool) error {
	image := l.c.image[:]
	copy(image, l.c.memory[:])
	set := persist.Into(image, 0)
	all := l.images.All(set)
	if limit > 0 {
		all = l.images.Sample(seed, limit, set)
	}
	for range all {
		if !show(image) {
			break
		}
	}
	return nil
}
