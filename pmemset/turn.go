package pmemset

import (
	"bytes"
	"runtime"
	"strconv"
	"sync"
)

// turn is a mutex that the goroutine which holds it may take again.
type turn struct {
	mu     sync.Mutex
	free   sync.Cond
	holder uint64 // goroutine, 0 for none
	depth  int
}

// take waits for the turn. The function that it returns gives it back.
func (t *turn) take() (give func()) {
	me := goroutine()
	t.mu.Lock()
	if t.free.L == nil {
		t.free.L = &t.mu
	}
	for t.holder != 0 && t.holder != me {
		t.free.Wait()
	}
	t.holder = me
	t.depth++
	t.mu.Unlock()
	return t.give
}

func (t *turn) give() {
	t.mu.Lock()
	if t.depth--; t.depth == 0 {
		t.holder = 0
		t.free.Signal()
	}
	t.mu.Unlock()
}

// goroutine is the number of the calling goroutine, which Go tells only at the head of
// a stack trace: "goroutine 18 [running]:".
func goroutine() uint64 {
	var text [64]byte
	head := text[:runtime.Stack(text[:], false)]
	head = bytes.TrimPrefix(head, []byte("goroutine "))
	if i := bytes.IndexByte(head, ' '); i > 0 {
		head = head[:i]
	}
	n, err := strconv.ParseUint(string(head), 10, 64)
	if err != nil {
		panic("pmemset: no goroutine number in " + strconv.Quote(string(text[:])))
	}
	return n
}
