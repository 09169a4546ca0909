//go:build libpmem2

package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"

	"pmemlab/fuzz/corpus"
)

// mostSaved is how many differences are saved that no row explains.
const mostSaved = 20

// report runs all inputs, prints what came of it, and saves what isn't explained. It says
// whether everything is.
func (o options) report(w io.Writer) (ok bool, err error) {
	r, err := start(o)
	if err != nil {
		return false, err
	}
	err = r.all()
	if left := r.close(); err == nil {
		err = left
	}
	if err == nil {
		err = r.print(w)
	}
	return len(r.unexplained) == 0, err
}

func (r *run) print(w io.Writer) error {
	p := &printer{w: w}
	p.line("%8s %8s  %s", "inputs", "not run", "row of the contract")
	rows := 0
	for k, t := range r.rows {
		if t.count == 0 {
			continue
		}
		rows++
		unrun := ""
		if t.unrun > 0 {
			unrun = fmt.Sprint(t.unrun)
		}
		p.line("%8d %8s  %s: %s", t.count, unrun, knowns[k].row, knowns[k].why)
		p.line("%8s %8s  %s", "", "", t.example)
	}
	p.line("An input may show several. What wasn't run C doesn't survive, or doesn't get over in the same process.")
	for i, f := range r.unexplained {
		p.line("NOT EXPLAINED: %s", f.what)
		if i >= mostSaved {
			continue
		}
		path, err := r.saveFinding(f)
		if err != nil {
			return err
		}
		p.line("  saved: %s, and beside its directory the same in C and in Go", path)
	}
	p.line("differential: %d inputs, %d agree, %d differ as %d rows say, %d otherwise (seed %d)", r.ran, r.agree, r.differ, rows, r.otherwise, r.seed)
	return p.err
}

// printer writes lines until it can't.
type printer struct {
	w   io.Writer
	err error
}

func (p *printer) line(format string, args ...any) {
	if p.err == nil {
		_, p.err = fmt.Fprintf(p.w, format+"\n", args...)
	}
}

// saveFinding writes the input as an entry of a corpus, and the calls up to the difference as
// programs in C and in Go. It says where the input is.
func (r *run) saveFinding(f finding) (path string, err error) {
	name := kinds[f.Kind].name
	if path, err = corpus.Write(r.save, name, f.Input); err != nil {
		return "", err
	}
	calls := f.plan(r.host).calls
	calls = calls[:min(f.index+1, len(calls))]
	text := fmt.Sprintf("%s\n\nFrom the input %s, which the program differential tells with -input.", f.what, path)
	base := filepath.Join(r.save, name+"-"+corpus.Name(f.Input))
	if err := os.WriteFile(base+".c", []byte(calls.inC(text)), 0o666); err != nil {
		return "", err
	}
	inGo, err := calls.inGo(text)
	if err != nil {
		return "", err
	}
	return path, os.WriteFile(base+".go", []byte(inGo), 0o666)
}
