package goroutine_test

import (
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"pmemlab/emu/internal/goroutine"
)

// printed is the running goroutine's number as a stack trace prints it.
func printed(t *testing.T) int64 {
	t.Helper()
	buf := make([]byte, 200)
	fields := strings.Fields(string(buf[:runtime.Stack(buf, false)]))
	id, err := strconv.ParseInt(fields[1], 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func TestID(t *testing.T) {
	var (
		mu   sync.Mutex
		wg   sync.WaitGroup
		seen = map[int64]bool{goroutine.ID(): true}
	)
	if got, want := goroutine.ID(), printed(t); got != want {
		t.Errorf("the test: got %d, want %d", got, want)
	}
	const rounds, each = 20, 50
	for range rounds {
		for range each {
			wg.Go(func() {
				first := goroutine.ID()
				grow(200)
				runtime.Gosched()
				if got, want := goroutine.ID(), printed(t); got != want || got != first {
					t.Errorf("got %d, then %d, want %d", first, got, want)
				}
				mu.Lock()
				defer mu.Unlock()
				seen[first] = true
			})
		}
		wg.Wait() // so that the next round's goroutines take the places of these
	}
	if got, want := len(seen), rounds*each+1; got != want {
		t.Errorf("different numbers: got %d, want %d", got, want)
	}
}

// grow makes the stack move.
//
//go:noinline
func grow(n int) int {
	var block [256]byte
	if n == 0 {
		return len(block)
	}
	block[n%256] = byte(n)
	return grow(n-1) + int(block[0])
}

// captured is where one call was made from, by Callers and by the runtime.
type captured struct {
	fast [goroutine.Depth]uintptr
	slow []uintptr
}

//go:noinline
func (c *captured) here(skip int) {
	goroutine.Callers(skip, &c.fast)
	c.slow = make([]uintptr, 64)
	c.slow = c.slow[:runtime.Callers(1, c.slow)]
}

func describe(frames []runtime.Frame) (list []string) {
	for _, f := range frames {
		list = append(list, f.Function+":"+strconv.Itoa(f.Line))
	}
	return list
}

// check compares the functions and lines. skip counts functions, none of which may have been
// inlined. The first one's line isn't compared, since here calls twice.
func (c *captured) check(t *testing.T, name string, skip int) {
	t.Helper()
	got := describe(goroutine.Frames(c.fast[:]))
	want := describe(goroutine.Frames(c.slow))[skip:]
	if skip == 0 && len(got) > 0 {
		got[0], _, _ = strings.Cut(got[0], ":")
		want[0], _, _ = strings.Cut(want[0], ":")
	}
	// As many addresses take at least as many functions.
	if addresses := used(c.fast[:]); len(got) > len(want) || len(got) < len(want) && addresses < goroutine.Depth {
		t.Errorf("%s: got %d addresses, %d functions\n%v\nwant %d\n%v", name, addresses, len(got), got, len(want), want)
		return
	}
	if want = want[:len(got)]; !slices.Equal(got, want) {
		t.Errorf("%s: got\n%v\nwant\n%v", name, got, want)
	}
	for i, pc := range c.fast[used(c.fast[:]):] {
		if pc != 0 {
			t.Errorf("%s: %#x is %d places behind the end", name, pc, i)
		}
	}
}

func used(pcs []uintptr) int {
	if n := slices.Index(pcs, 0); n >= 0 {
		return n
	}
	return len(pcs)
}

//go:noinline
func descend(n int, do func()) {
	if n == 0 {
		do()
		return
	}
	descend(n-1, do)
	runtime.KeepAlive(do)
}

// inlined is small enough that the compiler puts it into its callers, twice in one another.
func inlined(c *captured) { c.here(0) }

func inlinedTwice(c *captured) { inlined(c) }

type thing struct{ c *captured }

func (th thing) method() { th.c.here(0) }

type doer interface{ method() }

func TestCallers(t *testing.T) {
	for _, c := range []struct {
		name string
		call func(c *captured)
	}{
		{"called", func(c *captured) { c.here(0) }},
		{"from inlined functions", inlinedTwice},
		{"recursion of 3", func(c *captured) { descend(3, func() { c.here(0) }) }},
		{"recursion of 5000", func(c *captured) { descend(5000, func() { c.here(0) }) }},
		{"a closure in a closure", func(c *captured) { func() { func() { c.here(0) }() }() }},
		{"a deferred function", func(c *captured) { defer c.here(0); grow(10) }},
		{"a deferred closure", func(c *captured) { defer func() { c.here(0) }(); grow(10) }},
		{"functions deferred in a loop", func(c *captured) {
			for range 2 {
				defer c.here(0)
			}
		}},
		{"a deferred function in a panic", func(c *captured) {
			defer func() { _ = recover() }()
			defer c.here(0)
			panic("test")
		}},
		{"a deferred function in a fault", func(c *captured) {
			defer func() { _ = recover() }()
			defer c.here(0)
			var p *captured
			p.fast[0] = 1
		}},
		{"after a recovered panic", func(c *captured) {
			func() {
				defer func() { _ = recover() }()
				descend(20, func() { panic("test") })
			}()
			c.here(0)
		}},
		{"a method value", func(c *captured) { f := thing{c}.method; f() }},
		{"through an interface", func(c *captured) { var d doer = &thing{c}; d.method() }},
		{"through the runtime's sort", func(c *captured) {
			slices.SortFunc([]int{2, 1}, func(a, b int) int { c.here(0); return a - b })
		}},
		{"once", func(c *captured) { new(sync.Once).Do(func() { c.here(0) }) }},
		{"after the stack grew", func(c *captured) { grow(100); c.here(0) }},
		{"on a grown stack", func(c *captured) {
			descend(100, func() { grow(300); runtime.GC(); c.here(0) })
		}},
	} {
		var got captured
		c.call(&got)
		got.check(t, c.name, 0)

		got = captured{}
		done := make(chan bool)
		go func() { defer close(done); c.call(&got) }()
		<-done
		got.check(t, c.name+", in a new goroutine", 0)
	}

	var got captured
	done := make(chan bool)
	go func() { defer close(done); got.here(0) }()
	<-done
	got.check(t, "at the bottom of a goroutine", 0)
}

func TestCallersSkip(t *testing.T) {
	for _, skip := range []int{-5, 0, 1, 2, 7, 8, 20, 50} {
		var got captured
		done := make(chan bool)
		go func() { defer close(done); descend(10, func() { got.here(skip) }) }()
		<-done
		got.check(t, "skip "+strconv.Itoa(skip), min(max(skip, 0), len(got.slow)))
	}
}

func TestNoAllocation(t *testing.T) {
	var sum int64
	if got := testing.AllocsPerRun(100, func() {
		var pcs [goroutine.Depth]uintptr
		goroutine.Callers(0, &pcs)
		sum += goroutine.ID() + int64(pcs[0]&1)
	}); got != 0 && fastSystem {
		t.Errorf("got %v allocations, want 0", got)
	}
}

const fastSystem = runtime.GOOS == "linux" && (runtime.GOARCH == "amd64" || runtime.GOARCH == "arm64")

// Callers under preemption, collections and growing stacks.
func TestCallersConcurrently(t *testing.T) {
	var wg sync.WaitGroup
	stop := make(chan bool)
	collected := make(chan bool)
	go func() {
		defer close(collected)
		for {
			select {
			case <-stop:
				return
			default:
				runtime.GC()
			}
		}
	}()
	for i := range 8 {
		wg.Go(func() {
			id := goroutine.ID()
			for n := range 300 {
				var got captured
				descend((n*7+i)%60, func() { grow(n % 40); got.here(0) })
				got.check(t, "depth "+strconv.Itoa(n), 0)
				if again := goroutine.ID(); again != id {
					t.Errorf("got number %d, want %d", again, id)
				}
			}
		})
	}
	wg.Wait()
	close(stop)
	<-collected
}

func TestFrames(t *testing.T) {
	if got := goroutine.Frames(nil); got != nil {
		t.Errorf("Frames of nothing: got %v, want none", got)
	}
	var pcs [goroutine.Depth]uintptr
	first(&pcs)
	if got := goroutine.Frames([]uintptr{0, pcs[0]}); got != nil {
		t.Errorf("Frames behind a 0: got %v, want none", got)
	}
	before := pcs
	got := describe(goroutine.Frames(pcs[:]))
	for i, want := range []string{"second", "first", "TestFrames"} {
		if len(got) <= i || !strings.Contains(got[i], "goroutine_test."+want+":") {
			t.Errorf("got %v, want %s at %d", got, want, i)
		}
	}
	// Each address stands for the same functions, whether or not another one follows.
	var single []string
	for i := range used(pcs[:]) {
		single = append(single, describe(goroutine.Frames(pcs[i:i+1]))...)
	}
	if !slices.Equal(single, got) {
		t.Errorf("one by one: got %v, want %v", single, got)
	}
	if pcs != before {
		t.Errorf("the addresses: got %v, want %v as before", pcs, before)
	}
}

func first(pcs *[goroutine.Depth]uintptr)  { second(pcs) }
func second(pcs *[goroutine.Depth]uintptr) { goroutine.Callers(0, pcs) }

func BenchmarkID(b *testing.B) {
	for b.Loop() {
		goroutine.ID()
	}
}

func BenchmarkCallers(b *testing.B) {
	var pcs [goroutine.Depth]uintptr
	descend(10, func() {
		for b.Loop() {
			goroutine.Callers(0, &pcs)
		}
	})
}

func BenchmarkRuntimeCallers(b *testing.B) {
	pcs := make([]uintptr, goroutine.Depth)
	descend(10, func() {
		for b.Loop() {
			runtime.Callers(1, pcs)
		}
	})
}
