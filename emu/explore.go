package emu

import (
	"errors"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"time"

	"pmemlab/emu/exact"
	"pmemlab/emu/internal/goroutine"
	"pmemlab/emu/trace"
)

// Run is a workload under exploration: the machine that it runs on.
type Run struct {
	*Machine
	x *explorer
}

// Ack says that the workload has promised something to somebody: from here on what
// recovery finds must have it. The checks of all failures to come see it in Crashed.Acks.
func (r *Run) Ack(what string) {
	seq := r.ackMark(what)
	r.x.mu.Lock()
	r.x.acks = append(r.x.acks, ack{what, seq})
	r.x.mu.Unlock()
}

// ackMark is mark with a look before, so that what was stored until then is known to be.
func (r *Run) ackMark(what string) uint64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.look(nil, everything)
	return r.mark(what)
}

// ack is what was acknowledged, and when: the number of the event.
type ack struct {
	what string
	seq  uint64
}

// Crashed is a machine that has booted again after a power failure.
type Crashed struct {
	*Machine
	// Acks are what the workload had acknowledged, in its order.
	Acks []string
	// Point is what the workload was about to do.
	Point Point
}

// Point is a moment of a workload: before an operation, or its end.
type Point struct {
	Seq uint64 // of the trace: events up to it had happened
	// What is the operation: "clwb", "fence", "msync", "fsync", under eADR "copy", or "end".
	What string
	// Callers were the callers of the operation, the innermost first, and Before those of the
	// operation before it: what lies between them had been done.
	Callers, Before []trace.Frame
}

// ExploreOptions configure [Explore]. The zero value needs Test to be set, or InProcess.
type ExploreOptions struct {
	// Machine configures the machine.
	Machine Config
	// Setup prepares it: it adds devices, and may format them. No failure happens in it, and
	// what it leaves is durable or not as after any other program. nil adds nothing.
	Setup func(*Machine) error
	// InProcess runs recoveries in this process, several at once: faster, for recoveries
	// that may only fail and panic. One that crashes, exits or hangs takes the test along.
	InProcess bool
	// Test is the name of the running test, t.Name(). Recoveries run in processes of their own:
	// the test binary is executed again for this test alone, and Explore doesn't return in it.
	// So what the test does before must be the same each time.
	Test string
	// Workers is how many recoveries run at once; 0 is GOMAXPROCS.
	Workers int
	// Timeout is how long one recovery with its check may take, except in this process; 0 is
	// 10 s.
	Timeout time.Duration
	// Possible explores the possible states too, not only the proven ones.
	Possible bool
	// MaxImages bounds the states of each point, as CrashOptions.Max does; 0 is 4096.
	MaxImages uint64
	// Seed is that of the samples past the bound.
	Seed uint64
	// MaxFindings ends the exploration when so many were found; 0 is 10.
	MaxFindings int
}

// Exploration is what Explore has seen.
type Exploration struct {
	Points uint64 // moments at which power failed
	Images uint64 // states that were recovered from and checked; equal ones count once
	// Skipped is how many states were left out since recovery can't tell them from others.
	Skipped uint64
	// Complete: no state was left out for being too many.
	Complete bool
	Findings []CrashFinding
}

