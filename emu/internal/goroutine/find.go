package goroutine

import (
	"runtime"
	"sync"
)

const (
	// searched is how many bytes of a goroutine's structure are searched for its number.
	// The structure has been longer than that, and the number within, since Go 1.4.
	searched = 256
	// witnesses is how many goroutines have to agree on where the number is.
	witnesses = 8
	// maxBetween is how many frames can stand between callers and its Go caller: one that
	// the compiler makes to convert the calling sequence, or none.
	maxBetween = 2
)

// find learns what the fast ways need to know.
func find() {
	if !fast {
		found.frames.Store(-1)
		return
	}
	found.goid.Store(findID())
	found.frames.Store(findFrames())
}

// findID is the one offset where each of several goroutines finds its own number, 0 if
// there are none or several.
func findID() uintptr {
	var (
		mu    sync.Mutex
		wg    sync.WaitGroup
		agree [searched / 8]int
	)
	for range witnesses {
		wg.Go(func() {
			id := uintptr(parseID())
			mu.Lock()
			defer mu.Unlock()
			for i := range agree {
				if word(uintptr(i)*8) == id {
					agree[i]++
				}
			}
		})
	}
	wg.Wait()
	var at uintptr
	for i, n := range agree {
		if n != witnesses {
			continue
		}
		if at != 0 {
			return 0
		}
		at = uintptr(i) * 8
	}
	return at
}

// findFrames is what found.frames has to be, -1 if the frame pointers don't lead to this
// function and its caller.
//
//go:noinline
func findFrames() int64 {
	var want [2]uintptr
	runtime.Callers(1, want[:])
	for between := range maxBetween + 1 {
		var pcs [Depth]uintptr
		viaCallers(between, &pcs)
		if entry(pcs[0]) == entry(want[0]) && entry(pcs[1]) == entry(want[1]) {
			return int64(between) + 1
		}
	}
	return -1
}

// viaCallers calls callers as Callers does.
//
//go:noinline
func viaCallers(skip int, pcs *[Depth]uintptr) {
	callers(skip, pcs)
}

// entry is where the function begins that the call with this return address is in. 0: in
// none.
func entry(pc uintptr) uintptr {
	if f := runtime.FuncForPC(pc - 1); f != nil {
		return f.Entry()
	}
	return 0
}
