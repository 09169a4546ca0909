//go:build libpmem2

package main

import (
	"errors"
	"math/rand/v2"
	"os"
	"slices"

	"pmemlab/conformance"
	"pmemlab/fuzz"
)

// options are what a run is told.
type options struct {
	inputs uint64
	seed   uint64
	dir    string   // where files are made, on a tmpfs
	save   string   // where what isn't explained is saved
	most   uint64   // how many inputs C is given for each row that it doesn't survive
	child  []string // arguments of child processes
}

const (
	// batch is how many inputs a child is given at a time.
	batch = 256
	// mostExisting is how many maps of pmem2_map_from_existing(3) a child is told to make,
	// some more in its last batch. Deleting one, C keeps the key that it has made for
	// thread-specific data. When the process has no more of them, after 1023, a map is made
	// without, and deleting that one deletes the key for error messages: with the next message
	// the process aborts.
	mostExisting = 400
)

// tally is what a run has seen of a row.
type tally struct {
	count   uint64 // inputs of which the row explains a difference
	unrun   uint64 // those of them that C wasn't given
	example string
}

// result is what a run has come to.
type result struct {
	// ran are all inputs, otherwise those of which a difference isn't explained, or Go is wrong.
	ran, agree, differ, otherwise uint64
	rows                          []tally // of knowns
	unexplained                   []finding
}

// finding is a difference that no row explains, or more than one, or a call of which Go makes
// something else than the model wants.
type finding struct {
	task
	what  string
	index int    // of the call
	c     string // what C makes of it; "": it is Go that is wrong
	want  string
}

// run is one run on its way.
type run struct {
	options
	result
	host  fuzz.Host
	goes  *subject
	files *files // of C
	child *child
	// existing is how many maps the child has been told to make with
	// pmem2_map_from_existing(3).
	existing int
}

// start makes the files, and the Go library's subject.
func start(o options) (*run, error) {
	dir, err := os.MkdirTemp(o.dir, "pmemlab-differential-")
	if err != nil {
		return nil, err
	}
	defer func() { _ = os.Remove(dir) }()
	own, err := newFiles(dir)
	if err != nil {
		return nil, err
	}
	theirs, err := newFiles(dir)
	if err != nil {
		return nil, errors.Join(err, own.close())
	}
	r := &run{options: o, host: hostOf(own), goes: newSubject(conformance.Go, own), files: theirs}
	r.rows = make([]tally, len(knowns))
	return r, nil
}

// close gives everything back.
func (r *run) close() error {
	if r.child != nil {
		r.child.close()
		r.child = nil
	}
	return errors.Join(r.goes.files.close(), r.files.close())
}

// input is the input of a number.
func (r *run) input(number uint64) task {
	kind := kindOf(number)
	return task{Kind: kind, Input: kinds[kind].generate(rand.New(rand.NewPCG(r.seed, number)))}
}

// all runs all inputs.
func (r *run) all() error {
	for r.ran < r.inputs {
		jobs := make([]job, min(batch, r.inputs-r.ran))
		for i := range jobs {
			jobs[i].task = r.input(r.ran + uint64(i))
		}
		if err := r.jobs(jobs); err != nil {
			return err
		}
	}
	return nil
}

// job is an input that is run by both libraries.
type job struct {
	task
	plan
	c outcome
	// unrun is the row that says what C would do where the program is cut off.
	unrun *tally
	died  string // how a process has ended that had run others before
	wrong bool   // Go isn't right
}

// jobs runs some inputs, C at the same time as Go.
func (r *run) jobs(jobs []job) error {
	given := map[int]uint64{}
	var together, alone []*job
	for i := range jobs {
		j := &jobs[i]
		j.plan = j.task.plan(r.host)
		call, row := foresee(&j.plan)
		switch t := at(r.rows, row); {
		case row == none:
			together = append(together, j)
		case t.count-t.unrun+given[row] < r.most:
			given[row]++
			alone = append(alone, j)
		default:
			// The calls before are compared.
			j.Cut, j.Only, j.unrun = true, call, &r.rows[row]
			together = append(together, j)
		}
	}
	failed := make(chan error, 1)
	go func() { failed <- r.runC(together, alone) }()
	noRoom, err := r.runGo(jobs)
	if err := errors.Join(<-failed, err); err != nil {
		return err
	}
	// What was planned for a machine with more room is run once more.
	if err := r.runC(noRoom, nil); err != nil {
		return err
	}
	for i := range jobs {
		r.judge(&jobs[i])
	}
	r.ran += uint64(len(jobs))
	return nil
}