// Explore runs workload once on an emulated machine. Before each of its flushes, fences, syncs,
// under eADR also before each of the machine's copies, and at its end power fails: for each state that this could leave, recovery and then check
// run on a machine that has booted from it, and what they say is wrong is a finding, reduced
// to the state with the fewest lines lost that is still wrong.
//
// A state is checked once for what was acknowledged until then ([Run.Ack]): check is to say
// whether what recovery made of it has all of that, and at most what was under way besides. The
// machine that they get is good until they return, and they close and unmap what they opened
// on it. Neither may use anything that the workload has changed in this process.
//
// Workloads of one goroutine are explored alike each time. Others go on while one of their
// goroutines waits for the states of its operation to be checked.
//
// The error is that of Setup or of the workload, that of memory or of processes, or says what
// is wrong with the options. What was found until then is returned with it.
func Explore(workload func(*Run) error, recovery, check func(*Crashed) error, opts ExploreOptions) (*Exploration, error) {
	if opts.Workers == 0 {
		opts.Workers = runtime.GOMAXPROCS(0)
	}
	if opts.InProcess && exact.Enabled() {
		opts.Workers = 1 // what is read is known of the whole process only
	}
	if opts.Timeout == 0 {
		opts.Timeout = 10 * time.Second
	}
	if opts.MaxImages == 0 {
		opts.MaxImages = 4096
	}
	if opts.MaxFindings == 0 {
		opts.MaxFindings = 10
	}
	do := func(c *Crashed) error { return recoverAndCheck(recovery, check, c) }
	call := countCall(opts.Test)
	if serveIfWorker(&opts, call, do) {
		return &Exploration{Complete: true}, nil // the worker is for another call, to come
	}
	if !opts.InProcess && opts.Test == "" {
		return nil, errors.New("emu: ExploreOptions.Test is empty, allowed is the name of the running test, or InProcess")
	}
	x := &explorer{opts: opts, call: call, do: do, result: &Exploration{Complete: true}, seen: map[imageKey]struct{}{}}
	defer x.stop()
	return x.result, x.run(workload)
}

// recoverAndCheck makes errors of the panics of either.
func recoverAndCheck(recovery, check func(*Crashed) error, c *Crashed) (err error) {
	defer func() {
		if p := recover(); p != nil {
			var stack [4096]byte
			err = &panicked{fmt.Sprint(p), string(stack[:runtime.Stack(stack[:], false)])}
		}
	}()
	if recovery != nil {
		if err := recovery(c); err != nil {
			return fmt.Errorf("recovery: %w", err)
		}
	}
	if check != nil {
		if err := check(c); err != nil {
			return fmt.Errorf("check: %w", err)
		}
	}
	return nil
}

// panicked is the error of a recovery that panicked.
type panicked struct{ value, stack string }

func (p *panicked) Error() string { return "panic: " + p.value + "\n" + p.stack }

// explorer is a running exploration.
type explorer struct {
	opts   ExploreOptions
	call   int // its number among those of the test
	do     func(*Crashed) error
	m      *Machine
	crew   []crewMember
	result *Exploration
	seen   map[imageKey]struct{}
	// reasons are those of the findings, and their places in the list.
	reasons map[string]int

	mu     sync.Mutex
	acks   []ack
	ended  bool // findings enough, an error, or the workload has returned
	err    error
	last   operation // the one before
	known  snapshotKey
	states *CrashStates // of the last point
	base   imageHash    // of its newest version: what is durable for certain
	plan   planHash
}

// crewMember sets up images, one at a time, and runs recoveries on them.
type crewMember interface {
	// boot makes it ready for images of v.
	boot(v *crashVersion) error
	// refresh tells of changed pages of what is durable for certain.
	refresh(pages []content) error
	// begin tells of the point that the next images belong to.
	begin(p *crashPoint)
	// try runs a recovery on an image. failure is what it said was wrong.
	try(image chosen) (failure, err error)
	stop() error
	// renew makes it ready again after a recovery that has ended its goroutine.
	renew() error
	// read are the lines that the last recovery has read; ok: that's known.
	read() (lines []readRange, ok bool)
}

// snapshotKey changes with all but the bytes of a machine.
type snapshotKey struct{ changes, spans int }

func (x *explorer) run(workload func(*Run) error) (err error) {
	x.m = NewMachine(x.opts.Machine)
	defer func() {
		x.mu.Lock()
		x.ended = true // goroutines that the workload has left behind go on without
		x.mu.Unlock()
		x.m.rec.hook.Store(nil)
		if p := recover(); p != nil { // the workload's own business; but leave nothing behind
			_ = x.m.Shutdown()
			panic(p)
		}
		err = errors.Join(err, x.m.Shutdown())
	}()
	if x.opts.Setup != nil {
		if err := x.opts.Setup(x.m); err != nil {
			return fmt.Errorf("emu: Explore: Setup: %w", err)
		}
	}
	if err := x.m.Err(); err != nil {
		return err
	}
	hook := x.before
	x.m.rec.hook.Store(&hook)
	err = workload(&Run{x.m, x})
	x.m.rec.hook.Store(nil)
	if err != nil {
		err = fmt.Errorf("emu: Explore: workload: %w", err)
	}
	end := operation{what: "end", g: goroutine.ID()}
	x.before(end)
	x.mu.Lock()
	defer x.mu.Unlock()
	return errors.Join(err, x.err)
}

