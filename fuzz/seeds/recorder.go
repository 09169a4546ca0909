package seeds

import (
	"encoding/json"
	"errors"
	"io"
	"os"
	"strings"
	"sync"

	"pmemlab/conformance"
	"pmemlab/conformance/report"
	"pmemlab/emu/fault"
	"pmemlab/fuzz/model"
	"pmemlab/pmem2"
	"pmemlab/pmem2/platform"
)

// recorder is package pmem2 and package pmemset with a note of each call: a subject of the
// suite, for one case.
type recorder struct {
	mu       sync.Mutex
	trace    Trace
	base     platform.Platform // of the case, without what fails on demand
	machines map[platform.Platform]*watch
	wrappers map[any]any   // by what they stand before
	tell     *json.Encoder // in a child process
	made     map[string]Object
	sources  map[conformance.Source]model.Source
}

func newRecorder() *recorder {
	return &recorder{
		machines: map[platform.Platform]*watch{}, wrappers: map[any]any{}, made: map[string]Object{},
		sources: map[conformance.Source]model.Source{},
	}
}

// childFile is the environment variable with the file that what is called in the processes
// that a case starts is written to.
const childFile = "PMEMLAB_FUZZ_SEEDS_CHILD"

// Subject is what a program that calls Make has to name to conformance.RunChild.
func Subject() conformance.Subject {
	r := newRecorder()
	if name := os.Getenv(childFile); name != "" {
		f, err := os.OpenFile(name, os.O_WRONLY|os.O_APPEND, 0)
		if err == nil {
			r.tell = json.NewEncoder(f)
			_ = r.tell.Encode(Call{Op: begins})
		}
	}
	return r
}

// begins stands before the calls of a process.
const begins Op = -1

// children are what the processes of a case have called.
func children(name string) (all []Trace, err error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	for d := json.NewDecoder(f); ; {
		var c Call
		switch err := d.Decode(&c); {
		case errors.Is(err, io.EOF):
			return all, nil
		case err != nil:
			return nil, err
		case c.Op == begins:
			all = append(all, Trace{})
		default:
			t := &all[len(all)-1]
			t.Calls = append(t.Calls, c)
		}
	}
}

// Record runs a case on the emulated machine and returns what it did, however it ended.
func Record(c conformance.Case) (t Trace, err error) {
	f, err := os.CreateTemp("", "seeds")
	if err != nil {
		return t, err
	}
	defer func() { err = errors.Join(err, os.Unsetenv(childFile), os.Remove(f.Name())) }()
	if err := errors.Join(f.Close(), os.Setenv(childFile, f.Name())); err != nil {
		return t, err
	}
	r := newRecorder()
	results := conformance.NewRunner(r, conformance.Emulated(), []conformance.Case{c}).RunCase(c)
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.trace.Children, err = children(f.Name()); err != nil {
		return t, err
	}
	for _, res := range results {
		r.trace.Elsewhere = r.trace.Elsewhere || res.Status == report.NotSupported
		for _, line := range res.Calls {
			if plan, ok := strings.CutPrefix(line.Call, "inject "); ok {
				r.trace.Plans = append(r.trace.Plans, plan)
			}
		}
	}
	return r.trace, nil
}

// Name is conformance.Subject.Name.
func (r *recorder) Name() string { return "recorder" }

// On is conformance.Subject.On.
func (r *recorder) On(p platform.Platform) conformance.Library {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.base == nil {
		r.base = p
	}
	w := r.machines[p]
	if w == nil {
		_, fails := p.(*fault.Platform)
		w = &watch{Platform: p, r: r, fails: fails}
		r.machines[p] = w
	}
	return &library{Library: conformance.Go.On(w), r: r, w: w}
}

// note adds a call to the trace.
func (r *recorder) note(c Call) {
	r.mu.Lock()
	r.trace.Calls = append(r.trace.Calls, c)
	if r.tell != nil {
		_ = r.tell.Encode(c) // what can't be told isn't an input
	}
	r.mu.Unlock()
}

// access adds an access to sysfs to the trace.
func (r *recorder) access(a Access) {
	r.mu.Lock()
	r.trace.Sysfs = append(r.trace.Sysfs, a)
	r.mu.Unlock()
}

// number is that of a new object of a kind.
func (r *recorder) number(kind string) Object {
	r.mu.Lock()
	defer r.mu.Unlock()
	n := r.made[kind]
	r.made[kind]++
	return n
}

// wrap returns the one wrapper of an object, which fresh makes.
func wrap[W any](r *recorder, object any, fresh func() W) W {
	r.mu.Lock()
	known, ok := r.wrappers[object]
	r.mu.Unlock()
	if w, same := known.(W); ok && same {
		return w
	}
	w := fresh()
	r.mu.Lock()
	r.wrappers[object] = w
	r.mu.Unlock()
	return w
}

// wrapper stands before an object of the library.
type wrapper[T any] interface{ bare() T }

// bare is the object of the library, of a wrapper or of what has none.
func bare[T any](v T) T {
	if w, ok := any(v).(wrapper[T]); ok {
		return w.bare()
	}
	return v
}

// describe is what a source of a descriptor is made of, asked on the machine that nothing
// fails on.
func (r *recorder) describe(fd int) (s model.Source, dax bool) {
	s.Kind = model.File
	st, err := r.base.Fstat(fd)
	if err != nil {
		return s, false
	}
	s.Size, s.Align = uint64(max(st.Size, 0)), r.base.PageSize()
	flags, err := r.base.GetFL(fd)
	if err == nil {
		switch {
		case flags&platform.OPath != 0:
			s.Access = model.PathOnly
		case flags&platform.OAccmode == platform.ORdonly:
			s.Access = model.ReadOnly
		case flags&platform.OAccmode == platform.OWronly:
			s.Access = model.WriteOnly
		}
	}
	if x, err := r.base.Statx(fd); err == nil {
		s.AppendOnly, dax = x.Attributes&platform.StatxAttrAppend != 0, x.Attributes&platform.StatxAttrDAX != 0
	}
	if st.Mode&platform.SIFMT == platform.SIFCHR {
		s.Kind, dax = model.DeviceDAX, true
		if src, err := pmem2.SourceFromFD(fd, pmem2.On(r.base)); err == nil {
			s.Size, _ = src.Size()
			s.Align, _ = src.Alignment()
			_ = src.Delete()
		}
	}
	return s, dax
}

// machine is what the kernel and the CPU have, beside what it answers.
func (r *recorder) machine() model.Machine {
	m := model.Machine{Page: r.base.PageSize()}
	const bus = "bus/nd/devices"
	names, err := r.base.List(bus)
	regions := 0
	m.EADR = err == nil
	for _, n := range names {
		if len(n) < 6 || n[:6] != "region" {
			continue
		}
		regions++
		text, err := r.base.ReadAttr(bus + "/" + n + "/persistence_domain")
		m.EADR = m.EADR && err == nil && text == "cpu_cache\n"
	}
	m.EADR = m.EADR && regions > 0
	return m
}
