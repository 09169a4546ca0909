package command

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
)

// progressVariable is set in the processes of a run that several share: descriptor 3 is
// a pipe then, for the name of each case as it begins.
const progressVariable = "PMEMLAB_CONFORMANCE_PROGRESS"

// Progress is one line on a terminal that rewrites itself; elsewhere it is silent.
type Progress struct {
	mu    sync.Mutex
	w     io.Writer // nil: silent
	pipe  bool
	done  int
	total int
}

// NewProgress returns one for so many cases.
func NewProgress(total int) *Progress {
	p := &Progress{total: total}
	if os.Getenv(progressVariable) != "" {
		f := os.NewFile(progressFD, "progress")
		closeOnExec(progressFD)
		p.w, p.pipe = f, true
		return p
	}
	st, err := os.Stderr.Stat()
	if term := os.Getenv("TERM"); err == nil && st.Mode()&os.ModeCharDevice != 0 && term != "dumb" && term != "" {
		p.w = os.Stderr
	}
	return p
}

// Next says that a case begins.
func (p *Progress) Next(name string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.done++
	switch {
	case p.w == nil:
	case p.pipe:
		// Who doesn't read on has ended; there is nobody to tell.
		_, _ = fmt.Fprintf(p.w, "%s\n", strings.ReplaceAll(name, "\n", " "))
	default:
		_, _ = fmt.Fprintf(p.w, "\r\x1b[K%d/%d %.60s", p.done, p.total, name)
	}
}

// End removes the line.
func (p *Progress) End() {
	if p.w != nil && !p.pipe {
		_, _ = fmt.Fprint(p.w, "\r\x1b[K")
	}
}

// follow says what another process says to its pipe.
func (p *Progress) follow(r io.Reader) {
	for s := bufio.NewScanner(r); s.Scan(); {
		p.Next(s.Text())
	}
}
