package powercut

import (
	"errors"
	"fmt"
	"io"
	"slices"

	"pmemlab/ci/vm/plan"
	"pmemlab/pmem2/platform"
)

// CycleOptions say what a boot checks and writes.
type CycleOptions struct {
	// Seed is that of the records to be written; those to be looked for have the one before.
	Seed uint64
	// First is the first boot: there's nothing to look for.
	First bool
	// Records is how many are written to each log, and 0 as many as there is room for.
	Records int
	// Acked is how many records of the seed before were acknowledged, by log, as Stream has
	// it; nil is Records of each.
	Acked map[string]int
}

// Cycle is one boot of many, each of which ends with a power cut: unless it is the first, it
// checks what the boot before has left, then writes the records of its seed. Each place has
// a log that is persisted and one that isn't, and all are appended to in turn. Nothing is
// synced on return.
//
// What is found and what is acknowledged goes to w, a line each, in one write, before
// anything else is done: ReadStream reads it. The power can be cut whenever, also once
// Cycle has returned.
func Cycle(machine platform.Platform, places []plan.Place, o CycleOptions, w io.Writer) (found []Result, err error) {
	logs := func(do func(p plan.Place, o Options) error) error {
		for _, p := range places {
			for _, unpersisted := range []bool{false, true} {
				if err := do(p, Options{Seed: o.Seed, Records: o.Records, NoPersist: unpersisted}); err != nil {
					return err
				}
			}
		}
		return nil
	}
	if len(places) == 0 {
		return nil, errors.New("no places")
	}
	if o.Acked == nil && o.Records <= 0 && !o.First {
		return nil, errors.New("nobody says how many records were acknowledged")
	}
	if !o.First {
		err := logs(func(p plan.Place, before Options) error {
			before.Seed--
			if o.Acked != nil {
				before.Records = o.Acked[LogName(p, before)]
			}
			r, err := Check(machine, p, before)
			if err == nil {
				found = append(found, r)
				err = sendResult(w, r)
			}
			return err
		})
		if err != nil {
			return found, err
		}
	}
	var writers []*writer
	var names []string
	defer func() {
		for _, w := range writers {
			err = errors.Join(err, w.log.close())
		}
	}()
	err = logs(func(p plan.Place, o Options) error {
		w, err := newWriter(machine, p, o)
		if err == nil {
			writers, names = append(writers, w), append(names, LogName(p, o))
		}
		return err
	})
	if err != nil {
		return found, err
	}
	full := func(w *writer) bool { return !w.more() }
	for !slices.ContainsFunc(writers, full) {
		for i, writer := range writers {
			n, err := writer.append()
			if err == nil {
				err = sendAck(w, names[i], o.Seed, n)
			}
			if err != nil {
				return found, fmt.Errorf("log %s, record %d: %w", names[i], n, err)
			}
		}
	}
	for _, w := range writers {
		w.tear()
	}
	return found, nil
}
