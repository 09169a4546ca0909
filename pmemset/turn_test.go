package pmemset

import (
	"runtime"
	"sync"
	"testing"
)

// TestTurn: one goroutine at a time, which may take the turn again, and each gets it.
func TestTurn(t *testing.T) {
	var turns turn
	inside, total := 0, 0
	var enter func(depth int)
	enter = func(depth int) {
		defer turns.take()()
		if inside++; inside != depth {
			t.Errorf("at depth %d there are %d inside", depth, inside)
		}
		total++
		runtime.Gosched()
		if depth < 3 {
			enter(depth + 1)
			enter(depth + 1)
		}
		inside--
	}
	var wg sync.WaitGroup
	const goroutines, rounds, perRound = 16, 20, 1 + 2 + 4
	for range goroutines {
		wg.Go(func() {
			for range rounds {
				enter(1)
			}
		})
	}
	wg.Wait()
	if total != goroutines*rounds*perRound || inside != 0 || turns.holder != 0 || turns.depth != 0 {
		t.Errorf("%d turns, want %d; %d inside, holder %d, depth %d", total, goroutines*rounds*perRound, inside, turns.holder, turns.depth)
	}
}

// TestTurnAfterPanic: a turn that is given back by defer is free after a panic.
func TestTurnAfterPanic(t *testing.T) {
	var turns turn
	func() {
		defer func() { _ = recover() }()
		defer turns.take()()
		panic("in a callback")
	}()
	done := make(chan struct{})
	go func() {
		turns.take()()
		close(done)
	}()
	<-done
}

// TestTurnExcludes: while a goroutine has the turn another one waits for it, also after
// it has given back one of two.
func TestTurnExcludes(t *testing.T) {
	var turns turn
	outer, inner := turns.take(), turns.take()
	got := make(chan struct{})
	go func() {
		defer turns.take()()
		close(got)
	}()
	for range 1000 {
		runtime.Gosched()
	}
	inner()
	for range 1000 {
		runtime.Gosched()
		select {
		case <-got:
			t.Fatal("two goroutines have the turn")
		default:
		}
	}
	outer()
	<-got
}

// TestGoroutineNumber: the number is the same in a goroutine all the time, also deep in
// the stack, and no two that live at the same time share it.
func TestGoroutineNumber(t *testing.T) {
	const n = 100
	numbers := make([]uint64, n)
	var started, all sync.WaitGroup
	started.Add(n)
	for i := range n {
		all.Go(func() {
			first := goroutine()
			started.Done()
			started.Wait() // all live now
			var deep func(int) uint64
			deep = func(left int) uint64 {
				if left == 0 {
					return goroutine()
				}
				return deep(left - 1)
			}
			if second := deep(1000); second != first || first == 0 {
				t.Errorf("goroutine %d has the number %d, then %d", i, first, second)
			}
			numbers[i] = first
		})
	}
	all.Wait()
	seen := map[uint64]bool{goroutine(): true}
	for _, number := range numbers {
		if seen[number] {
			t.Errorf("number %d twice", number)
		}
		seen[number] = true
	}
}