func (x *explorer) stop() {
	for _, c := range x.crew {
		_ = c.stop() // a process that was killed, or a machine that recovery has left open
	}
}

// before is the recorder's hook: power fails before op.
func (x *explorer) before(op operation) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.ended || op.what == beforeCopy && !x.keepsCaches() {
		return
	}
	if err := x.visit(op); err != nil {
		x.ended, x.err = true, err
	}
	x.last = op
}

// acknowledged is what was, until an event.
func (x *explorer) acknowledged(seq uint64) []string {
	var acks []string
	for _, a := range x.acks {
		if a.seq <= seq {
			acks = append(acks, a.what)
		}
	}
	return acks
}

// keepsCaches says whether what is stored stays. Otherwise a failure before a copy leaves no
// state that one before the next flush doesn't leave too.
func (x *explorer) keepsCaches() bool {
	x.m.mu.Lock()
	defer x.m.mu.Unlock()
	return x.m.eadr
}

// visitStores goes through the states after each store since the last point, which is what
// they leave where caches are kept: one is as good as durable before the next is done.
func (x *explorer) visitStores() error {
	m := x.m
	m.mu.Lock()
	defer m.mu.Unlock()
	upTo := m.gather()
	m.sortStores()
	for a := m.applyNext(upTo); a != nil && !x.ended; a = m.applyNext(upTo) {
		if a.store == nil {
			continue
		}
		states, changed, err := x.snapshot()
		if err != nil {
			return err
		}
		seq := m.mem.lastSeq
		var pcs [goroutine.Depth]uintptr
		copy(pcs[:], a.store.PCs[:])
		point := &crashPoint{
			Point: Point{Seq: seq, What: "the end of a store", Callers: m.mem.stacks.frames(m.mem.stacks.key(&pcs))},
			acks:  x.acknowledged(seq),
		}
		m.mu.Unlock()
		err = x.exploreAll(point, states, changed)
		m.mu.Lock()
		if err != nil {
			return err
		}
	}
	return nil
}

// visit looks at the machine and goes through the states that a failure now could leave.
func (x *explorer) visit(op operation) error {
	m := x.m
	if m.rec.exact && m.eadr {
		if err := x.visitStores(); err != nil || x.ended {
			return err
		}
	}
	m.mu.Lock()
	m.look(nil, everything)
	seq := m.tick()
	states, changed, err := x.snapshot()
	if err != nil {
		m.mu.Unlock()
		return err
	}
	point := &crashPoint{
		Point: Point{
			Seq: seq, What: op.what,
			Callers: m.mem.stacks.frames(m.mem.stacks.key(&op.callers)),
			Before:  m.mem.stacks.frames(m.mem.stacks.key(&x.last.callers)),
		},
		acks: x.acknowledged(seq),
	}
	m.mu.Unlock()
	return x.exploreAll(point, states, changed)
}

// exploreAll goes through the states of a point.
func (x *explorer) exploreAll(point *crashPoint, states *CrashStates, changed []content) error {
	x.result.Points++
	x.result.Complete = x.result.Complete && states.Complete()
	point.newest = states.versions[0].boot
	for _, v := range states.versions {
		point.enter(v)
		if err := x.explore(point, v, changed); err != nil || x.ended {
			return err
		}
	}
	return nil
}

// snapshot is the machine's, of which only what has changed is taken anew. m.mu must be held.
func (x *explorer) snapshot() (states *CrashStates, changed []content, err error) {
	m := x.m
	key := snapshotKey{m.changes(), m.mem.media.generation}
	if x.states == nil || key != x.known || len(x.states.versions) > 1 {
		if states, err = m.snapshotSeen(x.opts.Possible); err != nil {
			return nil, nil, err
		}
		m.mem.media.takeTouched(nil)
		x.known, x.states = key, states
		return states, nil, nil
	}
	v := x.states.versions[0]
	m.mem.media.takeTouched(func(o *object, off uint64, p *mediaPage) {
		page := v.pages[o.number][off/pageSize]
		if page == nil {
			if v.pages[o.number] == nil {
				v.pages[o.number] = map[uint64]*mediaPage{}
			}
			page = &mediaPage{}
			v.pages[o.number][off/pageSize] = page
		}
		x.base.swap(o.number, off, page, p)
		page.data = p.data
		changed = append(changed, content{o.number, off, page.data[:]})
	})
	images := m.mem.images(x.opts.Possible).Keep(v.index.holds(v.where))
	v.images = images
	return x.states, changed, nil
}