// runGo has Go run all jobs, and says which of them had no room.
func (r *run) runGo(jobs []job) (noRoom []*job, err error) {
	for i := range jobs {
		j := &jobs[i]
		o, err := r.goes.run(j.plan)
		if err != nil {
			return nil, err
		}
		if o.NoRoom {
			whole := task{Kind: j.Kind, Input: j.Input, NoRoom: true}
			if j.NoRoom, j.plan = true, whole.plan(r.host); j.unrun == nil {
				noRoom = append(noRoom, j)
			}
			if o, err = r.goes.run(j.plan); err != nil {
				return nil, err
			}
		}
		if k := wrong(&j.plan, o); k != none {
			j.wrong = true
			c := &j.calls[k]
			got, want := o.Seen[k].words(c.op), j.want[k].words(c.op)
			r.unexplained = append(r.unexplained, finding{
				task: j.task, index: k, want: want, what: c.words() + ": pmem2 has " + got + ", the model wants " + want,
			})
		}
	}
	return noRoom, nil
}

// foresee is the first call of a plan that C doesn't survive, and the row that says so, or
// none.
func foresee(p *plan) (call, row int) {
	for i := range p.calls {
		for k := range knowns {
			if knowns[k].foreseen != nil && knowns[k].foreseen(&p.calls[i], &p.want[i]) {
				return i, k
			}
		}
	}
	return none, none
}

// runC has C run some jobs one after the other, and others each in a process of its own.
func (r *run) runC(together, alone []*job) (err error) {
	for len(together) > 0 {
		if r.child == nil {
			if r.child, err = newChild(r.files, r.options.child...); err != nil {
				return err
			}
			r.existing = 0
		}
		tasks := make([]task, len(together))
		for i, j := range together {
			tasks[i] = j.task
		}
		done, died := r.child.run(tasks)
		for i, o := range done {
			together[i].c = o
			r.existing += together[i].count(opExisting)
		}
		last := len(done)
		if last < len(together) { // the child is of no use any more
			if r.child.close(); died != "" {
				together[last].died = died
				alone = append(alone, together[last])
				last++
			}
			r.child = nil
		} else if last > 0 && done[last-1].Stuck || r.existing > mostExisting {
			r.child.close()
			r.child = nil
		}
		together = together[last:]
	}
	for _, j := range alone {
		if j.c, err = r.alone(j.task); err != nil {
			return err
		}
		if j.died != "" && j.c.Died == "" {
			r.unexplained = append(r.unexplained, finding{
				task: j.task, c: j.died, want: "no end", what: "C has " + j.died + ", but not if it hasn't run other inputs before",
			})
		}
	}
	return nil
}

// alone has C run a task in a process of its own. If that dies the outcome is that of the
// calls before.
func (r *run) alone(t task) (outcome, error) {
	o, died, err := r.once(t)
	if err != nil || died == "" {
		return o, err
	}
	calls := len(t.plan(r.host).calls)
	for t.Cut, t.Only = true, 0; t.Only < calls; t.Only++ {
		next, diedNow, err := r.once(t)
		if err != nil {
			return o, err
		}
		if diedNow != "" {
			o.Died = diedNow
			return o, nil
		}
		o.Seen = next.Seen[:t.Only]
	}
	o.Died = died
	return o, nil
}

func (r *run) once(t task) (o outcome, died string, err error) {
	c, err := newChild(r.files, r.options.child...)
	if err != nil {
		return o, "", err
	}
	done, died := c.run([]task{t})
	if died != "" {
		return o, died, nil
	}
	c.close()
	return done[0], "", nil
}

// judge has every difference explained by one row.
func (r *run) judge(j *job) {
	otherwise := j.wrong || j.died != "" && j.c.Died == ""
	differs := otherwise
	var counted []int
	p := j.plan
	if j.unrun != nil {
		p = j.task.plan(r.host) // up to there
	}
	ended := compare(&p, j.c, func(d difference) {
		differs = true
		var rows []int
		for k := range knowns {
			if knowns[k].explains(&d) {
				rows = append(rows, k)
			}
		}
		if len(rows) != 1 {
			f := finding{task: j.task, index: d.index, what: d.words(), c: d.outcome(), want: d.want.words(d.call.op)}
			for _, k := range rows {
				f.what += "; explained by " + knowns[k].row
			}
			r.unexplained = append(r.unexplained, f)
			otherwise = true
			return
		}
		if k := rows[0]; !slices.Contains(counted, k) {
			counted = append(counted, k)
			r.rows[k].count++
			if r.rows[k].example == "" {
				r.rows[k].example = d.words()
			}
		}
	})
	if j.unrun != nil && ended {
		differs = true
		j.unrun.count++
		j.unrun.unrun++
	}
	switch {
	case otherwise:
		r.otherwise++
	case differs:
		r.differ++
	default:
		r.agree++
	}
}
