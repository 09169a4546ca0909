//go:build libpmem2

package main

import (
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"

	"pmemlab/fuzz/corpus"
)

// replay runs the input in a file, in whose directory's name the kind stands behind "Fuzz",
// and tells of each call what the model wants, and what Go and C make of it.
func (o options) replay(w io.Writer, path string) (ok bool, err error) {
	input, err := corpus.ReadFile(path)
	if err != nil {
		return false, err
	}
	name := filepath.Base(filepath.Dir(path))
	k := slices.IndexFunc(kinds[:], func(k kind) bool { return "Fuzz"+k.name == name })
	if k < 0 {
		return false, fmt.Errorf("%s: the directory is none of FuzzMap, FuzzReservation, FuzzHostExisting, FuzzHostMemory", path)
	}
	r, err := start(o)
	if err != nil {
		return false, err
	}
	j := job{task: task{Kind: k, Input: input}}
	ok, err = r.tell(w, &j)
	if left := r.close(); err == nil {
		err = left
	}
	return ok, err
}

// tell runs a job, C in a process of its own, and tells what came of it.
func (r *run) tell(w io.Writer, j *job) (ok bool, err error) {
	j.plan = j.task.plan(r.host)
	goes, err := r.goes.run(j.plan)
	if err != nil {
		return false, err
	}
	if goes.NoRoom {
		j.NoRoom = true
		j.plan = j.task.plan(r.host)
	}
	if j.c, err = r.alone(j.task); err != nil {
		return false, err
	}
	for i := range j.calls {
		c := &j.calls[i]
		want := j.want[i].words(c.op)
		_, _ = fmt.Fprintf(w, "%s: %s\n", c.words(), want)
		for name, o := range map[string]outcome{"pmem2": goes, "C": j.c} {
			got := o.Died
			if i < len(o.Seen) {
				got = o.Seen[i].words(c.op)
			}
			if got != want {
				_, _ = fmt.Fprintf(w, "%s%s has %s\n", strings.Repeat(" ", 8), name, got)
			}
		}
		if i >= len(j.c.Seen) {
			break
		}
	}
	r.judge(j)
	for k, row := range r.rows {
		if row.count > 0 {
			_, _ = fmt.Fprintf(w, "%s: %s\n", knowns[k].row, knowns[k].why)
		}
	}
	for _, f := range r.unexplained {
		_, _ = fmt.Fprintf(w, "unexplained: %s\n", f.what)
	}
	return len(r.unexplained) == 0, nil
}