// explore goes through the states of one version.
func (x *explorer) explore(p *crashPoint, v *crashVersion, changed []content) error {
	if changed == nil {
		x.base = hashPages(v.pages)
	}
	newest := x.base
	if err := x.plan.of(v.boot); err != nil {
		return err
	}
	newest.add(x.plan.hash)
	hashes := newCellHashes(v)
	for c := range v.images.Cells() {
		newest.add(hashes.background(c))
		newest.add(hashes.content(c, 0))
	}
	var batch []chosen
	left, exhausted := x.opts.MaxImages, true
	err := x.prepare(v, p, changed)
	if err != nil {
		return err
	}
	total := uint64(0)
	flush := func() error {
		if len(batch) == 0 {
			return nil
		}
		err := x.tryAll(p, batch)
		batch = batch[:0]
		return err
	}
	size := len(x.crew) * 64
	prune := &pruner{v: v}
	if exact.Enabled() {
		size = 1 // what one has read tells which others needn't be tried
	}
	v.enumerate(left, x.opts.Seed, nowhere, func(choices []choice) bool {
		total++
		hash := newest
		for _, c := range choices {
			hash.add(hashes.content(c.Cell, 0))
			hash.add(hashes.content(c.Cell, c.Version))
		}
		key := imageKey{hash, len(p.acks)}
		if _, ok := x.seen[key]; ok {
			return true
		}
		if len(x.seen) < maxSeen {
			x.seen[key] = struct{}{}
		}
		if prune.skip(choices) {
			x.result.Skipped++
			return true
		}
		batch = append(batch, chosen{slices.Clone(choices)})
		if len(batch) < size {
			return true
		}
		failures := p.failures
		if err = flush(); err != nil || x.ended {
			exhausted = false
			return false
		}
		if read, ok := x.crew[0].read(); ok && size == 1 && p.failures == failures {
			prune.pass(choices, read)
		}
		return true
	})
	if err == nil && !x.ended {
		err = flush()
	}
	x.result.Complete = x.result.Complete && exhausted && v.images.Count() <= total
	return err
}

// maxSeen bounds the memory of what was checked before; past it things are checked again.
const maxSeen = 1 << 21

// prepare makes the crew ready for the images of v at p.
func (x *explorer) prepare(v *crashVersion, p *crashPoint, changed []content) error {
	for len(x.crew) < x.opts.Workers {
		x.crew = append(x.crew, x.newMember())
		changed = nil
	}
	for _, c := range x.crew {
		var err error
		if changed == nil {
			err = c.boot(v)
		} else {
			err = c.refresh(changed)
		}
		if err != nil {
			return err
		}
		c.begin(p)
	}
	return nil
}

// tryAll tries the images, several at once, and notes what was wrong with them.
func (x *explorer) tryAll(p *crashPoint, images []chosen) error {
	failures, errs := make([]error, len(images)), make([]error, len(x.crew))
	if len(images) < 2*len(x.crew) {
		errs[0] = tryShare(x.crew[0], images, failures, 0, 1)
	} else {
		var wg sync.WaitGroup
		for w, c := range x.crew {
			wg.Go(func() { errs[w] = tryShare(c, images, failures, w, len(x.crew)) })
		}
		wg.Wait()
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	x.result.Images += uint64(len(images))
	for i, failure := range failures {
		if failure == nil {
			continue
		}
		p.failures++
		// A proven failure isn't hidden behind one that is only possible.
		if w := p.known(images[i], failure); w != nil &&
			(x.result.Findings[w.finding].Proven || !x.proven(p.version, images[i].choices)) {
			x.result.Findings[w.finding].Count++
			continue
		}
		if err := x.found(p, images[i], failure); err != nil || x.ended {
			return err
		}
	}
	return nil
}
