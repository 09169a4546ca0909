package twins

import (
	"bytes"
	"fmt"
	"strings"
	"sync"

	"pmemlab/emu/examples/pmem"
)

// A journal belongs to one of two goroutines and has a part of the file for itself: the
// number of entries in its first line, then the entries, of a line each.
type journal struct {
	mem pmem.Memory
	b   []byte // its part
}

const (
	goroutines  = 2
	journalSize = 32 * pmem.Line
)

func journalOf(mem pmem.Memory, g int) journal {
	return journal{mem, mem.Bytes()[g*journalSize : (g+1)*journalSize]}
}

func (j journal) entry(i int) []byte { return j.b[pmem.Line*(i+1) : pmem.Line*(i+2)] }

// workers are goroutines that do steps when they are told to, one step at a time, so that any
// interleaving can be played.
type workers struct {
	steps [goroutines]chan func() error
	done  chan error
	all   sync.WaitGroup
}

func startWorkers() *workers {
	w := &workers{done: make(chan error)}
	for g := range w.steps {
		w.steps[g] = make(chan func() error)
		w.all.Go(func() {
			for step := range w.steps[g] {
				w.done <- step()
			}
		})
	}
	return w
}

func (w *workers) do(g int, step func() error) error {
	w.steps[g] <- step
	return <-w.done
}

func (w *workers) stop() {
	for _, c := range w.steps {
		close(c)
	}
	w.all.Wait()
}

// appendSteps are the steps in which a goroutine adds entry i to its own journal. Whatever
// another goroutine does between them, it needs no fence but its own.
func (j journal) appendSteps(i int, entry []byte) []func() error {
	return []func() error{
		func() error { copy(j.entry(i), entry); return nil },
		func() error { return j.mem.Flush(j.entry(i)) },
		// The other goroutine's drain is none for what this one flushed.
		func() error { return j.mem.Drain() },
		func() error { pmem.Store(j.b, 0, uint64(i+1)); return nil },
		func() error { return j.mem.Persist(j.b[:8]) },
	}
}

// handOver has the first goroutine store an entry in the journal, and the second make it
// durable. That's right: a flush takes a line as it's visible, whoever stored to it, and the
// goroutine that flushes is the one that drains.
func (j journal) handOver(w *workers, i int, entry []byte) error {
	if err := w.do(0, func() error { copy(j.entry(i), entry); return nil }); err != nil {
		return err
	}
	return w.do(1, func() error {
		if err := j.mem.Persist(j.entry(i)); err != nil {
			return err
		}
		pmem.Store(j.b, 0, uint64(i+1))
		return j.mem.Persist(j.b[:8])
	})
}

func (j journal) check(g int, entries [][]byte, acks []string) error {
	acked := 0
	for _, a := range acks {
		if strings.HasPrefix(a, ackPrefix(g)) {
			acked++
		}
	}
	n := int(pmem.Load(j.b, 0))
	if n != acked && n != acked+1 || n > len(entries) {
		kind := pmem.ErrTorn
		if n < acked {
			kind = pmem.ErrLost
		}
		return fmt.Errorf("%w: the journal of goroutine %d has %d entries, %d were acknowledged", kind, g, n, acked)
	}
	for i, want := range entries[:n] {
		if got := j.entry(i); !bytes.Equal(got, want) {
			return fmt.Errorf("%w: entry %d of %d of goroutine %d is %x, want %x", pmem.ErrTorn, i, n, g, got, want)
		}
	}
	return nil
}

func ackPrefix(g int) string { return fmt.Sprintf("goroutine %d, ", g) }

// OwnCase is a life of two journals in one file: n entries, each added by the goroutine whose
// journal it is, step by step while the other one does the same.
func OwnCase(seed uint64, n int) pmem.Case {
	r := pmem.Rand(seed)
	var entries [goroutines][][]byte
	for i := range n {
		entries[i%goroutines] = append(entries[i%goroutines], pmem.Fill(r, pmem.Line))
	}
	turns := make([]int, 0, 5*n) // whose step is next
	for g := range entries {
		for range 5 * len(entries[g]) {
			turns = append(turns, g)
		}
	}
	r.Shuffle(len(turns), func(i, j int) { turns[i], turns[j] = turns[j], turns[i] })
	c := journalsCase(entries[:])
	c.Workload = func(files []pmem.Memory, ack func(string)) error {
		w := startWorkers()
		defer w.stop()
		var next [goroutines]int
		for _, g := range turns {
			i, step := next[g]/5, next[g]%5
			next[g]++
			if err := w.do(g, journalOf(files[0], g).appendSteps(i, entries[g][i])[step]); err != nil {
				return err
			}
			if step == 4 {
				ack(fmt.Sprint(ackPrefix(g), "entry ", i))
			}
		}
		return nil
	}
	return c
}

// HandOverCase is a life of one journal in one file: n entries, handed from one goroutine to
// the other.
func HandOverCase(seed uint64, n int) pmem.Case {
	r := pmem.Rand(seed)
	entries := make([][]byte, n)
	for i := range entries {
		entries[i] = pmem.Fill(r, pmem.Line)
	}
	c := journalsCase([][][]byte{entries})
	c.Workload = func(files []pmem.Memory, ack func(string)) error {
		w := startWorkers()
		defer w.stop()
		for i, e := range entries {
			if err := journalOf(files[0], 0).handOver(w, i, e); err != nil {
				return err
			}
			ack(fmt.Sprint(ackPrefix(0), "entry ", i))
		}
		return nil
	}
	return c
}

func journalsCase(entries [][][]byte) pmem.Case {
	return pmem.Case{
		Recover: func([]pmem.Memory) error { return nil }, // an entry behind the number isn't there
		Check: func(files []pmem.Memory, acks []string) error {
			for g := range entries {
				if err := journalOf(files[0], g).check(g, entries[g], acks); err != nil {
					return err
				}
			}
			return nil
		},
	}
}
