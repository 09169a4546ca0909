package conformance_test

import (
	"fmt"
	"os"
	"sync"
)

// progress is one line on a terminal that rewrites itself; elsewhere it is silent.
type progress struct {
	mu    sync.Mutex
	tty   bool
	done  int
	total int
}

func newProgress(total int) *progress {
	st, err := os.Stderr.Stat()
	tty := err == nil && st.Mode()&os.ModeCharDevice != 0 && os.Getenv("TERM") != "dumb" && os.Getenv("TERM") != ""
	return &progress{tty: tty, total: total}
}

// next says that a case begins.
func (p *progress) next(name string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.done++
	if p.tty {
		fmt.Fprintf(os.Stderr, "\r\x1b[K%d/%d %.60s", p.done, p.total, name)
	}
}

// end removes the line.
func (p *progress) end() {
	if p.tty {
		fmt.Fprint(os.Stderr, "\r\x1b[K")
	}
}
