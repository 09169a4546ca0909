package command

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"pmemlab/conformance/libpmem2"
	"pmemlab/conformance/report"
)

// writeDivergences runs the programs that show what the C library does otherwise, and
// writes that with what the run has seen of it. It is an error if one doesn't show it.
func (o *Options) writeDivergences(rep report.Report) error {
	i := slices.IndexFunc(rep.Runs, func(r report.Run) bool { return r.Subject == "c" })
	if i < 0 {
		return errors.New("-pmem.divergences: there is no run of the C library")
	}
	reproduced, err := libpmem2.Reproduce()
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(o.Divergences), 0o755); err != nil {
		return err
	}
	f, err := os.Create(o.Divergences)
	if err != nil {
		return err
	}
	w := bufio.NewWriter(f)
	if err := errors.Join(libpmem2.WriteDivergences(w, rep.Runs[i], reproduced), w.Flush(), f.Close()); err != nil {
		return err
	}
	live := 0
	for _, r := range reproduced {
		switch {
		case r.Live():
			live++
		case r.Printed != "":
			err = errors.Join(err, fmt.Errorf("%s: the program prints %q, want %q", r.Title, r.Printed, r.Prints))
		}
	}
	fmt.Printf("divergences: %d rows, %d programs, %d of them show theirs here: %s\n", rep.Runs[i].Summary.KnownDivergence, len(reproduced), live, o.Divergences)
	return err
}
